"""curves.svg: what a run's folder shows of losses and figures."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from clipdata.charts import Curve, Panel, svg, ticks
from clipdata.training.curves import smoothed, write_curves

SVG = "{http://www.w3.org/2000/svg}"


def run_folder(folder: Path, lines: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def report(epoch: int, step: int, **figures: float | None) -> dict:
    return {"kind": "epoch", "epoch": epoch, "step": step, "loss": None, "num_rows": 8, **figures}


def texts(path: Path) -> list[str]:
    return [one.text or "" for one in ElementTree.parse(path).iter(f"{SVG}text")]


def test_losses_and_figures_are_drawn_and_the_best_report_is_marked(tmp_path):
    steps = [{"kind": "step", "step": n, "epoch": 1, "loss": 4 / n} for n in range(1, 41)]
    reports = [
        report(epoch, 20 * epoch, accuracy=accuracy, held_out_loss=1.0 - accuracy)
        for epoch, accuracy in enumerate([0.25, 0.75, 0.5])
    ]
    folder = run_folder(tmp_path / "run <1>", [reports[0], *steps[:20], reports[1], *steps[20:], reports[2]])

    write_curves(folder)

    said = texts(folder / "curves.svg")
    assert said[0] == "run <1>"
    assert {"loss", "held-out rows", "training, smoothed", "held out loss", "accuracy"} <= set(said)
    assert "best accuracy 75.0%, step 20" in said
    root = ElementTree.parse(folder / "curves.svg").getroot()
    kinds = [one.get("class") for one in root.iter(f"{SVG}polyline")]
    assert kinds == ["faint", "curve", "curve", "curve"]
    assert "prefers-color-scheme: dark" in (folder / "curves.svg").read_text()


def test_every_point_lies_where_its_axis_says():
    text = svg("t", [Panel("p", [Curve("a", [(0, 0.0), (50, 2.0), (100, 4.0)])])])

    drawn = re.search(r'points="([^"]*)"', text)
    assert drawn is not None
    points = [tuple(map(float, pair.split(","))) for pair in drawn[1].split()]
    xs = [float(x) for x in re.findall(r'class="axis" x1="([\d.]+)" x2="\1"', text)]
    ys = [float(y) for y in re.findall(r'class="rule" x1="\d+" x2="\d+" y1="([\d.]+)"', text)]
    assert (points[0][0], points[-1][0]) == (xs[0], xs[-1])
    assert (points[0][1], points[-1][1]) == (ys[0], ys[-1])
    assert points[1] == pytest.approx(((xs[0] + xs[-1]) / 2, (ys[0] + ys[-1]) / 2), abs=0.11)


def test_a_long_run_is_drawn_in_few_points_and_one_that_is_no_number_is_left_out(tmp_path):
    lines = [{"kind": "step", "step": n, "loss": None if n == 7 else 1.0} for n in range(1, 20_001)]

    write_curves(run_folder(tmp_path, lines))

    assert (tmp_path / "curves.svg").stat().st_size < 40_000


def test_a_run_without_a_step_has_no_curves(tmp_path):
    write_curves(run_folder(tmp_path, []))

    assert not (tmp_path / "curves.svg").exists()


def test_a_single_step_and_equal_losses_are_drawn(tmp_path):
    for number, lines in enumerate([[1], [1, 2, 3]]):
        folder = tmp_path / str(number)
        write_curves(run_folder(folder, [{"kind": "step", "step": n, "loss": 0.5} for n in lines]))

        assert "loss" in texts(folder / "curves.svg")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100], [0, 20, 40, 60, 80, 100]),
        ([0.31, 0.77], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        ([0.0, 0.0], [-1, -0.5, 0, 0.5, 1]),
        ([1e-7, 9e-7], [0, 2e-7, 4e-7, 6e-7, 8e-7, 1e-6]),
    ],
)
def test_ticks_are_round_and_span_the_values(values, expected):
    assert ticks(values) == pytest.approx(expected, abs=1e-12)


def test_smoothing_begins_with_the_first_value_and_follows_the_rest():
    found = smoothed([(n, 1.0 if n < 50 else 0.0) for n in range(100)], part=0.05)

    assert found[0] == (0, 1.0)
    assert found[49][1] == pytest.approx(1.0)
    assert found[54][1] == pytest.approx(0.8**5, rel=1e-3)
