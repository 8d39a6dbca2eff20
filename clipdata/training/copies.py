"""Copies of checkpoints in a bucket or on another disk, from which a new machine goes on.

    PLACE/step-200.json    of what a copy is made, written last: file in the run's folder → its digest and size
    PLACE/files/DIGEST     a file, named by its content: written once, whichever copies hold it
    PLACE/about.txt        says what all of this is

A copy is all that a run needs to go on: its checkpoint, config, rows, metrics so far, and the best weights. It is taken
up only when every file of it is there and has its digest. It knows files and stores, and neither steps nor weights.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clipdata import retries
from clipdata.disk import sync
from clipdata.errors import ClipdataError, StorageError
from clipdata.json_parsing import parse_json
from clipdata.objects.faults import PATIENCE, as_clipdata_error
from clipdata.objects.removing import remove
from clipdata.storage import Storage, absolute, is_remote, join, redact, scheme
from clipdata.training.state_files import writing

_MANIFEST = re.compile(r"step-(\d+)\.json")
_FILES, _PROBE = "files", "about.txt"
_PIECE_BYTES = 1 << 20
T = TypeVar("T")


def storage_for(uri: str, table_uri: str, of_table: Storage) -> Storage:
    """How to reach a place for copies: as the table is reached, unless that is in another store."""
    if is_remote(table_uri) and scheme(table_uri) != scheme(uri):
        return Storage()
    return of_table.signed()


@dataclass(frozen=True)
class Copy:
    """One copy, as its manifest tells it.

    Args:
        step: of its checkpoint.
        files: path in the run's folder → (SHA-256 in hex, size in bytes).
    """

    step: int
    files: Mapping[str, tuple[str, int]]


class Copies:
    """The copies of one run.

    Args:
        uri: the place, a URL or a path.
        storage: how to reach it.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self.uri, self._storage = absolute(uri), storage
        self._fs, self._path = storage.filesystem(self.uri)

    def check(self) -> None:
        """See that files can be written there, before hours of work.

        Raises:
            CredentialsError, TransientError, StorageError: they cannot.
        """
        with self._told("writing", _PROBE), tempfile.TemporaryDirectory(prefix="clipdata-copy-") as scratch:
            probe = Path(scratch) / _PROBE
            probe.write_text("checkpoints of a training are copied here\n")
            self._upload(probe, _PROBE)

    def complete(self) -> list[Copy]:
        """Those whose manifest is there, oldest first.

        Raises:
            CredentialsError, TransientError: the store refuses, or fails again and again.
        """
        with self._told("listing", ""):
            steps = sorted(int(found[1]) for name in self._names("") if (found := _MANIFEST.fullmatch(name)))
            read = [self._manifest(step) for step in steps]
        return [one for one in read if one is not None]

    def put(self, step: int, folder: Path, *, keep: int) -> None:
        """Copy what a folder holds, and keep the newest copies only.

        Args:
            step: of the checkpoint.
            folder: all of it is copied, under the paths that it has there.
            keep: so many copies.

        Raises:
            CredentialsError, TransientError, StorageError: the store refuses, fails again and again, or is full.
        """
        with self._told("writing", f"step-{step}.json"):
            present = self._present()
            files: dict[str, tuple[str, int]] = {}
            for path in sorted(one for one in folder.rglob("*") if one.is_file()):
                digest, size = _digest_of(path), path.stat().st_size
                files[path.relative_to(folder).as_posix()] = (digest, size)
                if present.get(digest) != size:
                    self._upload(path, f"{_FILES}/{digest}")
                    present[digest] = size
            with tempfile.TemporaryDirectory(prefix="clipdata-copy-") as scratch:
                manifest = Path(scratch) / "manifest.json"
                manifest.write_text(json.dumps({"step": step, "files": files}, indent=1))
                self._upload(manifest, f"step-{step}.json")
            self._prune(keep)

    def get(self, copy: Copy, folder: Path) -> None:
        """Write the files of a copy into a folder.

        Raises:
            StorageError: one of them is missing or has another content; the folder cannot be written.
            CredentialsError, TransientError: the store refuses, or fails again and again.
        """
        for name, (digest, size) in copy.files.items():
            path = folder / name
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with self._told("reading", f"{_FILES}/{digest}"):
                self._ask(lambda path=path, digest=digest: self._fs.get_file(self._at(f"{_FILES}/{digest}"), str(path)))  # type: ignore[misc]
            if path.stat().st_size != size or _digest_of(path) != digest:
                raise StorageError(f"{redact(join(self.uri, _FILES, digest))} is not the {name} that was copied there")
            sync(path)

    def read(self, copy: Copy, name: str) -> bytes:
        """One of the files of a copy.

        Raises:
            NotFoundError: it is not there.
            CredentialsError, TransientError: the store refuses, or fails again and again.
        """
        digest = copy.files[name][0]
        with self._told("reading", f"{_FILES}/{digest}"):
            return bytes(self._ask(lambda: self._fs.cat_file(self._at(f"{_FILES}/{digest}"))))

    def discard(self) -> None:
        """Remove all copies, and nothing else."""
        self._prune(0)

    def _prune(self, keep: int) -> None:
        copies = self.complete()
        num_gone = max(len(copies) - keep, 0)
        gone, kept = copies[:num_gone], copies[num_gone:]
        for copy in gone:  # the manifest goes first, or a copy would be told that lacks files
            remove(self._storage, join(self.uri, f"step-{copy.step}.json"))
        named = {digest for copy in kept for digest, _ in copy.files.values()}
        for digest in self._present().keys() - named:
            remove(self._storage, join(self.uri, _FILES, digest))

    def _manifest(self, step: int) -> Copy | None:
        """None where it is gone, or half-written on a disk."""
        try:
            found = parse_json(self._ask(lambda: self._fs.cat_file(self._at(f"step-{step}.json"))))
            files = {str(name): (str(digest), int(size)) for name, (digest, size) in found["files"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Copy(step, files)

    def _present(self) -> dict[str, int]:
        """Digest → size of the files that are there."""
        try:
            listed = self._ask(lambda: self._fs.ls(self._at(_FILES), detail=True, refresh=True))
        except FileNotFoundError:
            return {}
        return {one["name"].rsplit("/", 1)[-1]: int(one["size"] or 0) for one in listed if one["type"] == "file"}

    def _names(self, folder: str) -> list[str]:
        try:
            listed = self._ask(lambda: self._fs.ls(self._at(folder), detail=False, refresh=True))
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rsplit("/", 1)[-1] for path in listed]

    def _upload(self, path: Path, name: str) -> None:
        def attempt() -> None:
            if is_remote(self.uri):  # an object appears whole
                self._fs.put_file(str(path), self._at(name))
                return
            target = Path(self._at(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f".{target.name}.writing")
            shutil.copyfile(path, aside)
            sync(aside)
            aside.rename(target)

        self._ask(attempt)

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}".rstrip("/")

    def _ask(self, attempt: Callable[[], T]) -> T:
        return retries.call(PATIENCE, attempt) if is_remote(self.uri) else attempt()

    @contextmanager
    def _told(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except ClipdataError:
            raise
        except Exception as error:
            where = redact(join(self.uri, name) if name else self.uri)
            raise as_clipdata_error(error, f"{doing} {where}", self._storage) from error


def _digest_of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            found.update(piece)
    return found.hexdigest()
