"""Shards in: which members make a row, what becomes a column, which shards are found, what is read again."""

from __future__ import annotations

import json
import lzma

import pyarrow as pa
import pytest

from clipdata.errors import NotFoundError, SchemaError
from ingest import from_shards
from ingest.shards.places import expand_braces
from ingest.shards.tar_shards import TarShards
from ingest.updating.job import ingest
from tests.cloud.fault_proxy import Fault
from tests.pictures import encoded
from tests.tars import compressed, member, picture, read_files, sample, write_shard


def rows_of(where, **options):
    source = TarShards(where, **options)
    return *read_files(source), source


def test_a_sample_becomes_a_row_with_its_own_bytes_and_caption(tmp_path):
    write_shard(tmp_path / "00000.tar", [sample("train.v1/000", 7, "a cat, on a mat\n")])

    (row,), rejects, source = rows_of(tmp_path / "00000.tar")

    assert row["path"] == "00000.tar/train.v1/000.png"
    assert row["filename"] == "000.png"
    assert row["image"] == picture(7)
    assert (row["format"], row["width"], row["height"], row["bytes"]) == ("png", 24, 16, len(picture(7)))
    assert row["caption"] == "a cat, on a mat"
    assert not rejects
    assert source.schema().field("path").nullable is False


def test_members_belong_together_up_to_the_first_dot(tmp_path):
    members = [member("a/1.seg.png", picture(1)), member("a/1.PNG", picture(2)), member("a/1.txt", b"one")]
    write_shard(tmp_path / "s.tar", [*members, sample("b/1", 3, "another folder")])

    rows, _, source = rows_of(tmp_path / "s.tar")

    assert [(row["image"], row["caption"]) for row in rows] == [(picture(2), "one"), (picture(3), "another folder")]
    assert source.notes() == {"other members, ignored": "1 (1 .seg.png)"}


def test_every_format_of_the_reader_is_an_image_and_the_first_of_two_is_taken(tmp_path):
    suffixes = ["jpg", "jpeg", "png", "webp", "bmp", "tiff"]
    parts = [member(f"{i}.{suffix}", encoded(i, f".{suffix}")) for i, suffix in enumerate(suffixes)]
    write_shard(tmp_path / "s.tar", [*parts, member("x.png", encoded(8, ".png")), member("x.jpg", encoded(9, ".jpg"))])

    rows, rejects, source = rows_of(tmp_path / "s.tar")

    assert [row["format"] for row in rows] == ["jpeg", "jpeg", "png", "webp", "bmp", "tiff", "jpeg"]
    assert rows[-1]["image"] == encoded(9, ".jpg")
    assert source.notes() == {"other members, ignored": "1 (1 .png)"}
    assert not rejects


def test_json_fields_become_columns_and_those_that_drift_stay_as_text(tmp_path):
    records = [{"url": "http://a", "width": 24, "likes": 3, "odd": 1}, {"url": None, "width": 640, "odd": "one"}]
    write_shard(tmp_path / "s.tar", [sample(str(i), i, "x", record) for i, record in enumerate(records)])

    rows, _, source = rows_of(tmp_path / "s.tar")

    assert source.schema().field("likes").type == pa.int64()
    assert [(row["url"], row["likes"], row["original_width"]) for row in rows] == [
        ("http://a", 3, None),
        (None, None, 640),
    ]
    assert [json.loads(row["json"]) for row in rows] == [{"odd": 1}, {"odd": "one"}]


def test_columns_can_be_named_so_that_every_run_has_the_same(tmp_path):
    write_shard(tmp_path / "s.tar", [sample("a", 1, "x", {"likes": 3, "url": "u"})])
    columns = pa.schema([("likes", pa.int32()), ("later", pa.string())])

    (row,), _, _ = rows_of(tmp_path / "s.tar", columns=columns)

    assert (row["likes"], row["later"], json.loads(row["json"])) == (3, None, {"url": "u"})
    with pytest.raises(SchemaError, match="binary"):
        TarShards(tmp_path / "s.tar", columns=pa.schema([("bytes", pa.binary())]))


def test_class_numbers_beside_images_become_a_column(tmp_path):
    write_shard(tmp_path / "s.tar", [sample("a"), member("a.cls", b"17\n"), sample("b"), member("b.cls", b"0")])

    assert [row["cls"] for row in rows_of(tmp_path / "s.tar")[0]] == [17, 0]


def test_a_sample_without_text_has_no_caption_unless_its_json_says_one(tmp_path):
    write_shard(tmp_path / "s.tar", [sample("a"), sample("b", record={"caption": "from json"})])

    assert [row["caption"] for row in rows_of(tmp_path / "s.tar")[0]] == [None, "from json"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.lz4"])
def test_compressed_shards_are_read_as_plain_ones(tmp_path, suffix):
    plain = write_shard(tmp_path / "plain" / "s.tar", [sample("a", 1, "x"), sample("b", 2, "y")])
    packed = tmp_path / "in" / f"s{suffix}"
    packed.parent.mkdir()
    packed.write_bytes(compressed(plain.read_bytes(), suffix))

    rows, rejects, source = rows_of(packed.parent)

    assert [row["image"] for row in rows] == [picture(1), picture(2)]
    assert not rejects
    assert not source.notes()
    packed.write_bytes(packed.read_bytes()[:-30])
    assert [reject.reason for reject in rows_of(packed.parent)[1]] == ["truncated"]


def test_a_shard_in_xz_is_refused_with_what_is_read_instead(tmp_path):
    (tmp_path / "s.tar.xz").write_bytes(lzma.compress(bytes(2048)))

    _, (reject,), _ = rows_of(tmp_path / "s.tar.xz")

    assert (reject.reason, "zstd" in reject.detail) == ("unsupported_format", True)


def test_shards_are_found_by_folder_glob_braces_and_list(tmp_path):
    places = [write_shard(tmp_path / "in" / f"{number:05d}.tar", [sample("a", number)]) for number in range(3)]
    (tmp_path / "in" / "sizes.json").write_text("{}")
    ways = [
        tmp_path / "in",
        str(tmp_path / "in" / "*.tar"),
        str(tmp_path / "in" / "{00000..00002}.tar"),
        [str(place) for place in places],
    ]

    for way in ways:
        assert [item.key for item in TarShards(way).items()] == ["00000.tar", "00001.tar", "00002.tar"]


def test_shards_of_one_name_in_two_folders_have_rows_of_their_own(tmp_path):
    for folder in ("one", "two"):
        write_shard(tmp_path / folder / "0.tar", [sample("a", 1)])

    assert [row["path"] for row in rows_of(tmp_path)[0]] == ["one/0.tar/a.png", "two/0.tar/a.png"]


def test_a_shard_of_a_range_that_is_not_there_is_refused_until_it_is(tmp_path):
    write_shard(tmp_path / "in" / "0.tar", [sample("a", 1)])
    where = str(tmp_path / "in" / "{0..1}.tar")
    first = from_shards(where, into=tmp_path / "t.lance")
    write_shard(tmp_path / "in" / "1.tar", [sample("a", 2)])

    again = from_shards(where, into=tmp_path / "t.lance")

    assert first.refused == {"missing": 1}
    assert (again.unchanged, again.written.inserted, again.refused) == (1, 1, {})


def test_names_of_shards_stay_when_others_come(tmp_path):
    write_shard(tmp_path / "in" / "b" / "0.tar", [sample("a", 1)])
    first = {item.where: item.key for item in TarShards(tmp_path / "in").items()}
    write_shard(tmp_path / "in" / "a" / "0.tar", [sample("a", 1)])

    for way in (tmp_path / "in", str(tmp_path / "in" / "*" / "*.tar"), str(tmp_path / "in" / "{a,b}" / "0.tar")):
        later = {item.where: item.key for item in TarShards(way).items()}
        assert later.items() >= first.items()
        assert list(later.values()) == ["a/0.tar", "b/0.tar"]


@pytest.mark.cloud
@pytest.mark.parametrize("fault", ["reset_after", "truncate", "503"])
def test_a_network_that_fails_now_and_then_costs_no_sample_and_doubles_none(bucket, tmp_path, fault):
    parts = [sample(f"{i:03d}", i, "x" * 50_000) for i in range(100)] + [member("000.txt", b"again")]
    shard = write_shard(tmp_path / "0.tar", parts)
    fs, path = bucket.direct.filesystem(bucket.url("shards", "0.tar"))
    fs.pipe_file(path, shard.read_bytes())

    with bucket.proxy.injecting(Fault(fault, requests=["get"], times=3)):
        rows, rejects, _ = rows_of(bucket.url("shards"), storage=bucket.storage)

    assert [row["path"] for row in rows] == [f"0.tar/{i:03d}.png" for i in range(100)]
    assert [reject.reason for reject in rejects] == ["duplicate"]


@pytest.mark.cloud
def test_a_range_of_shards_costs_one_listing(bucket):
    fs, path = bucket.direct.filesystem(bucket.url("shards"))
    for number in range(12):
        fs.pipe_file(f"{path}/{number:03d}.tar", b"x")
    bucket.proxy.reset()

    found = list(TarShards(bucket.url("shards", "{000..011}.tar"), storage=bucket.storage).items())

    assert [item.key for item in found] == [f"{number:03d}.tar" for number in range(12)]
    assert sum(bucket.proxy.counts().requests.values()) <= 4


def test_braces_are_written_out_as_shells_do():
    assert list(expand_braces("s/{08..11}.tar")) == ["s/08.tar", "s/09.tar", "s/10.tar", "s/11.tar"]
    assert list(expand_braces("{a,b}/{1..2}")) == ["a/1", "a/2", "b/1", "b/2"]
    assert list(expand_braces("plain.tar")) == ["plain.tar"]


def test_no_shard_is_an_error_that_says_what_was_looked_for(tmp_path):
    with pytest.raises(NotFoundError, match=r"nothing\.tar.*expected files ending in \.tar"):
        list(TarShards(tmp_path / "nothing.tar").items())


def test_a_changed_shard_replaces_only_the_rows_that_changed(tmp_path):
    shard = tmp_path / "in" / "s.tar"
    write_shard(shard, [sample("a", 1, "same"), sample("b", 2, "old"), sample("c", 3, "goes")])
    first = from_shards(shard, into=tmp_path / "t.lance")

    again = from_shards(shard, into=tmp_path / "t.lance")
    write_shard(shard, [sample("a", 1, "same"), sample("b", 2, "new"), sample("d", 4, "comes")])
    changed = ingest(TarShards(shard), tmp_path / "t.lance")

    assert (first.written.inserted, again.written.inserted, again.unchanged) == (3, 0, 1)
    assert (changed.written.inserted, changed.written.updated, changed.written.deleted) == (1, 1, 1)
    assert changed.table.to_table(["caption"])["caption"].to_pylist().count("new") == 1


def test_more_shards_later_add_their_rows(tmp_path):
    write_shard(tmp_path / "in" / "0.tar", [sample("a", 1, "x")])
    ingest(TarShards(tmp_path / "in"), tmp_path / "t.lance")
    write_shard(tmp_path / "in" / "1.tar", [sample("a", 1, "x")])

    done = ingest(TarShards(tmp_path / "in"), tmp_path / "t.lance")

    assert (done.unchanged, done.written.inserted, done.table.num_rows) == (1, 1, 2)


def test_refusals_are_counted_by_reason_and_kept(tmp_path):
    write_shard(tmp_path / "s.tar", [sample("a", 1, "x"), member("b.png", b"no image"), member("c.txt", b"alone")])

    done = ingest(TarShards(tmp_path / "s.tar"), tmp_path / "t.lance")

    assert done.table.num_rows == 1
    assert done.refused == {"not_an_image": 1, "missing": 1}


@pytest.mark.cloud
def test_shards_are_streamed_from_a_bucket(bucket, tmp_path):
    shard = write_shard(tmp_path / "0.tar", [sample(f"{i:03d}", i, f"number {i}") for i in range(40)])
    fs, path = bucket.storage.filesystem(bucket.url("shards", "0.tar"))
    fs.pipe_file(path, shard.read_bytes())

    rows, rejects, _ = rows_of(bucket.url("shards", "*.tar"), storage=bucket.storage)

    assert [row["image"] for row in rows] == [picture(i) for i in range(40)]
    assert rows[0]["uri"] == f"tar://000.png::{bucket.url('shards', '0.tar')}"
    assert not rejects
