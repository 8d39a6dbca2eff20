"""Which files of a place hold data: a file, a folder, or a glob, in folders and buckets alike.

Folders are searched by suffix, because what people download has a README, checkpoints and marks of other tools beside
the data. What is left out is counted by kind. It opens no file but those whose name says nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from fsspec.utils import glob_translate

from clipdata.errors import NotFoundError
from clipdata.objects.faults import as_clipdata_error
from clipdata.objects.stamps import stamp_of
from clipdata.storage import Storage, is_remote, redact, scheme
from ingest.metadata.formats import PARQUET_MAGIC, format_of
from ingest.updating.source import Item

_WILD = re.compile(r"[*?\[]")
_WORK_FOLDERS = ("_temporary", "_delta_log", "__MACOSX")


class DataFiles:
    """The files of a place, as items named from the folder that was named.

    Args:
        origin: absolute location of a file, a folder or a glob.
        storage: how to reach it.

    Raises:
        NotFoundError: by `find`: there is no data.
        CredentialsError: by `find`: the store refused access.
        TransientError: by `find`: the store failed.
    """

    def __init__(self, origin: str, storage: Storage) -> None:
        self.origin = origin
        self.left_out: Tally[str] = Tally()
        self._fs, self._path = storage.filesystem(origin)
        self._storage = storage
        self._prefix = f"{scheme(origin)}://" if is_remote(origin) else ""
        self._root = self._path.rpartition("/")[0]
        self._pattern: re.Pattern[str] | None = None
        self._is_folder = False
        self._formats: frozenset[str] = frozenset()

    def find(self) -> list[Item]:
        """List the files, sorted by name."""
        try:
            found = self._listed()
        except OSError as error:
            raise as_clipdata_error(error, f"listing {redact(self.origin)}", self._storage) from error
        if not found:
            kinds = f"; left out: {counted(self.left_out)}" if self.left_out else ""
            raise NotFoundError(
                f"no parquet file (nor CSV, TSV or JSONL) at {redact(self.origin)}{kinds}",
                hint="name a file, a folder of them, or a quoted glob",
            )
        items = [self._item(path, about) for path, about in found.items()]
        return sorted(items, key=lambda item: item.key)

    def covers(self, where: str) -> bool:
        """Whether a file that was there is one that is listed while it is there."""
        path = where.removeprefix(self._prefix)
        if self._pattern is not None:
            return self._pattern.fullmatch(path) is not None and not _hidden(self._name(path))
        if not self._is_folder:
            return path == self._path
        inside = path.startswith(f"{self._path.rstrip('/')}/") and not _hidden(self._name(path))
        return inside and bool(format_of(path) or "parquet" in self._formats)

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        if self._fs.isdir(self._path):
            self._is_folder, self._root = True, self._path
            return self._data_of(dict(self._inside()))
        if self._fs.exists(self._path) or not _WILD.search(self._path):
            return {self._path: self._info(self._path)} if self._fs.exists(self._path) else {}
        self._pattern = re.compile(glob_translate(self._path))
        self._root = _WILD.split(self._path, maxsplit=1)[0].rpartition("/")[0]
        found = self._fs.glob(self._path, detail=True)
        shown = {path: about for path, about in found.items() if about["type"] != "directory"}
        self.left_out.update("hidden" for path in shown if _hidden(self._name(path)))
        return {path: self._info(path, about) for path, about in shown.items() if not _hidden(self._name(path))}

    def _info(self, path: str, about: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """What the store says of a file, in the same words however it was found."""
        return (about or self._fs.info(path)) if is_remote(self.origin) else _about(path)

    def _inside(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Everything in the folder; links to folders are not followed, or some would have no end."""
        if is_remote(self.origin):
            yield from self._fs.find(self._path, detail=True).items()
            return
        for folder, folders, names in os.walk(self._path):
            linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            self.left_out["links to folders"] += len(linked)
            for name in names:
                path = os.path.join(folder, name)
                yield path, _about(path)

    def _data_of(self, inside: dict[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """Parquet files, and where there are none the texts."""
        formats: dict[str, str] = {}
        for path in sorted(inside):
            name = self._name(path)
            found = "" if _hidden(name) else format_of(path) or self._by_magic(path)
            if found:
                formats[path] = found
            elif inside[path]["type"] != "directory":
                self.left_out["hidden" if _hidden(name) else _kind(path)] += 1
        has_parquet = "parquet" in formats.values()
        self._formats = frozenset({"parquet"} if has_parquet else {"csv", "tsv", "jsonl"})
        self.left_out.update(_kind(path) for path, found in formats.items() if found not in self._formats)
        self.left_out = +self.left_out
        return {path: inside[path] for path, found in formats.items() if found in self._formats}

    def _by_magic(self, path: str) -> str:
        """The format of a file whose name has no suffix: parquet, or none."""
        name = PurePosixPath(path).name
        if PurePosixPath(name).suffix or name.startswith("_"):
            return ""
        return "parquet" if starts_as_parquet(self._fs, path) else ""

    def _name(self, path: str) -> str:
        return path.removeprefix(self._root).lstrip("/")

    def _item(self, path: str, about: Mapping[str, Any]) -> Item:
        broken = about.get("type") == "gone"
        stamp = stamp_of(about)
        return Item(self._name(path), "" if broken else stamp.etag, stamp.size, f"{self._prefix}{path}")


def counted(kinds: Mapping[str, int]) -> str:
    """Numbers by kind, for a message."""
    return ", ".join(f"{count:,} {kind}" for kind, count in Tally(kinds).most_common(6))


def starts_as_parquet(fs: Any, path: str) -> bool:
    """Whether a file begins as parquet does; False where it cannot be read."""
    try:
        with fs.open(path, "rb") as stream:
            return bool(stream.read(4) == PARQUET_MAGIC)
    except OSError:
        return False


def _about(path: str) -> dict[str, Any]:
    """What a listing would say of a local file; a link that leads nowhere is met when it is read."""
    try:
        found = os.stat(path)
    except OSError:
        return {"type": "gone", "size": None}
    return {"type": "file", "size": found.st_size, "mtime": found.st_mtime_ns}


def _hidden(name: str) -> bool:
    """Whether a file is another tool's: behind a dot, or in a folder that a job works in."""
    parts = name.split("/")
    return any(part.startswith(".") for part in parts) or any(part in _WORK_FOLDERS for part in parts[:-1])


def _kind(path: str) -> str:
    return PurePosixPath(path).suffix.lower() or "without suffix"
