"""Rows of files: files of many rows are compared with those the table has taken in, read, and written by key.

Small files go in together, in one commit. A file counts as taken in, and the rows that it no longer holds are removed,
only after it was read to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from clipdata.errors import TransientError
from clipdata.lance_io.deleted_rows import notes_of
from clipdata.lance_io.rows import table_metadata
from clipdata.progress import Counter
from clipdata.storage import redact
from ingest.updating.batches import Unit
from ingest.updating.digest_set import NOWHERE, DigestSet, KnownRows
from ingest.updating.digests import digest
from ingest.updating.evidence import Evidence, Held, left_out, told
from ingest.updating.planning import FilePlan, plan_files
from ingest.updating.reading_ahead import Ended, read_files_ahead
from ingest.updating.sampling import Sampling
from ingest.updating.source import FileSource, Item, Reject
from ingest.updating.taken import TakenFile
from ingest.updating.target import Target

_END_BYTES = 64 << 10
_SCANNED_ROWS = 65_536


@dataclass
class _Survey:
    """What the table holds before anything is written.

    Args:
        sources: keys of files that have rows.
        rows: of the files that are to be read.
        foreign: keys of rows that came from elsewhere.
    """

    sources: set[str] = field(default_factory=set)
    rows: KnownRows = field(default_factory=KnownRows)
    foreign: DigestSet = field(default_factory=DigestSet)


class RowsOfFiles:
    """One run of a source of files.

    Args:
        target: the table.
        source: of the files.
        sampling: which part is taken in.
    """

    def __init__(self, target: Target, source: FileSource, sampling: Sampling) -> None:
        self.target, self.source, self.sampling = target, source, sampling
        self._taken = self._borne_out(target.taken.files()) if target.table is not None else []
        self._gave = Evidence()  # by the files that this run reads
        self._has_deleted: set[str] = set()  # of these, those of which rows were left out
        self._read: set[str] = set()  # scopes of the files that this run read
        self._kept: dict[str, DigestSet] = {}  # keys of the rows of files that may have had others
        self._scopes: dict[str, str] = {}
        self._survey, self._plan = _Survey(), FilePlan()

    def _borne_out(self, taken: list[TakenFile]) -> list[TakenFile]:
        """Files that were taken in; those whose rows are not all in the table any more are to be read again."""
        if not taken or self.target.table is None:
            return taken
        held = Held(self.target.table)
        return [file if held.bears_out(file) else replace(file, etag="") for file in taken]

    def plan(self, items: Iterator[Item], *, retry_rejects: bool) -> FilePlan:
        """Compare the listing with the files that were taken in."""
        self._plan = plan_files(
            items,
            self._taken,
            self.target.options,
            self.source.covers,
            self._ends_of,
            self.target.rejects,
            lambda item, reject: self.target.refuse(reject, redact(item.where)),
            retry=retry_rejects,
        )
        return self._plan

    def write(self, counter: Counter) -> None:
        """Take in files; when the store goes down, what came before is written all the same."""
        self._survey, todo = self._look(), self._plan.todo
        ranks = self.sampling.of_files(self.source, todo, self.source.key)
        unit, ended = Unit(self.target.table_rows), list[tuple[Item, Ended]]()
        with closing(read_files_ahead(self.source, todo)) as entries:
            try:
                for item, entry in entries:
                    if isinstance(entry, Ended):
                        ended.append((item, entry))
                        counter.advance()
                    elif isinstance(entry, Reject):
                        self.target.refuse(entry, redact(item.where))
                    else:
                        batch = self.sampling.cut(entry, self.source.key, ranks, self.target.num_rows)
                        self._take_up(unit, batch, item)
                        if self.target.num_rows == self.sampling.limit:
                            break
                    if unit.is_full:
                        self._write(unit, ended)
            except TransientError:
                self._write(unit, ended)
                raise
        self._write(unit, ended)

    def settle(self) -> int:
        """Let go of refusals that no longer hold; say how many stand that this run did not look at again."""
        if not self.sampling.is_whole:
            self.target.rejects.flush()
            return 0

        def stays(key: str, scope: str) -> bool:
            if scope in self._read:
                return False
            if scope in self._plan.places:
                return key not in self._plan.good
            return not self.source.covers(scope)

        return self.target.rejects.settle(stays, is_own=self._plan.places.__contains__)

    def _look(self) -> _Survey:
        survey, present = _Survey(), self.target.table
        if present is None or not len(self._plan.todo):
            return survey
        to_read = {item.key for item in self._plan.todo}
        own = {file.key for file in self._taken} | to_read
        has = set(present.schema.names)
        columns = [self.target.key, *(name for name in ("source", "etag") if name in has)]

        def rows_to_read() -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
            for batch in present.scan(columns, batch_rows=_SCANNED_ROWS):
                nothing: list[Any] = [None] * batch.num_rows
                keys = batch.column(0).to_pylist()
                sources = batch.column("source").to_pylist() if "source" in columns else nothing
                etags = batch.column("etag").to_pylist() if "etag" in columns else keys
                survey.sources.update(source for source in sources if source is not None)
                survey.foreign.add([key for key, source in zip(keys, sources, strict=True) if source not in own])
                again = [at for at, source in enumerate(sources) if source in to_read]
                yield [keys[at] for at in again], [etags[at] for at in again], [sources[at] for at in again]

        survey.rows = KnownRows(rows_to_read())
        return survey

    def _take_up(self, unit: Unit, batch: pa.RecordBatch, item: Item) -> None:
        """Let a file's rows wait to be written."""
        self._scopes[item.key] = redact(item.where)
        table = pa.Table.from_batches([batch])
        at = table.schema.get_field_index("source")
        said = pa.array([item.key] * table.num_rows, pa.string())
        table = table.append_column("source", said) if at < 0 else table.set_column(at, "source", said)
        table = self._without_foreign(self.target.admission.named(table), item)
        self.target.num_rows += table.num_rows
        if item.key in self._survey.sources:
            table = self._new_or_changed(table, item)
        table = self._without_deleted(table)
        for one in table.to_batches():
            unit.add(one)

    def _new_or_changed(self, table: pa.Table, item: Item) -> pa.Table:
        """Rows of a file that had others, without those that are in the table as they are."""
        keys = table.column(self.target.key).to_pylist()
        self._kept.setdefault(item.key, DigestSet()).add(keys)
        etags = table.column("etag").to_pylist() if "etag" in table.schema.names else keys
        is_same = self._survey.rows.find(keys, etags).is_same
        self._note(table.filter(pa.array(is_same)))
        return table.filter(pa.array(~is_same))

    def _without_deleted(self, table: pa.Table) -> pa.Table:
        """Rows of a file without those that were deleted by hand, and say the same."""
        keys = table.column(self.target.key).to_pylist()
        etags = table.column("etag").to_pylist() if "etag" in table.schema.names else keys
        is_deleted = self.target.deleted.contains(keys, [etag or key for key, etag in zip(keys, etags, strict=True)])
        if not is_deleted.any():
            return table
        is_deleted &= self._survey.rows.find(keys, etags).places == NOWHERE
        self.target.deleted.num_left_out += int(is_deleted.sum())
        self._has_deleted.update(table.filter(pa.array(is_deleted)).column("source").unique().to_pylist())
        return table.filter(pa.array(~is_deleted))

    def _note(self, rows: pa.Table) -> None:
        """Note what files gave, whether or not it has to be written."""
        for batch in rows.to_batches():
            etags = batch.column("etag") if "etag" in batch.schema.names else None
            self._gave.add(batch.column("source"), batch.column(self.target.key), etags)

    def _without_foreign(self, table: pa.Table, item: Item) -> pa.Table:
        if not len(self._survey.foreign):
            return table
        keys = table.column(self.target.key).to_pylist()
        is_foreign = self._survey.foreign.contains(keys)
        for key, foreign in zip(keys, is_foreign, strict=True):
            if foreign:
                detail = f"the table has a row {key!r} of another source; --prefix (prefix=) NAME tells them apart"
                self.target.refuse(Reject(key, "", "other_source", detail), redact(item.where))
        return table.filter(pa.array(~is_foreign))

    def _write(self, unit: Unit, ended: list[tuple[Item, Ended]]) -> None:
        """Write the rows that wait, then what follows from the ends of the files among them."""
        rows = unit.take()
        if rows is not None:
            changed = "etag" if "etag" in self.target.schema.names else None
            rows = self.target.distinct(rows, self._scopes)
            self.target.upsert(rows, changed=changed)
            self._note(rows)
        whole = [item for item, end in ended if end.broken is None]
        for item, end in ended:
            self._read.add(redact(item.where))
            if end.broken is not None:
                self._refuse(item, end)
        self._remove_rows([item.key for item in whole])
        if whole and self.sampling.is_whole:
            self._remember(whole)
        for item, _ in ended:
            self._gave.forget(item.key)
        self.target.rejects.flush()
        ended.clear()

    def _remember(self, items: list[Item]) -> None:
        """Let files count as taken in."""
        table = self.target.make().latest()
        known = left_out(notes_of(table_metadata(table)), table.version)
        self.target.taken.add_files(
            TakenFile(
                item.key,
                redact(item.where),
                item.etag,
                item.size,
                self._ends_of(item),
                self.target.options,
                told(*self._gave.number_and_sum(item.key)),
                table.version,
                known if item.key in self._has_deleted else "",
            )
            for item in items
        )

    def _refuse(self, item: Item, end: Ended) -> None:
        assert end.broken is not None, "only a broken file is refused"
        reason, detail = end.broken.reason, end.broken.detail
        if reason == "missing" and item.etag:
            self.target.num_gone += 1
        etag = "" if end.broken.passing else item.etag
        self.target.refuse(Reject(item.key, etag, reason, detail), redact(item.where))

    def _remove_rows(self, keys: list[str]) -> None:
        """Remove the rows that files no longer hold."""
        had_others = [key for key in keys if key in self._survey.sources]
        if not had_others or not self.sampling.is_whole:
            return
        table = self.target.make()
        table.move_to(table.latest())
        gone: list[str] = []
        listed = ", ".join("'" + key.replace("'", "''") + "'" for key in had_others)
        for batch in table.scan([self.target.key, "source"], where=f"source IN ({listed})", batch_rows=_SCANNED_ROWS):
            by_source: dict[str, list[str]] = {}
            for name, source in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                by_source.setdefault(source, []).append(name)
            for source, names in by_source.items():
                kept = self._kept.get(source, DigestSet()).contains(names)
                gone += [name for name, keep in zip(names, kept, strict=True) if not keep]
        self.target.delete(gone)
        for key in had_others:
            self._kept.pop(key, None)

    def _ends_of(self, item: Item) -> str:
        """A digest of a file's first and last bytes; "" when they cannot be read."""
        fs, path = self.source.storage.filesystem(item.where)
        size = item.size or 0
        try:
            first = fs.cat_file(path, 0, min(_END_BYTES, size))
            last = fs.cat_file(path, size - _END_BYTES, size) if size > _END_BYTES else b""
        except OSError:
            return ""  # then it is not recognised under another name, and nothing else
        return digest(first.hex(), last.hex())
