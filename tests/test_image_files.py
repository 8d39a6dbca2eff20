"""Ingest of image folders: what becomes a row, what is skipped, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError, TooManyRejectsError
from clipdata.lance_io import rows
from clipdata.lance_io.history import log
from clipdata.lance_io.inserting import Inserter
from clipdata.lance_io.refused import rejects_uri
from ingest.pictures.image_files import ImageFiles
from tests.pictures import encoded, write_pictures


def test_every_image_below_the_folder_becomes_a_row_with_its_own_bytes(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in" / "a", 3)
    write_pictures(tmp_path / "in" / "b" / "deep", 2, suffix=".png")
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    table = done.table.to_table()
    assert table["path"].to_pylist() == [
        "a/0000.jpg",
        "a/0001.jpg",
        "a/0002.jpg",
        "b/deep/0000.png",
        "b/deep/0001.png",
    ]
    assert table["image"][3].as_py() == (tmp_path / "in" / "b" / "deep" / "0000.png").read_bytes()
    assert table["format"].to_pylist() == ["jpeg"] * 3 + ["png"] * 2
    assert set(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)) == {(64, 48)}
    assert done.table.key == "path"


def test_again_with_nothing_changed_reads_nothing_and_makes_no_version(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    first = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    second = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert second.unchanged == 4
    assert second.written == rows.Written()
    assert second.table.version == first.table.version


def test_a_changed_file_replaces_its_row_and_resets_what_was_derived_from_it(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 4)
    table = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance").table

    @cd.step(reads="bytes", returns="int64")
    def double(num_bytes: int) -> int:
        return 2 * num_bytes

    cd.map_column(table, double, "double")
    paths[1].write_bytes(encoded(99))
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert (done.written.updated, done.unchanged) == (1, 3)
    read = done.table.to_table(["path", "double"])
    derived = dict(zip(read["path"].to_pylist(), read["double"].to_pylist(), strict=True))
    assert derived["0001.jpg"] is None
    assert all(derived[path] for path in ("0000.jpg", "0002.jpg", "0003.jpg"))


def test_a_vanished_file_is_reported_and_its_row_kept(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 3)
    ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    paths[2].unlink()
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert done.vanished == ["0002.jpg"]
    assert done.table.num_rows == 3


def test_rows_of_a_folder_whose_name_starts_alike_have_not_vanished(tmp_path: Path) -> None:
    write_pictures(tmp_path / "cats", 2)
    write_pictures(tmp_path / "cats-2", 1, first=5)
    ingest.from_images(tmp_path / "cats-2", into=tmp_path / "t.lance")
    done = ingest.from_images(tmp_path / "cats", into=tmp_path / "t.lance")
    assert (done.vanished, done.table.num_rows) == ([], 3)


def test_files_that_cannot_be_used_are_refused_with_a_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_pictures(folder, 2)
    (folder / "empty.jpg").touch()
    (folder / "cut.jpg").write_bytes(encoded(1)[:-200])
    (folder / "text.jpg").write_text("this is no picture at all, whatever its name may say")
    (folder / "notes.txt").write_text("ignored")
    (folder / "really.png").write_bytes(encoded(3, ".jpg"))  # a wrong suffix does not matter, the content decides
    os.symlink("/etc/hostname", folder / "out.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / os.fsdecode(b"latin-\xe9.jpg")).write_bytes(encoded(4))
    (folder / ("long" * 60 + ".jpg")).write_bytes(encoded(5))
    done = ingest.from_images(folder, into=tmp_path / "t.lance")
    assert done.table.count_rows("path = 'really.png' AND format = 'jpeg'") == 1
    assert done.table.num_rows == 4
    assert sum(done.refused.values()) == 6
    assert done.refused["empty"] == 1
    assert done.refused["bad_name"] == 1
    assert done.refused["link_outside"] == 1
    assert done.refused["not_a_file"] == 1
    listed = cd.open_table(rejects_uri(done.table.uri)).to_table()
    assert set(listed["path"].to_pylist()) >= {"empty.jpg", "cut.jpg", "text.jpg", "latin-\\xe9.jpg"}
    assert "1 .txt" in str(done)


def test_refused_files_are_tried_again_only_on_request_or_when_they_change(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_pictures(folder, 1)
    (folder / "bad.jpg").write_bytes(b"nothing like a picture")
    ingest.from_images(folder, into=tmp_path / "t.lance")
    again = ingest.from_images(folder, into=tmp_path / "t.lance")
    assert (again.refused_before, again.num_refused) == (1, 0)
    asked = ingest.from_images(folder, into=tmp_path / "t.lance", retry_rejects=True)
    assert asked.num_refused == 1
    (folder / "bad.jpg").write_bytes(encoded(7))
    mended = ingest.from_images(folder, into=tmp_path / "t.lance")
    assert mended.written.inserted == 1
    assert cd.open_table(rejects_uri(mended.table.uri)).num_rows == 0


def test_more_refusals_than_allowed_raise_after_the_rest_is_written(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"nothing like a picture")
    with pytest.raises(TooManyRejectsError, match=r"1 row was refused"):
        ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", max_rejects=0)
    assert cd.open_table(tmp_path / "t.lance").num_rows == 2


def test_a_killed_ingest_goes_on_with_the_units_that_were_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.updating.batches.BATCH_ROWS", 2)
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 2)
    write_pictures(tmp_path / "in", 9)
    insert, calls = Inserter.insert, []

    def dies_at_third(inserter, new, **options):
        calls.append(new)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return insert(inserter, new, **options)

    monkeypatch.setattr(Inserter, "insert", dies_at_third)
    with pytest.raises(KeyboardInterrupt):
        ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert (done.unchanged, done.written.inserted) == (4, 5)
    assert done.table.to_table(["path"])["path"].to_pylist() == [f"{n:04d}.jpg" for n in range(9)]


@pytest.mark.parametrize(("make", "message"), [(False, "there is no folder"), (True, "no image under")])
def test_a_missing_or_empty_folder_is_said_and_leaves_no_table(tmp_path: Path, make: bool, message: str) -> None:
    if make:
        (tmp_path / "in").mkdir()
    with pytest.raises(NotFoundError, match=message):
        ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert not (tmp_path / "t.lance").exists()


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    done, data = cv2.imencode(".png", cv2.imread(str(tmp_path / "in" / "0000.jpg")))
    assert done
    bomb = bytearray(data.tobytes())
    bomb[16:24] = (50_000).to_bytes(4, "big") * 2
    (tmp_path / "in" / "bomb.png").write_bytes(bytes(bomb))
    result = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert result.num_refused == 1
    assert result.table.num_rows == 1


def test_the_history_says_where_the_rows_came_from(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    last = log(done.table.uri)[-1].properties
    assert last is not None
    assert last.verb == "ingest images"
    assert last.parameters["from"] == str(tmp_path / "in")
    assert last.rows["inserted"] == 2


def test_tables_are_plain_lance(tmp_path: Path) -> None:
    import lance

    write_pictures(tmp_path / "in", 2)
    ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    dataset = lance.dataset(str(tmp_path / "t.lance"))
    assert dataset.schema.field("image").type == pa.large_binary()
    assert dataset.data_storage_version == "2.2"
    assert dataset.has_stable_row_ids


def test_a_reference_holds_where_the_image_is_instead_of_its_bytes(tmp_path: Path) -> None:
    (first, second) = write_pictures(tmp_path / "in", 2)
    second.write_bytes(encoded(1, ".png", 300, 400) + bytes(100_000))
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", reference=True)
    rows_ = done.table.to_table(["uri", "image", "width", "height", "format", "bytes", "sha256"]).to_pylist()
    assert [(row["uri"], row["image"], row["sha256"]) for row in rows_] == [
        (str(first), None, None),
        (str(second), None, None),
    ]
    assert [row["bytes"] for row in rows_] == [path.stat().st_size for path in (first, second)]
    assert (rows_[1]["format"], rows_[1]["width"], rows_[1]["height"]) == ("png", 400, 300)

    @cd.step(reads="image", returns="int64")
    def length(image: bytes) -> int:
        return len(image)

    cd.map_column(done.table, length, "length")
    assert done.table.query("SELECT count(*) AS n FROM dataset WHERE length = bytes")["n"].to_pylist() == [2]


def test_a_file_that_changes_after_the_listing_is_stored_as_it_is_by_then(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path / "in", 1)
    source = ImageFiles(tmp_path / "in")
    items = list(source.items())
    path.write_bytes(encoded(5, ".jpg", 100, 100))
    (batch,) = source.read(items, lambda reject: None)
    (row,) = batch.to_pylist()
    assert row["image"] == path.read_bytes()
    assert row["etag"] == next(iter(ImageFiles(tmp_path / "in").items())).etag
    assert row["mtime"].timestamp() == pytest.approx(path.stat().st_mtime, abs=1e-5)
