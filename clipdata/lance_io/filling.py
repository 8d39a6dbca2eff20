"""Filling: what of a column is still to be computed, the inputs it is computed from, and records of what is done.

    filling = Filling(table, column, inputs, state)
    filling.recorded()                      fragments that an earlier run finished, and that wait to be committed
    filling.pending()                       fragments that have something to compute, and how many rows
    filling.checkpoints(fragment)           parts of a fragment that an earlier run computed
    for places, rows in filling.read(…):    the inputs of the rest
    filling.finish(fragment, …)             one column file, not yet visible; `replacement.py` puts it in place

No other column's file is read or rewritten. Records live beside the table on the same storage, so that any machine can
go on. One counts only while the fragment has the rows and input files, and the column and its inputs are the very
columns, that it was computed from. It must not know what a step is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.column_names import columns_named
from clipdata.lance_io.asking import at_once
from clipdata.lance_io.column_file import Chunk, write_column
from clipdata.lance_io.columns import reasons_of
from clipdata.lance_io.conditions import explained, read_condition
from clipdata.lance_io.data_files import lost_of
from clipdata.lance_io.gathering import gathered
from clipdata.lance_io.parts import Checkpoint, CheckpointGone, Finished, Part, lanes, values_of
from clipdata.lance_io.pictures import places_needed
from clipdata.lance_io.pinned import readable
from clipdata.lance_io.presence import count_missing, files_of, places_of, rows_that_fit
from clipdata.lance_io.selected_rows import Meant, meant_by
from clipdata.lance_io.signatures import Signatures
from clipdata.lance_io.state import StateFolder, parts_folder
from clipdata.lance_io.table import Table
from clipdata.objects.references import References, columns_needed
from clipdata.schema import error_column, image_column, is_binary

if TYPE_CHECKING:
    import lance

BATCH_BYTES = 64 << 20


@dataclass
class Filling:
    """One round of filling the nulls of one column. It pickles: a fragment can be filled in another process.

    Args:
        table: pinned to the version that is read.
        column: to be filled; where the table has none of that name, no row has a value yet.
        inputs: columns that the values are computed from.
        state: name of the folder where finished work is recorded.
        retry_failed: also compute the rows for which there is a reason.
        where: SQL condition of the rows to compute; the rest stay as they are. What is recorded depends on it in
            nothing, for a record says which rows it holds.

    Attributes:
        unread: place → why its image could not be read, of the fragment read last.
    """

    table: Table
    column: str
    inputs: tuple[str, ...]
    state: str
    retry_failed: bool = False
    where: str | None = None
    unread: dict[int, str] = field(default_factory=dict)

    @cached_property
    def records(self) -> StateFolder:
        """Where finished work is recorded."""
        return StateFolder(self.table, self.state)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("records", "_signatures", "_asked", "_meant")
        }

    @cached_property
    def _awaited_bytes(self) -> tuple[str, ...]:
        """Inputs of bytes that are no image. Their nulls are left out while reading: to test them is to read them."""
        schema, image = self.table.schema, image_column(self.table.schema)
        return tuple(n for n in self.inputs if is_binary(schema.field(n).type) and n != image)

    @cached_property
    def _asked(self) -> str | None:
        """`where` as Lance takes it."""
        return read_condition(self.table, self.where)

    @cached_property
    def _meant(self) -> dict[str, Meant]:
        """What the names in `where` mean."""
        return meant_by(self.table, self.where) if self.where is not None else {}

    def _asked_in(self, fragment: Any) -> str | None:
        """`where` as Lance takes it of one fragment: with the keys of its own rows alone, of many that a name means."""
        if not self._meant:
            return self._asked
        rows = fragment.to_table(columns=list({one.column for one in self._meant.values()}))
        return read_condition(self.table, self.where, {name: one.among(rows) for name, one in self._meant.items()})

    def _wanted_in(self, fragment: Any) -> list[str]:
        """SQL terms of rows that can be computed and are asked for, whether or not they have a value."""
        asked = self._asked_in(fragment)
        return [*self._computable.values(), *([f"({asked})"] if asked is not None else [])]

    def _condition_in(self, fragment: Any) -> str:
        """SQL condition of the rows to compute: null so far, not failed before, asked for, and with every input."""
        missing = [f"`{self.column}` IS NULL"] if self.column in self.table.schema.names else []
        return " AND ".join([*missing, *self._wanted_in(fragment)])

    @property
    def _computable(self) -> dict[str, str]:
        """SQL terms of rows that can be computed, whether or not they have a value, by the column that each tests."""
        schema = self.table.schema
        terms = {name: f"`{name}` IS NOT NULL" for name in self.inputs if not is_binary(schema.field(name).type)}
        reasons = reasons_of(schema, self.column)
        if reasons and not self.retry_failed:
            terms[reasons] = f"`{reasons}` IS NULL"
        return terms

    def pending(self, recorded: Sequence[Finished] = ()) -> list[tuple[int, int]]:
        """Fragments with rows to compute: (fragment id, rows), those recorded aside."""
        ready = {finished.fragment_id for finished in recorded}
        fragments = [one for one in self.table.dataset.get_fragments() if one.fragment_id not in ready]
        with explained(self.table, self.where), readable(self.table):
            counts = [
                (fragment.fragment_id, num_rows)
                for fragment, num_rows in zip(fragments, at_once(self._count, fragments), strict=True)
            ]
        return [(fragment_id, num_rows) for fragment_id, num_rows in counts if num_rows]

    def left_by(self, recorded: Sequence[Finished]) -> list[tuple[int, int]]:
        """The same of recorded fragments: rows that they will still have to compute when they are committed."""

        def of(entry: Finished) -> tuple[int, int]:
            num_rows = self._count(self._fragment(entry.fragment_id), entry.file)
            return entry.fragment_id, num_rows - sum(entry.failed.values())

        with readable(self.table):
            counts = list(at_once(of, recorded))
        return [(fragment_id, num_rows) for fragment_id, num_rows in counts if num_rows > 0]

    def _count(self, fragment: Any, file: str | None = None) -> int:
        """Rows of a fragment to compute, or that would be if another file held the column."""
        among = " AND ".join(self._wanted_in(fragment)) or None
        named = [*columns_named(self.where, self.table.schema.names), *(one.column for one in self._meant.values())]
        reads = tuple({**self._computable, **dict.fromkeys(named)})
        return count_missing(self.table, fragment, self.column, among=among, reads=reads, file=file)

    def tally(self) -> tuple[int, int]:
        """Rows that have a value, and rows that have neither a value nor a reason."""
        reasons = reasons_of(self.table.schema, self.column)

        def of(fragment: Any) -> tuple[int, int]:
            found = count_missing(self.table, fragment, self.column)
            if not found or not reasons:
                return found, found
            among = f"`{reasons}` IS NULL"
            return found, count_missing(self.table, fragment, self.column, among=among, reads=(reasons,))

        with readable(self.table):
            counts = list(at_once(of, self.table.dataset.get_fragments()))
        return self.table.num_rows - sum(missing for missing, _ in counts), sum(count for _, count in counts)

    def recorded(self) -> list[Finished]:
        """Fragments that an earlier run finished, from what they still are, and whose files are still there."""
        fragments = {fragment.fragment_id: fragment for fragment in self.table.dataset.get_fragments()}
        said = map(Finished.from_record, at_once(self.records.read_json, self.records.names("done-")))
        found = [
            finished
            for finished in said
            if finished is not None
            and (fragment := fragments.get(finished.fragment_id)) is not None
            and finished.signature == self.signature(fragment)
            and not (finished.failed and self.retry_failed)
        ]
        return [one for one, exists in zip(found, at_once(self._has_files, found), strict=True) if exists]

    def _has_files(self, finished: Finished) -> bool:
        """No version names them yet: a clean-up may have removed them, or a loss of power taken what they held."""
        names = [name for name in (finished.file, finished.reasons_file) if name]
        return bool(finished.file) and not lost_of(self.table, names)

    def checkpoints(self, fragment_id: int) -> list[Checkpoint]:
        """Parts of a fragment that an earlier run computed from what it still is."""
        expected = self.signature(self._fragment(fragment_id)).encode()
        found: list[Checkpoint] = []
        taken = np.empty(0, np.int64)
        for name in self.records.names(parts_folder(fragment_id)):
            stored = self.records.read_arrow(name)
            if stored is None or (stored.schema.metadata or {}).get(b"signature") != expected:
                continue
            places = stored.column("place").to_numpy().copy()  # not a view that keeps the values in memory
            failed = stored.column("reason").null_count < stored.num_rows
            # Two runs at once may have computed the same rows; either's values will do.
            if np.isin(places, taken).any() or (self.retry_failed and failed):
                continue
            found.append(Checkpoint(name, places, failed))
            taken = np.concatenate([taken, places])
        return found

    def checkpoint(self, fragment_id: int, parts: Sequence[Part]) -> Checkpoint:
        """Store parts of a fragment, so that they are not computed again."""
        signature = self.signature(self._fragment(fragment_id))
        kind = self.table.schema.field(self.column).type
        columns = {
            "place": pa.chunked_array([part.places for part in parts], type=pa.int64()),
            "value": pa.chunked_array([part.values for part in parts], type=kind),
            "reason": pa.chunked_array([part.reasons for part in parts], type=pa.string()),
        }
        stored = pa.table(columns).replace_schema_metadata({"signature": signature})
        name = f"{parts_folder(fragment_id)}{uuid.uuid4().hex}"
        self.records.write_arrow(name, stored)
        failed = columns["reason"].null_count < stored.num_rows
        return Checkpoint(name, columns["place"].to_numpy().copy(), failed)

    def read(
        self, fragment_id: int, done: np.ndarray, *, batch_rows: int
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Yield (physical places, inputs) of the rows still to compute, in order.

        Images that rows only refer to are filled in; `unread` says why one is null all the same.

        Args:
            done: int64 places to leave out, from `checkpoints`.
            batch_rows: most rows in a batch; it is smaller where rows are large.
        """
        self.unread.clear()
        references = References(self.table.storage)
        fitting = gathered(self._scan(fragment_id, done, batch_rows), num_rows=batch_rows, num_bytes=BATCH_BYTES)
        scanned = self.table.pictures.all_filled(fitting)
        for places, rows in references.filled(scanned):
            if references.unread:
                reasons = [references.unread.get(uri) for uri in rows.column("uri").to_pylist()]
                self.unread |= {int(p): str(r) for p, r in zip(places, reasons, strict=True) if r is not None}
            yield places, rows.select(list(self.inputs))

    def _scan(self, fragment_id: int, done: np.ndarray, batch_rows: int) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """The rows still to compute as they are in the table, with where their images are."""
        fragment = self._fragment(fragment_id)
        schema = self.table.schema
        names = [*self.inputs, *columns_needed(schema, self.inputs), *places_needed(schema, self.inputs)]
        with readable(self.table):
            scanner = fragment.scanner(
                columns=names,
                filter=self._condition_in(fragment) or None,
                with_row_address=True,
                batch_size=min(batch_rows, rows_that_fit(self.table, fragment, self.inputs, BATCH_BYTES)),
                batch_size_bytes=BATCH_BYTES,
                batch_readahead=2,
                io_buffer_size=4 * BATCH_BYTES,
                blob_handling="all_binary",
            )
            for batch in scanner.to_batches():
                places = places_of(batch.column("_rowaddr"))
                batch = batch.select(names)
                wanted = ~np.isin(places, done) if len(done) else np.ones(len(places), bool)
                for name in self._awaited_bytes:
                    wanted &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
                if not wanted.all():
                    places, batch = places[wanted], batch.filter(pa.array(wanted))
                if len(places):
                    yield places, batch

    def finish(
        self, fragment_id: int, stored: Sequence[Checkpoint], held: Sequence[Part], tally: tuple[int, Mapping[str, int]]
    ) -> Finished:
        """Write the fragment's column file, existing values kept, and record it. It is not visible before a commit.

        Args:
            stored: from `checkpoints` and `checkpoint`.
            held: parts that are not stored.
            tally: rows computed, and those that stayed null by reason.

        Raises:
            CheckpointGone: another run finished the fragment, and removed what was stored of it.
        """
        fragment = self._fragment(fragment_id)
        signature = self.signature(fragment)
        if not stored and not held:
            return Finished(fragment_id, signature, None)
        file = write_column(
            self.table,
            self.table.schema.field(self.column),
            fragment,
            lambda: [self._kept(fragment, self.column), *map(self._stored, lanes(stored)), values_of(held)],
        )
        placed = sum(len(part.places) for part in stored) + sum(len(part.places) for part in held)
        finished = Finished(fragment_id, signature, file, None, tally[0], dict(tally[1]), placed)
        if reasons := self._new_reasons(stored, held):
            present = reasons_of(self.table.schema, self.column)
            reasons_file = write_column(
                self.table,
                pa.field(error_column(self.column), pa.string()),
                fragment,
                lambda: [self._kept(fragment, present, but=reasons[0]) if present else (), [reasons]],
            )
            finished = Finished(**{**asdict(finished), "reasons_file": reasons_file})
        self.records.write_json(f"done-{fragment_id}-{uuid.uuid4().hex}", asdict(finished))
        for checkpoint in stored:
            self.records.remove(checkpoint.name)
        return finished

    def _new_reasons(self, stored: Sequence[Checkpoint], held: Sequence[Part]) -> Chunk | None:
        """Places whose reason changes, with the reason or null; None when there is nothing to write."""
        places = [part.places for part in held] + [checkpoint.places for checkpoint in stored]
        reasons = [part.reasons for part in held]
        for checkpoint in stored:
            if checkpoint.failed:
                reasons.append(pa.array(self._load(checkpoint).column("reason").to_pylist(), pa.string()))
            else:
                reasons.append(pa.nulls(len(checkpoint.places), pa.string()))
        joined = pa.chunked_array(reasons, type=pa.string())
        clears = self.retry_failed and reasons_of(self.table.schema, self.column)
        if joined.null_count == len(joined) and not clears:
            return None
        order = np.argsort(np.concatenate(places), kind="stable")
        return np.concatenate(places)[order], joined.combine_chunks().take(pa.array(order))

    def _kept(self, fragment: Any, column: str, but: np.ndarray | None = None) -> Iterator[Chunk]:
        """Values of a fragment that are there already."""
        if not files_of(self.table.dataset, fragment, (column,)):
            return
        with readable(self.table):
            scanner = fragment.scanner(
                columns=[column],
                filter=f"`{column}` IS NOT NULL",
                with_row_address=True,
                batch_size_bytes=BATCH_BYTES // 4,
                blob_handling="all_binary",
            )
            for batch in scanner.to_batches():
                places = places_of(batch.column("_rowaddr"))
                values = batch.column(column)
                if but is not None:
                    rest = ~np.isin(places, but)
                    places, values = places[rest], values.filter(pa.array(rest))
                yield places, values

    def _stored(self, lane: Sequence[Checkpoint]) -> Iterator[Chunk]:
        """Values of checkpoints that follow each other, one loaded at a time."""
        for checkpoint in lane:
            for batch in self._load(checkpoint).to_batches():
                yield batch.column("place").to_numpy(), batch.column("value")

    def _load(self, checkpoint: Checkpoint) -> pa.Table:
        rows = self.records.read_arrow(checkpoint.name)
        if rows is None:
            raise CheckpointGone(checkpoint.name)
        return rows

    def _fragment(self, fragment_id: int) -> Any:
        fragment = self.table.dataset.get_fragment(fragment_id)
        assert fragment is not None, "fragments of a pinned version do not go away"
        return fragment

    def signature(self, fragment: Any) -> str:
        """What the values of a fragment of the table's version depend on."""
        return self._signatures.of(fragment)

    @cached_property
    def _signatures(self) -> Signatures:
        return self.signatures_in(self.table.dataset)

    def signatures_in(self, dataset: lance.LanceDataset) -> Signatures:
        """The same for any version of the table."""
        return Signatures(dataset, self.column, self.inputs)
