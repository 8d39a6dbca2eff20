"""Labels judged: thresholds and ranks as one works them out by hand, and swapped labels found by embeddings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.steps.discriminant import FoldedDiscriminant
from clipdata.steps.rebuilding import Models, rebuild
from pipelines.cli.named_steps import build_step

CLASSES, SIZE = 4, 8


def table_of(folder: Path, columns: dict[str, Any]) -> cd.Table:
    lance.write_dataset(pa.table(columns), str(folder / "t.lance"), mode="overwrite", max_rows_per_file=400)
    return cd.open_table(folder / "t.lance")


def noise_of(table: cd.Table, step: Any, column: str = "noise") -> list[Any]:
    cd.map_column(table, step, column)
    values: list[Any] = table.to_table([column]).column(0).to_pylist()
    return values


def by_hand(shares: list[list[float]], labels: list[int], per_class: bool) -> list[dict[str, Any]]:
    """Confident learning as its paper has it, row by row."""
    own = [row[label] for row, label in zip(shares, labels, strict=True)]
    found = []
    for row, label, probability in zip(shares, labels, own, strict=True):
        likely = []
        for place, share in enumerate(row):
            peers = [p for p, other in zip(own, labels, strict=True) if not per_class or other == place]
            if peers and share >= sum(peers) / len(peers):
                likely.append(place)
        best = max(likely or range(len(row)), key=lambda place: (row[place], -place))
        others = [share for place, share in enumerate(row) if place != label]
        lower = sum(np.float32(other) < np.float32(probability) for other in own)
        suggested = {"suggested": best, "suspect": bool(likely) and best != label}
        margin = probability - max(others, default=0.0)
        found.append({"probability": probability, "margin": margin, **suggested, "rank": 1 + lower})
    return found


@st.composite
def scored(draw: Any, most: int) -> tuple[list[list[float]], list[int]]:
    """Rows of scores that add up to 1, and a label each."""
    sizes = draw(st.lists(st.just(3) if most == 3 else st.integers(1, most), min_size=1, max_size=12))
    weights = [draw(st.lists(st.integers(1, 9), min_size=size, max_size=size)) for size in sizes]
    shares = [[weight / sum(row) for weight in row] for row in weights]
    return shares, [draw(st.integers(0, size - 1)) for size in sizes]


def nearly(expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: pytest.approx(value, abs=1e-6) for name, value in one.items()} for one in expected]


@settings(deadline=None, max_examples=25)
@given(rows=scored(3))
def test_classes_are_judged_as_confident_learning_has_it(tmp_path_factory: Any, rows: Any) -> None:
    shares, labels = rows
    table = table_of(tmp_path_factory.mktemp("t"), {"scores": pa.array(shares), "label_ind": labels})
    found = noise_of(table, cd.steps.LabelNoise(table, scores="scores"))
    assert found == nearly(by_hand(shares, labels, per_class=True))


@settings(deadline=None, max_examples=25)
@given(rows=scored(5))
def test_choices_have_one_threshold_and_any_number(tmp_path_factory: Any, rows: Any) -> None:
    shares, labels = rows
    table = table_of(
        tmp_path_factory.mktemp("t"), {"scores": pa.array(shares), "label_ind": pa.array(labels, pa.int8())}
    )
    found = noise_of(table, cd.steps.ChoiceNoise(table))
    assert found == nearly(by_hand(shares, labels, per_class=False))


def test_rows_that_cannot_be_judged_say_why(tmp_path: Path) -> None:
    scores = [
        [0.5, 0.5],
        [0.9, 0.9],
        [-0.5, 1.5],
        [],
        None,
        [0.5, 0.5],
        [0.5, 0.5],
        [None, 1.0],
        [float("nan"), 1.0],
        [1.0],
    ]
    labels = [0, 0, 0, 0, 0, None, 7, 0, 0, 0]
    table = table_of(
        tmp_path, {"scores": pa.array(scores, pa.list_(pa.float32())), "label_ind": pa.array(labels, pa.int32())}
    )

    found = noise_of(table, cd.steps.ChoiceNoise(table))
    reasons = table.to_table(["noise__error"]).column(0).to_pylist()
    assert [one is not None for one in found] == [True] + [False] * 8 + [True]
    assert [reasons[row].split(":")[0] for row in (1, 2, 7, 8)] == ["the scores are no probabilities"] * 4
    assert (reasons[3], reasons[6]) == ("no scores", "label outside the scores: 7 of 2")
    found = noise_of(table, cd.steps.LabelNoise(table, scores="scores"), "by_class")
    assert [one is not None for one in found] == [True] + [False] * 9
    assert table.to_table(["by_class__error"]).column(0)[9].as_py() == "not 2 scores, as other rows have"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """600 pictures of four classes, twice each, a tenth of whose labels are swapped."""
    rng = np.random.default_rng(0)
    true = np.repeat(rng.integers(0, CLASSES, 600), 2)
    swapped = rng.random(1200) < 0.1
    label = np.where(swapped, (true + rng.integers(1, CLASSES, 1200)) % CLASSES, true)
    centres = rng.normal(size=(CLASSES, SIZE)) * 2.5
    vectors = np.repeat(centres[true[::2]] + rng.normal(size=(600, SIZE)), 2, axis=0).astype(np.float32)
    table = table_of(
        tmp_path_factory.mktemp("planted"),
        {
            "sha256": [f"p{n // 2}" for n in range(1200)],
            "embedding": pa.array(list(vectors), pa.list_(pa.float32(), SIZE)),
            "name": [f"class {one}" for one in label],
            "number": pa.array(label * 10 - 5, pa.int16()),
            "actual": [f"class {one}" for one in true],
            "swapped": swapped,
        },
    )
    cd.map_column(table, cd.steps.LabelNoise(table, "name", embedding="embedding"), "noise")
    return table


def test_swapped_labels_are_found_by_embeddings_alone(planted: cd.Table) -> None:
    num_swapped = planted.count_rows("swapped")

    found, suspect = (planted.count_rows(f"{what}noise.suspect") for what in ("swapped AND ", ""))
    first = planted.count_rows(f"swapped AND noise.rank <= {num_swapped}")
    right = planted.count_rows("swapped AND noise.suspect AND noise.suggested = actual")
    assert first / num_swapped > 0.95
    assert found / num_swapped > 0.95
    assert found / suspect > 0.85
    assert right / found > 0.9
    ranks = planted.to_table(["noise"]).column(0).to_pylist()
    assert sorted(one["rank"] for one in ranks)[0] == 1
    assert max(one["rank"] for one in ranks) <= 1200


def test_numbers_are_labels_too_and_the_order_of_rows_makes_no_difference(planted: cd.Table, tmp_path: Path) -> None:
    rows = planted.to_table(["sha256", "embedding", "number", "noise"]).take(list(range(1199, -1, -1)))
    table = table_of(tmp_path, {name: rows[name] for name in ("sha256", "embedding", "number")})
    step = build_step("label-noise", {"label": "number", "embedding": "embedding"}, model=None, device=None,
                      say=lambda _: None, table=table)  # fmt: skip
    found, expected = noise_of(table, step), rows["noise"].to_pylist()

    np.testing.assert_allclose(
        [one["probability"] for one in found], [one["probability"] for one in expected], rtol=1e-4, atol=1e-7
    )
    assert [f"class {(one['suggested'] + 5) // 10}" for one in found] == [one["suggested"] for one in expected]
    assert rebuild(table, "noise", Models()).parameters == {"folds": 5, "seed": 0}


def test_out_of_fold_probabilities_are_those_of_a_discriminant_of_the_other_rows() -> None:
    rng = np.random.default_rng(1)
    vectors, classes, folds = rng.normal(size=(90, 5)), rng.integers(0, 3, 90), rng.integers(0, 3, 90)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    folded = FoldedDiscriminant(3, 3, 5)
    for start in range(0, 90, 20):
        folded.add(vectors[start : start + 20], classes[start : start + 20], folds[start : start + 20])
    folded.solve()
    found = folded.probabilities(vectors, folds)

    for fold in range(3):
        x, y = units[folds != fold], classes[folds != fold]
        means = np.stack([x[y == one].mean(0) for one in range(3)])
        centred = x - means[y]
        covariance = centred.T @ centred / (len(x) - 3)
        inverse = np.linalg.inv(covariance + np.trace(covariance) / (len(x) - 1) * np.eye(5))
        logits = units[folds == fold] @ inverse @ means.T - 0.5 * np.diag(means @ inverse @ means.T)
        logits += np.log(np.bincount(y, minlength=3) / len(y))
        shares = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(found[folds == fold], shares / shares.sum(1, keepdims=True), rtol=1e-9)


def test_a_label_never_vouches_for_itself_nor_does_an_equal_picture(tmp_path: Path) -> None:
    vectors = np.eye(SIZE, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 2, 2]]
    columns = {
        "sha256": ["a", "b", "c", "d", "e", "f", "same", "same"],
        "embedding": pa.array(list(vectors), pa.list_(pa.float32(), SIZE)),
        "label": ["x", "x", "x", "y", "y", "y", "alone", "alone"],
    }
    table = table_of(tmp_path, columns)
    found = noise_of(table, cd.steps.LabelNoise(table, "label", embedding="embedding", folds=3, seed=4))

    assert found[6] is found[7] is None
    assert table.to_table(["noise__error"]).column(0)[7].as_py() == "its class has no pictures in the other folds"
    assert all(one is not None for one in found[:6])


def test_rows_that_came_since_are_judged_and_others_keep_their_value(tmp_path: Path) -> None:
    kind, labels = pa.list_(pa.float32()), pa.int64()
    table = table_of(
        tmp_path, {"scores": pa.array([[0.9, 0.1], [0.2, 0.8]], kind), "label_ind": pa.array([0, 1], labels)}
    )
    before = noise_of(table, cd.steps.ChoiceNoise(table))
    more = pa.table({"scores": pa.array([[0.1, 0.9]], kind), "label_ind": pa.array([0], labels)})
    lance.write_dataset(more, table.uri, mode="append")
    found = noise_of(table, cd.steps.ChoiceNoise(table.uri))

    assert found[:2] == before
    assert (found[2]["rank"], found[2]["suspect"], found[2]["suggested"]) == (1, True, 1)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, UsageError, "neither embedding nor scores"),
        ({"embedding": "embedding", "scores": "s"}, UsageError, "embedding and scores was given"),
        ({"embedding": "embedding", "folds": 1}, UsageError, "folds is 1"),
        ({"embedding": "embedding", "seed": "a"}, UsageError, "seed is 'a'"),
        ({"embedding": "embedding", "label": "one"}, UsageError, "names 1 classes"),
        ({"embedding": "embedding", "folds": 10**8}, UsageError, "GiB of memory"),
        ({"embedding": "embedding", "picture": "sha"}, SchemaError, "has no column 'sha'"),
        ({"embedding": "name"}, SchemaError, "expected lists of numbers"),
        ({"embedding": "lists"}, SchemaError, "expected vectors of one size"),
        ({"scores": "lists", "label": "name"}, SchemaError, "expected integers"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, given: dict[str, Any], error: Any, said: str) -> None:
    columns = {
        "sha256": ["a", "b"],
        "embedding": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2)),
        "lists": pa.array([[1.0, 2.0]] * 2),
        "name": ["x", "y"],
        "one": ["x", "x"],
    }
    table = table_of(tmp_path, columns)
    with pytest.raises(error, match=said):
        cd.steps.LabelNoise(table, **({"label": "name"} | given))
