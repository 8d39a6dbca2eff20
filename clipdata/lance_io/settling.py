"""Settling: what a verb wrote is on the disk before the verb says that it is done.

Lance leaves that to the operating system, which holds files back for half a minute. A loss of power within it would
take a version that was acknowledged, and where files that it took the place of were removed, all of the table. Here
files are told by when they were written, by the clock that stamps them, of which a version's own manifest tells the
time. What is in them is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from clipdata import hints
from clipdata.disk import sync, sync_above
from clipdata.errors import StorageError
from clipdata.lance_io.asking import at_once
from clipdata.lance_io.table import Table
from clipdata.lance_io.version_numbers import FOLDER, names_of
from clipdata.storage import is_remote

_HELD_BACK_NS = 3600 * 10**9  # a minute is usual; a machine that spares its battery waits longer
_COARSE_NS = 2 * 10**9  # of what times of files may be cut
_FEW = 16
_TICK_NS = 20 * 10**6  # within one of the clock that stamps it, a file may be written to and look the same


class _Written(NamedTuple):
    """A file or folder: its path, the name of the folder it is in or of itself, when it was written."""

    path: str
    folder: str
    ns: int
    is_folder: bool


class _Settled(NamedTuple):
    """What of a folder this process knows to be on the disk: what was written up to a time, and a few of later ones."""

    inode: int
    until_ns: int
    also: frozenset[_Written]


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
    place = Path(table.uri)
    if is_made:
        _settled.pop(place, None)
    try:
        _settle(place, table.version)
    except OSError as error:
        raise StorageError(
            f"version {table.version} of {table.uri} is written, and the disk does not say that it holds it: {error}",
            hint=f"see to the disk, and then to the table: {hints.check(table.uri)}",
        ) from error


def _settle(place: Path, version: int) -> None:
    inode, now_ns = place.stat().st_ino, _time_of(place, version)
    known = _settled.get(place)
    if known is not None and (known.inode != inode or now_ns < known.until_ns - _COARSE_NS):
        known = None  # another table, or the clock was set back
    since_ns = now_ns - _HELD_BACK_NS if known is None else known.until_ns - _COARSE_NS
    found = set(_written(str(place), since_ns, set()))
    new = found if known is None else found - known.also
    folders = [one.path for one in new if one.is_folder]
    manifests = [one.path for one in new if not one.is_folder and one.folder == FOLDER]
    others = [one.path for one in new if not one.is_folder and one.folder != FOLDER]
    for paths in (others, manifests, folders):  # what names others comes behind them
        # A disk takes many at once for little more than one, and threads cost more than a few.
        list(at_once(_sync, paths) if len(paths) > _FEW else map(_sync, paths))
    if known is None:
        sync_above(place)
    # What is of this very moment may be written to once more and look the same.
    also = (one for one in found if one.ns >= now_ns - _COARSE_NS and abs(one.ns - now_ns) > _TICK_NS)
    _settled[place] = _Settled(inode, now_ns, frozenset(also))


def _time_of(place: Path, version: int) -> int:
    """When a version was written; no file that belongs to it is younger. 0 where its manifest is gone."""
    for name in names_of(version):
        with suppress(FileNotFoundError):
            return (place / FOLDER / name).stat().st_mtime_ns
    return 0


def _sync(path: str) -> None:
    with suppress(FileNotFoundError, PermissionError):  # a clean-up was faster; a folder may be only passed through
        sync(path)


def _written(folder: str, since_ns: int, seen: set[tuple[int, int]]) -> Iterator[_Written]:
    """Files that were written since, and folders in which names changed since."""
    try:
        about = os.stat(folder)
        entries = os.scandir(folder)
    except FileNotFoundError:  # a clean-up was faster
        return
    if (about.st_dev, about.st_ino) in seen:  # links that lead in a circle
        return
    seen.add((about.st_dev, about.st_ino))
    name, changed = os.path.basename(folder), about.st_mtime_ns >= since_ns
    with entries:
        for entry in entries:
            if entry.is_dir():
                yield from _written(entry.path, since_ns, seen)
            elif changed:  # no file of Lance is written to again
                with suppress(FileNotFoundError):  # one aside that was just renamed
                    if (ns := entry.stat().st_mtime_ns) >= since_ns:
                        yield _Written(entry.path, name, ns, False)
    if changed:
        yield _Written(folder, name, about.st_mtime_ns, True)
