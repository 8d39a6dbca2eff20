"""What a merged table keeps when it is merged again: after changes, of other tables, by mistake, and by two at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table
from tests.pictures import encoded, write_pictures

NAMES = [f"{number:04d}.jpg" for number in range(4)]


@cd.step(reads="label", returns="string")
def lower(label: str) -> str:
    return label.lower()


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "in", 4)
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    metadata(tmp_path, filename=NAMES, label=list("ABAB"))
    return tmp_path


def metadata(folder: Path, name: str = "meta", **columns: Any) -> None:
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    ingest.from_parquet(folder / f"{name}.parquet", into=folder / f"{name}.lance")


def merged(folder: Path, **options: Any) -> ingest.Merged:
    given = {"into": folder / "contest.lance", **options}
    return ingest.merge_report(folder / "images.lance", folder / "meta.lance", **given)


def versions(folder: Path) -> dict[str, int]:
    return {path.name: cd.open_table(path).version for path in sorted(folder.glob("*.lance"))}


def rejected(folder: Path) -> dict[str, str]:
    read = cd.open_table(folder / "contest.rejects.lance").to_table(["path", "detail"]).to_pylist()
    return {row["path"]: row["detail"] for row in read}


def test_a_new_metadata_column_that_is_null_changes_no_row_and_drops_no_score(sides: Path) -> None:
    cd.map_column(merged(sides).table, lower, "lower")
    metadata(sides, filename=NAMES, label=list("ABAB"), note=pa.array([None, None, None, "new"]))

    again = merged(sides)

    assert again.written == Written(inserted=1, deleted=1)
    assert again.table.count_rows("lower IS NOT NULL") == 3


@pytest.mark.parametrize(
    "numbers", [pa.array([1, 2, 3, 4], pa.int32()), pa.array([1.0, 2.0, 3.0, 4.0]), pa.array([1, 2, 3, 4], pa.uint8())]
)
def test_metadata_of_another_type_and_the_same_content_changes_nothing(sides: Path, numbers: pa.Array) -> None:
    metadata(sides, filename=NAMES, label=list("ABAB"), number=[1, 2, 3, 4])
    first = merged(sides)
    shutil.rmtree(sides / "meta.lance")
    labels = pa.array(list("ABAB"), pa.large_string())
    metadata(sides, number=numbers, label=labels, filename=NAMES)

    again = merged(sides)

    assert again.written == Written()
    assert again.table.version == first.table.version


def test_values_that_the_merged_table_cannot_hold_are_refused_before_anything_is_written(sides: Path) -> None:
    metadata(sides, filename=NAMES, label=list("ABAB"), number=[1, 2, 3, 4])
    merged(sides)
    before = versions(sides)["contest.lance"]
    shutil.rmtree(sides / "meta.lance")
    metadata(sides, filename=NAMES, label=list("ABAB"), number=["one", "two", "three", "four"])

    with pytest.raises(SchemaError, match="'number' is string and int64 in the merged table"):
        merged(sides)

    assert versions(sides)["contest.lance"] == before


def test_a_column_that_map_made_is_never_overwritten(sides: Path) -> None:
    cd.map_column(merged(sides).table, lower, "score")
    metadata(sides, filename=NAMES, label=list("ABAB"), score=[100, 200, 300, 400])

    again = merged(sides, yes=True)

    assert again.renamed == {"score": "meta_score"}
    assert again.table.to_table(["meta_score"]).column(0).to_pylist() == [100, 200, 300, 400]
    assert again.table.count_rows("score IS NOT NULL") == 0
    assert "metadata column 'score' is 'meta_score' here" in str(again)
    cd.map_column(again.table, lower, "score")
    assert again.table.to_table(["score"]).column(0).to_pylist() == list("abab")


def test_reasons_why_a_step_failed_are_not_overwritten_either(sides: Path) -> None:
    @cd.step(reads="label", returns="string")
    def broken(label: str) -> str:
        raise ValueError(label)

    table = merged(sides).table
    cd.map_column(table, broken, "score")
    assert "score__error" in table.schema.names

    again = merged(sides)

    assert again.written == Written()
    assert again.table.count_rows("score__error IS NOT NULL") == 4


def test_columns_keep_the_names_that_the_first_merge_gave_them(sides: Path) -> None:
    metadata(sides, filename=NAMES, label=list("ABAB"), width=["wide"] * 4)
    assert merged(sides).renamed == {"width": "meta_width"}
    metadata(sides, filename=NAMES, label=list("ABAB"), width=["wide"] * 4, meta_width=[None, None, None, "new"])

    again = merged(sides)

    assert again.renamed == {"width": "meta_width", "meta_width": "meta_meta_width"}
    read = again.table.to_table(["meta_width", "meta_meta_width"])
    assert read.column("meta_width").to_pylist() == ["wide"] * 4
    assert sorted(read.column("meta_meta_width").to_pylist(), key=str) == [None, None, None, "new"]


def test_columns_that_map_made_on_the_images_are_not_carried(sides: Path) -> None:
    @cd.step(reads="filename", returns="string")
    def upper(filename: str) -> str:
        if filename == NAMES[0]:
            raise ValueError("no")
        return filename.upper()

    images = cd.open_table(sides / "images.lance")
    cd.map_column(images, upper, "upper")
    assert {"upper", "upper__error"} <= set(images.schema.names)

    table = merged(sides).table

    assert not {"upper", "upper__error"} & set(table.schema.names)


def test_merging_another_pair_into_a_table_is_refused_and_says_what_would_go(sides: Path) -> None:
    first = merged(sides)
    write_pictures(sides / "in2", 1, first=9)
    ingest.from_images(sides / "in2", into=sides / "images2.lance")
    metadata(sides, "meta2", filename=["0009.jpg"], label=["A"])
    pair = sides / "images2.lance", sides / "meta2.lance"

    with pytest.raises(UsageError, match=r"4 of 4 rows would be removed \(0000.jpg(.|\n)*another pair(.|\n)*--yes"):
        ingest.merge(*pair, into=sides / "contest.lance")
    assert cd.open_table(sides / "contest.lance").version == first.table.version

    planned = ingest.merge_report(*pair, into=sides / "contest.lance", dry_run=True)
    assert planned.written == Written(inserted=1, deleted=4)
    assert "another pair" in str(planned.needs_yes)
    assert cd.open_table(sides / "contest.lance").version == first.table.version

    table = ingest.merge(*pair, into=sides / "contest.lance", yes=True)
    assert table.to_table(["path"]).column(0).to_pylist() == ["0009.jpg"]
    assert ingest.merge_report(*pair, into=sides / "contest.lance").written == Written()


@pytest.mark.parametrize("options", [{"group": True}, {"on": "path", "metadata_on": "filename"}])
def test_merging_the_same_pair_in_another_way_is_refused(sides: Path, options: dict[str, Any]) -> None:
    merged(sides)

    with pytest.raises(UsageError, match="merged in another way"):
        merged(sides, **options)


def test_metadata_that_is_empty_by_mistake_empties_nothing(sides: Path) -> None:
    merged(sides)
    metadata(sides, filename=pa.array([], pa.string()), label=pa.array([], pa.string()))

    with pytest.raises(UsageError, match=r"4 of 4 rows would be removed(.|\n)*--yes"):
        merged(sides)

    assert cd.open_table(sides / "contest.lance").num_rows == 4
    emptied = merged(sides, yes=True)
    assert emptied.num_rows == 0
    assert not emptied.usable


def test_images_that_are_gone_by_mistake_empty_nothing(sides: Path) -> None:
    merged(sides)
    shutil.rmtree(sides / "images.lance")
    write_pictures(sides / "other", 3, first=1)
    ingest.from_images(sides / "other", into=sides / "images.lance")
    assert merged(sides).written.deleted == 1

    shutil.rmtree(sides / "images.lance")
    write_pictures(sides / "few", 1)
    ingest.from_images(sides / "few", into=sides / "images.lance")
    with pytest.raises(UsageError, match="3 of 3 rows would be removed"):
        merged(sides)


def test_rows_that_all_change_are_no_loss(sides: Path) -> None:
    merged(sides)
    metadata(sides, filename=NAMES, label=list("BABA"))

    assert merged(sides).written == Written(inserted=4, deleted=4)


def test_a_folder_that_was_moved_is_the_same_pair(sides: Path, tmp_path: Path) -> None:
    merged(sides)
    moved = tmp_path / "moved"
    moved.mkdir()
    for table in ("images", "meta", "contest", "contest.rejects"):
        if (sides / f"{table}.lance").exists():
            shutil.move(sides / f"{table}.lance", moved / f"{table}.lance")
    table = cd.open_table(moved / "meta.lance")
    rows.delete_keys(table, table.to_table(["row_key"]).column(0).to_pylist()[:1])

    assert merged(moved).written == Written(deleted=1)


def test_a_table_that_was_renamed_and_gives_the_same_rows_is_no_other_pair(sides: Path) -> None:
    merged(sides)
    shutil.move(sides / "meta.lance", sides / "questions.lance")

    again = ingest.merge_report(sides / "images.lance", sides / "questions.lance", into=sides / "contest.lance")

    assert again.written == Written()


def test_a_dry_run_writes_nothing_and_says_what_would_be_done(sides: Path) -> None:
    before = versions(sides)

    planned = merged(sides, dry_run=True)

    assert versions(sides) == before
    assert (planned.num_rows, planned.joined.num_matched, planned.written) == (4, 4, Written(inserted=4))
    assert "would" in str(planned)
    merged(sides)
    metadata(sides, filename=[*NAMES[1:], "x.jpg"], label=list("BABA"))
    (sides / "in" / NAMES[1]).write_bytes(encoded(77))
    ingest.from_images(sides / "in", into=sides / "images.lance")
    before = versions(sides)
    planned = merged(sides, dry_run=True)
    assert planned.written == Written(updated=1, deleted=1)
    assert planned.unmatched_metadata == ["x.jpg"]
    assert versions(sides) == before
    assert merged(sides).written == planned.written


def test_rejects_are_those_of_now_and_an_unchanged_merge_writes_no_version(sides: Path) -> None:
    metadata(sides, filename=[*NAMES, "0004.jpg", "0005.jpg", "0005.jpg"], label=list("ABABABA"))
    merged(sides)
    assert set(rejected(sides)) == {"metadata:0004.jpg", "metadata:0005.jpg"}
    before = versions(sides)

    merged(sides)

    assert versions(sides) == before
    write_pictures(sides / "in", 1, first=4)
    ingest.from_images(sides / "in", into=sides / "images.lance")
    merged(sides)
    assert rejected(sides) == {"metadata:0005.jpg": "2 metadata rows name filename '0005.jpg'"}
    write_pictures(sides / "in", 1, first=5)
    ingest.from_images(sides / "in", into=sides / "images.lance")
    merged(sides)
    assert rejected(sides) == {}


class Interrupted(Exception):
    """Stands for a kill."""


def between(monkeypatch: pytest.MonkeyPatch, happens: Any, *, before: str) -> None:
    """Let something happen once, right before the merge calls a function that writes."""
    original, waiting = getattr(rows, before), [happens]

    def call(*args: Any, **options: Any) -> Any:
        if waiting:
            waiting.pop()()
        return original(*args, **options)

    monkeypatch.setattr(rows, before, call)


@pytest.mark.parametrize("moment", ["upsert", "delete_keys", "set_table_metadata", "add_columns"])
@pytest.mark.parametrize("by", ["location", "handle"])
def test_an_older_merge_that_ends_late_changes_nothing_of_a_newer_one(
    sides: Path, monkeypatch: pytest.MonkeyPatch, moment: str, by: str
) -> None:
    merged(sides)
    metadata(sides, filename=NAMES[1:], label=list("BBB"), extra=["e"] * 3)
    older: list[str | Path | Table] = [sides / "images.lance", sides / "meta.lance"]
    if by == "handle":
        older = [cd.open_table(one) for one in older]

    def newer_merge() -> None:
        metadata(sides, filename=[*NAMES, NAMES[0]], label=list("CCABX"), extra=["f"] * 5)
        cd.map_column(merged(sides).table, lower, "lower")

    between(monkeypatch, newer_merge, before=moment)
    ingest.merge(*older, into=sides / "contest.lance")

    table = cd.open_table(sides / "contest.lance")
    read = table.to_table(["path", "label", "lower"]).to_pylist()
    found = sorted((row["path"], row["label"]) for row in read)
    assert found == sorted(zip([*NAMES, NAMES[0]], "CCABX", strict=True))
    kept = [row for row in read if row["lower"] is not None]
    assert len(kept) == 5 or moment != "delete_keys"
    assert all(row["lower"] == row["label"].lower() for row in kept)


def test_sides_that_move_on_while_they_are_merged_are_merged_again(
    sides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(monkeypatch, lambda: metadata(sides, filename=NAMES, label=list("XXXX")), before="upsert")

    done = merged(sides)

    assert done.table.to_table(["label"]).column(0).to_pylist() == ["X"] * 4


def test_a_side_that_moves_on_behind_a_handle_is_said(sides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, facts = cd.open_table(sides / "images.lance"), cd.open_table(sides / "meta.lance")
    between(monkeypatch, lambda: metadata(sides, filename=NAMES, label=list("XXXX")), before="upsert")

    done = ingest.merge_report(images, facts, into=sides / "contest.lance")

    assert done.table.to_table(["label"]).column(0).to_pylist() == list("ABAB")
    assert f"version {facts.version} was merged" in str(done)


def test_a_handle_that_is_older_than_what_was_merged_brings_nothing_back(sides: Path) -> None:
    old = cd.open_table(sides / "meta.lance")
    metadata(sides, filename=NAMES, label=list("XXXX"))
    merged(sides)

    with pytest.raises(UsageError, match=f"given at version {old.version}"):
        ingest.merge(sides / "images.lance", old, into=sides / "contest.lance")

    table = ingest.merge(sides / "images.lance", old, into=sides / "contest.lance", yes=True)
    assert table.to_table(["label"]).column(0).to_pylist() == list("ABAB")


def test_a_merge_that_was_killed_is_finished_by_the_next(sides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 2)
    merged(sides)
    metadata(sides, filename=NAMES, label=list("XYZA"))

    def kill() -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        between(patched, kill, before="delete_keys")
        with pytest.raises(Interrupted):
            merged(sides)
    assert cd.open_table(sides / "contest.lance").num_rows == 8

    done = merged(sides)

    assert sorted(done.table.to_table(["label"]).column(0).to_pylist()) == list("AXYZ")
    assert done.written == Written(deleted=4)


def test_a_side_that_was_made_anew_counts_its_versions_from_the_start(sides: Path) -> None:
    for label in "XYZ":
        metadata(sides, filename=NAMES, label=[label] * 4)
        merged(sides)
    shutil.rmtree(sides / "meta.lance")
    metadata(sides, filename=NAMES, label=list("ABAB"))

    assert merged(sides).table.to_table(["label"]).column(0).to_pylist() == list("ABAB")


def test_merges_of_one_pair_at_once_leave_each_row_once(sides: Path) -> None:
    with ThreadPoolExecutor(4) as several:
        list(several.map(lambda _: merged(sides), range(4)))

    assert merged(sides).written == Written()
    assert sorted(cd.open_table(sides / "contest.lance").to_table(["path"]).column(0).to_pylist()) == NAMES


@pytest.mark.parametrize("into", ["images.lance", "meta.lance"])
def test_a_side_is_not_merged_into(sides: Path, into: str) -> None:
    before = versions(sides)

    with pytest.raises(UsageError, match="would be merged into itself"):
        merged(sides, into=sides / into)
    with pytest.raises(SchemaError, match="merged rows are keyed by 'id'"):
        ingest.merge(sides / "images.lance", sides / "images.lance", into=sides / "meta.lance")

    assert versions(sides) == before


def test_a_merged_table_is_not_merged_into_itself(sides: Path) -> None:
    merged(sides)

    with pytest.raises(UsageError, match="would be merged into itself"):
        ingest.merge(sides / "contest.lance", sides / "meta.lance", into=sides / "contest.lance")


def test_a_merge_that_makes_the_table_while_another_is_about_to_doubles_no_row(
    sides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_table, made = rows.create_table, list[Any]()

    def late(where: Any, *given: Any, **named: Any) -> Table:
        if not made and Path(where).name == "contest.lance":
            made.append(where)
            merged(sides)
        return create_table(where, *given, **named)

    monkeypatch.setattr(rows, "create_table", late)
    done = merged(sides)

    assert made
    assert cd.check(done.table.uri).sound
    assert (done.table.num_rows, done.written.inserted) == (4, 0)
