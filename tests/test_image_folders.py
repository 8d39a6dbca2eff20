"""Folders as they are found: what systems and tools leave beside pictures, links, pictures that nobody here reads."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError
from clipdata.images import OTHER_SUFFIXES, ImageLimits
from clipdata.lance_io.refused import rejects_uri
from ingest.pictures.image_files import ImageFiles
from tests.pictures import encoded, write_pictures

NO_DATA = [
    ".ipynb_checkpoints/0000-checkpoint.jpg",
    ".cache/huggingface/download/0000.jpg",
    "deep/.hidden/0000.jpg",
    "__MACOSX/0000.jpg",
    "@eaDir/0000.jpg",
    "._0000.jpg",
    "deep/._0000.jpg",
    ".0000.jpg",
    ".DS_Store",
    "Thumbs.db",
    "_SUCCESS",
]


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def rejects_of(table: cd.Table) -> dict[str, tuple[str, str]]:
    rows = cd.open_table(rejects_uri(table.uri)).to_table().to_pylist()
    return {row["path"]: (row["reason"], row["detail"]) for row in rows}


def paths_of(table: cd.Table) -> list[str]:
    return sorted(table.to_table(["path"])["path"].to_pylist())


def test_what_systems_and_tools_leave_behind_is_no_data_and_is_counted_by_kind(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    write(tmp_path / "in", {name: encoded(1) for name in NO_DATA} | {"README": b"hello", "notes.md": b"#"})

    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")

    assert paths_of(done.table) == ["0000.jpg"]
    assert not done.refused
    assert done.notes["no data, left out"].startswith(f"{len(NO_DATA)} (2 '._*'")
    assert done.notes["other files, left out"] == "2 (1 without suffix, 1 .md)"


@pytest.mark.cloud
def test_a_bucket_leaves_out_the_same_files_as_a_folder(bucket, tmp_path: Path) -> None:
    files = {name: encoded(1) for name in [*NO_DATA, "0000.jpg", "notes.md"]}
    write(tmp_path / "in", files)
    fs, path = bucket.direct.filesystem(bucket.url("in"))
    for name, data in files.items():
        fs.pipe_file(f"{path}/{name}", data)

    here = ingest.from_images(tmp_path / "in", into=tmp_path / "a.lance")
    there = ingest.from_images(bucket.url("in"), into=tmp_path / "b.lance", storage=bucket.storage)

    assert paths_of(here.table) == paths_of(there.table) == ["0000.jpg"]
    assert here.notes == there.notes


def test_a_folder_of_nothing_but_leftovers_is_an_error_that_counts_them(tmp_path: Path) -> None:
    write(tmp_path / "in", {".cache/a.jpg": encoded(1), "x.txt": b"x"})

    with pytest.raises(NotFoundError, match=r"no image under .*1 '\.cache'.*1 \.txt"):
        ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")


@pytest.mark.parametrize("suffix", sorted(OTHER_SUFFIXES))
def test_every_suffix_of_another_picture_says_what_it_is_and_how_to_mend_it(suffix: str, tmp_path: Path) -> None:
    write(tmp_path, {f"a{suffix}": b"\1\2\3\4 some bytes that no reader knows"})
    refused = []
    source = ImageFiles(tmp_path)

    assert list(source.read(source.items(), refused.append)) == []
    ((key, reason, detail),) = [(reject.key, reject.reason, reject.detail) for reject in refused]
    assert (key, reason) == (f"a{suffix}", "unsupported_format")
    assert ";" in detail


def test_pictures_that_nobody_here_reads_are_refused_by_content_too_and_are_not_other_files(tmp_path: Path) -> None:
    tiff = io.BytesIO()
    Image.new("RGB", (8, 8)).save(tiff, "TIFF")
    write_pictures(tmp_path / "in", 1)
    jp2 = b"\0\0\0\x0cjP  \r\n\x87\n"
    write(
        tmp_path / "in",
        {
            "a.jxl": b"\0\0\0\x0cJXL \r\n\x87\n",
            "a.ppm": b"P6\n1 1\n255\nabc",
            "named.jpg": jp2,
            "shot.cr2": b"II*\0\x10\0\0\0CR\2\0" + bytes(20),
            "shot.jpg": b"II*\0\x10\0\0\0CR\2\0" + bytes(20),
            "shot.nef": tiff.getvalue(),
            "cr3.jpg": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(20),
            "a.svg": b"<!-- drawn --><svg/>",
        },
    )

    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")

    assert done.refused == {"unsupported_format": 8}
    assert "other files, left out" not in done.notes
    assert "darktable" in rejects_of(done.table)["shot.nef"][1]
    assert "raw" in rejects_of(done.table)["shot.jpg"][1]


def test_a_suffix_that_lies_costs_nothing(tmp_path: Path) -> None:
    write(tmp_path / "in", {"png.jpg": encoded(1, ".png"), "jpg.jxl": encoded(2), "png.nef": encoded(3, ".png")})

    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")

    found = done.table.to_table(["path", "format", "image"]).to_pylist()
    assert {row["path"]: row["format"] for row in found} == {"png.jpg": "png", "jpg.jxl": "jpeg", "png.nef": "png"}
    assert next(row["image"] for row in found if row["path"] == "jpg.jxl") == encoded(2)


def test_a_huge_raw_file_is_refused_for_what_it_is_after_its_first_bytes(tmp_path: Path) -> None:
    write(tmp_path / "in", {"a.dng": b"II*\0" + bytes(200_000), "a.jpg": bytes(200_000)})
    refused = []
    source = ImageFiles(tmp_path / "in", limits=ImageLimits(max_bytes=100_000))

    assert list(source.read(source.items(), refused.append)) == []
    assert {reject.key: reject.reason for reject in refused} == {"a.dng": "unsupported_format", "a.jpg": "too_large"}


def test_files_without_a_suffix_are_counted_and_the_option_that_takes_them_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    write(tmp_path / "in", {"blobs/0a1b": encoded(5), "LICENSE": b"text"})

    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    more = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", suffixless=True)

    assert "--suffixless" in str(done)
    assert paths_of(more.table) == ["0000.jpg", "blobs/0a1b"]
    assert more.refused == {"not_an_image": 1}


def test_metadata_beside_images_is_told_with_commands_that_work(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in" / "train", 2)
    lines = [json.dumps({"file_name": f"000{number}.jpg", "text": f"say {number}"}) for number in range(2)]
    (tmp_path / "in" / "train" / "metadata.jsonl").write_text("\n".join(lines))
    folder = tmp_path / "in" / "train"

    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    images = ingest.from_images(folder, into=tmp_path / "images.lance").table
    meta = ingest.from_parquet(folder / "metadata.jsonl", required="file_name", into=tmp_path / "meta.lance").table
    both = ingest.merge(images.uri, meta.uri, on="path", metadata_on="file_name", into=tmp_path / "both.lance")

    told = done.notes["columns of the images lie beside them"]
    assert f"ingest parquet {folder}/metadata.jsonl --required file_name" in told
    assert f"ingest images {folder} --into" in told
    assert sorted(both.to_table(["text"])["text"].to_pylist()) == ["say 0", "say 1"]


def test_links_that_lead_nowhere_or_round_in_a_circle_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_pictures(folder, 1)
    os.symlink("x", folder / "x")
    os.symlink("b.jpg", folder / "a.jpg")
    os.symlink("a.jpg", folder / "b.jpg")
    os.symlink("gone.jpg", folder / "dead.jpg")
    os.symlink("0000.jpg/inside.jpg", folder / "through.jpg")

    done = ingest.from_images(folder, into=tmp_path / "t.lance")

    refused = rejects_of(done.table)
    assert {name: reason for name, (reason, _) in refused.items()} == dict.fromkeys(
        ["x", "a.jpg", "b.jpg", "dead.jpg", "through.jpg"], "broken_link"
    )
    assert "circle" in refused["x"][1]
    assert "gone.jpg" in refused["dead.jpg"][1]


def test_refusals_of_the_listing_write_nothing_when_nothing_changed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_pictures(folder, 1)
    (tmp_path / "out.jpg").write_bytes(encoded(3))
    os.symlink(tmp_path / "out.jpg", folder / "out.jpg")
    os.symlink("x", folder / "x")
    os.mkfifo(folder / "pipe.jpg")
    (folder / os.fsdecode(b"latin-\xe9.jpg")).write_bytes(encoded(4))
    first = ingest.from_images(folder, into=tmp_path / "t.lance")
    rejects = cd.open_table(rejects_uri(first.table.uri))

    again = ingest.from_images(folder, into=tmp_path / "t.lance")

    assert sum(first.refused.values()) == 4
    assert again.table.version == first.table.version
    assert cd.open_table(rejects_uri(first.table.uri)).version == rejects.version


def test_a_hub_cache_of_links_is_taken_on_request_and_the_option_is_named_otherwise(tmp_path: Path) -> None:
    write(tmp_path, {"blobs/aa11": encoded(1), "blobs/bb22": encoded(2)})
    snapshot = tmp_path / "snapshots" / "main"
    (snapshot / "data").mkdir(parents=True)
    os.symlink("../../../blobs/aa11", snapshot / "data" / "a.jpg")
    os.symlink("../../blobs/bb22", snapshot / "b.jpg")
    os.symlink("../../blobs/bb22", snapshot / "README.md")

    with pytest.raises(NotFoundError) as fault:
        ingest.from_images(snapshot, into=tmp_path / "t.lance")
    done = ingest.from_images(snapshot, into=tmp_path / "t.lance", follow_links=True)

    assert "--follow-links" in str(fault.value.hint)
    assert paths_of(done.table) == ["b.jpg", "data/a.jpg"]
    assert done.table.to_table(["image"], where="path = 'data/a.jpg'")["image"][0].as_py() == encoded(1)
    (tmp_path / "blobs" / "aa11").write_bytes(encoded(7))
    assert ingest.from_images(snapshot, into=tmp_path / "t.lance", follow_links=True).written.updated == 1


def test_linked_folders_are_taken_under_the_links_own_names_and_circles_end(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pool" / "cat", 2)
    folder = tmp_path / "set"
    write_pictures(folder / "own", 1)
    for split in ("train", "val"):
        (folder / split).mkdir()
        os.symlink(tmp_path / "pool" / "cat", folder / split / "cat")
    os.symlink(tmp_path, tmp_path / "pool" / "cat" / "back")
    os.symlink("own", folder / "again")

    plain = ingest.from_images(folder, into=tmp_path / "a.lance")
    keys = [item.key for item in ImageFiles(folder, follow_links=True).items()]

    assert paths_of(plain.table) == ["own/0000.jpg"]
    assert plain.refused == {"link_outside": 2}
    assert {"own/0000.jpg", "train/cat/0000.jpg", "val/cat/0001.jpg"} <= set(keys)
    assert not any(key.startswith("again") for key in keys)
    assert len(keys) < 20


def test_a_tree_deeper_than_the_interpreter_recurses_is_walked(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_pictures(folder, 1)
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(1100):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
        keys = [item.key for item in ImageFiles(folder).items()]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", folder], check=True)  # it is deeper than shutil removes
    assert keys == ["0000.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_and_folder_are_refused_and_taken_once_they_can_be_read(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    write_pictures(tmp_path / "in" / "locked", 1)
    (tmp_path / "in" / "0001.jpg").chmod(0)
    (tmp_path / "in" / "locked").chmod(0)
    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    (tmp_path / "in" / "0001.jpg").chmod(0o600)
    (tmp_path / "in" / "locked").chmod(0o700)

    again = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")

    assert done.refused == {"unreadable": 2}
    assert again.table.num_rows == 3


def test_a_file_gone_since_the_listing_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path / "in", 1)
    source, refused = ImageFiles(tmp_path / "in"), []
    items = list(source.items())
    path.unlink()

    assert list(source.read(items, refused.append)) == []
    assert [(reject.reason, reject.etag) for reject in refused] == [("missing", "")]


def test_taking_by_value_what_was_taken_by_reference_reads_it_and_back(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", reference=True)

    by_value = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    assert by_value.written.updated == 2
    assert by_value.table.count_rows("image IS NULL") == 0

    by_reference = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", reference=True)
    assert by_reference.table.count_rows("image IS NULL AND etag LIKE '%;reference'") == 2
    assert ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", reference=True).unchanged == 2


def test_a_source_covers_what_it_would_list_and_nothing_beside_it(tmp_path: Path) -> None:
    source = ImageFiles(tmp_path / "data")

    assert source.covers(str(tmp_path / "data" / "a" / "b.jpg"))
    assert not source.covers(str(tmp_path / "data2" / "b.jpg"))
    assert not source.covers(str(tmp_path / "data" / "x.parquet"))
    assert not source.covers(str(tmp_path / "data" / ".cache" / "b.jpg"))
    assert ImageFiles("gs://bucket/data").covers("gs://bucket/data/a.jpg")
    assert not ImageFiles("gs://bucket/data").covers("gs://bucket/database/a.jpg")
    assert ImageFiles("/").covers("/a.jpg")


def test_options_tell_apart_what_shapes_or_refuses_rows(tmp_path: Path) -> None:
    plain = ImageFiles(tmp_path)
    others = [
        ImageFiles(tmp_path, reference=True),
        ImageFiles(tmp_path, follow_links=True),
        ImageFiles(tmp_path, suffixless=True),
        ImageFiles(tmp_path, limits=ImageLimits(max_pixels=1)),
    ]

    assert len({json.dumps(source.options) for source in [plain, *others]}) == 5
