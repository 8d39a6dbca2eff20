"""The benchmark of the stream runs: pictures, this project's side, a turn, the page. No other loader is needed."""

import json
import pickle

import cv2
import numpy as np
import pytest
import torch

import clipdata as cd
import ingest
from benchmarks.stream import ours, report, run
from benchmarks.stream.pictures import picture, write_pictures, written
from benchmarks.stream.sides import Asked, Side, UnableError
from benchmarks.stream.worker import answer
from tests.pictures import drawing

NUM_PICTURES = 64
FAST = ours.PREPARE.with_fidelity("fast")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    write_pictures(folder / "pictures", NUM_PICTURES, (120, 90), [drawing(seed, 200, 260) for seed in range(3)])
    ours.add_prepared(ingest.from_images(folder / "pictures", into=str(folder / "clipdata.lance")).table)
    return folder


def side_named(name) -> Side:
    return next(side for side in ours.SIDES if side.name == name)


def test_a_picture_is_its_number_s_alone_and_looks_like_a_photograph():
    sources = [drawing(1, 300, 400), drawing(2, 300, 400)]

    made = [picture(number, (500, 375), sources) for number in range(4)]

    assert made == [picture(number, (500, 375), sources) for number in range(4)]
    assert len(set(made)) == 4
    shapes = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape for data in made]
    assert shapes == [(500, 375, 3), (375, 500, 3), (375, 500, 3), (375, 500, 3)]
    assert all(20_000 < len(data) < 120_000 for data in made)


def test_pictures_that_are_there_are_left_alone(folder):
    before = {path: path.stat().st_mtime_ns for path, _ in written(folder / "pictures")}
    assert len(before) == NUM_PICTURES

    write_pictures(folder / "pictures", NUM_PICTURES, (120, 90), [drawing(9)])

    assert {path: path.stat().st_mtime_ns for path, _ in written(folder / "pictures")} == before


@pytest.mark.parametrize("name", [side.name for side in ours.SIDES])
def test_a_turn_of_a_side_tells_its_rates(folder, name):
    asked = {"folder": str(folder), "batch_size": 8, "workers": 0}

    found = answer(side_named(name), {"do": "turn", "asked": asked, "rows": 16, "seconds": 0, "num_rows": NUM_PICTURES})

    assert found["shape"] == [8, 3, 224, 224]
    assert found["dtype"] == ("torch.float32" if name.endswith("floats") else "torch.uint8")
    assert found["rows"] == 16
    assert min(found["wall_s"], found["cpu_s"], found["first_s"]) > 0


def test_the_decoder_that_is_lent_to_another_loader_gives_the_stream_s_pixels(folder):
    asked = Asked(folder, batch_size=8)
    batch = next(iter(cd.Stream(ours.open_table(asked), ["image"], batch_size=8, prepare=FAST, prepared=False)))
    rows = ours.open_table(asked).take(batch["offsets"].numpy(), ["image"])

    decoded = pickle.loads(pickle.dumps(ours.DecodeRows()))(rows.combine_chunks().to_batches()[0])

    assert torch.equal(torch.stack(decoded).permute(0, 3, 1, 2), batch["image"])


def test_levels_are_held_against_those_of_the_same_rows(folder):
    def exact(image):
        return ours.PREPARE(np.asarray(image))

    def off(prepare, prepared):
        return ours.level_error(Asked(folder, batch_size=16), prepare, prepared, exact)

    assert off(ours.PREPARE, False)["most"] == off(FAST, "prepared_raw")["most"] == 0
    assert 0 < off(FAST, False)["mean"] < 0.5
    assert 0 < off(FAST, "prepared_jpeg")["mean"] < 5


def test_an_epoch_is_whole_and_memory_is_watched(folder):
    asked = {"folder": str(folder), "batch_size": 8}
    side = side_named("clipdata-fast")

    assert answer(side, {"do": "epoch", "asked": asked, "seconds": 60})["rows"] == NUM_PICTURES
    held = answer(side, {"do": "memory", "asked": asked, "rows": 16})
    assert held["peak_mib"] >= held["before_mib"] > 0


def test_sides_take_turns_and_what_they_found_becomes_a_page(folder, tmp_path):
    class Here:
        """The process of a side, without the process."""

        def __init__(self, name):
            self._side = side_named(name)

        def ask(self, **order):
            return answer(self._side, order)

    names = ["clipdata-fast", "clipdata-prepared-raw"]
    turns = run.Run([side_named(name) for name in names], tmp_path, 2, tmp_path / "found.json")
    turns.about = {"load": [0.5], "command": "python", "date": "2026-01-02 03:04 UTC", "machine": "two cores"}
    turns.about |= {"minutes": 1.0, "pictures": {"120x90": [NUM_PICTURES, 64]}, "sides": {name: {} for name in names}}
    (tmp_path / "120x90-64x1").symlink_to(folder)
    scene = run.Scene(tmp_path / "120x90-64x1", NUM_PICTURES, 64, 0.0, [0], turns.sides)

    run.measure_rates(turns, {name: Here(name) for name in names}, scene, workers=0)

    found = json.loads((tmp_path / "found.json").read_text())
    assert [(entry["side"], entry["turn"]) for entry in found["found"]] == [
        *((name, 0) for name in names),
        *((name, 1) for name in [*names[1:], names[0]]),
    ]
    page = report.page(found)
    assert all(f"\n| {name} | " in page for name in names)
    assert "## Pictures of 120x90" in page


def test_a_side_that_cannot_says_why_and_one_that_fails_does_not_end_the_run(folder):
    def unable(asked, number):
        raise UnableError("it reads no buckets")

    def broken(asked, number):
        raise KeyError("image")

    order = {"do": "epoch", "asked": {"folder": str(folder)}, "seconds": 1}
    assert answer(Side("a", "clipdata", "pictures", "", unable), order) == {"unable": "it reads no buckets"}
    assert answer(Side("b", "clipdata", "pictures", "", broken), order) == {"failed": "KeyError: 'image'"}


def test_a_store_is_on_disk_or_in_the_bucket(tmp_path):
    assert Asked(tmp_path).place("mds") == str(tmp_path / "mds")
    there = Asked(tmp_path, bucket="gs://b/x")
    assert there.place("mds") == "gs://b/x/mds"
    with pytest.raises(UnableError, match="on disk"):
        there.require_disk("it has to be on disk")


def test_the_page_takes_ratios_turn_by_turn_and_names_who_cannot():
    def entry(side, turn, rows, **more):
        place = {"part": "rates", "side": side, "size": "500x375", "workers": 0, "turn": turn, "load": 1.0}
        return {**place, **({"rows": rows, "cpu_s": 1.0, "wall_s": 0.5, "first_s": 0.1} | more)}

    found = {
        "command": "python -m benchmarks.stream.run", "date": "2026-01-02 03:04 UTC", "machine": "x86_64, 2 cores",
        "load": [0.1, 1.2], "minutes": 3.2, "pictures": {"500x375": [128, 64]}, "memory_pictures": 100,
        "sides": {name: {"version": "1", "settings": "s"} for name in ("clipdata-fast", "imagefolder", "litdata")},
        "found": [
            *(entry("clipdata-fast", turn, rows) for turn, rows in enumerate((300, 100, 240))),
            *(entry("imagefolder", turn, rows) for turn, rows in enumerate((100, 50, 80))),
            {"part": "rates", "side": "litdata", "size": "500x375", "workers": 0, "turn": 0, "failed": "no chunks"},
        ],
    }  # fmt: skip

    page = report.page(found, "Why: nowhere.")

    assert "| fast, to the best loader on Pillow | 2.5 | 3.00 [2.00–3.00] |" in page
    assert "| clipdata-fast | 240 [100–300] | 480 [200–600] | 0.10 [0.10–0.10] |" in page
    assert "litdata: no chunks" in page
    assert "In none of the medians above.\n\nWhy: nowhere." in page
