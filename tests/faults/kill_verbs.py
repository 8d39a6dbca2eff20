"""Every verb that writes, as something to be killed, filled a disk under or forbidden: the table, and what it works on.

A verb of the command line is in `VERBS`, under its own words and perhaps a word more, or in `ELSEWHERE` with the
reason. What needs a model is in `MODEL_VERBS`, which load torch and are called by `benchmarks/kill_matrix.py` alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import clipdata as cd
import ingest
from clipdata.lance_io import cleaning
from clipdata.step_protocol import BaseStep
from clipdata.storage import Storage, join
from tests.class_folders import write_lists
from tests.damaging import data_files
from tests.hostile_server import PUBLIC
from tests.pictures import write_pictures

NUM_PICTURES = 12


class Width(BaseStep):
    """So many times the width."""

    name, returns, reads = "Width", pa.int64(), ("width",)

    def __init__(self, times: int = 2) -> None:
        self.version = str(times)

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        return pa.compute.multiply(batch.column("width").cast(pa.int64()), int(self.version))


class Flaky(BaseStep):
    """The width, of all rows but the third as long as `fails` says so."""

    name, version, returns, reads = "Flaky", "1", pa.int64(), ("width", "path")

    def __init__(self, *, fails: bool = False) -> None:
        self._fails = fails

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        bad = [self._fails and path == "0003.jpg" for path in batch.column("path").to_pylist()]
        values = [None if one else width for one, width in zip(bad, batch.column("width").to_pylist(), strict=True)]
        return pa.array(values, pa.int64()), ["too flaky" if one else None for one in bad]


@dataclass(frozen=True)
class World:
    """Where a verb works.

    Args:
        sources: local folder of what is taken in.
        place: folder or URL of the tables.
        storage: how to reach it.
        out: local folder for files that are written.
    """

    sources: str
    place: str
    storage: Storage
    out: str

    def at(self, name: str) -> str:
        """The location of a table."""
        return join(self.place, name)

    def open(self, name: str) -> cd.Table:
        """A table."""
        return cd.open_table(self.at(name), storage=self.storage)


Play = Callable[[World], object]


@dataclass(frozen=True)
class Verb:
    """One verb, or one way of it.

    Args:
        play: carries it out.
        needs: tables that it reads or changes.
        refuses_when_done: called again it says that it is done already, which is an error.
    """

    play: Play
    needs: tuple[str, ...] = ("images.lance",)
    refuses_when_done: bool = False


def _into(function: Callable[..., object], *sources: str, **how: Any) -> Verb:
    def play(world: World) -> object:
        given = (f"{world.sources}/{source}" for source in sources)
        return function(*given, into=world.at("new.lance"), storage=world.storage, **how)

    return Verb(play, needs=())


def _on(function: Callable[[cd.Table, World], object], name: str = "images.lance", *, refuses: bool = False) -> Verb:
    return Verb(lambda world: function(world.open(name), world), (name,), refuses_when_done=refuses)


def _merge(world: World, **how: Any) -> None:
    ingest.merge(
        world.at("images.lance"), world.at("meta.lance"), on="filename", into=world.at("new.lance"),
        storage=world.storage, **how,
    )  # fmt: skip


def _from_lance(world: World) -> None:
    ingest.from_lance(world.at("meta.lance"), into=world.at("new.lance"), storage=world.storage)


def _from_hugging_face(world: World) -> None:
    ingest.from_hugging_face(f"{world.sources}/hub", into=world.at("new.lance"), storage=world.storage, name="hub")


def _from_urls(world: World) -> None:
    rules = ingest.DownloadRules(allow_private=(f"{PUBLIC}/32",), num_retries=0)
    with _serving(Path(world.sources)):
        ingest.from_urls(f"{world.sources}/urls.csv", into=world.at("new.lance"), storage=world.storage, rules=rules)


@contextmanager
def _serving(sources: Path) -> Any:
    """Serve the pictures at the address that the list of URLs names, as long as this process lives."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    port = int((sources / "port.txt").read_text())
    server = ThreadingHTTPServer((PUBLIC, port), partial(Quiet, directory=str(sources / "in")))
    with closing(server.socket):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _cleaned(table: cd.Table) -> None:
    """Clean what is older than no time at all, which is allowed in no other place than this process."""
    cleaning.LEAST = timedelta(0)
    cd.clean(table, older_than=timedelta(0))


def _decided(world: World) -> None:
    from clipdata.viewer.decisions import write_decisions

    decided = {"0001.jpg": "yes", "0004.jpg": "no"}
    write_decisions(world.open("images.lance"), "path", "kept", lambda _: decided)


def _exported(kind: str) -> Verb:
    suffix = "" if kind in ("folder", "shards") else f".{kind}"
    columns = ["path", "width"] if kind in ("csv", "tsv", "jsonl") else None
    return _on(
        lambda table, world: cd.export(table, f"{world.out}/out{suffix}", format=kind, columns=columns), refuses=True
    )


VERBS: dict[str, Verb] = {
    "ingest images": _into(ingest.from_images, "in"),
    "ingest parquet": _into(ingest.from_parquet, "meta.parquet"),
    "ingest captions": _into(ingest.from_captions, "in", "captions.csv"),
    "ingest shards": _into(ingest.from_shards, "shards"),
    "ingest class-list": _into(ingest.from_class_list, "classes/images", "classes/meta"),
    "ingest lance": Verb(_from_lance, ("meta.lance",)),
    "ingest hugging-face": Verb(_from_hugging_face, ()),
    "ingest urls": Verb(_from_urls, ()),
    "merge": Verb(_merge, ("images.lance", "meta.lance")),
    "merge --group": Verb(partial(_merge, group=True), ("images.lance", "meta.lance")),
    "map": _on(lambda table, _: cd.map_column(table, Width(3), "thrice", batch_rows=4)),
    "map --overwrite": _on(lambda table, _: cd.map_column(table, Width(5), "twice", overwrite=True)),
    "refresh": _on(lambda table, _: cd.refresh(table, ["twice"], steps=[Width(2)])),
    "errors --retry": _on(lambda table, _: cd.retry_errors(table, ["flaky"], steps=[Flaky()])),
    "check --repair": Verb(
        lambda world: cd.check(world.at("broken.lance"), repair=True, storage=world.storage), ("broken.lance",)
    ),
    "delete": _on(lambda table, _: cd.delete(table, "path = '0001.jpg'")),
    "drop": _on(lambda table, _: cd.drop(table, "twice"), refuses=True),
    "restore": _on(lambda table, _: cd.restore(table, "raw")),
    "tag": _on(lambda table, _: cd.tag(table, "second"), refuses=True),
    "tag --move": _on(lambda table, _: cd.tag(table, "raw", version=2, move=True)),
    "tag --delete": _on(lambda table, _: cd.tag(table, "raw", delete=True), refuses=True),
    "select": _on(lambda table, _: cd.select(table, "wide", where="width > 0"), refuses=True),
    "select --overwrite": _on(
        lambda table, _: cd.select(table, "named", where="path > '0003'", overwrite=True), refuses=True
    ),
    "select --delete": _on(lambda table, _: cd.select(table, "named", delete=True), refuses=True),
    "compact": _on(lambda table, _: cd.compact(table)),
    "clean": _on(lambda table, _: _cleaned(table)),
    "index": _on(lambda table, _: cd.index(table, "filename")),
    "view --edit": Verb(_decided),
    "view --export": _on(lambda table, world: cd.export_view(table, f"{world.out}/out.html"), refuses=True),
    "report": _on(lambda table, world: cd.report(table, out=f"{world.out}/out.html")),
    "query --out": _on(
        lambda table, world: cd.export_query(table, "SELECT path, width FROM dataset", f"{world.out}/out.csv"),
        refuses=True,
    ),
    "export parquet": _exported("parquet"),
    "export csv": _exported("csv"),
    "export tsv": _exported("tsv"),
    "export jsonl": _exported("jsonl"),
    "export lance": _exported("lance"),
    "export folder": _exported("folder"),
    "export shards": _exported("shards"),
    "push": _on(lambda table, world: cd.push(table, f"{world.out}/pushed"), refuses=True),
}

_READS = "it writes nothing"
ELSEWHERE = {
    **dict.fromkeys(
        ("runs", "bench", "check-canary", "check-split", "compare", "search", "similar", "show", "diff", "stats", "log",
         "rejects", "why"), _READS,
    ),
    **dict.fromkeys(
        ("run caption-contest", "run prompt-classification", "run from-scratch", "run dual-encoder",
         "run locked-image", "fine-tune"), "the verbs here, one after the other: test_killing.py",
    ),
    "curate": "what it writes are the runs of train",
    "doctor": "a probe, which it takes away again",
}  # fmt: skip
"""Verbs of the command line that are in neither table, and why."""


def prepare(folder: Path) -> None:
    """Sources, and the tables that verbs work on, in `folder/sources` and `folder/tables`."""
    sources, tables = folder / "sources", folder / "tables"
    _write_sources(sources)
    ingest.from_images(str(sources / "in"), into=tables / "images.lance", limit=6)
    images = cd.open_table(tables / "images.lance")
    cd.tag(images.latest(), "raw")
    cd.map_column(images.latest(), Width(2), "twice")
    ingest.from_images(str(sources / "in"), into=tables / "images.lance")
    ingest.from_parquet(str(sources / "meta.parquet"), into=tables / "meta.lance")
    cd.map_column(images.latest(), Flaky(fails=True), "flaky")
    cd.select(images.latest(), "named", where="path > '0005'")
    cd.delete(images.latest(), "path = '0002.jpg'")
    cd.export(images.latest(), str(sources / "shards"), format="shards")
    ingest.from_images(str(sources / "in"), into=tables / "broken.lance", limit=6)
    cd.map_column(tables / "broken.lance", Width(2), "twice")
    data_files(tables / "broken.lance", "twice")[0].unlink()


def _write_sources(sources: Path) -> None:
    write_pictures(sources / "in", NUM_PICTURES)
    names = [f"{n:04d}.jpg" for n in range(NUM_PICTURES)]
    pq.write_table(pa.table({"filename": names, "label": names}), sources / "meta.parquet")
    (sources / "hub").mkdir()
    pq.write_table(pa.table({"filename": names, "label": names}), sources / "hub" / "train.parquet")
    lines = ["filename,caption", *(f"{name},picture {name}" for name in names)]
    (sources / "captions.csv").write_text("\n".join(lines) + "\n")
    (sources / "classes").mkdir()
    write_lists(sources / "classes", 3)
    with closing(ThreadingHTTPServer((PUBLIC, 0), SimpleHTTPRequestHandler).socket) as free:
        port = free.getsockname()[1]
    (sources / "port.txt").write_text(str(port))
    lines = ["url,caption", *(f"http://{PUBLIC}:{port}/{name},picture {name}" for name in names)]
    (sources / "urls.csv").write_text("\n".join(lines) + "\n")
