"""Bugs that are planted in a process of the history test, and nowhere else, to see that the checker finds them.

Each replaces one thing that the product does by what a careless one would do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import lance
import pyarrow as pa

from clipdata.errors import StorageError
from clipdata.lance_io import compacting, deleting, history, replacement, restoring, rows, tags
from clipdata.lance_io.table import open_table
from tests.faults.history_records import OFFSETS

BUGS: dict[str, Callable[[], None]] = {}


def plant(name: str) -> None:
    """Put a bug in place, in this process; "" is none."""
    if name:
        BUGS[name]()


def _bug(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def kept(function: Callable[[], None]) -> Callable[[], None]:
        BUGS[name] = function
        return function

    return kept


@_bug("the primary key is not declared")
def _no_primary_key() -> None:
    create = lance.LanceDataset.commit

    def without(uri: Any, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, lance.LanceOperation.Overwrite):
            bare = pa.schema([field.with_metadata({}) for field in operation.new_schema])
            operation = lance.LanceOperation.Overwrite(bare, [])
        return create(uri, operation, *args, **kwargs)

    lance.LanceDataset.commit = staticmethod(without)
    rows.key_of = lambda schema: "path"
    import clipdata.schema as schemas

    schemas.key_of = rows.key_of


@_bug("a commit does not look for its own id")
def _no_own_id() -> None:
    history._version_of = lambda *args, **kwargs: None


@_bug("values are put beside the rows of another fragment")
def _wrong_fragment() -> None:
    replaced = replacement._replaced

    def swapped(filling: Any, dataset: Any, finished: Any, reasons: Any) -> Any:
        sizes: dict[int, list[int]] = {}
        for fragment in dataset.get_fragments():
            if fragment.fragment_id in finished:
                sizes.setdefault(fragment.physical_rows, []).append(fragment.fragment_id)
        files = {number: entry.file for number, entry in finished.items()}
        mixed = dict(finished)
        for same in sizes.values():
            for one, other in zip(same, same[1:] + same[:1], strict=True):
                mixed[one] = dataclasses.replace(finished[one], file=files[other])
        return replaced(filling, dataset, mixed, reasons)

    replacement._replaced = swapped


@_bug("a map computes from the version in which it first saw a row")
def _old_version() -> None:
    from tests.faults import history_actors

    first: dict[str, int] = {}

    def stale(self: Any, batch: pa.RecordBatch, prepared: object) -> Any:
        pairs = zip(batch.column("path").to_pylist(), batch.column("n").to_pylist(), strict=True)
        numbers = [first.setdefault(key, number) for key, number in pairs]
        return pa.array([number + OFFSETS[self.version] for number in numbers], pa.int64())

    history_actors.Offset.reads = ("n", "path")
    history_actors.Offset.compute = stale


@_bug("a write is told before it is made")
def _lost_write() -> None:
    upsert, calls = rows.upsert, iter(range(10**9))
    rows.upsert = lambda *args, **how: rows.Written(1) if next(calls) % 5 == 4 else upsert(*args, **how)


@_bug("a write that lost its answer is made again blindly")
def _blind_append() -> None:
    def twice(table: Any, given: pa.Table, **how: Any) -> Any:
        dataset = open_table(table.uri, storage=table.storage).dataset
        for _ in range(2):
            dataset = lance.write_dataset(given, dataset, mode="append")
        return rows.Written(given.num_rows)

    rows.upsert = twice


@_bug("a write that was refused is made all the same")
def _failed_write() -> None:
    upsert, calls = rows.upsert, iter(range(10**9))

    def failing(*args: Any, **how: Any) -> Any:
        done = upsert(*args, **how)
        if next(calls) % 4 == 3:
            raise StorageError("planted: refused")
        return done

    rows.upsert = failing


@_bug("a changed row keeps what was made of the old one")
def _kept_derived() -> None:
    upsert = rows.upsert

    def keeping(table: Any, given: pa.Table, **how: Any) -> Any:
        dataset = open_table(table.uri, storage=table.storage).dataset
        known = dict(zip(*dataset.to_table(columns=["path", "n"]).to_pydict().values(), strict=True))
        for key, number in zip(*given.to_pydict().values(), strict=True):
            if key in known and known[key] != number:
                dataset.update({"n": str(number)}, where=f"path = '{key}'")
        return upsert(table, given, **how)

    rows.upsert = keeping


@_bug("a delete leaves a row")
def _half_delete() -> None:
    delete = deleting.delete

    def half(table: Any, where: str, **how: Any) -> Any:
        keys = where.partition("(")[2].rstrip(")").split(", ")
        return delete(table, f"path IN ({keys[0]})" if len(keys) > 1 else where + " AND false", **how)

    _as_public("delete", half)


@_bug("a delete takes another row along")
def _wide_delete() -> None:
    delete = deleting.delete
    _as_public("delete", lambda table, where, **how: delete(table, where + " OR path LIKE '%-1'", **how))


@_bug("a restore comes back to the version before the one that was asked for")
def _wrong_restore() -> None:
    restore = restoring.restore
    _as_public("restore", lambda table, version, **how: restore(table, max(version - 1, 2), **how))


@_bug("a compaction forgets a fragment")
def _lossy_compaction() -> None:
    compact = compacting.compact

    def lossy(table: Any, **how: Any) -> Any:
        newest = open_table(table.uri, storage=table.storage)
        numbers: Sequence[int] = [one.fragment_id for one in newest.dataset.get_fragments()]
        if len(numbers) > 1:
            lance.LanceDataset.commit(
                newest.dataset, lance.LanceOperation.Delete([], [numbers[0]], "false"), read_version=newest.version
            )
        return compact(table, **how)

    _as_public("compact", lossy)


@_bug("a tag names the newest version instead")
def _wrong_tag() -> None:
    tag = tags.tag

    def newest(table: Any, name: str, *, version: int) -> Any:
        return tag(table, name, version=version - 1)

    _as_public("tag", newest)


def _as_public(name: str, function: Any) -> None:
    import clipdata

    setattr(clipdata, name, function)
