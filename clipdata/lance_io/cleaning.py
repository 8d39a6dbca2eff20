"""Cleaning: what killed runs left beside a table's data, and old versions that nobody named.

    plan: list what lies there, with its age   →   read the records of maps   →   read every version   →   remove

In that order: whatever a writer finishes meanwhile is found in the records or in a version, and stays. A file that
neither names may still be of a writer at work, who commits it later; only its age tells, so nothing young is touched,
and Lance's own `delete_unverified`, which goes by no age at all, is never used. Tagged versions stay with all their
files: a training run and a table that refers to this one each tag the version they need. It must not know what made
the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clipdata.errors import UsageError
from clipdata.lance_io.clocks import ahead_of_storage, moment_of
from clipdata.lance_io.columns import mark_of
from clipdata.lance_io.deleted_notes import FOLDER as DELETED_FOLDER
from clipdata.lance_io.faults import translated
from clipdata.lance_io.named_files import unnamed_by_versions
from clipdata.lance_io.selected_rows import FOLDER as SELECTED_FOLDER
from clipdata.lance_io.settling import settle
from clipdata.lance_io.state import MAP_FOLDER, StateFolder, is_map_of, state_uri, work_of
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lance_io.tags import tags_of
from clipdata.objects.removing import remove
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import Storage, is_remote, join, redact

OLD = timedelta(days=14)  # versions: Lance's own default
ABANDONED = timedelta(days=1)  # no single write takes longer
UNFINISHED = timedelta(days=7)  # a map that was interrupted can go on from its records until then
LEAST, MOST = timedelta(hours=1), timedelta(days=36_500)  # of an age; Lance cannot count back from now without end
MOST_AHEAD = timedelta(hours=1)
_MOST_TOLD = 1_000_000
_TAGS_TOLD = 5


@dataclass(frozen=True)
class Leftover:
    """A file that nothing needs.

    Args:
        path: its location.
        bytes: its size.
        why: nothing needs it.
    """

    path: str
    bytes: int
    why: str


@dataclass(frozen=True)
class Cleaned:
    """What was removed, or with `dry_run` would be.

    Args:
        table: location.
        dry_run: whether everything is still there.
        num_versions: old versions, none of them tagged.
        version_files: files of those versions alone.
        version_bytes: their size.
        leftovers: files of killed runs.
        kept: tags, whose versions stay however old they are.
    """

    table: str
    dry_run: bool
    num_versions: int
    version_files: int
    version_bytes: int
    leftovers: tuple[Leftover, ...]
    kept: tuple[str, ...] = ()

    @property
    def num_files(self) -> int:
        """All files."""
        return self.version_files + len(self.leftovers)

    @property
    def num_bytes(self) -> int:
        """Their size."""
        return self.version_bytes + sum(file.bytes for file in self.leftovers)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **asdict(self),
            "leftovers": [asdict(file) for file in self.leftovers],
            "num_files": self.num_files,
            "num_bytes": self.num_bytes,
        }

    def __str__(self) -> str:
        done = "would remove" if self.dry_run else "removed"
        whys: dict[str, list[int]] = {}
        for file in self.leftovers:
            whys.setdefault(file.why, []).append(file.bytes)
        lines = [f"{done} {counted(self.num_files, 'file')}, {counted(self.num_bytes, 'byte')}, of {self.table}"]
        if self.num_versions:
            lines.append(f"  {counted(self.version_files, 'file')} of {counted(self.num_versions, 'old version')}")
        for why, sizes in whys.items():
            lines.append(f"  {counted(len(sizes), 'file')}, {sum(sizes):,} bytes: {why}")
        if self.kept:
            some = ", ".join(self.kept[:_TAGS_TOLD]) + (" …" if len(self.kept) > _TAGS_TOLD else "")
            lines.append(f"  kept: versions of {counted(len(self.kept), 'tag')} ({some})")
        return "\n".join(map(printable, lines))


def clean(
    table: AnyTable,
    *,
    older_than: timedelta = OLD,
    abandoned_for: timedelta = ABANDONED,
    unfinished_for: timedelta = UNFINISHED,
    dry_run: bool = False,
    storage: Storage | None = None,
) -> Cleaned:
    """Remove old versions that no tag names, and what killed runs left: unfinished and unused files, and records.

    Other writers may be at work meanwhile, as long as none of their single writes takes longer than `abandoned_for`.
    What maps, trainings and referring tables need stays, and so does the newest version.

    Args:
        table: or its location.
        older_than: age of the versions to remove.
        abandoned_for: age of a file that no version and no map's record names.
        unfinished_for: age of the last record of a map that could go on; what it computed is lost with them.
        dry_run: remove nothing; only say what, or refuse as it would without.
        storage: how to reach the location.

    Raises:
        UsageError: an age is under an hour or over a century, or this machine's clock runs an hour ahead of the
            storage's: a writer at work could lose what it is about to commit.
    """
    ages = {"older_than": older_than, "abandoned_for": abandoned_for, "unfinished_for": unfinished_for}
    for name, age in ages.items():
        if not isinstance(age, timedelta) or not LEAST <= age <= MOST:
            raise UsageError(
                f"clean: {name} is {age!r}; expected a timedelta of at least an hour, since what is younger may be of "
                f"a writer at work, and at most {counted(MOST.days, 'day')}",
                hint="clean(table, older_than=timedelta(days=14))",
            )
    newest = as_table(table, storage=storage).latest()
    _check_clock(newest)
    leftovers = tuple(_leftovers(newest, abandoned_for, unfinished_for))
    if not dry_run:
        settle(newest)  # before anything is removed that it took the place of
        for file in leftovers:
            remove(newest.storage, file.path)
        _remove_empty_folders(newest)
    told = {file.path.rpartition("/")[2] for file in leftovers}
    num_versions, version_files, version_bytes = _old_versions(newest, older_than, told if dry_run else None)
    kept = tuple(tag.name for tag in tags_of(newest))
    return Cleaned(redact(newest.uri), dry_run, num_versions, version_files, version_bytes, leftovers, kept)


def _check_clock(table: Table) -> None:
    """Refuse to judge ages by a clock that runs ahead: what a writer is about to commit would be old.

    Raises:
        UsageError: it is ahead of the storage's by as much as the least age.
    """
    ahead = ahead_of_storage(table)
    if ahead >= MOST_AHEAD:
        whole = timedelta(seconds=int(ahead.total_seconds()))
        raise UsageError(
            f"clean: this machine's clock is {whole} ahead of the one that stamps "
            f"the files of {redact(table.uri)}, so that what is being written now looks old; nothing was removed",
            hint="set the clock, or run the same command on a machine whose clock is right",
        )


def _old_versions(table: Table, older_than: timedelta, told: set[str] | None) -> tuple[int, int, int]:
    """Let Lance remove old versions, and files of its own that are unused for a week.

    Args:
        told: names of files that are told already; given, nothing is removed.

    Returns:
        Versions, files and bytes.
    """
    again: list[Any] = []
    with translated(table.uri, "cleaning"):
        if told is None:
            stats: Any = table.dataset.cleanup_old_versions(older_than, error_if_tagged_old_versions=False)
        else:
            plan = table.dataset.explain_cleanup_old_versions(
                older_than, error_if_tagged_old_versions=False, include_files=True, max_files=_MOST_TOLD
            )
            stats = plan.stats
            again = [file for file in plan.candidate_files if file.path.rpartition("/")[2] in told]
    names = ("data_files_removed", "transaction_files_removed", "index_files_removed", "deletion_files_removed")
    num_files = sum(int(getattr(stats, name, 0)) for name in names) + int(stats.old_versions) - len(again)
    return int(stats.old_versions), num_files, int(stats.bytes_removed) - sum(file.size_bytes for file in again)


def _leftovers(table: Table, abandoned_for: timedelta, unfinished_for: timedelta) -> Iterator[Leftover]:
    now = datetime.now(UTC)
    in_data = list(_files(table.storage, join(table.uri, "data"), now))
    folders: dict[str, list[_File]] = {}
    for file in _files(table.storage, state_uri(table), now):
        folders.setdefault(work_of(file.path.rpartition("/")[0]), []).append(file)
    marks = [mark_of(field) for field in table.latest().schema]
    recorded: set[str] = set()
    named: dict[str, list[_File]] = {DELETED_FOLDER: [], SELECTED_FOLDER: []}
    for folder, files in folders.items():
        name = folder.removeprefix(state_uri(table)).strip("/")
        is_known = is_map_of(name, marks)
        quiet_for = min(file.age for file in files)
        if name.startswith(f"{MAP_FOLDER}/") and quiet_for > (unfinished_for if is_known else abandoned_for):
            why = "records of a map that nobody went on with" if is_known else "records of a map whose column is gone"
            yield from (Leftover(file.path, file.bytes, why) for file in files)
            continue
        yield from _half_written(files, abandoned_for)
        if name in named:
            named[name] += [file for file in files if file.name.endswith(".arrow") and file.age > abandoned_for]
        recorded |= _recorded(StateFolder(table, name))
    old = [file for file in in_data if file.age > abandoned_for]
    yield from _half_written(old, abandoned_for)
    # A branch may need what no version of the main line names any more, and Lance alone can tell.
    if not (old or any(named.values())) or table.dataset.branches.list():
        return
    suspects = {file.name for file in (*old, *named[DELETED_FOLDER], *named[SELECTED_FOLDER])} - recorded
    unnamed = unnamed_by_versions(table, suspects)
    whys = {DELETED_FOLDER: "records of a delete", SELECTED_FOLDER: "a record of selected rows"}
    for name, files in named.items():
        for file in files:
            if file.name in unnamed:
                yield Leftover(file.path, file.bytes, f"{whys[name]} that no version knows of")
    for file in old:
        if file.name.endswith(".lance") and file.name in unnamed:
            yield Leftover(file.path, file.bytes, "named by no version")


def _remove_empty_folders(table: Table) -> None:
    """On a disk an empty folder of records is left where in a bucket there is nothing."""
    if is_remote(table.uri):
        return
    for folder, _, _ in os.walk(state_uri(table), topdown=False):
        with suppress(OSError):  # it is not empty, or somebody else was faster
            os.rmdir(folder)


@dataclass(frozen=True)
class _File:
    """What a listing says of a file."""

    path: str
    bytes: int
    age: timedelta

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def _files(storage: Storage, folder: str, now: datetime) -> Iterator[_File]:
    """All files below a folder, with their age as the storage's clock tells it; none where there is no folder."""
    fs, root = storage.filesystem(folder)
    for path, about in fs.find(root, detail=True).items():
        changed = moment_of(about)
        if changed is not None:  # a file of unknown age is left alone
            yield _File(join(folder, path[len(root) :]), int(about.get("size") or 0), now - changed)


def _half_written(files: Iterable[_File], abandoned_for: timedelta) -> Iterator[Leftover]:
    for file in files:
        if (file.name.endswith(".tmp") or file.name.startswith(".tmp")) and file.age > abandoned_for:
            yield Leftover(file.path, file.bytes, "half-written")


def _recorded(records: StateFolder) -> set[str]:
    """Names of the column files that a map has finished and not committed yet."""
    found = [records.read_json(name) or {} for name in records.names("done-")]
    return {str(name) for record in found for name in (record.get("file"), record.get("reasons_file")) if name}
