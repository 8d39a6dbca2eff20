"""Where shards are: folders, globs and brace patterns become a list of files. Does not open one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from clipdata.errors import NotFoundError
from clipdata.objects.faults import as_clipdata_error
from clipdata.objects.stamps import Stamp, stamp_of
from clipdata.storage import Storage, is_remote, redact, scheme
from ingest.updating.source import Item

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_BRACES = re.compile(r"\{([^{}]*)\}")
_WILD = re.compile(r"[*?\[]")
_RANGE = re.compile(r"^(\d+)\.\.(\d+)$")


def expand_braces(pattern: str) -> list[str]:
    """Write out `{00000..00099}` and `{train,test}`, as shells and WebDataset do."""
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    numbers = _RANGE.match(braces.group(1))
    if numbers:
        first, last = numbers.groups()
        options = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    else:
        options = braces.group(1).split(",")
    start, end = pattern[: braces.start()], pattern[braces.end() :]
    return [whole for option in options for whole in expand_braces(f"{start}{option}{end}")]


def find_shards(patterns: Sequence[str], storage: Storage) -> list[Item]:
    """List the shards at locations, sorted by name.

    A shard is named from the last folder of its pattern that holds no wildcard, so that its name, and with it the keys
    of its rows, stays when others come. A shard that is named in full and not there is listed, and refused when read.

    Args:
        patterns: shards, folders of shards, globs or brace patterns.
        storage: how to reach them.

    Raises:
        NotFoundError: there is no shard.
        CredentialsError: the store refused access.
        TransientError: the store failed.
    """
    places: list[_Place] = []
    for pattern in patterns:
        try:
            places += _places(pattern, storage)
        except OSError as error:
            raise as_clipdata_error(error, f"listing {redact(pattern)}", storage) from error
    if not any(place.stamp for place in places):
        suffixes = ", ".join(SHARD_SUFFIXES)
        raise NotFoundError(
            f"no shard at {redact(', '.join(patterns[:3]))}; expected files ending in {suffixes}",
            hint="name a folder of shards, a quoted glob, or a quoted range: 'shards/{00000..00099}.tar'",
        )
    distinct = list({place.where: place for place in places}.values())
    names = [place.where.removeprefix(place.base).lstrip("/") for place in distinct]
    if len(set(names)) < len(names):
        names = _told_apart([place.where for place in distinct])
    items = []
    for name, place in zip(names, distinct, strict=True):
        stamp = place.stamp or Stamp()
        items.append(Item(name, stamp.etag, stamp.size, place.where))
    return sorted(items, key=lambda item: item.key)


@dataclass(frozen=True)
class _Place:
    """One shard: location, the folder it is named from, and what its store says of it (None when it is missing)."""

    where: str
    base: str
    stamp: Stamp | None


def _places(pattern: str, storage: Storage) -> Iterator[_Place]:
    prefix = f"{scheme(pattern)}://" if is_remote(pattern) else ""
    fs, path = storage.filesystem(pattern)
    if "{" not in pattern and not _WILD.search(path) and fs.isdir(path):
        for found, about in sorted(fs.find(path, detail=True).items()):
            if found.endswith(SHARD_SUFFIXES):
                yield _Place(f"{prefix}{found}", f"{prefix}{path}", stamp_of(about))
        return
    fixed = _WILD.split(pattern.replace("{", "*", 1), maxsplit=1)[0]
    base = f"{prefix}{storage.filesystem(fixed.rpartition('/')[0])[1]}"
    folders: dict[str, dict[str, Stamp]] = {}
    for place in expand_braces(pattern):
        whole = storage.filesystem(place)[1]
        if _WILD.search(whole):
            for found, about in sorted(fs.glob(whole, detail=True).items()):
                yield _Place(f"{prefix}{found}", base, stamp_of(about))
            continue
        folder = whole.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = _list(fs, folder)  # one request for a thousand shards of a range
        yield _Place(f"{prefix}{whole}", base, folders[folder].get(whole))


def _list(fs: Any, folder: str) -> dict[str, Stamp]:
    try:
        return {about["name"]: stamp_of(about) for about in fs.ls(folder, detail=True) if about["type"] == "file"}
    except FileNotFoundError:
        return {}


def _told_apart(places: Sequence[str]) -> list[str]:
    """Names without the folder that all of them are in."""
    folders = [PurePosixPath(place).parent.parts for place in places]
    shared = 0
    while all(len(parts) > shared and parts[shared] == folders[0][shared] for parts in folders):
        shared += 1
    return ["/".join(PurePosixPath(place).parts[shared:]) for place in places]
