"""One handle in several threads: what writes works on it while others read it, as those of a viewer's page do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.lance_io.history import last_map_of, properties_of
from clipdata.lance_io.table import Table
from tests.tables import number_table


@cd.step(reads="number", returns="int64")
def twice(number: int) -> int:
    return 2 * number


@contextmanager
def read_by_others(table: Table) -> Iterator[None]:
    """Two threads read through the handle's Lance dataset without a pause, from before the block until after it."""
    done, dataset, begun = threading.Event(), table.dataset, threading.Barrier(3)
    wrong: list[BaseException] = []

    def read() -> None:
        begun.wait()
        try:
            while not done.is_set():
                dataset.count_rows("number >= 0")
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []


VERBS: dict[str, Callable[[Table], object]] = {
    "tag": lambda table: cd.tag(table, "again"),
    "tag, moved": lambda table: cd.tag(table, "kept", move=True),
    "tag, deleted": lambda table: cd.tag(table, "kept", delete=True),
    "tag of a run": lambda table: table.tag("run-one-v2", needed_by="runs/one"),
    "log": cd.log,
    "what a commit says": properties_of,
    "what the last map says": lambda table: last_map_of(table, "doubled", after=1),
    "stats": cd.stats,
    "map": lambda table: cd.map_column(table, twice, "twice"),
    "map, overwrite": lambda table: cd.map_column(table, twice, "doubled", overwrite=True),
    "drop": lambda table: cd.drop(table, ["doubled"]),
    "delete": lambda table: cd.delete(table, "number = 1"),
    "select": lambda table: cd.select(table, "few", where="number < 3"),
    "compact": cd.compact,
    "restore": lambda table: cd.restore(table, 2),
    "check": cd.check,
    "clean": cd.clean,
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_on_a_handle_that_other_threads_read(verb: str, tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=5)
    cd.tag(table, "kept")
    cd.map_column(table, twice, "doubled")
    handle = cd.open_table(table.uri)

    with read_by_others(handle):
        VERBS[verb](handle)

    assert cd.check(table.uri).sound
    assert handle.count_rows("number >= 0") > 0, "the handle still answers"
