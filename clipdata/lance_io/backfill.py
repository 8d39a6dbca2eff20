"""Backfill: fill the nulls of one column, a column file for each fragment, put in place by one commit.

    pending = backfill.pending()            fragments that have something to compute, and how many rows
    for part in backfill.read(fragment):    the inputs of those rows
        backfill.checkpoint(...)            values so far, beside the table, so that a killed job loses little
    backfill.finish(fragment)               one column file, not yet visible
    backfill.commit(...)                    all files become the column's content at once

No other column's file is read or rewritten. Records of finished work live beside the table on the same storage, so that
any machine can go on. A record counts only while the fragment still has the rows and input files it was computed from.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.errors import StorageError
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.rows import add_columns
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table
from clipdata.objects.references import References, columns_needed
from clipdata.schema import error_column, is_binary
from clipdata.storage import join

if TYPE_CHECKING:
    import lance

_ROW_MASK = 0xFFFFFFFF  # the low half of a row address is the row's place in its fragment


@dataclass(frozen=True)
class Part:
    """Values computed for some rows of a fragment.

    Args:
        places: int64 [n], physical places in the fragment.
        values: Arrow array [n]; null where the step failed.
        errors: string array [n]; the reason where `values` is null.
    """

    places: np.ndarray
    values: pa.Array
    errors: pa.Array


@dataclass
class Backfill:
    """One job that fills one column of the newest version of a table.

    Args:
        table: pinned to the version the job reads.
        column: to be filled; it must exist.
        inputs: columns that the values are computed from.
        state: where finished work is recorded.
        recompute: compute every row anew, instead of the nulls alone.
        retry_failed: also compute the rows whose error column holds a reason.

    Attributes:
        unread: place → why its image could not be read, of the rows of the fragment read last.
    """

    table: Table
    column: str
    inputs: tuple[str, ...]
    state: StateFolder
    recompute: bool = False
    retry_failed: bool = False
    unread: dict[int, str] = field(default_factory=dict)
    _signatures: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def _decisive(self) -> tuple[str, ...]:
        """Columns whose files must be unchanged for a record to count: another writer may have filled this one."""
        return self.inputs if self.recompute else (*self.inputs, self.column)

    @property
    def condition(self) -> str | None:
        """SQL condition of the rows to compute: null so far, not failed before, and with every input there.

        Inputs that hold image bytes are left out of it: to test them for null is to read them.
        """
        schema = self.table.schema
        needed = [name for name in self.inputs if not is_binary(schema.field(name).type)]
        terms = [f"`{name}` IS NOT NULL" for name in needed]
        if not self.recompute:
            terms.append(f"`{self.column}` IS NULL")
            errors = error_column(self.column)
            if errors in schema.names and not self.retry_failed:
                terms.append(f"`{errors}` IS NULL")
        return " AND ".join(terms) or None

    def pending(self) -> list[tuple[int, int]]:
        """Fragments with rows to compute: (fragment id, rows), records of finished ones aside."""
        with translated(self.table.uri, "reading"):
            found = []
            for fragment in self.table.dataset.get_fragments():
                rows = fragment.count_rows(self.condition)
                if rows and not self._recorded(fragment):
                    found.append((fragment.fragment_id, rows))
            return found

    def _fragment(self, fragment_id: int) -> Any:
        fragment = self.table.dataset.get_fragment(fragment_id)
        assert fragment is not None, "fragments of a pinned version do not go away"
        return fragment

    def num_recorded(self) -> int:
        """Fragments whose column files an earlier run finished and this one will only commit."""
        return sum(self._recorded(fragment) is not None for fragment in self.table.dataset.get_fragments())

    def checkpoints(self, fragment_id: int) -> list[Part]:
        """Parts of a fragment that an earlier run computed; those of other inputs are ignored."""
        parts = []
        signature = self._signature(self._fragment(fragment_id))
        for name in self.state.names(f"fragment-{fragment_id}-part-"):
            stored = self.state.read_arrow(name)
            if stored is not None and (stored.schema.metadata or {}).get(b"signature") == _text(signature).encode():
                columns = stored.combine_chunks()
                places = columns.column("place").to_numpy()
                values, errors = (_one_chunk(columns.column(name)) for name in ("value", "error"))
                parts.append(Part(places, values, errors))
        return parts

    def read(
        self, fragment_id: int, done: np.ndarray, *, batch_rows: int
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Yield (physical places, inputs) of the rows still to compute, in order.

        Images that rows only refer to are filled in; `unread` says why one is null all the same.

        Args:
            done: int64 places to leave out, from `checkpoints`.
            batch_rows: rows in a batch, except the last.
        """
        self.unread.clear()
        references = References(self.table.storage)
        for places, rows in references.filled(self._scan(fragment_id, done, batch_rows)):
            if references.unread:
                reasons = [references.unread.get(uri) for uri in rows.column("uri").to_pylist()]
                self.unread |= {int(p): str(r) for p, r in zip(places, reasons, strict=True) if r is not None}
            yield places, rows.select(list(self.inputs))

    def _scan(self, fragment_id: int, done: np.ndarray, batch_rows: int) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """The rows still to compute as they are in the table, with where their images are."""
        fragment = self._fragment(fragment_id)
        names = [*self.inputs, *columns_needed(self.table.schema, self.inputs)]
        with translated(self.table.uri, "reading"):
            scanner = fragment.scanner(
                columns=names,
                filter=self.condition,
                with_row_address=True,
                batch_size=batch_rows,
                blob_handling="all_binary",
            )
            for batch in scanner.to_batches():
                places = batch.column("_rowaddr").to_numpy().astype(np.int64) & _ROW_MASK
                batch = batch.select(names)
                if len(done):
                    fresh = ~np.isin(places, done)
                    places, batch = places[fresh], batch.filter(pa.array(fresh))
                if len(places):
                    yield places, batch

    def checkpoint(self, fragment_id: int, number: int, part: Part) -> None:
        """Record a part of a fragment, so that it is not computed again."""
        signature = _text(self._signature(self._fragment(fragment_id)))
        columns = {"place": pa.array(part.places), "value": part.values, "error": part.errors}
        stored = pa.table(columns).replace_schema_metadata({"signature": signature})
        self.state.write_arrow(f"fragment-{fragment_id}-part-{number:05d}", stored)

    def finish(self, fragment_id: int, parts: Sequence[Part]) -> None:
        """Write the fragment's column file, existing values kept, and record it. It is not visible before `commit`."""
        fragment = self._fragment(fragment_id)
        record: dict[str, Any] = {"signature": self._signature(fragment), "rows": sum(len(p.places) for p in parts)}
        places = np.concatenate([part.places for part in parts]) if parts else np.empty(0, np.int64)
        for name, arrays in ((self.column, "values"), (error_column(self.column), "errors")):
            is_error = arrays == "errors"
            failed = sum(len(part.errors) - part.errors.null_count for part in parts)
            if is_error:
                record["failed"] = failed
                if not failed and not (self.retry_failed and name in self.table.schema.names):
                    continue
            column = self.table.schema.field(self.column) if not is_error else pa.field(name, pa.string())
            fresh = pa.chunked_array([getattr(part, arrays) for part in parts], type=column.type)
            merged = self._merge(fragment, column, places, fresh)
            record["error_file" if is_error else "file"] = self._write_file(column, merged)
        self.state.write_json(f"fragment-{fragment_id}", record)
        self.state.remove(f"fragment-{fragment_id}-part-")

    def _merge(self, fragment: Any, column: pa.Field, places: np.ndarray, fresh: pa.ChunkedArray) -> pa.Array:
        """Physical column of a fragment: computed values where there are some, what was there elsewhere."""
        physical = fragment.physical_rows
        source = np.full(physical, -1, np.int64)
        kept = pa.nulls(0, column.type)
        if column.name in self.table.schema.names and not self.recompute:
            old = fragment.scanner(columns=[column.name], with_row_address=True).to_table()
            old_places = old.column("_rowaddr").to_numpy().astype(np.int64) & _ROW_MASK
            kept = _one_chunk(old.column(column.name))
            source[old_places] = np.arange(len(old_places))
        source[places] = len(kept) + np.arange(len(places))
        combined = pa.chunked_array([kept, *fresh.chunks], type=column.type).combine_chunks()
        values = combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
        taken = pa.array(source, mask=source < 0)
        return _take(values, taken)

    def _write_file(self, column: pa.Field, values: pa.Array) -> str:
        from lance.file import LanceFileWriter

        name = f"{uuid.uuid4()}.lance"
        schema = pa.schema([pa.field(column.name, column.type)])
        options = self.table.storage.lance_options(self.table.uri) or None

        def attempt() -> None:
            version = self.table.dataset.data_storage_version
            target = join(self.table.uri, "data", name)
            with LanceFileWriter(target, schema=schema, version=version, storage_options=options) as writer:
                writer.write_batch(pa.record_batch([values], schema=schema))

        with translated(self.table.uri, "writing a column file of"):
            with_retries(attempt)
        return name

    def commit(self, properties: Properties) -> Table:
        """Put every recorded column file in place: reasons of failed rows first, then the values.

        Files of fragments that another writer changed meanwhile are left out; their rows stay to be computed.
        """
        if error_files := self._files("error_file"):
            add_columns(self.table, [pa.field(error_column(self.column), pa.string())])
            marked = Properties(
                f"{properties.verb}-errors", properties.parameters, {"failed": properties.rows["failed"]}
            )
            commit(self.table, lambda dataset: self._replacement(dataset, error_files), marked)
        files = self._files("file")
        return commit(self.table, lambda dataset: self._replacement(dataset, files), properties)

    def _files(self, kind: str) -> dict[int, str]:
        records = {fragment.fragment_id: self._recorded(fragment) for fragment in self.table.dataset.get_fragments()}
        return {fragment_id: record[kind] for fragment_id, record in records.items() if record and kind in record}

    def _replacement(self, dataset: lance.LanceDataset, files: dict[int, str]) -> Any:
        from lance import LanceOperation
        from lance.fragment import DataFile

        groups = []
        present = {fragment.fragment_id: fragment for fragment in dataset.get_fragments()}
        for fragment_id, name in files.items():
            fragment = present.get(fragment_id)
            if fragment is None or _signature_of(dataset, fragment, self._decisive) != self._signatures[fragment_id]:
                continue
            groups.append(LanceOperation.DataReplacementGroup(fragment_id, DataFile.create(dataset, name)))
        return LanceOperation.DataReplacement(groups) if groups else None

    def _recorded(self, fragment: Any) -> dict[str, Any] | None:
        """Record of a finished fragment, when it is still true."""
        record = self.state.read_json(f"fragment-{fragment.fragment_id}")
        return record if record and record["signature"] == self._signature(fragment) else None

    def _signature(self, fragment: Any) -> dict[str, Any]:
        if fragment.fragment_id not in self._signatures:
            self._signatures[fragment.fragment_id] = _signature_of(self.table.dataset, fragment, self._decisive)
        return self._signatures[fragment.fragment_id]


def _signature_of(dataset: lance.LanceDataset, fragment: Any, inputs: Sequence[str]) -> dict[str, Any]:
    """What the values of a fragment depend on: its rows, and the files that hold the inputs."""
    wanted: set[int] = set()
    for column in dataset.lance_schema.fields():
        if column.name() in inputs:
            wanted |= _field_ids(column)
    files = sorted(file.path for file in fragment.metadata.files if wanted & set(file.fields))
    if fragment.physical_rows is None:
        raise StorageError(f"fragment {fragment.fragment_id} does not say how many rows it has")
    return {"physical_rows": fragment.physical_rows, "files": files}


def _field_ids(column: Any) -> set[int]:
    return {column.id()}.union(*(_field_ids(child) for child in column.children()))


def _text(signature: dict[str, Any]) -> str:
    return f"{signature['physical_rows']}:{','.join(signature['files'])}"


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _take(values: pa.Array, indices: pa.Array) -> pa.Array:
    if len(values) == 0:
        return pa.nulls(len(indices), values.type)
    return values.take(indices)
