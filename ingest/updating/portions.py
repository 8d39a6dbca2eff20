"""Portions: some of the items of a run, taken in by a worker on another machine.

The driver plans, and hands out portions; a worker reads and checks with the code of the local engine, replaces rows
that changed, and writes those that are new as files, which the driver's `Ledger` puts into the table. So a run that
began on a cluster is finished on one machine, and the reverse. It knows no particular source.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from clipdata.engines.errands import Errand
from clipdata.engines.packing import Unsendable, pack, pack_error, unpack
from clipdata.engines.ray import RayEngine
from clipdata.errors import TransientError, UsageError
from clipdata.lance_io.inserting import write_new
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Counter
from clipdata.storage import is_remote, redact
from ingest.updating import batches
from ingest.updating.admission import Admission
from ingest.updating.batches import unit_rows
from ingest.updating.deleted import Deleted
from ingest.updating.file_rows import FileRows
from ingest.updating.item_rows import ItemRows
from ingest.updating.ledger import Ledger, Told
from ingest.updating.receiver import AreNew, Receiver
from ingest.updating.rows_of_files import RowsOfFiles
from ingest.updating.rows_of_items import RowsOfItems
from ingest.updating.source import Item, Reject
from ingest.updating.taken import SeenRow, TakenFile
from ingest.updating.target import Target

# So many portions a worker, so that the last ones end together; but none so small that its commit is most of it.
PORTIONS_EACH = 4
LEAST_ITEMS = 64


class Portion(Receiver):
    """The table as a worker has it, and what is to be told of a portion.

    Args:
        again: whether a worker that had the portion was lost; rows that it replaced count as this one's.
    """

    def __init__(self, *args: Any, again: bool, **named: Any) -> None:
        super().__init__(*args, **named)
        self._again = again
        self.told = Told()

    def upsert(self, unit: pa.Table, *, changed: str | None, are_new: AreNew) -> None:
        """Write rows: those that replace others by key, new ones as files."""
        is_new = are_new(unit.column(self.key).to_pylist())
        new, others = unit.filter(pa.array(is_new)), unit.filter(pa.array(~is_new))
        if new.num_rows:
            self.told.new.append(write_new(self.with_columns(), new))
        before = self.written
        self.by_key(others, changed=changed)
        if self._again:  # what is left of a unit has changed; what was not replaced now was before
            self.written += Written(updated=others.num_rows - self.written.updated + before.updated)

    def keep_reject(self, reject: Reject, scope: str) -> None:
        """Tell a refusal."""
        self.told.rejects.append((replace(reject, detail=redact(reject.detail)), scope))

    def keep_files(self, files: Iterable[TakenFile]) -> None:
        """Tell that files were taken in."""
        self.told.files += files

    def keep_seen(self, seen: Iterable[SeenRow]) -> None:
        """Tell that contents were compared."""
        self.told.seen += seen

    def flush(self) -> None:
        """Nothing: the driver writes what is told."""

    def tell(self) -> Told:
        """All of it."""
        told = self.told
        told.read, told.written, told.num_rows, told.num_gone = self.read, self.written, self.num_rows, self.num_gone
        told.num_left_out = self.deleted.num_left_out
        return told


class TakingIn:
    """What the portions of a run have in common.

    Args:
        rows: how they are taken in.
        target: the table, which is there.

    Raises:
        UsageError: the source cannot be sent.
    """

    def __init__(self, rows: ItemRows | FileRows, target: Target) -> None:
        self._rows, self._uri, self._storage, self._key = rows, target.uri, target.storage, target.key
        self._admission: Admission = target.admission
        self._deleted: Deleted = target.deleted
        self._table: Table | None = None
        try:
            self._packed = pack(rows.source)
        except Unsendable as error:
            raise UsageError(
                f"{redact(rows.source.origin)} cannot be sent to a worker: {error}", hint="--engine local reads it here"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rows": replace(self._rows, source=None), "_table": None}  # type: ignore[arg-type]

    def do(self, given: Sequence[Item], counter: Counter, *, again: bool) -> Told:
        """Take in a portion.

        Raises:
            UsageError: this machine does not see the table or the items.
        """
        if self._table is None:
            self._rows = replace(self._rows, source=unpack(self._packed))
            self._table = self._opened(given[0].where)
        self._table.move_to(self._table.latest())
        self._deleted.num_left_out = 0
        portion = Portion(
            self._uri,
            self._key,
            table=self._table,
            admission=self._admission,
            deleted=self._deleted,
            max_rejects=None,
            again=again,
        )
        before = _tally(self._rows.source)
        try:
            self._rows.take_in(given, portion, counter)
        except TransientError as error:
            portion.told.fault = pack_error(error)
        told = portion.tell()
        told.notes = {name: num - before.get(name, 0) for name, num in _tally(self._rows.source).items()}
        return told

    def _opened(self, first: str) -> Table:
        where = None if is_remote(self._uri) or os.path.isdir(self._uri) else self._uri
        if os.path.isabs(first) and not os.path.exists(os.path.dirname(first)):
            where = os.path.dirname(first)
        if where is not None:
            raise UsageError(
                f"{where} is not on the machine {platform.node()}, where a worker was to use it",
                hint="workers see what all machines share: a bucket, or a folder that is mounted on each of them",
            )
        return open_table(self._uri, storage=self._storage)


def take_in(engine: RayEngine, run: RowsOfItems | RowsOfFiles, target: Target, counter: Counter) -> None:
    """Have the items of a plan taken in by the workers of a cluster.

    Raises:
        UsageError: the source can only be read here, or Ray is not installed, or has no room.
        TransientError: the store went down, or workers keep ending; what came before is written.
        TooManyRejectsError: so much is refused that going on makes no sense.
    """
    if not len(run.todo):
        return
    _check(run)
    num_workers = engine.num_workers()
    ledger = Ledger(target, run.source)
    work = TakingIn(run.survey(), target)
    least = LEAST_ITEMS if isinstance(run, RowsOfItems) else 1
    share = max(-(-len(run.todo) // (PORTIONS_EACH * num_workers)), least)
    present = target.table_rows()
    errands = (
        Errand(number, portion, work, f"took in portion {number}, which begins with {portion[0].key}")
        for number, portion in enumerate(portions(run.todo, lambda given: min(share, unit_rows(present + given))))
    )
    hint = "is clipdata on every machine, and memory for some hundred MB of pictures a worker?"
    try:
        for _, told in engine.each(errands, counter, hint=hint):
            ledger.enter(told)
    finally:
        ledger.close()


def portions(items: Iterable[Item], most_items: Callable[[int], int]) -> Iterator[list[Item]]:
    """Items in portions, bounded by their number and by what the listing says of their bytes.

    Args:
        most_items: of a portion, when so many items were handed out before it.
    """
    portion: list[Item] = []
    size = given = 0
    for item in items:
        portion.append(item)
        size += item.size or 0
        if len(portion) >= most_items(given) or size >= batches.UNIT_BYTES:
            yield portion
            given += len(portion)
            portion, size = [], 0
    if portion:
        yield portion


def _tally(source: Any) -> dict[str, int]:
    tally = getattr(source, "tally", None)
    return dict(tally()) if callable(tally) else {}


def _check(run: RowsOfItems | RowsOfFiles) -> None:
    """Refuse what can only be read where it was listed."""
    why = getattr(run.source, "stays_here", None)
    if why:
        raise UsageError(f"{run.source.kind}: {why}, so no worker can read it", hint="--engine local reads it here")
    if isinstance(run, RowsOfFiles) and not run.sampling.is_whole:
        raise UsageError(
            "a part of the rows of files is counted while they are read, by one process",
            hint="--engine local with --limit or --sample; or name some of the files",
        )
