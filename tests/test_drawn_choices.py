"""DrawnChoices: the own caption among others' captions, whatever the order of rows; DrawnPlace finds it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder

SCHEMA = pa.schema(
    [
        key_field("path"),
        pa.field("sha256", pa.string()),
        pa.field("split", pa.string()),
        pa.field("caption", pa.string()),
    ]
)
ROW = {"sha256": None, "split": "test", "caption": None}


def pictures(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"path": f"{number:04}", "sha256": f"p{number}", "caption": f"caption {number}"}
        for number in range(first, first + count)
    ]


def table_of(folder: Path, found: Sequence[Mapping[str, Any]]) -> cd.Table:
    table = rows.create_table(folder / "t.lance", SCHEMA)
    rows.upsert(table, pa.Table.from_pylist([{**ROW, **row} for row in found], schema=SCHEMA))
    return cd.open_table(table.uri)


def drawn(table: cd.Table, **options: Any) -> dict[str, list[str] | None]:
    step = cd.steps.DrawnChoices(table, **options)
    found: dict[str, list[str] | None] = {}
    for batch in table.scan(step.reads):
        found |= zip(batch.column("path").to_pylist(), step.compute(batch, None)[0].to_pylist(), strict=True)
    return found


def test_a_row_gets_its_own_caption_among_others_each_once(tmp_path: Path) -> None:
    found = drawn(table_of(tmp_path, pictures(40)), num_choices=6)

    for path, choices in found.items():
        assert f"caption {int(path)}" in choices
        assert len(set(choices)) == len(choices) == 6


def test_places_and_captions_are_spread_about_alike(tmp_path: Path) -> None:
    found = drawn(table_of(tmp_path, pictures(400)), num_choices=4)

    places = Counter(choices.index(f"caption {int(path)}") for path, choices in found.items())
    times = Counter(caption for choices in found.values() for caption in choices)
    assert all(70 <= places[place] <= 130 for place in range(4))
    assert len(times) == 400
    assert max(times.values()) <= 1 + 12  # drawn three times in the mean, as evenly as by chance


def test_no_caption_of_the_same_picture_and_none_that_reads_alike_is_drawn(tmp_path: Path) -> None:
    twice = [
        {"path": "a", "sha256": "one", "caption": "A dog."},
        {"path": "b", "sha256": "one", "caption": "an animal"},
        {"path": "c", "sha256": "two", "caption": "a  dog.\n"},
        {"path": "d", "sha256": "three", "caption": "a cat"},
        {"path": "e", "sha256": "four", "caption": "a cow"},
    ]

    found = drawn(table_of(tmp_path, twice), num_choices=3)

    assert set(found["a"]) == {"A dog.", "a cat", "a cow"}
    assert set(found["b"]) == {"an animal", "a cat", "a cow"}
    assert all(len({caption.casefold().strip() for caption in choices}) == 3 for choices in found.values())
    assert "a  dog.\n" in found["c"]


def test_captions_are_drawn_from_the_rows_that_are_named_alone(tmp_path: Path) -> None:
    both = [{**row, "split": "train" if number % 2 else "test"} for number, row in enumerate(pictures(30))]

    found = drawn(table_of(tmp_path, both), where="split = 'test'")

    for path, choices in found.items():
        assert all(int(caption.split()[1]) % 2 == 0 or caption == f"caption {int(path)}" for caption in choices)


def test_the_draw_depends_on_neither_the_order_of_rows_nor_their_batches(tmp_path: Path) -> None:
    table, turned = table_of(tmp_path / "a", pictures(50)), table_of(tmp_path / "b", pictures(50)[::-1])

    assert drawn(table) == drawn(turned)
    assert drawn(table) != drawn(table, seed=1)
    cd.map_column(table, cd.steps.DrawnChoices(table), "choices", batch_rows=7)
    mapped = cd.open_table(table.uri).to_table(["path", "choices"])
    assert dict(zip(*(mapped[name].to_pylist() for name in ("path", "choices")), strict=True)) == drawn(table)


def test_few_draws_change_when_rows_are_added(tmp_path: Path) -> None:
    table = table_of(tmp_path, pictures(200))
    before = drawn(table)

    rows.upsert(table, pa.Table.from_pylist([{**ROW, **row} for row in pictures(10, first=200)], schema=SCHEMA))
    after = drawn(cd.open_table(table.uri))

    changed = [path for path in before if before[path] != after[path]]
    assert 0 < len(changed) < 80  # 4 draws in each of 200 rows, of which one in 20 goes to a new caption
    assert all(before[path].index(own) == after[path].index(own) for path in before if (own := f"caption {int(path)}"))


def test_rows_that_cannot_get_enough_have_a_reason(tmp_path: Path) -> None:
    few = [*pictures(4), {"path": "x", "sha256": "p0", "caption": "more of 0"}, {"path": "y", "caption": " "}]
    table = table_of(tmp_path, few)

    done = cd.map_column(table, cd.steps.DrawnChoices(table), "choices")

    assert done.failed == {"no caption": 1, "too few captions of other pictures": 2}
    assert done.num_failed == 3
    assert done.notes == {"captions to draw from": 5}


def test_a_list_of_captions_gives_one_and_none_of_its_others(tmp_path: Path) -> None:
    captions = [[f"{number} said {way}\n" for way in range(3)] for number in range(20)]
    foreign = {"image_id": list(range(20)), "captions": [*captions[:19], [None, "", "alone"]]}
    lance.write_dataset(pa.table(foreign), tmp_path / "foreign.lance")
    table = cd.open_table(tmp_path / "foreign.lance")

    cd.map_column(table, cd.steps.DrawnChoices(table, "captions"), "choices")
    cd.map_column(table, cd.steps.DrawnPlace("choices", "captions"), "place")

    read = cd.open_table(table.uri).to_table()
    own = [
        choices[place] for choices, place in zip(read["choices"].to_pylist(), read["place"].to_pylist(), strict=True)
    ]
    assert [text in said for text, said in zip(own, read["captions"].to_pylist(), strict=True)] == [True] * 20
    assert own[19] == "alone"
    assert len({text.split()[-1] for text in own}) > 2  # not always the first
    for choices, said in zip(read["choices"].to_pylist(), read["captions"].to_pylist(), strict=True):
        assert sum(text in said for text in choices) == 1


def test_rows_of_one_picture_in_a_table_without_a_key_take_none_of_each_others_captions(tmp_path: Path) -> None:
    five = {"image_id": [row // 5 for row in range(30)], "caption": [f"{row // 5} said {row % 5}" for row in range(30)]}
    lance.write_dataset(pa.table(five), tmp_path / "foreign.lance")
    step = cd.steps.DrawnChoices(tmp_path / "foreign.lance", num_choices=20)

    found, _ = step.compute(pa.record_batch(five), None)

    for row, choices in enumerate(found.to_pylist()):
        assert [text for text in choices if text.startswith(f"{row // 5} ")] == [five["caption"][row]]


def test_pictures_without_an_id_are_told_by_their_key(tmp_path: Path) -> None:
    table = table_of(tmp_path, [{**row, "sha256": None} for row in pictures(6)])

    assert all(len(choices) == 5 for choices in drawn(table).values())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"num_choices": 1}, UsageError, "num_choices"),
        ({"seed": 1.5}, UsageError, "seed is 1.5"),
        ({"where": " "}, UsageError, "SQL condition"),
        ({"where": "nothing = 1"}, SchemaError, "nothing"),
        ({"text": "captoin"}, SchemaError, "did you mean caption"),
        ({"picture": "hash"}, SchemaError, "hash"),
        ({"text": 3}, UsageError, "name of a column"),
    ],
)
def test_what_cannot_be_drawn_from_is_said_when_the_step_is_made(tmp_path: Path, options, error, said: str) -> None:
    table = table_of(tmp_path, pictures(3))
    with pytest.raises(error, match=said):
        cd.steps.DrawnChoices(table, **options)


def test_captions_of_another_type_and_pictures_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    lance.write_dataset(pa.table({"caption": ["a", "b"], "number": [1, 2]}), tmp_path / "bare.lance")
    with pytest.raises(UsageError, match=r"nothing tells which rows show one picture(.|\n)*picture=…"):
        cd.steps.DrawnChoices(tmp_path / "bare.lance")
    with pytest.raises(SchemaError, match="expected texts or lists of texts"):
        cd.steps.DrawnChoices(tmp_path / "bare.lance", "number", picture="caption")


def test_drawn_place_says_why_it_finds_nothing() -> None:
    step = cd.steps.DrawnPlace("choices")
    batch = pa.record_batch({"choices": [["a", "b"], ["a"], None, ["a"]], "caption": ["b", "z", "a", None]})

    found, reasons = step.compute(batch, None)

    assert found.to_pylist() == [1, None, None, None]
    assert reasons == [None, "none of its captions among the choices", "no choices", "no caption"]


def test_drawn_choices_lead_to_an_accuracy_against_chance_with_its_interval(tmp_path: Path) -> None:
    table = contest_table(tmp_path, 30)
    own = cd.step(returns="string")(lambda caption_choices, label_ind, path: f"{caption_choices[label_ind]} in {path}")
    cd.map_column(table, own, "caption")
    cd.map_column(table, cd.steps.DrawnChoices(table, num_choices=10), "choices")
    cd.map_column(table, cd.steps.DrawnPlace("choices"), "place")
    for name, seed in (("before", 0), ("after", 1)):
        cd.map_column(table, cd.steps.ChoiceScores(tiny_encoder(seed=seed), "choices"), f"scores_{name}")
        cd.map_column(table, cd.steps.Pick(f"scores_{name}", "place"), name)

    answers = cd.compare(table, "before", "after").accuracy

    scores, places = (cd.open_table(table.uri).to_table([name])[name].to_pylist() for name in ("scores_after", "place"))
    assert answers.chance == pytest.approx(0.1)
    assert answers.change.after == np.mean([np.argmax(row) == place for row, place in zip(scores, places, strict=True)])
    assert answers.change.low <= answers.change.difference <= answers.change.high
