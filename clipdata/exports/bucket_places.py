"""A file or a folder in a bucket, where nothing is renamed and nobody can be kept out. It knows no format.

Each object appears whole. A folder's record says whose export it is, and is complete only when all that this one wrote
is there and nothing else.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from clipdata.errors import ConcurrentChangeError
from clipdata.exports.folder_record import RECORD, record_of
from clipdata.objects.faults import as_clipdata_error
from clipdata.objects.listing import list_objects
from clipdata.objects.removing import remove
from clipdata.plurals import counted
from clipdata.storage import Storage, join, redact

_PUTS_AT_ONCE = 16
_WAITING = 256
AGAIN = "once no other one runs, run it again, or name another place"


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
    """Objects under one prefix, with a record that says whether they are all there.

    Who begins there takes the record over, so that of two at once the first sees that it is no longer alone. What it
    put there is found by the second, when that one counts.
    """

    def __init__(self, out: str, storage: Storage) -> None:
        self.out, self._storage = out, storage
        self._fs, self._path = storage.filesystem(out)
        self._pool = ThreadPoolExecutor(_PUTS_AT_ONCE, thread_name_prefix="clipdata-put")
        self._waiting: list[Future[None]] = []
        self._begun = False
        self._ours = {"complete": False, "by": uuid.uuid4().hex}
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
            self._check_ours()
            _upload(file, join(self.out, name), self._storage)

    def put(self, name: str, data: bytes) -> None:
        """Upload a small file, beside others."""
        self._begin()
        self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + len(data)
        self._waiting.append(self._pool.submit(self._put, name, data))
        self._settle(_WAITING)

    def publish(self, record: Mapping[str, Any]) -> None:
        """Say that it is complete, once all that was written is there.

        Raises:
            ConcurrentChangeError: another process wrote there meanwhile.
        """
        self._settle(0)
        self._check_ours()
        self._check_whole()
        self._note({**record, "complete": True})
        self._pool.shutdown()

    def discard(self) -> None:
        """Remove what was uploaded, unless another process took the folder over."""
        self._pool.shutdown(cancel_futures=True)
        if self._begun:
            with suppress(OSError):
                if record_of(self.out, self._storage) == self._ours:
                    remove(self._storage, self.out, recursive=True)

    def _begin(self) -> None:
        """Remove a former export, which is first of all no longer a complete one."""
        if self._begun:
            return
        self._begun = True
        self._note(self._ours)
        for name in self._fs.find(self._path):
            if not name.endswith(f"/{RECORD}"):
                remove(self._storage, join(self.out, name[len(self._path) :]))

    def _check_ours(self) -> None:
        """Make sure that nobody else began to write there. Who did and is done wrote a record that holds no more.

        Raises:
            ConcurrentChangeError: somebody did.
        """
        found = record_of(self.out, self._storage)
        if found == self._ours:
            return
        if found is not None and found.get("complete"):
            self._note({"complete": False})
        raise ConcurrentChangeError(f"another export writes to {redact(self.out)} at the same time", hint=AGAIN)

    def _check_whole(self) -> None:
        """Make sure that there is what was written, and nothing else.

        Raises:
            ConcurrentChangeError: another one put files there, or removed some.
        """
        self._fs.invalidate_cache()
        sizes = [stamp.size for url, stamp in list_objects(self._storage, self.out) if not url.endswith(f"/{RECORD}")]
        num_bytes = sum(size or 0 for size in sizes)
        if len(sizes) != self.num_files or (num_bytes != self.num_bytes and None not in sizes):
            found = f"{redact(self.out)} holds {counted(len(sizes), 'file')} with {counted(num_bytes, 'byte')}"
            wanted = f"this export wrote {counted(self.num_files, 'file')} with {counted(self.num_bytes, 'byte')}"
            raise ConcurrentChangeError(f"{found}, and {wanted}: another one wrote there at the same time", hint=AGAIN)

    def _note(self, record: Mapping[str, Any]) -> None:
        self._put(RECORD, json.dumps(record, ensure_ascii=False).encode())

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
