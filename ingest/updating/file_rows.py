"""Rows of files on their way into a table: read, compared with those that are there, and written by key.

Small files go in together, in one commit. A file counts as taken in, and the rows that it no longer holds are removed,
only after it was read to its end. It pickles, so that some of the files can be taken in elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from clipdata.errors import TransientError
from clipdata.lance_io.deleted_notes import notes_of
from clipdata.progress import Counter
from clipdata.storage import redact
from ingest.updating.batches import Unit
from ingest.updating.digest_set import NOWHERE, DigestSet, KnownRows
from ingest.updating.digests import digest
from ingest.updating.evidence import Evidence, left_out, told
from ingest.updating.reading_ahead import Ended, read_files_ahead
from ingest.updating.receiver import Receiver
from ingest.updating.sampling import Sampling
from ingest.updating.source import FileSource, Item, Reject
from ingest.updating.taken import TakenFile

_END_BYTES = 64 << 10
_SCANNED_ROWS = 65_536


@dataclass
class Survey:
    """What the table holds before anything is written.

    Args:
        sources: keys of files that have rows.
        rows: of the files that are to be read.
        others: keys of rows of files of this source that are not.
        foreign: keys of rows that came from elsewhere.
    """

    sources: set[str] = field(default_factory=set)
    rows: KnownRows = field(default_factory=KnownRows)
    others: DigestSet = field(default_factory=DigestSet)
    foreign: DigestSet = field(default_factory=DigestSet)


@dataclass
class FileRows:
    """How the rows of one run's files are taken in.

    Args:
        source: of the files.
        survey: what the table holds before.
        sampling: which part is taken in.
        options: digest of the options of this run.
    """

    source: FileSource
    survey: Survey
    sampling: Sampling
    options: str

    def take_in(self, items: Iterable[Item], receiver: Receiver, counter: Counter) -> None:
        """Read files and write their rows, a unit at a time.

        Raises:
            TransientError: the store went down; what came before is written.
        """
        _Taking(self, receiver).files(items, counter)

    def are_new(self, keys: Sequence[str]) -> np.ndarray:
        """Tell of keys whether the table had no row of them at the start; bool [n]."""
        is_there = self.survey.rows.find(keys, [""] * len(keys)).places != NOWHERE
        return ~(is_there | self.survey.others.contains(keys) | self.survey.foreign.contains(keys))


class _Taking:
    """Some files, under way into a table."""

    def __init__(self, rows: FileRows, receiver: Receiver) -> None:
        self.source, self.sampling, self._survey, self._options = rows.source, rows.sampling, rows.survey, rows.options
        self.receiver, self._are_new = receiver, rows.are_new
        self._gave = Evidence()  # by the files that are read
        self._has_deleted: set[str] = set()  # of these, those of which rows were left out
        self._kept: dict[str, DigestSet] = {}  # keys of the rows of files that may have had others
        self._scopes: dict[str, str] = {}

    def files(self, todo: Iterable[Item], counter: Counter) -> None:
        """Take in files; when the store goes down, what came before is written all the same."""
        ranks = self.sampling.of_files(self.source, todo, self.source.key)
        unit, ended = Unit(self.receiver.table_rows), list[tuple[Item, Ended]]()
        with closing(read_files_ahead(self.source, todo)) as entries:
            try:
                for item, entry in entries:
                    if isinstance(entry, Ended):
                        ended.append((item, entry))
                        counter.advance()
                    elif isinstance(entry, Reject):
                        self.receiver.refuse(entry, redact(item.where))
                    else:
                        batch = self.sampling.cut(entry, self.source.key, ranks, self.receiver.num_rows)
                        self._take_up(unit, batch, item)
                        if self.receiver.num_rows == self.sampling.limit:
                            break
                    if unit.is_full:
                        self._write(unit, ended)
            except TransientError:
                self._write(unit, ended)
                raise
        self._write(unit, ended)

    def _take_up(self, unit: Unit, batch: pa.RecordBatch, item: Item) -> None:
        """Let a file's rows wait to be written."""
        self._scopes[item.key] = redact(item.where)
        table = pa.Table.from_batches([batch])
        at = table.schema.get_field_index("source")
        said = pa.array([item.key] * table.num_rows, pa.string())
        table = table.append_column("source", said) if at < 0 else table.set_column(at, "source", said)
        table = self._without_foreign(self.receiver.admission.named(table), item)
        self.receiver.num_rows += table.num_rows
        if item.key in self._survey.sources:
            table = self._new_or_changed(table, item)
        table = self._without_deleted(table)
        for one in table.to_batches():
            unit.add(one)

    def _new_or_changed(self, table: pa.Table, item: Item) -> pa.Table:
        """Rows of a file that had others, without those that are in the table as they are."""
        keys = table.column(self.receiver.key).to_pylist()
        self._kept.setdefault(item.key, DigestSet()).add(keys)
        etags = table.column("etag").to_pylist() if "etag" in table.schema.names else keys
        is_same = self._survey.rows.find(keys, etags).is_same
        self._note(table.filter(pa.array(is_same)))
        return table.filter(pa.array(~is_same))

    def _without_deleted(self, table: pa.Table) -> pa.Table:
        """Rows of a file without those that were deleted by hand, and say the same."""
        keys = table.column(self.receiver.key).to_pylist()
        etags = table.column("etag").to_pylist() if "etag" in table.schema.names else keys
        is_deleted = self.receiver.deleted.contains(keys, [etag or key for key, etag in zip(keys, etags, strict=True)])
        if not is_deleted.any():
            return table
        is_deleted &= self._survey.rows.find(keys, etags).places == NOWHERE
        self.receiver.deleted.num_left_out += int(is_deleted.sum())
        self._has_deleted.update(table.filter(pa.array(is_deleted)).column("source").unique().to_pylist())
        return table.filter(pa.array(~is_deleted))

    def _note(self, rows: pa.Table) -> None:
        """Note what files gave, whether or not it has to be written."""
        for batch in rows.to_batches():
            etags = batch.column("etag") if "etag" in batch.schema.names else None
            self._gave.add(batch.column("source"), batch.column(self.receiver.key), etags)

    def _without_foreign(self, table: pa.Table, item: Item) -> pa.Table:
        if not len(self._survey.foreign):
            return table
        keys = table.column(self.receiver.key).to_pylist()
        is_foreign = self._survey.foreign.contains(keys)
        for key, foreign in zip(keys, is_foreign, strict=True):
            if foreign:
                detail = f"the table has a row {key!r} of another source; --prefix (prefix=) NAME tells them apart"
                self.receiver.refuse(Reject(key, "", "other_source", detail), redact(item.where))
        return table.filter(pa.array(~is_foreign))

    def _write(self, unit: Unit, ended: list[tuple[Item, Ended]]) -> None:
        """Write the rows that wait, then what follows from the ends of the files among them."""
        rows = unit.take()
        if rows is not None:
            changed = "etag" if "etag" in self.receiver.schema.names else None
            rows = self.receiver.distinct(rows, self._scopes)
            self.receiver.upsert(rows, changed=changed, are_new=self._are_new)
            self._note(rows)
        if ended:
            self.receiver.put_in()
        whole = [item for item, end in ended if end.broken is None]
        for item, end in ended:
            self.receiver.read.add(redact(item.where))
            if end.broken is not None:
                self._refuse(item, end)
        self._remove_rows([item.key for item in whole])
        if whole and self.sampling.is_whole:
            self._remember(whole)
        for item, _ in ended:
            self._gave.forget(item.key)
        self.receiver.flush()
        ended.clear()

    def _remember(self, items: list[Item]) -> None:
        """Let files count as taken in."""
        table = self.receiver.make().latest()
        known = left_out(notes_of(table), table.version)
        self.receiver.keep_files(
            TakenFile(
                item.key,
                redact(item.where),
                item.etag,
                item.size,
                ends_of(self.source, item),
                self._options,
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
            self.receiver.num_gone += 1
        etag = "" if end.broken.passing else item.etag
        self.receiver.refuse(Reject(item.key, etag, reason, detail), redact(item.where))

    def _remove_rows(self, keys: list[str]) -> None:
        """Remove the rows that files no longer hold."""
        had_others = [key for key in keys if key in self._survey.sources]
        if not had_others or not self.sampling.is_whole:
            return
        table = self.receiver.make()
        table.move_to(table.latest())
        gone: list[str] = []
        listed = ", ".join("'" + key.replace("'", "''") + "'" for key in had_others)
        for batch in table.scan([self.receiver.key, "source"], where=f"source IN ({listed})", batch_rows=_SCANNED_ROWS):
            by_source: dict[str, list[str]] = {}
            for name, source in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                by_source.setdefault(source, []).append(name)
            for source, names in by_source.items():
                kept = self._kept.get(source, DigestSet()).contains(names)
                gone += [name for name, keep in zip(names, kept, strict=True) if not keep]
        self.receiver.delete(gone)
        for key in had_others:
            self._kept.pop(key, None)


def ends_of(source: FileSource, item: Item) -> str:
    """A digest of a file's first and last bytes; "" when they cannot be read."""
    fs, path = source.storage.filesystem(item.where)
    size = item.size or 0
    try:
        first = fs.cat_file(path, 0, min(_END_BYTES, size))
        last = fs.cat_file(path, size - _END_BYTES, size) if size > _END_BYTES else b""
    except OSError:
        return ""  # then it is not recognised under another name, and nothing else
    return digest(first.hex(), last.hex())
