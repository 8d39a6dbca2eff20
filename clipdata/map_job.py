"""The job of a map: fill fragments and commit, round after round, until nothing is left or as much as was asked for.

It begins once the column is there, and knows tables and what a step is, and nothing of how the column came to be.
"""

from __future__ import annotations

import sys
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clipdata.engines.task import Cost, Engine, FragmentTask
from clipdata.errors import ConcurrentChangeError
from clipdata.lance_io import columns
from clipdata.lance_io.filling import BATCH_BYTES, Filling
from clipdata.lance_io.history import Properties
from clipdata.lance_io.layout import MANY_FRAGMENTS, advice
from clipdata.lance_io.parts import Finished
from clipdata.lance_io.presence import fixed_width
from clipdata.lance_io.replacement import commit_finished
from clipdata.lance_io.state import map_folder
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.progress import Progress
from clipdata.schema import image_column, is_binary
from clipdata.step_protocol import Step
from clipdata.storage import redact

MAX_BATCH_ROWS = 4096
IMAGE_BATCH_ROWS = 256
MAX_ROUNDS = 10
MAX_ROUNDS_IN_VAIN = 3


class MapJob:
    """One run of `map_column`, once the column is there."""

    def __init__(
        self,
        table: Table,
        step: Step,
        column: str,
        lineage: Lineage,
        inputs: Mapping[str, str | None],
        where: str | None,
        limit: int | None,
        batch_rows: int | None,
        engine: Engine,
        progress: Progress,
    ) -> None:
        self.table, self.step, self.column, self.lineage = table, step, column, lineage
        self.engine, self.progress = engine, progress
        self.where, self.limit = where, limit or sys.maxsize
        self.batch_rows = min(batch_rows or MAX_BATCH_ROWS, _affordable_rows(table, step))
        self.mark = columns.mark_of(table.schema.field(column))
        # What the lineage was made of.
        self.identities = {**inputs, column: columns.identity_of(table.dataset, column)}
        self.first_version = table.version
        self.own: set[str] = set()  # files that this run wrote
        self.committed: list[Finished] = []
        self.notes: dict[str, Any] = {}
        self.cost = Cost()
        self._waiting: set[str] = set()  # signatures of fragments in which all that is left waits for an input

    def run(self, *, retry_failed: bool) -> None:
        """Fill and commit until nothing is left, or as much as was asked for; then clear the records.

        Raises:
            ConcurrentChangeError: other writers changed the table faster than it could be filled.
        """
        in_vain = 0
        for number in range(MAX_ROUNDS):
            filling = self._filling(self.where, retry_failed=retry_failed and number == 0)
            ready = filling.recorded()
            pending = self._pending(filling, ready)
            budget = _Budget(self._left(ready))
            if number == 0 and len(pending) >= MANY_FRAGMENTS and (told := advice(self.table.dataset, self.table.uri)):
                self.progress.say(told)
            if not ready and not (pending and budget.left):
                # What is stored of rows that were not asked for, and of an overwrite that is not finished, is needed.
                filling.records.remove("done-" if pending or self._is_more_left() else "")
                return
            ready += self._fill(filling, pending, budget)
            if any(entry.file for entry in ready):
                table, committed = commit_finished(filling, ready, self._properties)
                self.table.move_to(table)
                self.committed += committed
                in_vain = 0 if committed else in_vain + 1
            self.table.move_to(self.table.latest())
            if in_vain == MAX_ROUNDS_IN_VAIN:
                break
        filling = self._filling(self.where)
        left = sum(num_rows for _, num_rows in self._pending(filling, ()))
        if left and self._left(()):
            raise ConcurrentChangeError(
                f"{left:,} rows of {redact(self.table.uri)} have no {self.column!r} yet: other writers changed their "
                "fragments in every round before they could be committed",
                hint="run the same command again when the other writer is done; what is committed stays",
            )

    def counts(self) -> tuple[int, dict[str, int]]:
        """Rows that this run computed and committed, and those of them that stayed null, by reason."""
        own = [entry for entry in self.committed if entry.file in self.own]
        failed: Tally[str] = Tally()
        for entry in own:
            failed.update(entry.failed)
        return sum(entry.computed for entry in own), dict(failed)

    def tally(self) -> tuple[int, int, int]:
        """Rows of the table that have a value, those that have neither a value nor a reason, and of these the pending.

        A row that waits for bytes counts as pending until its fragment's turn comes; to tell it is to read them.
        """
        filling = self._filling(None)
        filled, unexplained = filling.tally()
        # With a condition, the rows of a fragment that wait are not all that it has.
        pending = filling.pending() if self.where is not None else self._pending(filling, ())
        return filled, unexplained, sum(num_rows for _, num_rows in pending)

    def _left(self, ready: Sequence[Finished]) -> int:
        """How many rows may still be computed, beside those that wait to be committed."""
        return max(self.limit - sum(entry.placed for entry in [*self.committed, *ready]), 0)

    def _is_more_left(self) -> bool:
        """Whether rows can be computed that the condition leaves out."""
        return self.where is not None and bool(self._filling(None).pending())

    def _filling(self, where: str | None, *, retry_failed: bool = False) -> Filling:
        """The work as it stands at the table's version, on the rows that meet a condition.

        Raises:
            ConcurrentChangeError: the column or an input is not the one of the start any more.
        """
        columns.require_same(self.table, self.table.dataset, self.column, self.identities)
        state = map_folder(self.column, self.mark)
        return Filling(self.table.pinned(), self.column, tuple(self.step.reads), state, retry_failed, where)

    def _pending(self, filling: Filling, ready: Sequence[Finished]) -> list[tuple[int, int]]:
        fragments = filling.table.dataset.get_fragment
        return [
            (fragment_id, num_rows)
            for fragment_id, num_rows in filling.pending(ready)
            if filling.signature(fragments(fragment_id)) not in self._waiting
        ]

    def _fill(self, filling: Filling, pending: Sequence[tuple[int, int]], budget: _Budget) -> list[Finished]:
        """Have fragments filled; those that another run finished meanwhile are left out."""
        finished = []
        num_rows = min(sum(num_rows for _, num_rows in pending), budget.left)
        with self.progress.task(f"map {self.column}", num_rows) as counter:
            for done in self.engine.run(self._tasks(filling, pending, budget), counter):
                self.notes |= done.notes
                self.cost += done.cost
                budget.settle(done.fragment_id, done.finished.placed if done.finished else 0)
                if done.finished is None:
                    continue
                finished.append(done.finished)
                if done.finished.file:
                    self.own.add(done.finished.file)
                else:
                    self._waiting.add(done.finished.signature)
        return finished

    def _tasks(self, filling: Filling, pending: Sequence[tuple[int, int]], budget: _Budget) -> Iterator[FragmentTask]:
        for fragment_id, num_rows in pending:
            if limit := budget.take(fragment_id, num_rows):
                yield FragmentTask(filling, self.step, fragment_id, self.batch_rows, limit)

    def _properties(self, committed: Sequence[Finished]) -> Properties:
        rows = {
            "computed": sum(entry.computed for entry in committed),
            "failed": sum(sum(entry.failed.values()) for entry in committed),
        }
        parameters = {"column": self.column, "step": self.lineage.describe(), "notes": self.notes}
        parameters |= {"where": self.where} if self.where is not None else {}
        return Properties("map", parameters, rows, first_version=self.first_version)


class _Budget:
    """How many rows may still be computed: fragments take of it before their turn, and give back what they left.

    Args:
        left: rows in all.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self._taken: dict[int, int] = {}

    def take(self, fragment_id: int, num_rows: int) -> int:
        """How many of its rows a fragment may fill."""
        self._taken[fragment_id] = min(num_rows, max(self.left, 0))
        self.left -= self._taken[fragment_id]
        return self._taken[fragment_id]

    def settle(self, fragment_id: int, num_placed: int) -> None:
        """A fragment is done; it may have filled fewer, for rows of it wait for an input."""
        self.left += self._taken[fragment_id] - num_placed


def _affordable_rows(table: Table, step: Step) -> int:
    """Rows whose inputs and values together take no more than a batch may; images are judged by their mean size."""
    schema, width = table.schema, fixed_width(step.returns)
    for name in step.reads:
        kind = schema.field(name).type
        if name == image_column(schema) and "bytes" in schema.names and table.num_rows:
            mean = table.query("SELECT avg(bytes) AS mean FROM dataset").column("mean").to_pylist()[0]
            width += max(int(mean or 0), BATCH_BYTES // IMAGE_BATCH_ROWS)
        elif is_binary(kind):
            width += BATCH_BYTES // 64
        else:
            width += fixed_width(kind)
    return max(BATCH_BYTES // max(width, 1), 8)
