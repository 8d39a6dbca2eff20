"""SourceContract for what is no folder of files: a list of URLs, a saved DataChain dataset, another tool's Lance table.

A source is made of names and numbers; the number decides what the picture of a name is.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import lance
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.lance_io import rows as lance_rows
from ingest import Ingested
from tests.contracts.test_sources import contents, length, rejects, versions
from tests.pictures import encoded

LOOPBACK = "127.0.0.1"
Said = Mapping[str, int]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = encoded(int(self.path.rpartition("/")[2].partition(".")[0]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer((LOOPBACK, 0), _Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Args:
        name: of the kind.
        run: takes what is said into a table, from a source of a name; told the folder, the port and options.
    """

    name: str
    run: Callable[..., Ingested]

    def __str__(self) -> str:
        return self.name


def _urls(folder: Path, into: Path, said: Said, port: int, source: str, **options: Any) -> Ingested:
    place = folder / f"{source}.csv"
    with place.open("w", newline="") as file:
        lines = [(f"http://{LOOPBACK}:{port}/{number}.png", name) for name, number in said.items()]
        csv.writer(file).writerows([("url", "filename"), *lines])
    rules = ingest.DownloadRules(allow_private=(LOOPBACK,), num_retries=0)
    return ingest.from_urls(place, into=into, rules=rules, **options)


def _lance(folder: Path, into: Path, said: Said, _: int, source: str, **options: Any) -> Ingested:
    place = folder / f"{source}.lance"
    wanted = pa.table({"filename": list(said), "image": pa.array([encoded(n) for n in said.values()], pa.binary())})
    if not place.exists() or not lance.dataset(place).to_table().equals(wanted):
        lance.write_dataset(wanted, place, mode="overwrite")
    return ingest.from_lance(place, into=into, **options)


def _chain(folder: Path, into: Path, said: Said, _: int, source: str, **options: Any) -> Ingested:
    import datachain

    pictures = folder / source
    pictures.mkdir(exist_ok=True)
    for name, number in said.items():
        data = encoded(number)
        if not (pictures / name).exists() or (pictures / name).read_bytes() != data:
            (pictures / name).write_bytes(data)
    chain = datachain.read_storage(f"{pictures.as_uri()}/", update=True)
    chain = chain.filter(datachain.C("file.path").in_(list(said)))
    return ingest.from_chain(chain.save(f"contract_{source}"), into=into, **options)


KINDS = (Kind("urls", _urls), Kind("lance", _lance), Kind("chain", _chain))
pytestmark = pytest.mark.parametrize("kind", KINDS, ids=str)
Run = Callable[..., Ingested]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "t.lance"


@pytest.fixture
def run(kind: Kind, tmp_path: Path, port: int, datachain_root: Path) -> Run:
    """Take in what is said, from the source "in" or another one."""

    def take(into: Path, said: Said, source: str = "in", **options: Any) -> Ingested:
        return kind.run(tmp_path, into, said, port, source, **options)

    return take


def scored(table: Path) -> list[dict[str, Any]]:
    cd.map_column(table, length, "length")
    return contents(table)


def test_a_second_run_reads_and_writes_nothing(run: Run, table: Path) -> None:
    first = run(table, {"a.png": 1, "b.png": 2})
    before = versions(table)
    again = run(table, {"a.png": 1, "b.png": 2})
    assert (first.table.num_rows, again.read, again.written.any) == (2, 0, False)
    assert versions(table) == before


def test_what_changes_and_what_is_new_is_written_and_nothing_else(run: Run, table: Path) -> None:
    run(table, {"a.png": 1, "b.png": 2})
    before = scored(table)
    done = run(table, {"a.png": 1, "b.png": 7, "c.png": 3})
    assert (done.written.inserted, done.written.updated, done.table.num_rows) == (1, 1, 3)
    assert done.table.count_nulls("length") == 2
    assert before[0] in contents(table)


def test_what_is_no_longer_there_is_told_and_its_row_kept(run: Run, table: Path) -> None:
    run(table, {"a.png": 1, "b.png": 2})
    before = scored(table)
    gone = run(table, {"a.png": 1})
    assert (gone.num_vanished, contents(table)) == (1, before)
    run(table, {"a.png": 1, "b.png": 2})
    assert contents(table) == before


def test_a_second_source_of_the_same_names_replaces_nothing(run: Run, table: Path) -> None:
    run(table, {"a.png": 1, "b.png": 2})
    before = scored(table)
    done = run(table, {"a.png": 1, "b.png": 8, "c.png": 9}, "other")
    assert done.refused == {"other_source": 1}
    assert done.table.num_rows == 3
    assert [row for row in contents(table) if row in before] == before
    assert len(rejects(table)) == 1
    assert run(table, {"a.png": 1, "b.png": 2}).read == 0


@pytest.mark.parametrize("commits", range(3))
def test_killed_at_a_commit_it_goes_on_and_ends_in_the_same_table(
    run: Run, commits: int, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"a.png": 1, "b.png": 2}
    run(table.with_name("expected.lance"), said)
    left = [commits]

    def dying(verb: Any) -> Any:
        def commit(*given: Any, **named: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return verb(*given, **named)

        return commit

    with monkeypatch.context() as patch:
        for name in ("create_table", "upsert", "close_verb"):
            patch.setattr(lance_rows, name, dying(getattr(lance_rows, name)))
        with suppress(KeyboardInterrupt):
            run(table, said)

    run(table, said)
    assert contents(table) == contents(table.with_name("expected.lance"))
    assert run(table, said).read == 0
