"""Bytes of an image file to uint8 RGB, and the reasons for which a file is refused.

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
