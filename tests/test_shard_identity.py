"""Rows of shards over many runs: what stays, what is read again, what goes, and what never does."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, UsageError
from ingest import from_shards
from ingest.shards.places import expand_braces
from ingest.shards.tar_shards import TarShards
from tests.tars import member, read_files, sample, write_shard


def three_shards(folder):
    return [
        write_shard(folder / f"{n}.tar", [sample(f"{n}{i}", 10 * n + i, f"{n} {i}") for i in range(3)])
        for n in range(3)
    ]


def lengths(table):
    """A column of the person's own, to see which rows were replaced."""

    @cd.step(reads="path", returns="int32")
    def length(path):
        return len(path)

    cd.map_column(cd.open_table(table), length, "length")


def gone(place):
    place.unlink()


def cut(place):
    place.write_bytes(place.read_bytes()[:3000])


def emptied(place):
    place.write_bytes(b"")


def another_thing(place):
    place.write_bytes(b"<html>not here</html>" * 200)


def a_pipe(place):
    place.unlink()
    os.mkfifo(place)


def a_loop(place):
    place.unlink()
    place.symlink_to(place.name)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (gone, "missing"),
        (cut, "truncated"),
        (emptied, "empty"),
        (another_thing, "not_a_tar"),
        (a_pipe, "unreadable"),
        (a_loop, "unreadable"),
    ],
)
def test_a_shard_that_breaks_is_refused_and_keeps_its_rows_and_their_columns_until_it_is_mended(
    tmp_path, break_it, reason
):
    shards = three_shards(tmp_path / "in")
    where, into = str(tmp_path / "in" / "{0..2}.tar"), tmp_path / "t.lance"
    from_shards(where, into=into)
    lengths(into)
    shutil.copy2(shards[1], tmp_path / "kept.tar")
    break_it(shards[1])

    for retry in (False, True):
        broken = from_shards(where, into=into, retry_rejects=retry)
        assert broken.refused == {reason: 1}, "said each time it is tried"
        assert (broken.written.inserted, broken.written.deleted) == (0, 0)
    shards[1].unlink(missing_ok=True)
    shutil.copy2(tmp_path / "kept.tar", shards[1])
    from_shards(where, into=into)

    table = cd.open_table(into)
    assert (table.num_rows, table.count_nulls("length")) == (9, 0)
    assert cd.open_table(tmp_path / "t.rejects.lance").num_rows == 0


def test_again_nothing_is_read_and_no_version_is_made(tmp_path):
    shards = three_shards(tmp_path / "in")
    write_shard(shards[0], [sample("a", 1), member("broken.png", b"no image")])
    cut(shards[1])
    first = from_shards(tmp_path / "in", into=tmp_path / "t.lance")

    again = from_shards(tmp_path / "in", into=tmp_path / "t.lance")

    assert (again.read, again.refused_before, again.table.version) == (0, 2, first.table.version)
    assert cd.open_table(tmp_path / "t.rejects.lance").num_rows == 2


def test_a_touch_another_order_of_packing_and_other_times_replace_no_row(tmp_path):
    shards = three_shards(tmp_path / "in")
    from_shards(tmp_path / "in", into=tmp_path / "t.lance")
    lengths(tmp_path / "t.lance")
    os.utime(shards[0], (1, 1))
    write_shard(shards[1], [sample(f"1{i}", 10 + i, f"1 {i}") for i in (2, 0, 1)])

    done = from_shards(tmp_path / "in", into=tmp_path / "t.lance")

    assert (done.read, done.written.updated, done.written.inserted, done.written.deleted) == (2, 0, 0, 0)
    assert cd.open_table(tmp_path / "t.lance").count_nulls("length") == 0


def test_a_mended_sample_goes_from_the_rejects(tmp_path):
    shard = write_shard(tmp_path / "in" / "0.tar", [sample("a", 1), member("b.png", b"no image")])
    from_shards(tmp_path / "in", into=tmp_path / "t.lance")
    write_shard(shard, [sample("a", 1), sample("b", 2)])

    done = from_shards(tmp_path / "in", into=tmp_path / "t.lance")

    assert (done.written.inserted, done.refused) == (1, {})
    assert cd.open_table(tmp_path / "t.rejects.lance").num_rows == 0


def test_a_changed_caption_or_field_is_a_changed_row(tmp_path):
    shard = write_shard(tmp_path / "0.tar", [sample("a", 1, "x", {"n": 1}), sample("b", 2, "y", {"n": 2})])
    from_shards(shard, into=tmp_path / "t.lance")
    write_shard(shard, [sample("a", 1, "x!", {"n": 1}), sample("b", 2, "y", {"n": 3})])

    assert from_shards(shard, into=tmp_path / "t.lance").written.updated == 2


def test_a_field_keeps_the_type_that_the_table_has_whatever_later_shards_hold(tmp_path):
    shard = write_shard(tmp_path / "in" / "0.tar", [sample("a", 1, "x", {"likes": 3})])
    from_shards(shard, into=tmp_path / "t.lance")
    write_shard(tmp_path / "in" / "1.tar", [sample("b", 2, "y", {"likes": 0.5}), sample("c", 3, "z", {"likes": 4})])

    done = from_shards(tmp_path / "in" / "1.tar", into=tmp_path / "t.lance")

    rows = done.table.to_table(["path", "likes", "json"]).sort_by("path").to_pylist()
    assert [(row["likes"], row["json"]) for row in rows] == [(3, None), (None, '{"likes":0.5}'), (4, None)]


def test_a_shard_listed_with_others_keeps_the_key_it_has(tmp_path):
    one = write_shard(tmp_path / "a" / "0.tar", [sample("x", 1)])
    two = write_shard(tmp_path / "b" / "0.tar", [sample("x", 2)])

    keys = {way: [item.key for item in TarShards(list(way)).items()] for way in [(one,), (one, two), (two, one)]}

    assert keys == {(one,): ["0.tar"], (one, two): ["a/0.tar", "b/0.tar"], (two, one): ["a/0.tar", "b/0.tar"]}


@pytest.mark.parametrize("signs", ["run [2]", "{old}", "what?", "a*"])
def test_signs_in_the_name_of_a_folder_that_is_there_are_no_pattern(tmp_path, signs):
    write_shard(tmp_path / signs / "0.tar", [sample("x", 1)])

    source = TarShards(tmp_path / signs)

    assert [item.key for item in source.items()] == ["0.tar"]
    assert source.covers(str(tmp_path / signs / "1.tar"))


def test_a_source_covers_exactly_what_it_would_list(tmp_path):
    for place in ("in/0.tar", "in/sub/1.tar.zst", "in2/0.tar", "in/notes.txt", "in/._0.tar"):
        write_shard(tmp_path / place, [sample("x", 1)])
    folder, deep = tmp_path / "in", tmp_path / "in" / "sub"
    ways = {
        str(folder): {"in/0.tar", "in/sub/1.tar.zst"},
        f"{folder}/*.tar": {"in/0.tar"},
        f"{folder}/**/*.tar*": {"in/0.tar", "in/sub/1.tar.zst"},
        f"{folder}/{{0..3}}.tar": {"in/0.tar"},
        f"{tmp_path}/in*/{{0,1}}.tar": {"in/0.tar", "in2/0.tar"},
        str(folder / "0.tar"): {"in/0.tar"},
        str(deep): {"in/sub/1.tar.zst"},
    }
    places = [str(path) for path in tmp_path.rglob("*") if path.is_file()]

    for way, expected in ways.items():
        source = TarShards(way)
        assert {item.where for item in source.items() if item.etag} == {str(tmp_path / place) for place in expected}
        assert {place for place in places if source.covers(place)} == {str(tmp_path / place) for place in expected}
    assert TarShards(f"{folder}/{{0..3}}.tar").covers(str(folder / "3.tar")), "though it is not there"
    assert not TarShards(folder).covers("gs://bucket/in/0.tar")


def test_other_files_are_counted_by_kind_and_what_systems_leave_behind_is_no_data(tmp_path):
    folder = tmp_path / "in"
    write_shard(folder / "0.tar", [sample("x", 1)])
    junk = [
        "._0.tar",
        ".DS_Store",
        ".ipynb_checkpoints/0-checkpoint.tar",
        "clipdata.json.part",
        "readme.md",
        "a.tar.xz",
    ]
    for name in [*junk, "b.tar.xz", "_SUCCESS"]:
        write_shard(folder / name, [b"x"])

    source = TarShards(folder)

    assert [item.key for item in source.items()] == ["0.tar"]
    assert source.notes() == {"other files, left out": "5 (2 .tar.xz, 1 without a suffix, 1 .part, 1 .md)"}
    (folder / "0.tar").unlink()
    with pytest.raises(NotFoundError, match=r"found 5 \(2 \.tar\.xz"):
        list(TarShards(folder).items())


def test_links_into_a_cache_are_read_and_tell_when_the_file_behind_them_changes(tmp_path):
    blob = write_shard(tmp_path / "blobs" / "0a1b2c", [sample("x", 1)])
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "0.tar").symlink_to(blob)
    (tmp_path / "snapshot" / "more").symlink_to(tmp_path / "blobs")
    first = from_shards(tmp_path / "snapshot", into=tmp_path / "t.lance")
    os.utime(blob, (1, 1))

    again = from_shards(tmp_path / "snapshot", into=tmp_path / "t.lance")

    assert (first.written.inserted, again.read, again.table.num_rows) == (1, 1, 1)
    assert first.notes == {"other files, left out": "1 (1 link to a folder)"}


def test_ranges_count_down_and_in_steps_and_have_an_end(tmp_path):
    assert list(expand_braces("{10..08}.tar")) == ["10.tar", "09.tar", "08.tar"]
    assert list(expand_braces("{00..10..5}")) == ["00", "05", "10"]
    with pytest.raises(UsageError, match=r"more than 1,000,000 shards"):
        TarShards(str(tmp_path / "{0..99999999999}.tar"))


def test_options_are_what_shapes_or_refuses_rows(tmp_path):
    import json

    import pyarrow as pa

    from clipdata.images import ImageLimits
    from ingest.shards.members import TarLimits

    plain = TarShards(tmp_path).options
    others = [
        TarShards(tmp_path, columns=pa.schema([("likes", pa.int32())])).options,
        TarShards(tmp_path, limits=ImageLimits(max_pixels=100)).options,
        TarShards(tmp_path, tar_limits=TarLimits(max_member_bytes=100)).options,
    ]

    assert all(options != plain and json.loads(json.dumps(options)) == options for options in others)


def test_an_unreadable_shard_says_why_and_is_tried_again(tmp_path):
    shards = three_shards(tmp_path / "in")
    shards[1].chmod(0)
    if os.access(shards[1], os.R_OK):
        pytest.skip("the superuser reads everything")

    _, (reject,) = read_files(TarShards(tmp_path / "in"))

    assert (reject.key, reject.etag, reject.reason) == ("1.tar", "", "unreadable")
    assert not stat.S_IMODE(shards[1].stat().st_mode)
