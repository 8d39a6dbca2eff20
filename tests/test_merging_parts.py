"""A merge of some rows only: it removes nothing, and a whole one completes it."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from clipdata.lance_io.rows import Written
from tests.pictures import write_pictures
from tests.test_merging_again import lower, merged, metadata, rejected

NAMES = [f"{number % 6:04d}.jpg" for number in range(18)]
LABELS = [f"L{number:02d}" for number in range(18)]


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Six pictures with three metadata rows each, in turns, and one row that names none."""
    write_pictures(tmp_path / "in", 6)
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    metadata(tmp_path, filename=["none.jpg", *NAMES], label=["L99", *LABELS])
    return tmp_path


def content(folder: Path, name: str = "contest.lance", column: str = "label") -> dict[str, object]:
    read = cd.open_table(folder / name).to_table(["id", column])
    return dict(zip(read.column(0).to_pylist(), read.column(1).to_pylist(), strict=True))


def test_a_limit_merges_the_rows_of_the_first_metadata_rows_with_a_picture(sides: Path) -> None:
    first = merged(sides, limit=4)

    assert first.num_rows == 4
    assert sorted(content(sides).values()) == LABELS[:4]
    assert "4 of 18 rows are merged; nothing is removed" in first.notes
    assert (first.joined.num_matched, first.joined.num_unmatched_metadata, first.joined.num_unmatched_images) == (
        18,
        1,
        0,
    )
    assert list(rejected(sides)) == ["metadata:none.jpg"]

    cd.map_column(first.table, lower, "lower")
    whole = merged(sides)
    assert whole.written == Written(inserted=14)
    assert whole.table.count_rows("lower IS NOT NULL") == 4
    assert content(sides) == content_of_whole(sides)


def content_of_whole(folder: Path, **options: object) -> dict[str, object]:
    merged(folder, into=folder / "whole.lance", **options)
    return content(folder, "whole.lance")


@pytest.mark.parametrize("part", [{"limit": 3}, {"sample": 3}])
def test_a_part_over_a_whole_removes_nothing_even_after_rows_went(sides: Path, part: dict[str, int]) -> None:
    merged(sides)
    metadata(sides, filename=NAMES[:9], label=LABELS[:9])

    foreseen = merged(sides, dry_run=True, **part)
    done = merged(sides, **part)

    assert (foreseen.num_rows, foreseen.written) == (18, Written())
    assert (done.num_rows, done.written) == (18, Written())
    assert merged(sides, yes=True).written == Written(deleted=9)


def test_changed_rows_of_a_part_come_and_the_old_ones_go_with_the_whole_merge(sides: Path) -> None:
    merged(sides)
    metadata(sides, filename=NAMES, label=[f"new {label}" for label in LABELS])

    assert merged(sides, limit=2).written == Written(inserted=2)
    assert merged(sides).written == Written(inserted=16, deleted=18)
    assert content(sides) == content_of_whole(sides)


def test_a_sample_is_the_same_every_time_and_grows_with_its_number(sides: Path) -> None:
    few = content(sides) if merged(sides, sample=5) else {}
    assert len(few) == 5
    assert merged(sides, sample=5).written == Written()
    assert merged(sides, sample=8).written == Written(inserted=3)
    merged(sides, into=sides / "other.lance", sample=5, seed=1)
    assert content(sides, "other.lance") != few
    assert content(sides, "other.lance").items() <= content_of_whole(sides).items()


@pytest.mark.parametrize("part", [{"limit": 2}, {"sample": 2}])
def test_groups_come_whole(sides: Path, part: dict[str, int]) -> None:
    done = merged(sides, group=True, **part)
    assert done.num_rows == 2
    assert all(len(labels) == 3 for labels in content(sides).values())  # type: ignore[arg-type]
    assert merged(sides, group=True).written == Written(inserted=4)
    assert content(sides) == content_of_whole(sides, group=True)


def test_pictures_of_rows_outside_the_part_stay_readable_when_the_images_move_on(sides: Path) -> None:
    merged(sides)
    write_pictures(sides / "in", 8)
    ingest.from_images(sides / "in", into=sides / "images.lance")

    table = merged(sides, limit=3).table

    assert all(picture for picture in table.to_table(["image"]).column(0).to_pylist())


def test_a_part_of_another_pair_is_refused_whatever_was_agreed_to(sides: Path) -> None:
    merged(sides)
    metadata(sides, "other", filename=NAMES[:2], label=["x", "y"])
    before = content(sides)

    with pytest.raises(UsageError, match="a part is to be merged into 18 rows that stay: it was merged of another"):
        ingest.merge_report(
            sides / "images.lance", sides / "other.lance", into=sides / "contest.lance", limit=1, yes=True
        )

    assert content(sides) == before


def test_limit_and_sample_together_are_refused(sides: Path) -> None:
    with pytest.raises(UsageError, match="limit and sample are both given"):
        ingest.merge(sides / "images.lance", sides / "meta.lance", into=sides / "contest.lance", limit=1, sample=1)
