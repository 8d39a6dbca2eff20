"""Shards out: what a reader of WebDataset finds, what comes back equal, what an interrupted export leaves."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import SchemaError, StorageError, UsageError
from clipdata.exports import export
from clipdata.exports.shards import NOTED, _Export
from clipdata.lance_io import rows
from clipdata.lance_io.table import open_table
from clipdata.schema import IMAGE_FIELDS, key_field
from ingest.pictures.image_files import ImageFiles
from ingest.shards.tar_shards import TarShards
from ingest.updating.job import ingest
from tests.pictures import encoded, write_pictures
from tests.tars import read_files

MADE = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


def captioned_table(folder, num=10, formats=(".jpg", ".png", ".webp")):
    """Image rows with columns of every kind that comes back, one that does not, and odd values in all of them."""
    extra = [
        pa.field("caption", pa.string()),
        pa.field("choices", pa.list_(pa.string())),
        pa.field("score", pa.float32()),
        pa.field("label_ind", pa.int16()),
        pa.field("good", pa.bool_()),
        pa.field("seen", pa.timestamp("us", "UTC")),
        pa.field("tuned", pa.list_(pa.float32())),
        pa.field("embedding", pa.list_(pa.float32(), 64)),
        pa.field("thumb", pa.binary()),
    ]
    schema = pa.schema([key_field("id"), *(f.with_nullable(True).remove_metadata() for f in IMAGE_FIELDS), *extra])
    records = []
    for i in range(num):
        suffix = formats[i % len(formats)]
        data = encoded(i, suffix)
        kind = {".jpg": "jpeg"}.get(suffix, suffix[1:])
        about = {"id": f"row {i}", "path": f"in/{i // 2}.a{suffix}", "filename": f"{i // 2}.a{suffix}", "image": data}
        about |= {"format": kind, "width": 64, "height": 48, "bytes": len(data), "uri": f"gs://b/{i}", "mtime": MADE}
        odd = {
            "caption": f'"{i}", 逗号\n {i}\n',
            "choices": ["a", "", "c,d"][: i % 4],
            "score": 0.1 * i,
            "good": bool(i % 2),
        }
        records.append({**about, **odd, "label_ind": i, "seen": MADE, "tuned": [0.1, 0.9], "embedding": [0.5] * 64})
    records[3] |= {"score": float("nan"), "good": None, "choices": None, "seen": None}
    records[4] |= {"score": float("-inf"), "caption": ""}
    table = rows.create_table(folder / "t.lance", schema)
    rows.upsert(table, pa.Table.from_pylist(records, schema=schema))
    return open_table(folder / "t.lance")


def members_of(shard):
    with tarfile.open(shard) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def test_a_reader_of_webdataset_finds_image_text_and_json_of_each_row(tmp_path):
    done = export(captioned_table(tmp_path), tmp_path / "out", rows_per_shard=4)

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "00000.tar",
        "00001.tar",
        "00002.tar",
        "clipdata.json",
        "sizes.json",
    ]
    assert json.loads((tmp_path / "out" / "sizes.json").read_text()) == {"00000.tar": 4, "00001.tar": 4, "00002.tar": 2}
    found = members_of(tmp_path / "out" / "00001.tar")
    assert list(found)[:3] == ["000010.png", "000010.json", "000010.txt"]
    assert found["000010.png"] == encoded(4, ".png")
    assert found["000011.txt"].decode() == '"5", 逗号\n 5\n'
    assert json.loads(found["000011.json"])["choices"] == ["a"]
    assert (done.num_rows, done.num_files, done.notes) == (10, 3, {})


def test_shards_taken_in_again_are_the_same_rows(tmp_path):
    table = captioned_table(tmp_path)
    export(table, tmp_path / "out", rows_per_shard=4)

    back = ingest(TarShards(tmp_path / "out"), tmp_path / "back.lance").table.to_table().sort_by("path")
    before = table.to_table().sort_by("id")

    renamed = {
        "path": "original_path",
        "filename": "original_filename",
        "uri": "original_uri",
        "mtime": "original_mtime",
    }
    own = {"etag", "thumb", "embedding", "sha256"}
    for column in before.schema:
        if column.name not in own:
            after = back.column(renamed.get(column.name, column.name))
            assert after.type == column.type, column.name
            assert repr(after.to_pylist()) == repr(before.column(column.name).to_pylist()), column.name
    assert set(back.column("json").to_pylist()) == {None}


def test_the_same_rows_give_the_same_bytes(tmp_path):
    table = captioned_table(tmp_path)
    for out in ("one", "two"):
        export(table, tmp_path / out, rows_per_shard=4)

    for name in ("00000.tar", "00001.tar", "00002.tar", "sizes.json", "clipdata.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_killed_export_goes_on_where_it_stopped(tmp_path):
    table, out = captioned_table(tmp_path), tmp_path / "out"
    export(table, out, rows_per_shard=2)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    manifest = json.loads(whole["clipdata.json"]) | {"complete": False}
    del manifest["shards"]["00003.tar"], manifest["shards"]["00004.tar"]
    (out / "clipdata.json").write_text(json.dumps(manifest))
    (out / "sizes.json").unlink()
    (out / "00004.tar").unlink()
    (out / ".00003.tar.part").write_bytes(b"half")
    (out / "00001.tar").write_bytes(b"cut short by a full disk")

    done = export(table, out, rows_per_shard=2)

    assert done.num_new_files == 3
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole


def test_again_with_nothing_changed_writes_nothing(tmp_path):
    table = captioned_table(tmp_path)
    export(table, tmp_path / "out")
    before = (tmp_path / "out" / "00000.tar").stat().st_mtime_ns

    assert export(table, tmp_path / "out").num_new_files == 0
    assert (tmp_path / "out" / "00000.tar").stat().st_mtime_ns == before


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    table = captioned_table(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    export(table, tmp_path / "out", rows_per_shard=2)

    with pytest.raises(UsageError, match="is not empty"):
        export(table, tmp_path / "mine", overwrite=True)
    with pytest.raises(UsageError, match="another export; rows_per_shard differ"):
        export(table, tmp_path / "out", rows_per_shard=8)
    export(table, tmp_path / "out", rows_per_shard=8, overwrite=True)

    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["00000.tar", "00001.tar"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("num_puts", range(2, 7))
def test_an_export_killed_anywhere_and_overwritten_with_fewer_shards_leaves_no_shard_of_the_former(
    tmp_path, monkeypatch, num_puts
):
    table, out = captioned_table(tmp_path, 6), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(_Export, "_put", dying_after(num_puts - 1))
        with pytest.raises(KeyboardInterrupt):
            export(table, out, rows_per_shard=2)
    (out / "notes.tar").write_bytes(b"mine")

    export(table, out, rows_per_shard=6, overwrite=True)

    assert sorted(path.name for path in out.iterdir()) == ["00000.tar", "clipdata.json", "notes.tar", "sizes.json"]
    assert TarShards(out).covers(str(out / "00000.tar"))


@pytest.mark.parametrize("num_puts", range(1, 4))
def test_an_overwrite_killed_anywhere_is_no_complete_export_and_is_ended_by_the_next(tmp_path, monkeypatch, num_puts):
    table, out = captioned_table(tmp_path, 6), tmp_path / "out"
    export(table, out, rows_per_shard=1)
    with monkeypatch.context() as patch:
        patch.setattr(_Export, "_put" if num_puts > 1 else "_remove", dying_after(num_puts - 1))
        with pytest.raises(KeyboardInterrupt):
            export(table, out, rows_per_shard=3, overwrite=True)

    source = TarShards(out)
    source.schema()
    assert source.notes()["exports that are not complete"] == str(out)
    export(table, out, rows_per_shard=3)

    assert sorted(path.name for path in out.glob("*.tar")) == ["00000.tar", "00001.tar"]
    assert "exports" not in str(again_notes(out))


def dying_after(num_calls):
    """A method that works some times, and is then killed before it does anything."""
    put, calls = _Export._put, []

    def dying(self, *arguments):
        if len(calls) == num_calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return put(self, *arguments)

    return dying


def again_notes(out):
    source = TarShards(out)
    source.schema()
    return source.notes()


def test_a_reader_of_an_export_is_told_what_its_record_does_not_say(tmp_path):
    out = tmp_path / "out"
    export(captioned_table(tmp_path), out, rows_per_shard=4)
    assert again_notes(out) == {}
    (out / "00007.tar").write_bytes((out / "00000.tar").read_bytes())
    (out / "00001.tar").unlink()
    (out / "00002.tar").write_bytes((out / "00000.tar").read_bytes())

    assert again_notes(out) == {
        "shards that no export named": f"{out}/00007.tar",
        "shards of an export that are gone": f"{out}/00001.tar",
        "shards that are not as the export left them": f"{out}/00002.tar",
    }
    assert again_notes(out / "00000.tar") == {}
    (out / "clipdata.json").write_text('{"schema_version": 1, "shards": 3')
    rows, _ = rows_of(out / "00000.tar")
    assert len(rows) == 4
    assert "is not the record of an export" in again_notes(out)["records of exports that cannot be read"]


def test_a_record_that_names_files_elsewhere_removes_nothing_there(tmp_path):
    out, mine = tmp_path / "out", tmp_path / "mine.tar"
    table = captioned_table(tmp_path)
    export(table, out)
    mine.write_bytes(b"mine")
    record = json.loads((out / "clipdata.json").read_text())
    (out / "clipdata.json").write_text(json.dumps(record | {"complete": False, "replaces": ["../mine.tar"]}))

    with pytest.raises(StorageError, match="leads out of the folder"):
        export(table, out)

    assert mine.exists()


def test_the_columns_of_several_exports_are_read_together(tmp_path):
    table = captioned_table(tmp_path)
    export(table, tmp_path / "out" / "a", columns=["score"])
    export(table, tmp_path / "out" / "b", columns=["label_ind"])

    schema = rows_of(tmp_path / "out")[1]

    assert (schema.field("score").type, schema.field("label_ind").type) == (pa.float32(), pa.int16())


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(tmp_path):
    table = captioned_table(tmp_path, 10)

    dry = export(table, tmp_path / "out", rows_per_shard=4, dry_run=True)

    assert not (tmp_path / "out").exists()
    done = export(table, tmp_path / "out", rows_per_shard=4)
    assert (dry.num_rows, dry.num_files, dry.num_new_files) == (10, 3, 3)
    assert 0.8 < dry.num_bytes / done.num_bytes < 1.25
    assert "3 files; nothing was written" in str(dry)
    assert export(table, tmp_path / "out", rows_per_shard=4, dry_run=True).num_new_files == 0
    with pytest.raises(UsageError, match="another export"):
        export(table, tmp_path / "out", dry_run=True)
    export(table, tmp_path / "out", dry_run=True, overwrite=True)
    assert len(list((tmp_path / "out").glob("*.tar"))) == 3
    assert export(table, tmp_path / "none", where="label_ind > 99", dry_run=True).num_bytes == 0


def test_a_table_without_images_says_so(tmp_path):
    table = rows.create_table(tmp_path / "m.lance", pa.schema([key_field("id"), pa.field("image", pa.string())]))

    with pytest.raises(SchemaError, match="has no column of images"):
        export(table, tmp_path / "out")


def test_no_text_is_written_on_request_and_a_number_is_no_caption(tmp_path):
    table = captioned_table(tmp_path)

    done = export(table, tmp_path / "out", caption="")

    assert not [name for name in members_of(tmp_path / "out" / "00000.tar") if name.endswith(".txt")]
    assert done.notes == {NOTED["without_caption"]: 10}
    with pytest.raises(SchemaError, match="'score' is float"):
        export(table, tmp_path / "other", caption="score")


def test_where_and_columns_choose_what_is_written(tmp_path):
    done = export(captioned_table(tmp_path), tmp_path / "out", where="label_ind >= 8", columns=["id", "tuned"])

    found = members_of(tmp_path / "out" / "00000.tar")
    assert done.num_rows == 2
    assert json.loads(found["00000000.json"]).keys() == {"id", "tuned"}


def test_long_vectors_and_bytes_are_left_out_and_said(tmp_path):
    table = captioned_table(tmp_path)

    assert set(export(table, tmp_path / "out").left_out) == {"embedding", "thumb"}
    with pytest.raises(SchemaError, match=r"'thumb' \(binary\)"):
        export(table, tmp_path / "bytes", columns=["thumb"])
    export(table, tmp_path / "vectors", columns=["embedding"])
    (row, *_), schema = rows_of(tmp_path / "vectors")
    assert row["embedding"] == [0.5] * 64
    assert schema.field("embedding").type == pa.list_(pa.float32(), 64)


def rows_of(where):
    source = TarShards(where)
    return read_files(source)[0], source.schema()


def test_any_text_column_can_be_the_caption_and_of_a_list_the_first(tmp_path):
    table = captioned_table(tmp_path)

    named = export(table, tmp_path / "one", caption="id")
    listed = export(table, tmp_path / "two", caption="choices")

    assert members_of(tmp_path / "one" / "00000.tar")["00000002.txt"] == b"row 2"
    assert members_of(tmp_path / "two" / "00000.tar")["00000002.txt"] == b"a"
    assert (named.notes, listed.notes) == ({}, {NOTED["without_caption"]: 4})


def test_images_kept_by_reference_are_fetched_and_missing_ones_counted(tmp_path):
    paths = write_pictures(tmp_path / "in", 3)
    done = ingest(ImageFiles(tmp_path / "in"), tmp_path / "t.lance")
    nulls = done.table.to_table(["path", "uri", "format", "etag"]).set_column(3, "etag", pa.array(["by reference"] * 3))
    rows.upsert(done.table, nulls, changed="etag")
    paths[1].unlink()

    exported = export(done.table.latest(), tmp_path / "out")

    found = members_of(tmp_path / "out" / "00000.tar")
    assert [name for name in found if name.endswith(".jpg")] == ["00000000.jpg", "00000002.jpg"]
    assert found["00000002.jpg"] == encoded(2, ".jpg")
    assert (exported.num_rows, exported.num_refused) == (2, 1)


def test_formats_that_open_clip_does_not_read_are_counted(tmp_path):
    done = export(captioned_table(tmp_path, formats=(".png", ".bmp")), tmp_path / "out")

    assert done.notes[NOTED["other_formats"]] == 5
    assert "neither jpg, png nor webp, passed over by open_clip: 5" in str(done)


def test_open_clips_own_reader_finds_every_captioned_row(tmp_path):
    wds = pytest.importorskip("webdataset")
    export(captioned_table(tmp_path), tmp_path / "out", rows_per_shard=4)
    urls = str(tmp_path / "out" / "{00000..00002}.tar")

    read = wds.WebDataset(urls, shardshuffle=False).decode("pilrgb").rename(image="jpg;png;jpeg;webp", text="txt")

    found = [(np.asarray(sample["image"]).shape, sample["text"]) for sample in read]
    assert len(found) == 10
    assert found[1] == ((48, 64, 3), '"1", 逗号\n 1\n')


@pytest.mark.cloud
def test_shards_go_to_a_bucket_and_come_back(bucket, tmp_path):
    table = captioned_table(tmp_path)
    out = bucket.url("shards")

    export(table, out, rows_per_shard=4, storage=bucket.storage)
    again = export(table, out, rows_per_shard=4, storage=bucket.storage)
    done = ingest(TarShards(out, storage=bucket.storage), tmp_path / "back.lance")

    assert again.num_new_files == 0
    assert done.table.to_table(["image"])["image"].to_pylist() == table.to_table(["image"])["image"].to_pylist()


def test_members_are_plain_files_that_belong_to_nobody(tmp_path):
    export(captioned_table(tmp_path), tmp_path / "out")

    with tarfile.open(fileobj=io.BytesIO((tmp_path / "out" / "00000.tar").read_bytes())) as archive:
        assert {(info.uid, info.gid, info.uname, info.mode, info.type) for info in archive} == {
            (0, 0, "", 0o644, tarfile.REGTYPE)
        }
