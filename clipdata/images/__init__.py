"""Bytes of an image file to uint8 RGB, and the reasons for which a file is refused.

    refusals.py     the codes of refusal, and the limits that cause some of them
    formats.py      what a file is, by its first bytes
    orientation.py  which way up a picture is shown
    jpeg.py png.py webp.py   headers and wholeness of the three formats that OpenCV decodes
    avif.py         how large the pictures coded in an AVIF claim to be
    pillow.py       the rest, which Pillow decodes, AVIF and HEIC where their readers are installed
    pixels.py       probe, decode, check
    hushed.py       what decoders would say on the terminal
    batches.py      the images of a batch of rows: each distinct one decoded once, in threads

All but batches.py are pure functions of the bytes they are given, safe in threads, and leave the interpreter lock to
others while pixels are decoded. The package knows nothing of files, tables, torch or the network.
"""

from clipdata.errors import ImageRefused
from clipdata.images.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES, RAW, sniff_format
from clipdata.images.pillow import reader_missing_for
from clipdata.images.pixels import ImageHeader, check, decode, probe, probe_plain
from clipdata.images.refusals import REASONS, ImageLimits

__all__ = [
    "IMAGE_SUFFIXES",
    "OTHER_SUFFIXES",
    "RAW",
    "REASONS",
    "ImageHeader",
    "ImageLimits",
    "ImageRefused",
    "check",
    "decode",
    "probe",
    "probe_plain",
    "reader_missing_for",
    "sniff_format",
]
