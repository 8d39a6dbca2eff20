"""Compacting: small fragments become large ones, and deleted rows leave the files of the newest version.

A fragment is what a map fills at a time, and reading many small ones costs requests. Rows keep their order, their ids
and all that was computed of them, so that indices, rows of other tables that refer to them, and maps at work stay
right: a map computes again what it had not committed of a fragment that was rewritten. The old files stay until a
clean-up, for the versions before read them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipdata import hints
from clipdata.arguments import check_count
from clipdata.errors import ConcurrentChangeError
from clipdata.json_parsing import parse_json
from clipdata.lance_io.data_files import gone_of
from clipdata.lance_io.faults import is_conflict, is_transient, translated
from clipdata.lance_io.history import Properties
from clipdata.lance_io.layout import Layout
from clipdata.lance_io.rows import ROWS_PER_FRAGMENT, close_verb
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.storage import Storage, redact

COMMITS = 16  # a killed compaction loses what it rewrote since the last one
_MOST_ROUNDS = 8
_MOST_IN_VAIN = 4
_MOST_COMMITS = 8


@dataclass(frozen=True)
class Compacted:
    """How the newest version lay in files, and how it does now, or with `dry_run` about would.

    Args:
        table: location.
        before: how it was.
        after: how it is; of a dry run, judged by the share of live rows.
        rows_rewritten: rows that are written anew.
        bytes_rewritten: size of the files that they are read from; the old ones stay until a clean-up.
        version: that holds the rows now, None for a dry run.
        dry_run: nothing was written.
    """

    table: str
    before: Layout
    after: Layout
    rows_rewritten: int
    bytes_rewritten: int
    version: int | None
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.rows_rewritten and self.before == self.after:
            return printable(f"{self.table} is compact: {self.before}")
        done = "would become about" if self.dry_run else "became"
        lines = [f"{self.table}: {self.before}", f"  {done} {self.after}"]
        lines.append(f"  {counted(self.rows_rewritten, 'row')} written anew, read from {self.bytes_rewritten:,} bytes")
        return "\n".join(map(printable, lines))


def compact(
    table: AnyTable,
    *,
    rows_per_fragment: int = ROWS_PER_FRAGMENT,
    dry_run: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Compacted:
    """Merge small neighbouring fragments, and leave out deleted rows. Again, it changes nothing.

    It commits as it goes: killed, it goes on where it was with the next call. No other writer has to stop.

    Args:
        table: or its location; a handle is moved to the new version.
        rows_per_fragment: fragments of fewer rows are merged with such neighbours until they have that many.
        dry_run: say what would change, and write nothing.
        storage: how to reach the location.
        progress: watches the rows go by.

    Raises:
        ConcurrentChangeError: other writers changed the same fragments again and again.
        UsageError: a number is no count of rows.
    """
    check_count(rows_per_fragment, "compact: rows_per_fragment", least=1)
    handle = as_table(table, storage=storage)
    newest = handle.latest()
    options: Any = {"target_rows_per_fragment": rows_per_fragment, "materialize_deletions_threshold": 0.0}
    before = Layout.of(newest.dataset)
    if dry_run:
        after, rows, read = _foretold(newest, options, before)
        return Compacted(redact(newest.uri), before, after, rows, read, None, True)
    job = _Job(newest, options, progress or Silent())
    job.run(before.num_rows)
    made = job.table
    after = Layout.of(made.dataset)
    if job.num_rows:
        counts = {"rewritten": job.num_rows}
        parameters = {"rows_per_fragment": rows_per_fragment, "fragments": after.num_fragments}
        made = close_verb(made, Properties("compact", parameters, counts, first_version=newest.version))
    handle.move_to(made)
    return Compacted(redact(newest.uri), before, after, job.num_rows, job.num_bytes, made.version, False)


class _Job:
    """One compaction: plan, rewrite some, commit them, and plan anew where others were faster."""

    def __init__(self, table: Table, options: Any, progress: Progress) -> None:
        self.table, self._options, self._progress = table, options, progress
        self.num_rows = self.num_bytes = 0

    def run(self, num_rows: int) -> None:
        """Rewrite until nothing is left that a plan would."""
        in_vain, seen = 0, set[str]()
        with self._progress.task("compact", num_rows) as counter:
            for _ in range(_MOST_ROUNDS * _MOST_IN_VAIN):
                tasks = _plan(self.table, self._options)
                planned = str(sorted(fragment.id for task in tasks for fragment in task.fragments))
                if not tasks or planned in seen or len(seen) > _MOST_ROUNDS:
                    return
                size = -(-len(tasks) // COMMITS)
                done = all(self._rewrite(tasks[start : start + size], counter) for start in range(0, len(tasks), size))
                in_vain = 0 if done else in_vain + 1
                if done:
                    seen.add(planned)
                elif in_vain == _MOST_IN_VAIN:
                    raise ConcurrentChangeError(
                        f"other writers changed the fragments of {redact(self.table.uri)} each time before they could "
                        "be replaced; what was committed stays",
                        hint=hints.AGAIN,
                    )
                self.table = self.table.latest()

    def _rewrite(self, tasks: Sequence[Any], counter: Any) -> bool:
        """Rewrite what some tasks name, and commit it; tells whether no other writer was faster."""
        table = self.table
        with translated(table.uri, "compacting"):
            written = []
            for task in tasks:
                written.append(task.execute(table.dataset))
                counter.advance(sum(map(_live_rows, task.fragments)))
            if not _commit(table, tasks, written):
                return False
        self.num_rows += sum(_live_rows(fragment) for task in tasks for fragment in task.fragments)
        self.num_bytes += sum(_bytes(fragment) for task in tasks for fragment in task.fragments)
        return True


def _commit(table: Table, tasks: Sequence[Any], written: Sequence[Any]) -> bool:
    """Commit what was rewritten; tells whether no other writer changed the fragments meanwhile.

    A commit that Lance refuses although they are as they were, because of rows that went in without a join, is made
    again of the newest version: to write the rows again could come too late again. Files that are gone are written
    again: Lance takes away those that it did not commit where a version was restored meanwhile.
    """
    from lance.optimize import Compaction, RewriteResult

    result: Any = RewriteResult  # Lance's own declaration of it lacks `from_json`
    told = [parse_json(one.json()) for one in written]
    made = [file["path"] for one in told for fragment in one["new_fragments"] for file in fragment["files"]]
    for _ in range(_MOST_COMMITS):
        if gone_of(table, made):
            return False
        try:
            Compaction.commit(table.dataset, list(written))
        except (OSError, ValueError) as error:
            if not (is_conflict(error) or is_transient(error)):
                raise
            table = table.latest()
            there = {one.fragment_id: one.metadata.to_json() for one in table.dataset.get_fragments()}
            if any(there.get(one.id) != one.to_json() for task in tasks for one in task.fragments):
                return False
            again = [{**one, "read_version": table.version} for one in told]
            written = [result.from_json(json.dumps(one)) for one in again]
        else:
            return True
    return False


def _plan(table: Table, options: Any) -> list[Any]:
    from lance.optimize import Compaction

    with translated(table.uri, "compacting"):
        return list(Compaction.plan(table.dataset, options).tasks)


def _foretold(table: Table, options: Any, before: Layout) -> tuple[Layout, int, int]:
    """About how the table would lie, the rows that would be written, and the bytes that they are read from."""
    tasks = _plan(table, options)
    old = [fragment for task in tasks for fragment in task.fragments]
    rows, read = sum(map(_live_rows, old)), sum(map(_bytes, old))
    kept = sum(_bytes(fragment) * _live_rows(fragment) // max(fragment.physical_rows, 1) for fragment in old)
    made = sum(any(map(_live_rows, task.fragments)) for task in tasks)  # Lance writes one for each
    after = Layout(
        before.num_fragments - len(old) + made,
        before.num_files - sum(len(fragment.files) for fragment in old) + made,
        before.num_bytes - read + kept,
        before.num_rows,
        before.num_deleted - sum(fragment.num_deletions for fragment in old),
    )
    return after, rows, read


def _live_rows(fragment: Any) -> int:
    return int(fragment.physical_rows - fragment.num_deletions)


def _bytes(fragment: Any) -> int:
    return sum(file.file_size_bytes or 0 for file in fragment.files)
