"""Where an export goes: a file or a folder, on disk or in a bucket, that is there whole or not at all.

On disk everything is written aside and renamed at the end, by one process at a time. A bucket knows no renaming and no
locks: a file appears there when it is whole, and a folder carries a record that says whose it is and, first and last,
whether it is complete. It knows no format.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from clipdata import hints
from clipdata.errors import ClipdataError, StorageError, UsageError
from clipdata.exports.bucket_places import RemoteFile, RemoteFolder
from clipdata.exports.disk_places import LocalFile, LocalFolder
from clipdata.exports.folder_record import has_entries, record_of
from clipdata.folder_lock import alone_at
from clipdata.objects.faults import as_clipdata_error
from clipdata.storage import Storage, is_remote, redact

_OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # where what goes to a bucket is written first
_GONE = "something else removed what was being written; run the same command again"


class Place(Protocol):
    """Takes files while an export writes, and shows them when it is done."""

    num_files: int
    num_bytes: int

    def open(self, name: str = "") -> Any:
        """A context that gives a binary stream for a file; of a single file, the name is empty."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a small file."""
        ...

    def publish(self, record: Mapping[str, Any]) -> None:
        """Let everything appear under its name."""
        ...

    def discard(self) -> None:
        """Remove what was written, because the export failed."""
        ...


def check_free(out: str, storage: Storage, *, is_folder: bool, overwrite: bool) -> None:
    """Refuse a place where something is that the export may not replace.

    Raises:
        UsageError: says what is there. A folder that holds no export is never replaced.
    """
    fs, path = storage.filesystem(out)
    if not is_folder:
        if fs.isdir(path):
            raise UsageError(
                f"{redact(out)} is a folder; expected the name of a file", hint=f"--out {hints.typed(out)}/…"
            )
        if fs.exists(path) and not overwrite:
            raise UsageError(f"{redact(out)} is there already", hint="--overwrite (overwrite=True) replaces it")
        return
    if not is_remote(out) and os.path.lexists(out) and not os.path.isdir(out):
        raise UsageError(f"{redact(out)} is a file; expected a folder to write", hint="name another place")
    if not has_entries(fs, path):
        return
    record = record_of(out, storage)
    if record is None:
        raise UsageError(
            f"{redact(out)} is not empty and holds no export; expected a new place or an empty folder",
            hint="export to another folder",
        )
    if record.get("complete") and not overwrite:
        raise UsageError(f"{redact(out)} holds an export", hint="--overwrite (overwrite=True) replaces it")


@contextmanager
def opened(out: str, storage: Storage, *, is_folder: bool, overwrite: bool, doing: str = "export") -> Iterator[Place]:
    """A place to write to, on disk for this process alone; what was written goes when the writing fails.

    Args:
        overwrite: replace what is there, as far as `check_free` lets it; that is looked at once others are kept out.
        doing: the verb, for whoever comes second.

    Raises:
        UsageError: something is there.
        TransientError: another process writes there.
        StorageError: the disk is full, or the place cannot be written.
    """
    with alone(out, storage, doing) as is_alone:
        check_free(out, storage, is_folder=is_folder, overwrite=overwrite)
        place: Any
        if is_remote(out):
            place = (RemoteFolder if is_folder else RemoteFile)(out, storage)
        else:
            place = (LocalFolder if is_folder else LocalFile)(out, is_alone=is_alone)
        try:
            yield place
        except BaseException:
            place.discard()
            raise


@contextmanager
def alone(out: str, storage: Storage, doing: str) -> Iterator[bool]:
    """Keep other processes from writing to a place while the block runs, and say faults of writing as such.

    Yields:
        whether others are kept out; they are not from a bucket, nor on a disk that knows no locks.

    Raises:
        TransientError: another process writes there.
        StorageError: the disk is full, or the place cannot be written.
    """
    with faults_of(out, storage), nullcontext(False) if is_remote(out) else alone_at(Path(out), doing) as is_alone:
        yield is_alone


@contextmanager
def faults_of(out: str, storage: Storage) -> Iterator[None]:
    """Say of a fault of the system or of a store that something could not be written.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
        CredentialsError: the store refused access.
        TransientError: the store failed, again and again.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ClipdataError):
            raise
        if is_remote(out) and not isinstance(error, FileNotFoundError) and error.errno not in _OF_THIS_MACHINE:
            raise as_clipdata_error(error, f"writing {redact(out)}", storage) from error
        hint = _GONE if isinstance(error, FileNotFoundError) else hints.ROOM
        raise StorageError(f"writing {redact(out)}: {redact(str(error))}", hint=hint) from error
