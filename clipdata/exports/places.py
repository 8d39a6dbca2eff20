"""Where an export goes: a file or a folder, on disk or in a bucket, that is there whole or not at all.

On disk everything is written aside and renamed at the end. A bucket knows no renaming: a file appears there when it is
whole, and a folder carries a record that says whether it is complete, first and last. It knows no format.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from clipdata import hints
from clipdata.disk import sync, sync_above, sync_below
from clipdata.errors import ClipdataError, StorageError, UsageError
from clipdata.json_parsing import parse_json
from clipdata.objects.faults import as_clipdata_error
from clipdata.objects.removing import remove
from clipdata.storage import Storage, is_remote, join, redact

RECORD = ".clipdata-export.json"  # a name that readers of folders pass over
_OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # where what goes to a bucket is written first
_PUTS_AT_ONCE = 16
_WAITING = 256


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
    if not _has_entries(fs, path):
        return
    record = _record_of(out, storage)
    if record is None:
        raise UsageError(
            f"{redact(out)} is not empty and holds no export; expected a new place or an empty folder",
            hint="export to another folder",
        )
    if record.get("complete") and not overwrite:
        raise UsageError(f"{redact(out)} holds an export", hint="--overwrite (overwrite=True) replaces it")


@contextmanager
def opened(out: str, storage: Storage, *, is_folder: bool) -> Iterator[Place]:
    """A place to write to; what was written goes when the writing fails.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    kinds = {
        (False, False): LocalFile,
        (False, True): RemoteFile,
        (True, False): LocalFolder,
        (True, True): RemoteFolder,
    }
    place: Any = kinds[is_folder, is_remote(out)](out, storage)
    try:
        with faults_of(out, storage):
            yield place
    except BaseException:
        place.discard()
        raise


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
        raise StorageError(f"writing {redact(out)}: {redact(str(error))}", hint=hints.ROOM) from error


class _Local:
    """What files and folders on disk share: a name aside, and parents that were made for them."""

    def __init__(self, out: str, storage: Storage) -> None:
        self.out = Path(out)
        self.aside = self.out.parent / f".{self.out.name}.part"
        self.num_files = self.num_bytes = 0
        above = self.out.parent
        self._made: list[Path] = []
        while not above.exists():
            self._made.append(above)
            above = above.parent

    def _make_parents(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)

    def discard(self) -> None:
        """Remove what was written, and folders that were made for it."""
        shutil.rmtree(self.aside, ignore_errors=True)
        with suppress(OSError):
            self.aside.unlink(missing_ok=True)
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()


class LocalFile(_Local):
    """One file on disk."""

    @contextmanager
    def open(self, name: str = "") -> Iterator[IO[bytes]]:
        """A stream into the file aside."""
        self._make_parents()
        with self.aside.open("wb") as stream:
            yield stream
        self.num_files, self.num_bytes = 1, self.aside.stat().st_size

    def publish(self, record: Mapping[str, Any]) -> None:
        """Rename it."""
        sync(self.aside)
        self.aside.replace(self.out)
        sync_above(self.out)


class LocalFolder(_Local):
    """A folder on disk."""

    def __init__(self, out: str, storage: Storage) -> None:
        super().__init__(out, storage)
        self._begun = False

    @contextmanager
    def open(self, name: str = "") -> Iterator[IO[bytes]]:
        """A stream into a file of the folder aside."""
        file = self._file(name)
        with file.open("wb") as stream:
            yield stream
        self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + file.stat().st_size

    def put(self, name: str, data: bytes) -> None:
        """Write a small file."""
        self._file(name).write_bytes(data)
        self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + len(data)

    def publish(self, record: Mapping[str, Any]) -> None:
        """Put the folder in the place of the one that is there; a kill in between leaves the old one beside it."""
        self._file(RECORD).write_text(
            json.dumps({**record, "complete": True}, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        sync_below(self.aside)
        former = self.out.parent / f".{self.out.name}.former"
        shutil.rmtree(former, ignore_errors=True)
        if self.out.exists():
            self.out.rename(former)
        self.aside.rename(self.out)
        sync_above(self.out)
        shutil.rmtree(former, ignore_errors=True)

    def _file(self, name: str) -> Path:
        if not self._begun:
            shutil.rmtree(self.aside, ignore_errors=True)  # of one who was killed
            self._begun = True
        file = self.aside / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


class RemoteFile:
    """One object, written on disk first: so much room is needed there."""

    def __init__(self, out: str, storage: Storage) -> None:
        self.out, self._storage = out, storage
        self._scratch = tempfile.TemporaryDirectory(prefix="clipdata-export-")
        self.num_files = self.num_bytes = 0

    @contextmanager
    def open(self, name: str = "") -> Iterator[IO[bytes]]:
        """A stream into a file on disk."""
        file = Path(self._scratch.name) / "file"
        with file.open("wb") as stream:
            yield stream
        self.num_files, self.num_bytes = 1, file.stat().st_size

    def publish(self, record: Mapping[str, Any]) -> None:
        """Upload it."""
        _upload(Path(self._scratch.name) / "file", self.out, self._storage)
        self._scratch.cleanup()

    def discard(self) -> None:
        """Leave nothing on disk."""
        self._scratch.cleanup()


class RemoteFolder:
    """Objects under one prefix, with a record that says whether they are all there."""

    def __init__(self, out: str, storage: Storage) -> None:
        self.out, self._storage = out, storage
        self._fs, self._path = storage.filesystem(out)
        self._pool = ThreadPoolExecutor(_PUTS_AT_ONCE, thread_name_prefix="clipdata-put")
        self._waiting: list[Future[None]] = []
        self._begun = False
        self.num_files = self.num_bytes = 0

    @contextmanager
    def open(self, name: str = "") -> Iterator[IO[bytes]]:
        """A stream into a file on disk, which is uploaded when it is whole."""
        self._begin()
        with tempfile.TemporaryDirectory(prefix="clipdata-export-") as scratch:
            file = Path(scratch) / "file"
            with file.open("wb") as stream:
                yield stream
            self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + file.stat().st_size
            self._settle(0)
            _upload(file, join(self.out, name), self._storage)

    def put(self, name: str, data: bytes) -> None:
        """Upload a small file, beside others."""
        self._begin()
        self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + len(data)
        self._waiting.append(self._pool.submit(self._put, name, data))
        self._settle(_WAITING)

    def publish(self, record: Mapping[str, Any]) -> None:
        """Say that it is complete."""
        self._settle(0)
        self._put(RECORD, json.dumps({**record, "complete": True}, ensure_ascii=False).encode())
        self._pool.shutdown()

    def discard(self) -> None:
        """Remove what was uploaded."""
        self._pool.shutdown(cancel_futures=True)
        if self._begun:
            with suppress(OSError):
                remove(self._storage, self.out, recursive=True)

    def _begin(self) -> None:
        """Remove a former export, which is first of all no longer a complete one."""
        if self._begun:
            return
        self._begun = True
        if _has_entries(self._fs, self._path):
            self._put(RECORD, b'{"complete": false}')
            for name in self._fs.find(self._path):
                if not name.endswith(f"/{RECORD}"):
                    remove(self._storage, join(self.out, name[len(self._path) :]))
        self._put(RECORD, b'{"complete": false}')

    def _put(self, name: str, data: bytes) -> None:
        try:
            self._fs.pipe_file(join(self._path, name), data)
        except Exception as error:
            raise as_clipdata_error(error, f"writing {redact(join(self.out, name))}", self._storage) from error

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.pop(0).result()


def _upload(file: Path, out: str, storage: Storage) -> None:
    fs, path = storage.filesystem(out)
    try:
        fs.put_file(str(file), path)
    except Exception as error:
        raise as_clipdata_error(error, f"writing {redact(out)}", storage) from error


def _has_entries(fs: Any, path: str) -> bool:
    try:
        return bool(fs.ls(path, detail=False))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _record_of(out: str, storage: Storage) -> dict[str, Any] | None:
    """What an export left in a folder to say what it is; None where there is none."""
    fs, path = storage.filesystem(join(out, RECORD))
    try:
        found = parse_json(fs.cat_file(path))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
