"""Where shards are: folders, globs and brace patterns become a list of files. Does not open one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from clipdata.errors import NotFoundError
from clipdata.storage import Storage, is_remote, redact, scheme
from ingest.image_files import etag_of
from ingest.source import Item

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_BRACES = re.compile(r"\{([^{}]*)\}")
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


def _short_names(places: Sequence[str]) -> dict[str, str]:
    """Names of shards without the folder that all of them are in."""
    folders = [PurePosixPath(place).parent.parts for place in places]
    shared = 0
    while all(len(parts) > shared and parts[shared] == folders[0][shared] for parts in folders):
        shared += 1
    return {place: "/".join(PurePosixPath(place).parts[shared:]) for place in places}


def find_shards(patterns: Sequence[str], storage: Storage) -> list[Item]:
    """List the shards at locations, sorted by name.

    Args:
        patterns: shards, folders of shards or globs; braces written out already.
        storage: how to reach them.

    Raises:
        NotFoundError: there is no shard.
    """
    found: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        fs, root = storage.filesystem(pattern)
        prefix = f"{scheme(pattern)}://" if is_remote(pattern) else ""
        if any(sign in root for sign in "*?["):
            paths = fs.glob(root)
        elif fs.isdir(root):
            paths = [path for path in fs.find(root) if path.endswith(SHARD_SUFFIXES)]
        else:
            paths = [root]
        for path in paths:
            if fs.exists(path):
                found[f"{prefix}{path}"] = fs.info(path)
    if not found:
        suffixes = ", ".join(SHARD_SUFFIXES)
        raise NotFoundError(
            f"no shard at {redact(', '.join(patterns[:3]))}; expected files ending in {suffixes}",
            hint="name a folder of shards, a quoted glob, or a quoted range: 'shards/{00000..00099}.tar'",
        )
    names = _short_names(sorted(found))
    return [Item(names[where], etag_of(found[where]), found[where].get("size"), where) for where in sorted(found)]
