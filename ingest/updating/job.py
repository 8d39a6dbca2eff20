"""The job that runs a source into a table: what is new or changed is read and written by key, unit by unit.

A unit is committed as soon as it is read, so a killed job loses at most one; the next run lists again, compares etags,
and reads only what is missing. Rows that cannot be used go to the rejects table beside the table, with a reason, and
are tried again when they change or on request. This module knows sources and tables, and no particular source.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import TooManyRejectsError, TransientError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties, properties_of
from clipdata.lance_io.rows import Written
from clipdata.progress import Counter, Progress, Silent
from clipdata.schema import align
from clipdata.storage import Storage, redact
from ingest.updating.outcome import Ingested
from ingest.updating.planning import Plan, Spool, missing, plan_rows
from ingest.updating.reading_ahead import read_ahead, rows_of, units
from ingest.updating.rejects import Rejects
from ingest.updating.source import BrokenFile, Item, Reject, Source

_SOURCE_ENTRY = "clipdata.source."


def ingest(
    source: Source,
    into: str | PathLike[str],
    *,
    storage: Storage | None = None,
    retry_rejects: bool = False,
    max_rejects: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Ingested:
    """Bring a table up to date with a source.

    Args:
        source: see `ingest.updating.source.Source`.
        into: location of the table; made when it is not there.
        storage: how to reach it.
        retry_rejects: try again what was refused before and has not changed.
        max_rejects: raise when more rows than this were refused; the table is written all the same.
        parameters: for the log.
        progress: watches the items go by.

    Raises:
        TooManyRejectsError: see `max_rejects`.
    """
    job = _Job(source, into, storage or Storage(), progress or Silent(), retry_rejects=retry_rejects)
    done = job.run(dict(parameters or {}) | {"from": redact(source.origin)})
    if max_rejects is not None and done.num_refused > max_rejects:
        raise TooManyRejectsError(
            f"{done.num_refused:,} rows were refused, more than the {max_rejects:,} allowed",
            hint=f"clipdata rejects {redact(done.table.uri)} lists them",
        )
    return done


class _Job:
    def __init__(
        self, source: Source, into: str | PathLike[str], storage: Storage, progress: Progress, *, retry_rejects: bool
    ) -> None:
        self.source, self.progress, self.retry_rejects = source, progress, retry_rejects
        self.started = time.monotonic()
        schema = source.schema()
        self.owner = getattr(source, "owner", None)
        if (source.grain == "file" or self.owner) and "source" not in schema.names:
            schema = schema.append(pa.field("source", pa.string()))
        self.schema = schema
        items = source.items()
        first = list(islice(items, 1))  # before the table is made: a missing source leaves nothing behind
        self.items = chain(first, items)
        self.table = rows.create_table(into, schema, storage=storage)
        self.first_version = self.table.version
        present = {column.name: column.type for column in self.table.schema}
        if any(present.get(column.name) != column.type for column in schema):
            self.table.move_to(rows.add_columns(self.table, list(schema)[1:]))
        self.rejects = Rejects(self.table)
        self.written = Written()
        self.refused: Tally[str] = Tally()

    def run(self, parameters: dict[str, Any]) -> Ingested:
        plan = self._plan_rows() if self.source.grain == "row" else self._plan_files()
        with self.progress.task(f"ingest {self.source.kind}", len(plan.todo), "items") as counter:
            if self.source.grain == "row":
                self._write_rows(plan.todo, counter)
            else:
                self._write_files(plan.todo, counter)
        self.rejects.flush()
        self._close(parameters)
        notes = getattr(self.source, "notes", None)
        return Ingested(
            table=self.table,
            listed=plan.listed,
            unchanged=plan.unchanged,
            read=len(plan.todo),
            written=self.written,
            refused=dict(self.refused),
            refused_before=plan.refused_before,
            vanished=plan.vanished,
            notes=notes() if callable(notes) else {},
            seconds=time.monotonic() - self.started,
        )

    def _plan_rows(self) -> Plan:
        """Compare the listing with the rows."""
        refused = {} if self.retry_rejects else self.rejects.known()
        plan = plan_rows(self.items, self._pairs([self.source.key, "etag"]), refused, self._refuse)
        place = "source" if self.owner else "uri"
        if place in self.table.schema.names:
            plan.vanished = missing(self._pairs([self.source.key, place]), plan.keys, self._is_own)
        return plan

    def _pairs(self, columns: Sequence[str]) -> Iterator[tuple[list[Any], list[Any]]]:
        """The values of two columns, batch by batch."""
        for batch in self.table.scan(columns, batch_rows=65_536):
            yield batch.column(0).to_pylist(), batch.column(1).to_pylist()

    def _is_own(self, where: str | None) -> bool:
        """Whether a row that came from there came from this source."""
        if self.owner:
            return where == self.owner
        return (where or "").startswith(f"{self.source.origin.rstrip('/')}/")

    def _plan_files(self) -> Plan:
        """Compare the listing with the files the table remembers."""
        remembered, present = self._remembered(), set()
        plan = Plan()
        refused = {} if self.retry_rejects else self.rejects.known()
        for item in self.items:
            plan.listed += 1
            present.add(item.where)
            if remembered.get(item.where, {}).get("etag") == item.etag and not self.retry_rejects:
                plan.unchanged += 1
                self.rejects.forgive([item.key], except_for=set())  # it was broken, and is again what it was
            elif item.etag and refused.get(item.key) == item.etag:
                plan.refused_before += 1
            else:
                plan.todo.append(item)
        origin = self.source.origin.rstrip("/").split("*")[0]
        plan.vanished = [where for where in remembered if where not in present and where.startswith(origin)]
        return plan

    def _remembered(self) -> dict[str, dict[str, str]]:
        """Files the table has taken in whole: location → {"where", "etag"}."""
        entries = rows.table_metadata(self.table)
        stored = [json.loads(value) for name, value in entries.items() if name.startswith(_SOURCE_ENTRY)]
        return {entry["where"]: entry for entry in stored}

    def _write_rows(self, todo: Spool, counter: Counter) -> None:
        """Write what the source gives; when the store goes down, what came before is written all the same."""
        # All in one go: a source that waits for slow servers would wait at the end of every portion.
        with closing(read_ahead(self.source, todo)) as entries:
            try:
                for unit in units(rows_of(entries, lambda reject: self._refuse(reject, counter), counter.advance)):
                    named = unit if self.owner is None else _with_source(unit, self.owner)
                    self.written += rows.upsert(self.table, self._distinct(named), changed="etag")
                    self.rejects.flush()
            except TransientError:
                self.rejects.flush()
                raise
        self.rejects.forgive((item.key for item in todo), except_for=self.rejects.refused_now)

    def _write_files(self, todo: Spool, counter: Counter) -> None:
        for item in todo:
            try:
                self._write_file(item)
            except BrokenFile as error:
                self._refuse(Reject(item.key, "" if error.passing else item.etag, error.reason, error.detail))
            counter.advance()

    def _write_file(self, item: Item) -> None:
        """Take in one file: its rows by key, then the removal of rows that it no longer holds."""
        kept: list[pa.ChunkedArray] = []
        changed = "etag" if "etag" in self.schema.names else None
        with closing(read_ahead(self.source, [item])) as entries:
            for unit in units(rows_of(entries, self._refuse, lambda _: None)):
                distinct = self._distinct(_with_source(unit, item.where))
                kept.append(distinct.column(self.source.key))
                self.written += rows.upsert(self.table, distinct, changed=changed)
                self.rejects.flush()
        known = [key for key in self.rejects.known() if key == item.key or key.startswith(f"{item.key}/")]
        self.rejects.forgive(known, except_for=self.rejects.refused_now)
        self.table.move_to(self.table.latest())
        quoted = item.where.replace("'", "''")
        present = self.table.to_table([self.source.key], where=f"source = '{quoted}'").column(0)
        still = pa.chunked_array([chunk for keys in kept for chunk in keys.chunks], present.type)
        gone = present.filter(pc.invert(pc.is_in(present, value_set=still)))
        self.written += rows.delete_keys(self.table, gone.to_pylist())
        digest = hashlib.sha256(item.where.encode()).hexdigest()[:24]
        entry = json.dumps({"where": item.where, "etag": item.etag})
        rows.set_table_metadata(self.table, {f"{_SOURCE_ENTRY}{digest}": entry})

    def _distinct(self, unit: pa.Table) -> pa.Table:
        """Refuse the second row of a key within a unit: which one would win must not be chance."""
        keys = unit.column(self.source.key).to_pylist()
        if len(set(keys)) == len(keys):
            return unit
        seen: set[str] = set()
        keep = [key not in seen and not seen.add(key) for key in keys]  # type: ignore[func-returns-value]
        for key, kept in zip(keys, keep, strict=True):
            if not kept:
                self._refuse(Reject(key, "", "duplicate_key", "the same key again in one source"))
        return unit.filter(pa.array(keep))

    def _refuse(self, reject: Reject, counter: Counter | None = None) -> None:
        self.refused[reject.reason] += 1
        self.rejects.add(reject)
        if counter is not None:
            counter.refuse(reject.reason)

    def _close(self, parameters: dict[str, Any]) -> None:
        """Mark the end of the verb, unless nothing happened; an earlier run that was killed is closed by this one."""
        if not self.written.any and not self.rejects.num_written:
            self.table.move_to(self.table.latest())
            if self.table.num_rows == 0 or properties_of(self.table) is not None:
                return
        counts = {"inserted": self.written.inserted, "updated": self.written.updated, "deleted": self.written.deleted}
        counts["refused"] = sum(self.refused.values())
        verb = f"ingest {self.source.kind}"
        self.table.move_to(
            rows.close_verb(self.table, Properties(verb, parameters, counts, first_version=self.first_version))
        )


def _with_source(unit: pa.Table, where: str) -> pa.Table:
    """Say of each row where it came from, unless it does so itself."""
    if "source" in unit.schema.names:
        return unit
    return unit.append_column("source", pa.array([where] * unit.num_rows, pa.string()))


def batch_of(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Make a batch of rows given as mappings; columns that a row lacks are null."""
    arrays = [pa.array([record.get(column.name) for record in records], column.type) for column in schema]
    return align(pa.table(arrays, names=schema.names), schema).combine_chunks().to_batches()[0]
