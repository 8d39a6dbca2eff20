"""Merged rows that refer to the rows of another table for their pictures."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError, StorageError
from clipdata.lance_io.pictures import ROW, TABLE
from clipdata.lance_io.referring import referred_by
from clipdata.lance_io.rows import Written, delete_keys
from clipdata.lance_io.signatures import Signatures
from clipdata.lance_io.table import Table
from clipdata.progress import Silent
from clipdata.stream.dataset import Stream
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import encoded, write_pictures
from tests.tiny_models import tiny_encoder

NUM, CAPTIONS = 6, 3


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Six pictures with three captions each."""
    write_pictures(tmp_path / "in", NUM)
    take_captions(tmp_path)
    ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance")
    return tmp_path


def take_captions(folder: Path, *, first: str = "caption") -> None:
    names = [f"{number:04d}.jpg" for number in range(NUM) for _ in range(CAPTIONS)]
    captions = [f"{first} {place}" for place in range(len(names))]
    choices = [[f"a {place}", "a cat"] for place in range(len(names))]
    columns = {"filename": names, "caption": captions, "caption_choices": choices, "label_ind": [0] * len(names)}
    pq.write_table(pa.table(columns), folder / "meta.parquet")
    ingest.from_parquet(folder / "meta.parquet", into=folder / "meta.lance")


def merged(folder: Path, into: str = "contest.lance", images: str = "images.lance", **options: object) -> Table:
    return ingest.merge(folder / images, folder / "meta.lance", into=folder / into, **options)


def both(folder: Path) -> tuple[Table, Table]:
    return merged(folder, copy_images=False), merged(folder, "copies.lance", copy_images=True)


def replace_picture(folder: Path, number: int, seed: int) -> None:
    (folder / "in" / f"{number:04d}.jpg").write_bytes(encoded(seed))
    ingest.from_images(folder / "in", into=folder / "images.lance")


def compact(folder: Path, name: str = "images.lance") -> None:
    lance.dataset(str(folder / name)).optimize.compact_files()


def clean(folder: Path, name: str = "images.lance") -> None:
    dataset = lance.dataset(str(folder / name))
    dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False)


def test_merged_rows_refer_to_pictures_and_every_way_of_reading_fills_them(sides: Path) -> None:
    refers, copies = both(sides)
    want = copies.to_table(["path", "caption", "image"])

    stored = lance.dataset(refers.uri).to_table(["image", ROW, TABLE])
    assert stored["image"].null_count == refers.num_rows == NUM * CAPTIONS
    assert len(set(stored[ROW].to_pylist())) == NUM

    assert refers.to_table(["path", "caption", "image"]).equals(want)
    assert refers.take(np.array([7, 2, 7]), ["image"]).equals(copies.take(np.array([7, 2, 7]), ["image"]))
    assert pa.Table.from_batches(refers.scan(["path", "caption", "image"], batch_rows=4)).equals(want)
    assert refers.head(5, ["image"]).equals(copies.head(5, ["image"]))
    assert refers["image"].equals(copies["image"])
    assert refers.to_pandas(["image"]).equals(copies.to_pandas(["image"]))
    assert pa.table(refers)["image"].equals(want["image"])


def test_a_filled_reader_gives_the_columns_that_were_asked_for_and_no_other(sides: Path) -> None:
    refers, copies = both(sides)
    assert refers.reader(["image", "caption"]).schema.names == ["image", "caption"]
    assert refers.take(np.array([0]), ["image"]).column_names == ["image"]
    assert refers.to_table(["caption"]).column_names == ["caption"]
    assert refers.to_table().equals(copies.to_table())
    assert refers.to_table([ROW, TABLE]).column_names == [ROW, TABLE]
    assert refers.to_table(["image"], where="caption = 'caption 4'")["image"][0].as_py() == encoded(1)


def test_the_neighbours_of_one_picture_take_it_once(sides: Path) -> None:
    refers, _ = both(sides)
    taken = []

    class Counted(Table):
        def take_ids(self, ids: np.ndarray, columns: list[str]) -> pa.Table:
            taken.append(ids.tolist())
            return super().take_ids(ids, columns)

    images = refers.pictures.table(refers.to_table([TABLE])[TABLE][0].as_py())
    images.__class__ = Counted
    refers.take(np.arange(CAPTIONS), ["image"])
    refers.to_table(["image"])
    assert [len(ids) for ids in taken] == [1, NUM]


def test_a_merged_table_takes_no_room_for_pictures(sides: Path) -> None:
    for number in range(NUM):
        picture = sides / "in" / f"{number:04d}.jpg"
        picture.write_bytes(picture.read_bytes() + bytes(100_000))
    ingest.from_images(sides / "in", into=sides / "images.lance")
    merged(sides)
    size = sum(file.stat().st_size for file in (sides / "contest.lance").rglob("*") if file.is_file())
    assert size < 100_000


def test_map_gives_the_same_scores_as_with_copies(sides: Path) -> None:
    refers, copies = both(sides)
    encoder = tiny_encoder()
    for table in (refers, copies):
        done = cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
        assert (done.computed, done.failed) == (NUM * CAPTIONS, {})
    assert refers.to_table(["id", "scores"]).equals(copies.to_table(["id", "scores"]))


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_stream_gives_the_same_batches_as_with_copies_also_after_a_resume(sides: Path, shuffle: bool) -> None:
    prepare = tiny_encoder().prepare
    streams = [
        Stream(table, ["image", "caption"], batch_size=4, prepare=prepare, shuffle=shuffle, clump_rows=2, window_rows=8)
        for table in both(sides)
    ]
    found, expected = (list(stream) for stream in streams)
    assert len(found) == len(expected) == 4
    for batch, other in zip(found, expected, strict=True):
        assert batch["caption"] == other["caption"]
        assert (batch["image"] == other["image"]).all()
    streams[0].load_state_dict({"epoch": 0, "batch": 2})
    assert all((a["image"] == b["image"]).all() for a, b in zip(streams[0], expected[2:], strict=True))


@cd.step(reads="image", returns="string")
def digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()


@cd.step(reads="caption", returns="string")
def upper(caption: str) -> str:
    return caption.upper()


def assert_right(folder: Path, table: Table) -> None:
    """Every row shows the picture that lies in the folder."""
    for row in table.latest().to_table(["path", "image"]).to_pylist():
        assert row["image"] == (folder / "in" / row["path"]).read_bytes()


def test_a_replaced_picture_replaces_its_rows_alone_and_what_was_derived_from_the_others_stays(sides: Path) -> None:
    table = merged(sides)
    cd.map_column(table, upper, "upper")
    before = table.pinned()
    old = encoded(2)
    replace_picture(sides, 2, seed=77)
    done = ingest.merge_report(sides / "images.lance", sides / "meta.lance", into=sides / "contest.lance")
    assert done.written == Written(updated=CAPTIONS)
    assert f"pictures stay in images.lance@{cd.open_table(sides / 'images.lance').version}" in str(done)
    assert done.table.count_nulls("upper") == CAPTIONS
    assert len(set(done.table.to_table([TABLE])[TABLE].to_pylist())) == 1
    assert_right(sides, done.table)
    assert before.to_table(["image"], where="path = '0002.jpg'")["image"].to_pylist() == [old] * CAPTIONS


def test_before_merging_again_rows_show_the_pictures_that_were_merged(sides: Path) -> None:
    table = merged(sides)
    expected = table.to_table(["path", "image"])
    replace_picture(sides, 1, seed=70)
    delete_keys(cd.open_table(sides / "images.lance"), ["0003.jpg"])
    compact(sides)
    clean(sides)
    assert cd.open_table(table.uri).to_table(["path", "image"]).equals(expected)


def test_merging_again_writes_nothing_while_the_images_are_the_same(sides: Path) -> None:
    first = merged(sides).version
    ingest.from_images(sides / "in", into=sides / "images.lance")
    assert merged(sides).version == first


def test_compacted_images_are_let_go_when_the_merged_table_was_merged_again_and_its_old_versions_are_gone(
    sides: Path,
) -> None:
    write_pictures(sides / "in", 1, first=NUM)
    ingest.from_images(sides / "in", into=sides / "images.lance")
    table = merged(sides)
    cd.map_column(table, upper, "upper")
    compact(sides)
    table = merged(sides)
    assert table.count_nulls("upper") == 0
    images = lance.dataset(str(sides / "images.lance"))
    before, now = sorted(tag["version"] for tag in images.tags.list().values())
    clean(sides, "contest.lance")
    replace_picture(sides, 0, seed=41)
    merged(sides)
    left = [tag["version"] for tag in images.tags.list().values()]
    assert now in left
    assert before not in left
    clean(sides)
    assert_right(sides, cd.open_table(table.uri))


def test_both_tables_can_be_moved_together(sides: Path) -> None:
    expected = merged(sides).to_table(["image"])
    (sides / "elsewhere").mkdir()
    for name in ("contest.lance", "images.lance"):
        (sides / name).rename(sides / "elsewhere" / name)
    assert cd.open_table(sides / "elsewhere" / "contest.lance").to_table(["image"]).equals(expected)


def test_a_merged_table_that_is_moved_alone_finds_its_pictures_where_they_were(sides: Path) -> None:
    expected = merged(sides).to_table(["image"])
    (sides / "elsewhere").mkdir()
    (sides / "contest.lance").rename(sides / "elsewhere" / "contest.lance")
    assert cd.open_table(sides / "elsewhere" / "contest.lance").to_table(["image"]).equals(expected)


def test_pictures_that_are_gone_are_said_and_merging_from_their_new_place_mends_it(sides: Path) -> None:
    table = merged(sides)
    cd.map_column(table, upper, "upper")
    expected = table.to_table(["image"])
    (sides / "images.lance").rename(sides / "pictures.lance")
    table = cd.open_table(table.uri)
    assert table.to_table(["caption"]).num_rows == NUM * CAPTIONS
    for read in (
        lambda: table.to_table(["image"]),
        lambda: table.take(np.array([0]), ["image"]),
        lambda: cd.map_column(table.pinned(), digest, "digest"),
        lambda: cd.export(table, sides / "shards"),
        lambda: list(Stream(table, ["image"], batch_size=2, prepare=tiny_encoder().prepare)),
    ):
        with pytest.raises(NotFoundError, match=r"(?s)images.lance@\d+ \(tag clipdata-pictures-.*--copy-images"):
            read()
    assert [referred.problem for referred in referred_by(table)] == ["not found"]
    again = merged(sides, images="pictures.lance")
    assert again.to_table(["image"]).equals(expected)
    assert again.count_nulls("upper") == 0


def test_a_version_that_was_cleaned_away_against_its_tag_is_said(sides: Path) -> None:
    table = merged(sides)
    images = lance.dataset(str(sides / "images.lance"))
    for tag in images.tags.list():
        images.tags.delete(tag)
    replace_picture(sides, 0, seed=55)
    clean(sides)
    with pytest.raises(NotFoundError, match=r"no version \d+ of .*images.lance"):
        cd.open_table(table.uri).to_table(["image"])
    assert_right(sides, merged(sides))


def test_images_made_anew_in_the_same_place_are_never_taken_for_the_old_ones(sides: Path) -> None:
    table = merged(sides)
    cd.map_column(table, upper, "upper")
    before = [referred.version for referred in referred_by(table)]
    shutil.rmtree(sides / "images.lance")
    (sides / "in" / "0000.jpg").unlink()
    ingest.from_images(sides / "in", into=sides / "images.lance")
    assert cd.open_table(sides / "images.lance").version == before[0]
    with pytest.raises(NotFoundError, match="is of another table than it was"):
        cd.open_table(table.uri).to_table(["image"])
    table = merged(sides)
    assert_right(sides, table)
    assert table.num_rows == (NUM - 1) * CAPTIONS
    assert table.count_nulls("upper") == 0


def test_a_picture_that_left_and_came_back_is_found_again(sides: Path) -> None:
    table = merged(sides)
    cd.map_column(table, upper, "upper")
    delete_keys(cd.open_table(sides / "images.lance"), ["0003.jpg"])
    ingest.from_images(sides / "in", into=sides / "images.lance")
    table = merged(sides)
    assert_right(sides, table)
    assert table.count_nulls("upper") == 0


def test_pictures_of_images_by_reference_are_read_from_their_files(sides: Path) -> None:
    ingest.from_images(sides / "in", into=sides / "listed.lance", reference=True)
    table = merged(sides, images="listed.lance")
    cd.map_column(table, digest, "digest")
    expected = merged(sides, "copies.lance", copy_images=True)
    cd.map_column(expected, digest, "digest")
    assert table.to_table(["digest"]).equals(expected.to_table(["digest"]))
    assert table.count_nulls("digest") == 0


@pytest.mark.parametrize("copy_images", [False, True])
def test_a_merged_table_can_be_merged_again_with_more_metadata(sides: Path, copy_images: bool) -> None:
    pq.write_table(pa.table({"caption": ["caption 1", "caption 2"], "rating": [4, 5]}), sides / "more.parquet")
    ingest.from_parquet(sides / "more.parquet", into=sides / "more.lance", required="caption")
    first = merged(sides)
    table = ingest.merge(first, sides / "more.lance", into=sides / "more2.lance", on="caption", copy_images=copy_images)
    assert sorted(table.to_table(["image", "rating"]).to_pylist(), key=itemgetter("rating")) == [
        {"image": encoded(0), "rating": 4},
        {"image": encoded(0), "rating": 5},
    ]
    assert ((ROW in table) and not copy_images) or (copy_images and ROW not in table)


def test_a_group_of_captions_refers_to_its_picture_too(sides: Path) -> None:
    table = merged(sides, group=True)
    cd.map_column(table, digest, "digest")
    replace_picture(sides, 2, seed=77)
    table = merged(sides, group=True)
    assert_right(sides, table)
    assert table.count_nulls("digest") == 1


def test_exported_shards_are_the_same_bytes_as_with_copies_and_say_where_pictures_came_from(sides: Path) -> None:
    found = [cd.export(table, sides / name) for table, name in zip(both(sides), "ab", strict=True)]
    assert found[0].columns == found[1].columns
    assert found[0].left_out == found[1].left_out
    assert (sides / "a" / "00000.tar").read_bytes() == (sides / "b" / "00000.tar").read_bytes()
    assert "pictures read from images.lance@" in str(found[0])
    assert "pictures read from" not in str(found[1])


def test_a_chain_holds_the_pictures_and_the_same_signals_as_with_copies(sides: Path, datachain_root: Path) -> None:
    chains = [cd.to_datachain(table) for table in both(sides)]
    assert chains[0].signals_schema.values.keys() == chains[1].signals_schema.values.keys()
    assert sorted(chains[0].to_list("id", "image")) == sorted(chains[1].to_list("id", "image"))


def test_training_is_the_same_bit_for_bit_as_with_copies(sides: Path) -> None:
    config = cd.recipes.caption_contest(epochs=2, batch_size=6, image_trunk=None)
    exports = []
    for table, out in zip(both(sides), ("a", "b"), strict=True):
        run = cd.train(table, tiny_encoder(), config, out=sides / "runs" / out)
        exports.append(run.encoder())
    for mine, other in zip(*(encoder.model.state_dict().values() for encoder in exports), strict=True):
        assert mine.equal(other)


def test_show_says_how_many_rows_refer_to_how_many_pictures(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = merged(sides)
    assert main(["show", table.uri]) == 0
    said = capsys.readouterr().out
    version = cd.open_table(sides / "images.lance").version
    assert f"image: {NUM * CAPTIONS} rows refer to {NUM} pictures of images.lance@{version}" in said
    assert main(["show", table.uri, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    check_schema(shown, next(schema_of(one.words, one.found) for one in VERBS if one.words == "show"))
    assert shown["pictures"][0]["num_rows"] == NUM * CAPTIONS


def test_a_metadata_column_called_picture_is_no_reference(sides: Path) -> None:
    columns = {"filename": ["0001.jpg"], "picture": [3], ROW: [2], TABLE: ["x"]}
    pq.write_table(pa.table(columns), sides / "other.parquet")
    ingest.from_parquet(sides / "other.parquet", into=sides / "other.lance")
    done = ingest.merge_report(sides / "images.lance", sides / "other.lance", into=sides / "o.lance")
    assert done.renamed == {ROW: f"meta_{ROW}", TABLE: f"meta_{TABLE}"}
    assert done.table.to_table(["picture", "image", f"meta_{ROW}"]).to_pylist() == [
        {"picture": 3, "image": encoded(1), f"meta_{ROW}": 2}
    ]


def test_a_table_that_another_tool_wrote_with_columns_of_these_names_is_read_as_it_is(tmp_path: Path) -> None:
    rows = pa.table({"image": pa.array([None, b"x"], pa.large_binary()), ROW: pa.array([0, 1], pa.uint64())})
    lance.write_dataset(rows.append_column(TABLE, pa.array(["a", "b"])), str(tmp_path / "t.lance"))
    assert cd.open_table(tmp_path / "t.lance").to_table()["image"].to_pylist() == [None, b"x"]


def test_merging_again_with_copies_makes_the_merged_table_whole_and_keeps_what_was_derived(sides: Path) -> None:
    table = merged(sides)
    cd.map_column(table, upper, "upper")
    done = ingest.merge_report(
        sides / "images.lance", sides / "meta.lance", into=sides / "contest.lance", copy_images=True
    )
    assert f"{NUM * CAPTIONS} rows that were here before now have a copy of their picture" in str(done)
    table = done.table
    assert table.count_nulls("upper") == 0
    assert table.count_rows(f"{ROW} IS NOT NULL") == 0
    version = table.version
    assert merged(sides, copy_images=True).version == version
    shutil.rmtree(sides / "images.lance")
    assert_right(sides, cd.open_table(table.uri))


def test_merging_again_without_copies_lets_copied_rows_refer(sides: Path) -> None:
    table = merged(sides, copy_images=True)
    cd.map_column(table, upper, "upper")
    table = merged(sides, copy_images=False)
    assert table.count_nulls("upper") == 0
    assert lance.dataset(table.uri).to_table(["image"])["image"].null_count == NUM * CAPTIONS
    assert_right(sides, table)
    version = table.version
    assert merged(sides, copy_images=False).version == version


class Ends(Silent):
    """Progress of somebody who loses patience after some writes."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Any]:
        yield self

    def advance(self, num: int = 1) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_merge_that_was_killed_leaves_rows_that_show_their_own_picture_and_is_gone_on_with(
    sides: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.updating.batches.UNIT_ROWS", 2)
    table = merged(sides)
    cd.map_column(table, digest, "digest")
    for number in (1, 4):
        replace_picture(sides, number, seed=60 + number)
    with pytest.raises(KeyboardInterrupt):
        merged(sides, progress=Ends(after))
    half = cd.open_table(table.uri).to_table(["image", "etag", "digest"]).to_pylist()
    assert all(row["digest"] in (None, hashlib.sha256(row["image"]).hexdigest()) for row in half)
    table = merged(sides)
    assert_right(sides, table)
    assert table.count_nulls("digest") == 2 * CAPTIONS


def test_two_merges_of_different_versions_at_once_leave_no_row_with_another_picture(sides: Path) -> None:
    older = cd.open_table(sides / "images.lance")
    replace_picture(sides, 2, seed=90)
    newer = cd.open_table(sides / "images.lance")

    def merge(images: Table) -> None:
        ingest.merge(images, sides / "meta.lance", into=sides / "contest.lance")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(merge, (older, newer)))
    table = cd.open_table(sides / "contest.lance")
    by_etag = {
        etag: image
        for images in (older, newer)
        for etag, image in zip(*(images.to_table([name])[name].to_pylist() for name in ("etag", "image")), strict=True)
    }
    rows = table.to_table(["etag", "image"]).to_pylist()
    assert len(rows) == NUM * CAPTIONS
    assert all(row["image"] == by_etag[row["etag"]] for row in rows)


def test_values_depend_on_what_their_rows_refer_to(sides: Path) -> None:
    table = merged(sides)
    cd.map_column(table, digest, "digest")
    compact(sides)
    write_pictures(sides / "in", 1, first=NUM)
    ingest.from_images(sides / "in", into=sides / "images.lance")
    signatures = []
    for version in (table.version, merged(sides).version):
        dataset = lance.dataset(table.uri, version=version)
        signatures.append(Signatures(dataset, "digest", ["image"]).of(dataset.get_fragments()[0]))
    assert signatures[0] != signatures[1]


def test_images_of_another_tool_without_lasting_row_ids_can_be_referred_to(sides: Path) -> None:
    rows = cd.open_table(sides / "images.lance").to_table(["path", "filename", "image", "etag", "bytes"])
    for start in range(0, NUM, 2):
        lance.write_dataset(rows.slice(start, 2), str(sides / "foreign.lance"), mode="append" if start else "create")
    table = merged(sides, images="foreign.lance")
    cd.map_column(table, upper, "upper")
    lance.dataset(str(sides / "foreign.lance")).delete("path = '0000.jpg'")
    compact(sides, "foreign.lance")
    clean(sides, "foreign.lance")
    assert_right(sides, table)
    table = merged(sides, images="foreign.lance")
    assert_right(sides, table)
    assert (table.num_rows, table.count_nulls("upper")) == ((NUM - 1) * CAPTIONS, 0)


def test_a_table_that_refers_can_be_read_in_another_process(sides: Path) -> None:
    table = pickle.loads(pickle.dumps(merged(sides)))
    assert_right(sides, table)


def test_a_merged_table_that_refers_survives_compaction_and_deletes_of_its_own(sides: Path) -> None:
    merged(sides)
    write_pictures(sides / "in", 1, first=NUM)
    names = [f"{number:04d}.jpg" for number in range(NUM + 1)]
    pq.write_table(pa.table({"filename": names, "caption": names}), sides / "meta.parquet")
    ingest.from_images(sides / "in", into=sides / "images.lance")
    ingest.from_parquet(sides / "meta.parquet", into=sides / "meta.lance")
    table = merged(sides, yes=True)
    lance.dataset(table.uri).delete("path = '0001.jpg'")
    compact(sides, "contest.lance")
    clean(sides, "contest.lance")
    assert_right(sides, cd.open_table(table.uri))


def test_images_that_cannot_be_tagged_are_refused_with_the_way_out(sides: Path) -> None:
    (sides / "images.lance" / "_refs").write_text("a file where the tags would be")
    with pytest.raises(StorageError, match=r"(?s)only to a version that is tagged.*--copy-images"):
        merged(sides)
    assert merged(sides, "copies.lance", copy_images=True).num_rows == NUM * CAPTIONS


def test_a_copy_of_a_merged_table_lets_go_of_no_tag_of_the_first(sides: Path) -> None:
    table = merged(sides)
    shutil.copytree(sides / "contest.lance", sides / "copy.lance")
    for seed in (31, 32):
        replace_picture(sides, 1, seed)
        merged(sides, "copy.lance")
        clean(sides, "copy.lance")
    expected = table.to_table(["image"])
    clean(sides)
    assert cd.open_table(table.uri).to_table(["image"]).equals(expected)
