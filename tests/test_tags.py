"""A tag names a version until it is asked to name another, and what clipdata needs is told apart."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import ConcurrentChangeError, NotFoundError, UsageError
from clipdata.lance_io.tagging import delete_tag, set_tag
from clipdata.lance_io.tags import run_tag
from tests.damaging import manifest
from tests.pictures import write_pictures
from tests.tables import append_numbers, number_table
from tests.test_cleaning import make_old


def test_a_tag_is_made_once_moved_only_when_asked_and_keeps_its_version(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    old = table.pinned()
    append_numbers(table, 3, 5)

    assert cd.tag(old, "raw", dry_run=True).done == "made"
    assert cd.tag(table).tags == ()
    made, again = cd.tag(old, "raw"), cd.tag(table.uri, "raw", version=old.version)
    assert ((made.done, made.version), again.done) == (("made", old.version), "kept")
    with pytest.raises(UsageError, match=f"names version {old.version}, not {table.latest().version}"):
        cd.tag(table.uri, "raw")
    make_old(tmp_path)
    cd.clean(table, older_than=timedelta(hours=1))
    assert cd.open_table(table.uri, version="raw").num_rows == 3
    moved = cd.tag(table.uri, "raw", move=True)
    assert (moved.done, moved.before, moved.version) == ("moved", old.version, table.latest().version)
    assert cd.tag(table.uri, "first", version="raw").version == moved.version
    assert [(tag.name, tag.needed_by) for tag in cd.tag(table).tags] == [("first", None), ("raw", None)]
    gone = cd.tag(table, "raw", delete=True)
    assert (gone.done, gone.before, [tag.name for tag in gone.tags]) == ("deleted", moved.version, ["first"])
    with pytest.raises(NotFoundError, match=r"there is no tag 'raw' .*; there are first"):
        cd.tag(table, "raw", delete=True)


def test_what_a_run_or_a_merged_table_needs_is_said_and_goes_only_when_that_is_meant(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    images = ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance").table
    pq.write_table(pa.table({"filename": ["0000.jpg"], "caption": ["a"]}), tmp_path / "meta.parquet")
    meta = ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance").table
    ingest.merge(images, meta, into=tmp_path / "merged.lance")
    images.tag(run_tag("first try", images.version))
    merged = tmp_path / "merged.lance"

    needed = {tag.name: tag.needed_by for tag in cd.tag(images).tags}
    assert sorted(map(str, needed.values())) == [f"needed by rows of {merged}", "needed by training run first-try"]
    assert not any(tag.is_idle for tag in cd.tag(images).tags)
    merged.rename(tmp_path / "elsewhere.lance")
    assert [tag.is_idle for tag in cd.tag(images).tags] == [True, False]
    assert f"needed by rows of {merged}, which is not there" in str(cd.tag(images))
    for name in needed:
        with pytest.raises(UsageError, match=r"needed by .*a clean-up removes that version"):
            cd.tag(images, name, delete=True)
        with pytest.raises(UsageError, match="a tag cannot be called"):
            cd.tag(images, name, move=True)
        assert cd.tag(images, name, delete=True, yes=True).done == "deleted"


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "../x", "x..y", "-x", "x.", "x.lock", "12", "é", "run-x-v3", "a" * 201, 7]
)
def test_a_name_that_will_not_do_is_refused_with_one_that_would(tmp_path: Path, name: Any) -> None:
    table = number_table(tmp_path, 1)
    with pytest.raises(UsageError, match="a tag cannot be called") as refused:
        cd.tag(table, name)
    better = str(refused.value.hint).removeprefix("use '").removesuffix("'")
    assert cd.tag(table, better).done == "made"


def test_what_is_asked_together_and_means_nothing_is_refused(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    for arguments in ({"move": True}, {"version": 1}, {"delete": True}):
        with pytest.raises(UsageError, match="no name is given"):
            cd.tag(table, **arguments)
    with pytest.raises(UsageError, match="takes its name alone"):
        cd.tag(table, "x", delete=True, move=True)
    with pytest.raises(NotFoundError, match="no version 99"):
        cd.tag(table, "x", version=99)


def test_a_tag_that_is_moved_is_as_lance_moves_it(tmp_path: Path) -> None:
    one, other = number_table(tmp_path, 3, name="one.lance"), number_table(tmp_path, 3, name="other.lance")
    for table in (one, other):
        cd.tag(table, "raw", version=1)

    cd.tag(one, "raw", version=2, move=True)
    other.dataset.tags.update("raw", 2)

    files = [json.loads(Path(table.uri, "_refs", "tags", "raw.json").read_text()) for table in (one, other)]
    moments = [{said.pop("createdAt") < said.pop("updatedAt")} for said in files]
    assert moments == [{True}, {True}]
    sizes = [manifest(table.uri, 2).stat().st_size for table in (one, other)]
    assert [said.pop("manifestSize") for said in files] == sizes
    assert files[0] == files[1]
    assert cd.open_table(one.uri, version="raw").version == 2
    assert [path.name for path in Path(one.uri, "_refs").iterdir()] == ["tags"]


def test_a_tag_that_another_process_moved_made_or_deleted_meanwhile_is_left_and_said_as_it_is(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    cd.tag(table, "raw", version=2)

    with pytest.raises(ConcurrentChangeError, match=r"named version 1 a moment ago and names version 2 now.*not let"):
        set_tag(table, "raw", 3, before=1)
    with pytest.raises(ConcurrentChangeError, match=r"was not there a moment ago and names version 2 now"):
        set_tag(table, "raw", 1, before=None)
    with pytest.raises(ConcurrentChangeError, match=r"named version 1 a moment ago and is gone now"):
        set_tag(table, "other", 2, before=1)
    with pytest.raises(ConcurrentChangeError, match=r"names version 2 now.*it was not deleted"):
        delete_tag(table, "raw", before=1)
    assert not set_tag(table, "raw", 2, before=1), "another let it name the same version: nothing is left to do"
    assert {tag.name: tag.version for tag in cd.tag(table).tags} == {"raw": 2}


@pytest.mark.parametrize("there_before", [True, False], ids=["moved", "made"])
def test_of_two_that_move_or_make_one_tag_at_once_neither_claims_what_the_other_wrote_over(
    tmp_path: Path, there_before: bool
) -> None:
    uri = number_table(tmp_path, 3).uri
    append_numbers(cd.open_table(uri), 3, 5)
    both = threading.Barrier(2)

    def tagged(name: str, version: int) -> tuple[int | None, int] | str:
        both.wait()
        try:
            done = cd.tag(uri, name, version=version, move=True)
        except ConcurrentChangeError as error:
            return error.message
        assert done.version == version
        return done.before, version

    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            name, before = f"raw{number}", 1 if there_before else None
            if there_before:
                cd.tag(uri, name, version=1)
            outcomes = list(pool.map(tagged, (name, name), (2, 3)))
            now = cd.open_table(uri, version=name).version
            claimed = dict(one for one in outcomes if isinstance(one, tuple))
            while before in claimed:
                before = claimed.pop(before)
            assert (claimed, before) == ({}, now), outcomes
            assert all(f"names version {now} now" in one for one in outcomes if isinstance(one, str))
