"""Where shards are: folders, globs and brace patterns become a list of files. Does not open one."""

from __future__ import annotations

import os
import re
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from fsspec.utils import glob_translate  # type: ignore[attr-defined]

from clipdata.errors import NotFoundError, UsageError
from clipdata.objects.faults import as_clipdata_error
from clipdata.objects.stamps import Stamp, stamp_of
from clipdata.storage import Storage, is_remote, redact, scheme
from ingest.pictures.folder_walk import stamp_of_file
from ingest.updating.source import Item

COMPRESSIONS = (".gz", ".zst", ".bz2", ".lz4")
SHARD_SUFFIXES = (".tar", *(f".tar{end}" for end in COMPRESSIONS), ".tgz", ".tbz2", ".tzst")
MAX_NAMED = 1_000_000
_OUR_OWN = ("clipdata.json", "sizes.json")
_BRACES = re.compile(r"\{([^{}]*)\}")
_WILD = re.compile(r"[*?\[]")
_RANGE = re.compile(r"^(\d+)\.\.(\d+)(?:\.\.(\d+))?$")


def expand_braces(pattern: str) -> Iterator[str]:
    """Write out `{00000..00099}`, `{0..98..2}` and `{train,test}`, as shells and WebDataset do."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    start, end = pattern[: braces.start()], pattern[braces.end() :]
    for option in _options(braces.group(1)):
        yield from expand_braces(f"{start}{option}{end}")


def _options(inside: str) -> Iterator[str]:
    numbers = _RANGE.match(inside)
    if numbers is None:
        yield from inside.split(",")
        return
    first, last, step = numbers.groups()
    low, high, by = int(first), int(last), int(step or 1) or 1
    for number in range(low, high + 1, by) if low <= high else range(low, high - 1, -by):
        yield str(number).zfill(len(first))


@dataclass(frozen=True)
class Found:
    """What was found at some locations.

    Args:
        items: the shards, sorted by key; one that is named in full and not there has etag "".
        left_out: how many other files there are, by the end of their names.
    """

    items: list[Item]
    left_out: Tally[str] = field(default_factory=Tally)


class Places:
    """Locations of shards: files, folders, globs or brace patterns.

    A shard's key is its path relative to the folder of its pattern that holds no sign of a wildcard, and where there
    are several patterns, to the folder that all of those are in.

    Args:
        patterns: absolute.
        storage: how to reach them.

    Raises:
        UsageError: a range names more than `MAX_NAMED` shards.
    """

    def __init__(self, patterns: Sequence[str], storage: Storage) -> None:
        for pattern in patterns:
            if sum(1 for _ in islice(expand_braces(pattern), MAX_NAMED + 1)) > MAX_NAMED:
                raise UsageError(f"{redact(pattern)} names more than {MAX_NAMED:,} shards; expected a shorter range")
        self.patterns = list(dict.fromkeys(patterns))
        self.storage = storage

    @cached_property
    def _parts(self) -> list[_Pattern]:
        parts = []
        for pattern in self.patterns:
            try:
                parts.append(_Pattern.of(pattern, self.storage))
            except (OSError, ValueError) as error:
                raise as_clipdata_error(error, f"looking for {redact(pattern)}", self.storage) from error
        return parts

    def covers(self, where: str) -> bool:
        """Whether a shard that was there is one that these locations name."""
        return any(part.covers(where) for part in self._parts)

    def find(self) -> Found:
        """List the shards.

        Raises:
            NotFoundError: there is no shard.
            CredentialsError: the store refused access.
            TransientError: the store failed.
        """
        found: dict[str, Stamp | None] = {}
        left_out: Tally[str] = Tally()
        for pattern, part in zip(self.patterns, self._parts, strict=True):
            try:
                found.update(part.files(self.storage, left_out))
            except OSError as error:
                raise as_clipdata_error(error, f"listing {redact(pattern)}", self.storage) from error
        if not any(found.values()):
            raise self._nothing(left_out)
        base = _shared_folder([part.base for part in self._parts])
        items = [self._item(where, stamp, base) for where, stamp in found.items()]
        return Found(sorted(items, key=lambda item: item.key), left_out)

    def _item(self, where: str, stamp: Stamp | None, base: str) -> Item:
        key = where.removeprefix(base).lstrip("/") if base else where.replace("://", "/").lstrip("/")
        return Item(key, stamp.etag if stamp else "", stamp.size if stamp else None, where)

    def _nothing(self, left_out: Tally[str]) -> NotFoundError:
        suffixes = ", ".join(SHARD_SUFFIXES)
        others = f"; found {said(left_out)}" if left_out else ""
        return NotFoundError(
            f"no shard at {redact(', '.join(self.patterns[:3]))}; expected files ending in {suffixes}{others}",
            hint="name a folder of shards, a quoted glob, or a quoted range: 'shards/{00000..00099}.tar'",
        )


def said(left_out: Tally[str]) -> str:
    """Other files by the end of their names, most frequent first."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in left_out.most_common(5))
    return f"{left_out.total():,} ({kinds})"


@dataclass(frozen=True)
class _Pattern:
    """One location.

    Args:
        prefix: scheme of a store, or nothing.
        path: as the store has it.
        base: the folder that shards are named from, with the prefix.
        is_folder: all shards below it are meant.
        is_literal: one file is meant, whatever signs its name holds.
    """

    prefix: str
    path: str
    base: str
    is_folder: bool
    is_literal: bool

    @classmethod
    def of(cls, pattern: str, storage: Storage) -> _Pattern:
        prefix = f"{scheme(pattern)}://" if is_remote(pattern) else ""
        fs, path = storage.filesystem(pattern)
        has_signs = bool(_WILD.search(path)) or "{" in path
        if not has_signs or (not prefix and os.path.exists(path)):  # a folder may well be called "run [2]"
            is_folder = bool(fs.isdir(path))
            base = path if is_folder else path.rpartition("/")[0]
            return cls(prefix, path, f"{prefix}{base}", is_folder, is_literal=True)
        fixed = _WILD.split(path.replace("{", "*", 1), maxsplit=1)[0]
        return cls(prefix, path, f"{prefix}{fixed.rpartition('/')[0]}", is_folder=False, is_literal=False)

    def covers(self, where: str) -> bool:
        """Whether this location names a file."""
        if not where.startswith(self.prefix) or (is_remote(where) and not self.prefix):
            return False
        path = where.removeprefix(self.prefix)
        if self.is_folder:
            inside = path.removeprefix(f"{self.path.rstrip('/')}/")
            return inside != path and _end_of(inside) is None
        names, globs = self._named
        inside = path.removeprefix(self.base.removeprefix(self.prefix)).lstrip("/")
        return path in names or (_end_of(inside) is None and any(glob.match(path) for glob in globs))

    @cached_property
    def _named(self) -> tuple[frozenset[str], list[re.Pattern[str]]]:
        """The paths that the pattern names in full, and expressions for the others."""
        if self.is_literal:
            return frozenset([self.path]), []
        written = list(expand_braces(self.path))
        globs = [re.compile(glob_translate(one)) for one in written if _WILD.search(one)]
        return frozenset(one for one in written if not _WILD.search(one)), globs

    def files(self, storage: Storage, left_out: Tally[str]) -> Iterator[tuple[str, Stamp | None]]:
        """Location and stamp of each shard; other files are counted. None: it is named, and not there."""
        fs = storage.filesystem(f"{self.prefix}{self.path}")[0]
        if self.is_folder:
            yield from self._shards(fs.find(self.path, detail=True), self.path, left_out)
            return
        listed: dict[str, dict[str, Mapping[str, Any]]] = {}
        for path in [self.path] if self.is_literal else expand_braces(self.path):
            if not self.is_literal and _WILD.search(path):
                yield from self._shards(fs.glob(path, detail=True), self.base.removeprefix(self.prefix), left_out)
                continue
            folder = path.rpartition("/")[0]
            if folder not in listed:
                listed[folder] = _list(fs, folder)  # one request for a thousand shards of a range
            about = listed[folder].get(path)
            yield f"{self.prefix}{path}", None if about is None else self._stamp(path, about)

    def _stamp(self, path: str, about: Mapping[str, Any]) -> Stamp:
        """What a listing says of a file; of a local link, what is said of the file it leads to."""
        if not self.prefix:
            with suppress(OSError):
                return stamp_of_file(os.stat(path))
        return stamp_of(about)

    def _shards(self, found: dict[str, Any], base: str, left_out: Tally[str]) -> Iterator[tuple[str, Stamp]]:
        for path, about in sorted(found.items()):
            if about["type"] == "directory":
                continue
            end = _end_of(path.removeprefix(base).lstrip("/"))
            if not self.prefix and about.get("islink") and os.path.isdir(path):
                left_out["link to a folder"] += 1
            elif end is None:
                yield f"{self.prefix}{path}", self._stamp(path, about)
            elif end:
                left_out[end] += 1


def _end_of(path: str) -> str | None:
    """How a file that is no shard ends, "" for one that is nobody's data; None for a shard.

    Args:
        path: below the folder that was named.
    """
    parts = path.split("/")
    name = parts[-1].lower()
    if name in _OUR_OWN or any(part.startswith(".") for part in parts):
        return ""  # what an export keeps beside its shards, and what tools and systems hide
    if not _is_text(path):
        return "of a name that is not UTF-8"
    if name.endswith(SHARD_SUFFIXES):
        return None
    _, dot, end = name.rpartition(".")
    inner = ".tar" if name.endswith(f".tar.{end}") else ""
    return f"{inner}.{end}" if dot else "without a suffix"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(fs: Any, folder: str) -> dict[str, Mapping[str, Any]]:
    try:
        return {about["name"]: about for about in fs.ls(folder, detail=True) if about["type"] != "directory"}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _shared_folder(folders: Sequence[str]) -> str:
    """The folder that all of these are in; "" when they are in different stores."""
    split = [folder.rstrip("/").split("/") for folder in folders]
    shared = 0
    while all(len(parts) > shared and parts[shared] == split[0][shared] for parts in split):
        shared += 1
    together = "/".join(split[0][:shared])
    return "" if together.endswith((":", ":/")) else together
