"""What every engine must keep: the same values, the same record, one commit; and whatever one began, another finishes.

The tests of Ray run in a network namespace that has nothing but the loopback: one test runs this file there anew, with
that of ingests beside it, on one cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.engines.local import LocalEngine
from clipdata.engines.named import engine_named
from clipdata.errors import StepError, TransientError, UsageError
from clipdata.lance_io.history import log
from clipdata.lance_io.table import open_table
from tests.cloud.fixtures import Bucket
from tests.cloud.servers import MOTO_REQUIREMENTS, Unavailable, environment
from tests.contests import contest_table
from tests.contracts.engines import ADDRESS, WITHIN, Often, Shifted, computed, engine, processes, why_not
from tests.tables import append_numbers, number_table

ROOT = Path(__file__).parents[2]
IS_WITHIN = os.environ.get(WITHIN) == "1"
OTHER = {"local": "ray", "ray": "local"}
INGESTS = Path(__file__).with_name("test_ingest_engines.py")
only_ray = pytest.mark.skipif(not IS_WITHIN, reason="run by test_ray_keeps_it_too, in a namespace of its own")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", ["ray"] if IS_WITHIN else ["local"])


@pytest.mark.ray
@pytest.mark.timeout(1500)
@pytest.mark.skipif(IS_WITHIN, reason="it is this very run")
def test_ray_keeps_it_too() -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with suppress(Unavailable):
        environment(MOTO_REQUIREMENTS)  # the inner run has no network to install it from
    inner = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--timeout",
        "240",  # of one test: it is named by the inner run, and not by this one
        __file__,
        str(INGESTS),
    ]
    command = ["unshare", "-n", "bash", "-c", 'ip link set lo up; exec "$@"', "tests", *inner]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, WITHIN: "1"}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def on_the_cluster(cluster: Any) -> None:
    """Every test of the inner run has one."""


def mapped(table: cd.Table, kind: str, step: Any, **options: Any) -> cd.Mapped:
    return cd.map_column(table, step, "made", engine=engine(kind), batch_rows=4, **options)


def cells(table: cd.Table, column: str = "made") -> dict[int, Any]:
    read = open_table(table.uri, storage=table.storage).to_table(["number", column])
    return dict(zip(read["number"].to_pylist(), read[column].to_pylist(), strict=True))


def said(table: cd.Table) -> list[Any]:
    """What the history says of each version, ids and times aside."""
    return [{name: value for name, value in entry.to_dict().items() if name != "when"} for entry in log(table)]


def test_values_reasons_record_and_versions_are_those_of_the_local_engine(tmp_path: Path, kind: str) -> None:
    (tmp_path / "beside").mkdir()
    expected = number_table(tmp_path / "beside", 30, rows_per_write=7)
    table = number_table(tmp_path, 30, rows_per_write=7)

    first = mapped(expected, "local", Shifted(refuse=[3, 20]))
    done = mapped(table, kind, Shifted(refuse=[3, 20]))

    assert cells(table) == cells(expected)
    assert cells(table, "made__error") == cells(expected, "made__error") != {}
    assert said(table) == said(expected)
    assert (done.computed, done.failed, done.notes) == (first.computed, {"odd one": 2}, {"rows seen": 30})
    assert done.version == first.version
    append_numbers(table, 30, 40)
    again = mapped(table, kind, Shifted(refuse=[3, 20]))
    assert (again.computed, again.kept) == (10, 28)


def test_a_step_that_fails_on_every_row_is_told_as_by_the_local_engine(tmp_path: Path, kind: str) -> None:
    (tmp_path / "beside").mkdir()
    expected = number_table(tmp_path / "beside", 12, rows_per_write=4)
    table = number_table(tmp_path, 12, rows_per_write=4)

    first = mapped(expected, "local", Shifted(refuse=range(12)))
    done = mapped(table, kind, Shifted(refuse=range(12)))

    assert (done.computed, done.failed) == (first.computed, first.failed) == (12, {"odd one": 12})
    assert cells(table, "made__error") == cells(expected, "made__error")
    assert said(table) == said(expected)
    assert mapped(table, kind, Shifted(refuse=range(12))).version == done.version
    assert set(cells(table).values()) == {None}


def test_an_error_of_the_step_is_the_error_and_what_was_done_is_kept(tmp_path: Path, kind: str) -> None:
    table = number_table(tmp_path, 12, rows_per_write=4)
    folder = tmp_path / "seen"
    folder.mkdir()

    @cd.step(reads="number", returns="int64", batch=True, version="1")
    def broken(number: pa.Array) -> pa.Array:
        raise ValueError("the third shelf is empty")

    messages = []
    for name in ("local", kind):
        with pytest.raises(StepError) as caught:
            mapped(table, name, broken, overwrite=True)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "third shelf" in messages[0]


def test_a_limit_holds_and_the_next_run_goes_on(tmp_path: Path, kind: str) -> None:
    table = number_table(tmp_path, 20, rows_per_write=5)
    done = mapped(table, kind, Shifted(), limit=7)
    assert (done.computed, done.pending) == (7, 13)
    assert [number for number, value in cells(table).items() if value is not None] == list(range(7))
    assert mapped(table, kind, Shifted()).computed == 13


@pytest.mark.parametrize("resumed_by", ["local", "ray"])
def test_a_killed_job_is_finished_by_either_engine(tmp_path: Path, kind: str, resumed_by: str) -> None:
    if not IS_WITHIN and resumed_by == "ray":
        pytest.skip("no cluster out here")
    table = number_table(tmp_path, 32, rows_per_write=8)
    folder = tmp_path / "seen"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.contracts.engines", "map", kind, table.uri, str(folder)]
    job = subprocess.Popen(command, cwd=ROOT)
    while len(list((tmp_path / "t.lance.state").glob("map/made-*/parts/*/*.arrow"))) < 2:
        assert job.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    time.sleep(0.5)  # its workers end with it
    before = computed(folder)

    done = cd.map_column(table, Shifted(folder=folder), "made", batch_rows=2, engine=engine(resumed_by))

    assert cells(table) == {number: number + 1 for number in range(32)}
    assert 0 < done.computed < 32
    twice = len(computed(folder)) - 32
    assert twice <= 2 * 2 * 2, f"{twice} of {len(before)} rows were computed twice; each worker may lose two batches"
    verbs = [entry.properties.verb for entry in log(open_table(table.uri)) if entry.properties]
    assert verbs.count("map") == 1, "one commit of all values"


@pytest.mark.skipif(IS_WITHIN, reason="needs no cluster")
def test_engines_are_made_of_their_names_and_options_as_texts() -> None:
    made = engine_named("ray", {"workers": "3", "gpus": "0.5", "address": "auto"})
    assert made == cd.RayEngine(workers=3, gpus=0.5, address="auto")
    assert isinstance(engine_named("local", {}), LocalEngine)
    for name, options, said in (
        ("spark", {}, "no engine 'spark'; expected local or ray"),
        ("ray", {"nodes": "3"}, "no option 'nodes'; it has workers, gpus, cpus, address, start_s"),
        ("local", {"workers": "3"}, "no option 'workers'; it has none"),
        ("ray", {"workers": "many"}, "workers is 'many'; expected a number"),
        ("ray", {"workers": "0"}, "workers is 0; expected a number that is 1 or more"),
    ):
        with pytest.raises(UsageError, match=said):
            engine_named(name, options)


@pytest.mark.skipif(IS_WITHIN, reason="needs no cluster")
def test_without_ray_the_command_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray.*\n.*pip install 'clipdata\[ray\]'"):
        cd.map_column(number_table(tmp_path, 2), Shifted(), "made", engine=cd.RayEngine())


@only_ray
def test_both_workers_work_and_one_that_dies_is_replaced_and_loses_nothing_stored(tmp_path: Path) -> None:
    table = number_table(tmp_path, 24, rows_per_write=8)
    folder = tmp_path / "seen"
    folder.mkdir()
    step = Shifted(folder=folder, pause_s=0.05, dies_once=12)
    told = Counting()

    done = cd.map_column(table, step, "made", batch_rows=2, engine=Often(engine("ray")), progress=told)

    assert cells(table) == {number: number + 1 for number in range(24)}
    assert (folder / "died").exists()
    assert len(processes(folder)) >= 2
    assert done.computed <= 24
    assert told.rows == 24, "rows that were begun again do not count twice"
    assert len(computed(folder)) - 24 <= 2


@only_ray
def test_interrupted_it_has_its_workers_store_what_they_hold(tmp_path: Path) -> None:
    table = number_table(tmp_path, 40, rows_per_write=20)
    folder = tmp_path / "seen"
    folder.mkdir()

    class Interrupting(Counting):
        def advance(self, num: int = 1) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cd.map_column(
            table,
            Shifted(folder=folder, pause_s=0.3),
            "made",
            batch_rows=2,
            engine=engine("ray"),
            progress=Interrupting(),
        )
    before = computed(folder)
    assert 0 < len(before) < 40
    mapped(table, "local", Shifted(folder=folder))
    assert computed(folder) == list(range(40)), "no row was computed twice"


@only_ray
def test_a_fragment_that_ends_every_worker_ends_the_job(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)
    with pytest.raises(TransientError, match="3 workers ended while they filled fragment 1"):
        mapped(table, "ray", Shifted(dies=4))
    assert mapped(table, "local", Shifted()).computed <= 6
    assert cells(table) == {number: number + 1 for number in range(6)}


@only_ray
def test_a_node_is_lost_and_the_other_finishes(tmp_path: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1, resources={"lost": 1}, object_store_memory=80 << 20)
    table = number_table(tmp_path, 40, rows_per_write=8)
    folder = tmp_path / "seen"
    folder.mkdir()
    step = Shifted(folder=folder, pause_s=0.05)

    class Losing(Counting):
        def advance(self, num: int = 1) -> None:
            super().advance(num)
            if cluster.worker_nodes and node in cluster.worker_nodes:
                cluster.remove_node(node, allow_graceful=False)

    many = cd.RayEngine(workers=3, address=os.environ[ADDRESS])
    cd.map_column(table, step, "made", batch_rows=2, engine=Often(many), progress=Losing())

    assert node not in cluster.worker_nodes
    assert cells(table) == {number: number + 1 for number in range(40)}


@only_ray
def test_what_no_machine_can_give_is_said(tmp_path: Path) -> None:
    table = number_table(tmp_path, 2)
    greedy = cd.RayEngine(gpus=8, start_s=0.5, address=os.environ[ADDRESS])
    with pytest.raises(UsageError, match=r"each asks for 1 CPU and 8 GPU; the cluster has . CPU and 0 GPU"):
        cd.map_column(table, Shifted(), "made", engine=greedy)


@only_ray
def test_a_step_with_a_model_of_this_machine_takes_its_weights_along(tmp_path: Path) -> None:
    from tests.tiny_models import tiny_encoder

    encoder = tiny_encoder()
    table = contest_table(tmp_path, 12)
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "here")
    one = cd.RayEngine(workers=1, address=os.environ[ADDRESS])
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "there", engine=one)

    here, there = (table.to_table([name])[name].to_pylist() for name in ("here", "there"))
    for expected, found in zip(here, there, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    assert table.lineage("here").fingerprint == table.lineage("there").fingerprint


def test_a_text_that_several_workers_meet_counts_once_in_the_notes(tmp_path: Path, kind: str) -> None:
    from tests.tiny_models import tiny_encoder

    encoder = tiny_encoder()
    captions = [*(f"drawing {number}" for number in range(6)), *(["word " * 400] * 6), *(["a cat"] * 12)]
    for number in range(0, len(captions), 3):  # each fragment meets a text that others meet
        fresh = pa.table({"filename": [f"{number + at}.jpg" for at in range(3)], "caption": captions[number // 3 :: 8]})
        lance.write_dataset(fresh, tmp_path / "t.lance", mode="append" if number else "create")
    table = open_table(tmp_path / "t.lance")

    here = cd.map_column(table, cd.steps.TextEmbedding(encoder, "caption"), "here")
    there = cd.map_column(table, cd.steps.TextEmbedding(encoder, "caption"), "there", engine=engine(kind))

    assert len(table.dataset.get_fragments()) == 8
    assert here.notes == there.notes
    assert str(here.notes["texts cut"]).startswith("1 of 8")


@only_ray
def test_a_function_of_a_file_that_workers_do_not_have_travels_along(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)
    (tmp_path / "my_steps.py").write_text(
        "import clipdata\n\nBASE = 40\n\n@clipdata.step\ndef raised(number: int) -> int:\n    return BASE + number\n"
    )
    command = [sys.executable, "-m", "clipdata", "map", table.uri, "my_steps.py:raised", "made"]
    options = ["--engine", "ray", "-E", "workers=1", "-E", f"address={os.environ[ADDRESS]}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert cells(table) == {number: 40 + number for number in range(6)}


@only_ray
def test_a_table_on_a_bucket_is_filled_and_no_log_holds_a_key(bucket: Bucket, cluster: Any) -> None:
    secret = "the-key-that-nobody-may-see"
    storage = bucket.direct
    if bucket.scheme == "s3":
        storage = cd.Storage(options={**storage.options, "secret_access_key": secret})
    from clipdata.lance_io import rows
    from clipdata.schema import key_field

    schema = pa.schema([key_field("path"), pa.field("number", pa.int64()), pa.field("text", pa.string())])
    table = rows.create_table(bucket.url("t.lance"), schema, storage=storage)
    for start in range(0, 12, 4):
        append_numbers(table, start, start + 4)
    table = open_table(bucket.url("t.lance"), storage=storage)

    assert mapped(table, "ray", Shifted()).computed == 12

    assert cells(table) == {number: number + 1 for number in range(12)}
    logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
    found = [file for file in logs.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert not found


class Counting:
    """Counts the rows it is told."""

    def __init__(self) -> None:
        self.rows = 0

    def task(self, label: str, total: int | None, unit: str = "rows") -> Any:
        from contextlib import nullcontext

        return nullcontext(self)

    def advance(self, num: int = 1) -> None:
        self.rows += num

    def refuse(self, reason: str, num: int = 1) -> None:
        pass

    def say(self, text: str) -> None:
        pass
