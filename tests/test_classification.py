"""Classification against plain loops and against `compare`'s own judgement; the confusion table as people read it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from clipdata.answers import judge
from clipdata.training import classification as module
from clipdata.training.classification import Classification, classification, confusion_table

SMALL = st.tuples(st.integers(-1, 1), st.integers(-1, 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=6), st.lists(st.tuples(SMALL, st.integers(-1, 6)), max_size=8))
def test_top_k_recall_and_confusion_are_those_of_plain_loops(classes, rows) -> None:
    judged = [(vector, label) for vector, label in rows if 0 <= label < len(classes)]
    table = np.zeros((len(classes), len(classes)), np.int64)
    within = {1: 0, 3: 0}
    for vector, label in judged:
        scores = [float(np.dot(vector, name)) for name in classes]
        as_high = [place for place, score in enumerate(scores) if score >= scores[label] and place != label]
        for size in within:
            within[size] += len(as_high) < size
        table[label, max(as_high, key=lambda place: (scores[place], -place)) if as_high else label] += 1

    found = classification(
        torch.tensor([vector for vector, _ in rows], dtype=torch.float32).reshape(-1, 2),
        torch.tensor(classes, dtype=torch.float32),
        torch.tensor([label for _, label in rows], dtype=torch.int64),
        sizes=(1, 3),
    )

    assert found.confusion().tolist() == table.tolist()
    assert (found.num_rows, found.num_left_out) == (len(judged), len(rows) - len(judged))
    recalls = [table[c, c] / table[c].sum() for c in range(len(classes)) if table[c].sum()]
    expected = [*(count / max(len(judged), 1) for count in within.values()), sum(recalls) / max(len(recalls), 1)]
    got = [*found.top.values(), found.mean_recall]
    assert got == pytest.approx(expected) if judged else np.isnan(got).all()


def drawn(num_rows: int, num_classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(num_rows + num_classes, 8, generator=random)
    return features[:num_rows], features[num_rows:], torch.randint(num_classes, (num_rows,), generator=random)


def test_top_1_is_what_compare_calls_right_ties_among_it() -> None:
    image, classes, label = drawn(200, 6)
    classes[4] = classes[2]
    scores = pa.array((image @ classes.T).tolist(), pa.list_(pa.float32()))

    found, judged = classification(image, classes, label), judge(scores, pa.array(label.tolist()))

    assert found.top[1] == pytest.approx(judged.right_N.mean())
    assert found.num_tied == judged.tied_N.sum() > 0


def test_the_figures_do_not_depend_on_how_many_rows_are_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image, classes, label = drawn(50, 7)
    whole = classification(image, classes, label)

    monkeypatch.setattr(module, "_SCORES_IN_MEMORY", 1)
    found = classification(image, classes, label)

    assert found.to_json() == whole.to_json()
    assert found.confusion().tolist() == whole.confusion().tolist()


def test_mean_recall_counts_every_class_alike_and_none_without_rows() -> None:
    classes = torch.eye(3)
    image = classes[[0, 0, 0, 1]]

    found = classification(image, classes, torch.tensor([0, 0, 0, 0]))
    mixed = classification(image, classes, torch.tensor([0, 0, 1, 1]))

    assert (found.top[1], found.mean_recall) == (0.75, 0.75)
    assert mixed.mean_recall == (1.0 + 0.5) / 2
    assert np.isnan(mixed.recall_C).tolist() == [False, False, True]


def test_scores_that_are_no_numbers_are_left_out_and_counted() -> None:
    image = torch.eye(3)
    image[1] = torch.nan

    found = classification(image, torch.eye(3), torch.arange(3))

    assert (found.num_rows, found.num_left_out, found.top[1]) == (2, 1, 1.0)
    assert "1 row left out" in str(found)


def test_figures_are_told_with_chance_and_number() -> None:
    found = classification(torch.eye(8), torch.eye(8), torch.arange(8))

    assert str(found) == (
        "top-1 100.0% (chance 12.5%), top-5 100.0% (chance 62.5%), mean recall per class 100.0%; 8 rows of 8 classes"
    )
    assert found.to_json()["chance_top5"] == 0.625


def answers(*kinds: tuple[int, int, int], num_classes: int) -> Classification:
    """What a run that took classes for one another would have found: (right, said, rows)."""
    right, said, rows = (np.array(column, np.int64) for column in zip(*kinds, strict=True))
    top = {1: float(rows[right == said].sum() / rows.sum())}
    place_B = np.repeat(np.where(right == said, 1, 2), rows)
    return Classification(num_classes, len(place_B), 0, 0, top, right, said, rows, np.arange(len(place_B)), place_B)


def test_few_classes_are_shown_as_a_whole_table() -> None:
    found = answers((0, 0, 9), (0, 1, 1), (1, 1, 1200), (1, 2, 300), num_classes=3)

    assert confusion_table(found, ["cat", "红圆", "an unseen class"]).splitlines() == [
        "right \\ said           1      2      3  recall",
        "1 cat                  9      1      0   90.0%",
        "2 红圆                 0  1,200    300   80.0%",
        "3 an unseen class      0      0      0        ",
    ]


def test_many_classes_are_shown_by_the_pairs_most_confused() -> None:
    names = [f"class number {place} with a long name that never ends {'长' * place}" for place in range(40)]
    found = answers((0, 0, 9), (0, 39, 3), (5, 6, 200), (5, 5, 200), (30, 2, 3), num_classes=40)

    lines = confusion_table(found, names, most=2).splitlines()

    assert [line.split()[-2:] for line in lines[1:]] == [["200", "50.0%"], ["3", "25.0%"]]
    assert all(cell_len(line) <= 80 for line in lines)
    assert lines[1].startswith("class number 5")


def test_a_table_that_does_not_fit_the_width_gives_way_to_pairs() -> None:
    found = answers(*((place, (place + 1) % 20, 10_000) for place in range(20)), num_classes=20)

    for width in (60, 80, 200):
        lines = confusion_table(found, [f"name {place}" for place in range(20)], width=width).splitlines()
        assert all(cell_len(line) <= width for line in lines)
        assert lines[0].startswith("right class" if width < 200 else "right \\ said")


def test_no_confusion_is_said_as_such() -> None:
    assert confusion_table(answers((3, 3, 5), num_classes=30), ["x"] * 30) == "no class was taken for another"
