"""From places of picture files to features, and why a picture has none.

It knows files, folders and buckets, and an encoder; it must not know what is done with the features.

Shapes: N pictures that can be used, D shared space.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from clipdata.errors import NotFoundError
from clipdata.images import IMAGE_SUFFIXES, OTHER_SUFFIXES
from clipdata.images.refusals import DEFAULT_LIMITS, REASONS
from clipdata.objects.listing import list_objects
from clipdata.objects.reading import Body, ObjectReader, Unread, Wanted
from clipdata.objects.stamps import Stamp
from clipdata.plurals import counted
from clipdata.progress import Counter, Progress
from clipdata.steps.recall import ImageRecall
from clipdata.storage import Storage, absolute, is_remote, redact

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

_BATCH = 64
_BATCH_BYTES = 64 << 20
_SUFFIXES = IMAGE_SUFFIXES | OTHER_SUFFIXES.keys()


@dataclass(frozen=True)
class EncodedPictures:
    """What became of pictures.

    Args:
        names: where each is that can be used [N].
        features_ND: float32, L2-normalised.
        refused: where one is that cannot be used → why.
    """

    names: Sequence[str]
    features_ND: np.ndarray
    refused: dict[str, str]


def encode_pictures(encoder: Encoder, places: Sequence[str], storage: Storage, progress: Progress) -> EncodedPictures:
    """Read, decode and encode pictures; each distinct one is decoded and encoded once.

    Args:
        encoder: gives the features.
        places: files, folders, URLs of objects or of a bucket's prefix.
        storage: how to reach them.
        progress: watches.

    Raises:
        NotFoundError: a folder is not there, or holds no picture.
        TransientError: a store is down.
        CredentialsError: a store refuses access.
    """
    wanted = [one for place in places for one in _listed(place, storage)]
    recall = ImageRecall(encoder, encoder.encode_images)
    names: list[str] = []
    features: list[np.ndarray] = [np.zeros((0, encoder.embed_dim), np.float32)]
    refused: dict[str, str] = {}
    with progress.task("pictures", len(wanted), "pictures") as counter:
        for batch in _batches(wanted, storage, refused, counter):
            column = pa.array([data for _, data in batch], pa.large_binary())
            features_BD, reasons = recall.features(recall.prepare(column))
            for row, (name, _) in enumerate(batch):
                if (reason := reasons[row]) is None:
                    names.append(name)
                    features.append(features_BD[row : row + 1])
                    counter.advance()
                else:
                    refused[name] = reason
                    counter.refuse(reason.partition(":")[0])
    return EncodedPictures(names, np.concatenate(features), refused)


def _batches(
    wanted: Sequence[Wanted[str] | tuple[str, str]], storage: Storage, refused: dict[str, str], counter: Counter
) -> Iterator[list[tuple[str, bytes]]]:
    """Names and bytes, as many as go through a model at once; what cannot be read is noted in `refused`."""

    def refuse(name: str, why: str) -> None:
        refused[name] = why
        counter.refuse(why.partition(":")[0])

    for one in wanted:
        if not isinstance(one, Wanted):
            refuse(*one)
    batch: list[tuple[str, bytes]] = []
    num_bytes = 0
    for one, found in ObjectReader(storage).read(one for one in wanted if isinstance(one, Wanted)):
        if isinstance(found, Unread):
            refuse(one.name, str(found))
            continue
        assert isinstance(found, Body)
        batch.append((one.name, found.data))
        num_bytes += len(found.data)
        if len(batch) == _BATCH or num_bytes > _BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _listed(place: str, storage: Storage) -> Sequence[Wanted[str] | tuple[str, str]]:
    """What to read at a place, or (name, why it cannot be read)."""
    if is_remote(place) and _is_picture(place):
        return [Wanted(redact(place), place)]
    if is_remote(place):
        found = [_object(redact(uri), uri, stamp) for uri, stamp in list_objects(storage, place) if _is_picture(uri)]
    elif os.path.isdir(place):
        found = [_file(path) for path in _files_below(place)]
    elif _is_picture(place) or os.path.exists(place):
        return [_file(place)]
    else:
        raise NotFoundError(f"there is no file or folder {place}", hint="check the path; a bucket is gs://… or s3://…")
    if not found:
        raise NotFoundError(
            f"no picture under {redact(place)}; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
            hint="name a folder that holds pictures (its folders inside are searched too), or the pictures themselves",
        )
    return found


def _files_below(folder: str) -> Iterator[str]:
    for above, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(above, name) for name in sorted(files) if _is_picture(name) and name[0] != ".")


def _file(path: str) -> Wanted[str] | tuple[str, str]:
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return path, f"missing: {REASONS['missing']}"
    except OSError as error:
        return path, f"unreadable: {error.strerror}"
    if not stat.S_ISREG(about.st_mode):
        return path, f"not_a_file: {REASONS['not_a_file']}"
    return _object(path, absolute(path), Stamp(size=about.st_size))


def _object(name: str, uri: str, stamp: Stamp) -> Wanted[str] | tuple[str, str]:
    most = DEFAULT_LIMITS.max_bytes
    if stamp.size is not None and stamp.size > most:
        return name, f"too_large: {counted(stamp.size, 'byte')}; the limit is {most:,}"
    return Wanted(name, uri, stamp)


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in _SUFFIXES
