"""check-split: what the sides of a split share is counted, shown by examples, and can fail a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from scipy.stats import binomtest

import clipdata as cd
from clipdata.errors import GateFailedError
from clipdata.statistics import wilson_interval
from pipelines.cli.app import main
from pipelines.cli.commands.check_split import check_split as command
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.test_duplicate_steps import add, near, values

ONE, TWO, THREE = 0x0123_4567_89AB_CDEF, 0xF0F0_0F0F_3C3C_A5A5, 0x5555_AAAA_1234_8765


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """Ten rows: train 6, test 3, one without a side; pictures, a look-alike and captions lie on both."""
    columns: dict[str, Any] = {
        "sha256": ["a", "b", "c", "d", "e", "f", "a", "g", "h", "a"],
        "perceptual_hash": [
            *(near(ONE), near(TWO)),
            *(near(THREE, n) for n in range(4)),
            *(near(ONE), near(TWO, 3), near(7), near(ONE)),
        ],
        "captions": pa.array(
            [["one"], ["two"], ["x", " Same  words"], ["y"], ["z"], ["v"], ["w"], ["u"], ["same Words", None], None],
            pa.list_(pa.string()),
        ),
        "label": ["cat", "cat", "cat", "dog", "dog", "dog", "cat", "dog", "bird", "cat"],
        "split": ["train"] * 6 + ["test"] * 3 + [None],
    }
    table = add(tmp_path_factory.mktemp("leaking"), columns)
    cd.map_column(table, cd.steps.NearDuplicates(table, radius=2), "near_duplicates")
    return cd.open_table(table.uri)


def test_it_counts_rows_by_evidence_and_together_with_examples(leaking: cd.Table) -> None:
    found = cd.check_split(leaking, classes="label")

    kinds = {one.column: (one.kind, one.num_shared, one.rows_by_side, one.rows_of_trained) for one in found.evidence}
    assert kinds == {
        "sha256": ("equal bytes", 1, {"train": 1, "test": 1}, 1),
        "captions": ("equal captions", 1, {"train": 1, "test": 1}, 1),
        "near_duplicates": ("near duplicates", 2, {"train": 2, "test": 2}, 2),
    }
    assert (found.num_held_out, found.num_leaked, found.num_crossing, found.num_without_side) == (3, 3, 6, 1)
    by_column = {one.column: one.examples for one in found.evidence}
    assert by_column["sha256"][0].value == "a"
    assert by_column["sha256"][0].rows == {"train": ["000000"], "test": ["000006"]}
    assert "same words" in " ".join(by_column["captions"][0].value.split()).casefold()
    train, test = found.sides
    assert (train.name, train.num_rows, test.num_rows) == ("train", 6, 3)
    assert (found.num_classes, found.classes_untrained, found.classes_unmeasured) == (3, 1, 0)
    assert {one.name: one.num_rows for one in found.classes}["cat"] == {"train": 3, "test": 1}
    assert "3 of 3 rows held out share something with 'train'" in str(found)
    with pytest.raises(GateFailedError, match="3 of the 3 rows held out"):
        found.gate()


def test_a_split_made_by_the_same_evidence_shares_nothing(leaking: cd.Table) -> None:
    table = cd.open_table(leaking.uri)
    by = ["sha256", "near_duplicates"]
    cd.map_column(table, cd.steps.LeakProofSplit(table, by, column="anew"), "anew")
    found = cd.check_split(table, "anew", by=by)
    assert (found.num_crossing, found.num_without_side) == (0, 0)
    assert found.gate() is found
    assert "no leak: the sides share nothing of sha256, near_duplicates" in str(found)
    assert set(values(table, "anew")) == {"train", "test"}


def test_captions_of_few_kinds_count_only_when_they_are_named(tmp_path: Path) -> None:
    num = 60
    table = add(
        tmp_path,
        {
            "caption": [f"class {n % 4}" for n in range(num)],
            "split": ["train" if n % 5 else "test" for n in range(num)],
        },
    )
    assert cd.check_split(table).num_crossing == 0
    assert "of few kinds" in str(cd.check_split(table))
    assert "nothing tells what rows share" in str(cd.check_split(table))  # and not: "they share nothing of caption"
    assert cd.check_split(table, by="caption").num_leaked == 12
    with pytest.raises(GateFailedError, match="nothing tells"):
        cd.check_split(table).gate()


def test_rows_without_a_value_are_told_and_a_column_without_any_is_no_evidence(tmp_path: Path) -> None:
    columns = {
        "sha256": ["a", None, "c", None, None],
        "label": ["cat", "dog", "cat", "dog", None],
        "split": ["train", "train", "test", "test", None],
    }
    table = add(tmp_path, columns)
    cd.map_column(table, cd.steps.NearDuplicates(table, "label", column="near"), "near")

    found = cd.check_split(table, classes="label")

    assert {one.column: one.rows_without for one in found.evidence} == {"sha256": 2, "near": 4}
    text = str(found)
    assert "sha256 (equal bytes): 0 of 2 values on several sides; 2 rows have no value" in text
    assert "near (near duplicates): no row has a value, so it counts for nothing" in text
    assert "the sides share nothing of sha256\n" in text
    assert "classes (label): 2, none lies unevenly\n    cat: test 50.0%, train 50.0%" in text
    with pytest.raises(GateFailedError, match="nothing tells"):
        cd.check_split(table, by="near").gate()


def test_other_names_of_sides_a_condition_and_the_side_trained_on(leaking: cd.Table) -> None:
    found = cd.check_split(leaking, by="sha256", trained="test", where="label != 'bird'")
    assert (found.num_held_out, found.num_leaked) == (6, 1)
    cats = cd.check_split(leaking, "label", by="sha256", where="split IS NOT NULL")
    assert [side.name for side in cats.sides] == ["cat", "dog", "bird"]
    assert cats.num_crossing == 0


@pytest.mark.parametrize(("num_of", "num"), [(0, 5), (3, 10), (10, 10), (37, 1000)])
def test_the_interval_of_a_share_is_wilsons(num_of: int, num: int) -> None:
    wanted = binomtest(num_of, num).proportion_ci(method="wilson")
    assert wilson_interval(num_of, num) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, ""),
        (["--fail-if-leaks"], 7, "3 of the 3 rows held out"),
        (
            ["--by", "sha256", "--where", "split = 'train' OR label = 'bird'", "--fail-if-leaks"],
            0,
            "",
        ),
        (["--by", "nothing"], 2, "has no column 'nothing'"),
        (["--by", ""], 2, "--by is empty"),
        (["--column", "id"], 2, "holds the key"),
        (["--column", "captions"], 2, "expected the names of sides"),
        (["--where", "split = 'train'"], 2, "has 1 value "),
        (["--where", "nonsense ="], 2, "nonsense"),
        (["--trained", "val"], 2, "no row is of the side 'val'"),
        (["--classes", "nothing"], 2, "has no column 'nothing'"),
    ],
)
def test_the_command_says_what_is_wrong_and_follows_its_schema(
    arguments: list[str], code: int, said: str, leaking: cd.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-split", leaking.uri, *arguments, "--json"]) == code
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    check_schema(found, schema_of("check-split", command.found))
    assert said in json.dumps(found.get("error", ""), ensure_ascii=False)
    assert "Traceback" not in printed.err
    assert main(["check-split", f"{leaking.uri}-gone"]) == 3
