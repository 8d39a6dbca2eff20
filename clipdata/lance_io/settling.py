"""Settling: what a verb wrote is on the disk before the verb says that it is done.

Lance leaves that to the operating system, which holds files back for half a minute. A loss of power within it would
take a version that was acknowledged, and where files that it took the place of were removed, all of the table. Here
files are told by when they were written, by the clock that stamps them; what is in them is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from clipdata import hints
from clipdata.disk import sync
from clipdata.errors import StorageError
from clipdata.lance_io.asking import at_once
from clipdata.lance_io.table import Table
from clipdata.lance_io.version_numbers import FOLDER
from clipdata.storage import is_remote

_HELD_BACK_NS = 3600 * 10**9  # a minute is usual; a machine that spares its battery waits longer
_COARSE_NS = 2 * 10**9  # of what times of files may be cut
_TICK_NS = 20 * 10**6  # within one of the clock that stamps it, a file may be written to and look the same


class _Written(NamedTuple):
    """A file or folder: its path, the name of the folder it is in or of itself, when it was written."""

    path: str
    folder: str
    ns: int
    is_folder: bool


class _Settled(NamedTuple):
    """What of a folder this process knows to be on the disk: all that is older than the newest, and the last."""

    inode: int
    newest_ns: int
    last: frozenset[_Written]


_settled: dict[Path, _Settled] = {}


def settle(table: Table, *, is_made: bool = False) -> None:
    """Have the disk hold all that was written to a table, by whomever. A store holds what it took.

    Args:
        is_made: it was made just now, maybe where another was before.

    Raises:
        StorageError: the disk does not take it.
    """
    if is_remote(table.uri):
        return
    if is_made:
        _settled.pop(Path(table.uri), None)
    try:
        _settle(Path(table.uri))
    except OSError as error:
        raise StorageError(
            f"version {table.version} of {table.uri} is written, and the disk does not say that it holds it: {error}",
            hint=f"see to the disk, and then to the table: {hints.check(table.uri)}",
        ) from error


def _settle(place: Path) -> None:
    inode = place.stat().st_ino
    known = _settled.get(place)
    if known is None or known.inode != inode:
        found = set(_written(place, 0))
        newest_ns = max(one.ns for one in found)
        new = [one for one in found if one.ns >= newest_ns - _HELD_BACK_NS]
        above = list(place.parents)
    else:
        found = set(_written(place, known.newest_ns - _COARSE_NS))
        newest_ns = max([known.newest_ns, *(one.ns for one in found)])
        new, above = list(found - known.last), []
    folders = [one.path for one in new if one.is_folder] + above
    manifests = [one.path for one in new if not one.is_folder and one.folder == FOLDER]
    others = [one.path for one in new if not one.is_folder and one.folder != FOLDER]
    for paths in (others, manifests, folders):  # what names others comes behind them
        list(at_once(_sync, paths))  # a disk takes many for little more than one
    last = frozenset(one for one in found if newest_ns - _COARSE_NS <= one.ns < newest_ns - _TICK_NS)
    _settled[place] = _Settled(inode, newest_ns, last)


def _sync(path: str | Path) -> None:
    with suppress(FileNotFoundError, PermissionError):  # a clean-up was faster; a folder may be only passed through
        sync(path)


def _written(folder: str | Path, since_ns: int) -> Iterator[_Written]:
    """Files that were written since, and folders in which names changed since."""
    try:
        changed_ns = os.stat(folder).st_mtime_ns
        name = os.path.basename(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _written(entry.path, since_ns)
                elif changed_ns >= since_ns and (ns := entry.stat().st_mtime_ns) >= since_ns:
                    yield _Written(entry.path, name, ns, False)  # no file of Lance is written to again
    except FileNotFoundError:  # a clean-up was faster
        return
    if changed_ns >= since_ns:
        yield _Written(os.fspath(folder), name, changed_ns, True)
