"""Concepts in captions, and rows kept so that frequent ones do not crowd out rare ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.steps.concepts import Concepts, words_of
from pipelines.cli.named_steps import build_step

WORDS = st.sampled_from(["hot", "dog", "Dog", "a", "cat,", "cat", "the", "猫", "狗", "t-shirt", "(red)", "dogs"])


def table_of(folder: Path, captions: Any, kind: pa.DataType | None = None, **columns: Any) -> cd.Table:
    held = {"sha256": [f"p{n}" for n in range(len(captions))]} | columns
    table = pa.table({"caption": pa.array(captions, kind or pa.string()), **held})
    lance.write_dataset(table, str(folder / "t.lance"), mode="overwrite")
    return cd.open_table(folder / "t.lance")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=8), st.lists(WORDS, max_size=8)
)
def test_concepts_are_found_where_their_words_follow_each_other(phrases: list[str], words: list[str]) -> None:
    concepts, caption = Concepts(phrases), "  ".join(words)
    spaced = f" {' '.join(words_of(caption))} "
    expected = {n for n, phrase in enumerate(concepts.phrases) if f" {' '.join(words_of(phrase))} " in spaced}

    assert concepts.named_in([caption]) == expected


def test_a_concept_is_a_whole_word_in_any_script() -> None:
    concepts = Concepts(["cat", "hot dog", "Hot  Dog", "黑猫", "it's", "", "!"])
    named = {caption: {concepts.phrases[n] for n in concepts.named_in([caption])} for caption in (
        "A category", "my CAT.", "a hot dog, a cat!", "一只黑猫睡觉", "it's hot; dog", "",
    )}  # fmt: skip

    assert named == {
        "A category": set(),
        "my CAT.": {"cat"},
        "a hot dog, a cat!": {"hot dog", "cat", "!"},
        "一只黑猫睡觉": {"黑猫"},
        "it's hot; dog": {"it's"},
        "": set(),
    }


def test_frequent_concepts_are_cut_to_the_cap_and_rare_ones_are_kept(tmp_path: Path) -> None:
    captions = ["a dog"] * 4000 + ["a dog and a cat"] * 100 + ["nothing"] * 50 + ["", None]
    table = table_of(tmp_path, captions)
    step = cd.steps.ConceptBalance(table, ["dog", "cat", "cow"], cap=200)
    done = cd.map_column(table, step, "balance")

    read = table.to_table(["balance"]).column(0).to_pylist()
    assert step.counts_C.tolist() == [4100, 100, 0]
    dog = 200 / 4100
    assert read[0]["probability"] == pytest.approx(dog)
    assert read[4000] == {"concepts": 2, "rarest": "cat", "probability": 1.0, "kept": True}
    assert read[4100] == {"concepts": 0, "rarest": None, "probability": 0.0, "kept": False}
    assert read[-2] is read[-1] is None
    num_dogs = table.count_rows("balance.kept AND balance.rarest = 'dog'")
    assert abs(num_dogs - 4000 * dog) < 4 * np.sqrt(4000 * dog)
    assert done.notes["concepts named"] == "2 of 3, 1 in more than 200 rows"
    assert done.notes["most frequent"] == "dog 4,100, cat 100"
    assert done.notes["rows kept"] == num_dogs + 100 == table.count_rows(cd.filters.metaclip(table)[0].condition)


def test_a_row_of_several_capped_concepts_is_kept_as_if_each_were_drawn(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a dog"] * 10 + ["a cat"] * 5 + ["dog cat"] * 15)
    cd.map_column(table, cd.steps.ConceptBalance(table, ["dog", "cat"], cap=5), "balance")

    found = table.to_table(["balance"]).column(0).to_pylist()[-1]["probability"]
    assert found == pytest.approx(1 - (1 - 5 / 25) * (1 - 5 / 20))


def test_the_draw_depends_on_the_seed_and_the_row_and_not_on_the_order(tmp_path: Path) -> None:
    captions, rows = ["dog"] * 300, [f"p{n}" for n in range(300)]
    kept = []
    for order, seed in ((1, 0), (-1, 0), (1, 1)):
        (tmp_path / f"{order}{seed}").mkdir()
        table = table_of(tmp_path / f"{order}{seed}", captions, sha256=rows[::order])
        cd.map_column(table, cd.steps.ConceptBalance(table, ["dog"], cap=100, seed=seed), "balance")
        kept.append({row["sha256"] for row in table.to_table(["sha256"], where="balance.kept").to_pylist()})

    assert kept[0] == kept[1] != kept[2]
    assert 60 < len(kept[0]) < 140


def test_rows_that_came_since_are_judged_by_new_counts_and_others_keep_their_value(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["dog", "cat"], ["dog"]], pa.list_(pa.string()))
    cd.map_column(table, cd.steps.ConceptBalance(table, ["dog", "cat"], cap=1), "balance")
    more = pa.table({"caption": pa.array([["a dog"], [None]], pa.list_(pa.string())), "sha256": ["n0", "n1"]})
    lance.write_dataset(more, table.uri, mode="append")
    done = cd.map_column(table, cd.steps.ConceptBalance(table.uri, ["dog", "cat"], cap=1), "balance")

    read = table.to_table(["balance"]).column(0).to_pylist()
    assert done.computed == 2
    assert [one and one["probability"] for one in read] == pytest.approx([1, 0.5, 1 / 3, None])


def test_long_lists_are_told_by_their_files_digest_and_found_by_it_again(tmp_path: Path, monkeypatch: Any) -> None:
    table = table_of(tmp_path, ["word7 word8"])
    short, long = tmp_path / "short.json", tmp_path / "long.txt"
    short.write_text(json.dumps(["dog", "Dog", "hot dog"]))
    long.write_text("\n".join(f"word{n}" for n in range(2000)))

    assert cd.steps.ConceptBalance(table, short).parameters["concepts"] == ["dog", "hot dog"]
    step = build_step("concept-balance", {"concepts": str(long), "cap": "3"}, model=None, device=None,
                      say=lambda _: None, table=table)  # fmt: skip
    told = step.parameters["concepts"]
    assert told.startswith("long.txt@sha256:")
    monkeypatch.chdir(tmp_path)
    assert cd.steps.ConceptBalance(table, told, cap=3).parameters == step.parameters
    long.write_text("another")
    with pytest.raises(UsageError, match="another file than the one"):
        cd.steps.ConceptBalance(table, told)


@pytest.mark.parametrize(
    ("concepts", "more", "error", "said"),
    [
        ([], {}, UsageError, "expected a list of words"),
        ([" ", ""], {}, UsageError, "expected a list of words"),
        ([1], {}, UsageError, "expected a list of words"),
        (None, {}, UsageError, "expected a list of words"),
        ("nowhere.txt", {}, NotFoundError, "no such file"),
        (["a"], {"cap": 0}, UsageError, "cap is 0"),
        (["a"], {"seed": 0.5}, UsageError, "seed is 0.5"),
        (["a"], {"row": "id"}, SchemaError, "has no column 'id'"),
        (["a"], {"text": "sha256s"}, SchemaError, "did you mean sha256"),
        (["a"], {"text": "number"}, SchemaError, "expected texts or lists of texts"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, concepts: Any, more: Any, error: Any, said: str) -> None:
    table = table_of(tmp_path, ["a"], number=[1])
    with pytest.raises(error, match=said):
        cd.steps.ConceptBalance(table, concepts, **more)


def test_a_table_whose_rows_nothing_tells_apart_is_refused(tmp_path: Path) -> None:
    lance.write_dataset(pa.table({"caption": ["a"]}), str(tmp_path / "t.lance"))
    with pytest.raises(UsageError, match="declares no key"):
        cd.steps.ConceptBalance(str(tmp_path / "t.lance"), ["a"])
