"""Filling: what counts as done, column files written in parts, and wide columns in little memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.lance_io.column_file import in_order
from clipdata.lance_io.columns import REASONS_OF, mark_of, new_field, reasons_of
from clipdata.lance_io.filling import Filling
from clipdata.lance_io.parts import Part
from clipdata.lance_io.presence import count_missing
from clipdata.lance_io.table import open_table
from clipdata.lineage import Lineage
from clipdata.objects.references import columns_needed
from clipdata.schema import IMAGE_METADATA, key_field
from clipdata.step_protocol import BaseStep
from tests.tables import append_numbers, number_table
from tests.test_mapping import Checkpointing, Doubler, values

KINDS = {
    "int": (pa.int64(), lambda n: n),
    "text": (pa.string(), lambda n: "x" * (n % 5)),
    "list": (pa.list_(pa.float32()), lambda n: [float(n)] * (n % 3)),
    "wide": (pa.list_(pa.float32(), 40), lambda n: [float(n)] * 40),
    "struct": (pa.struct([("a", pa.int32()), ("b", pa.string())]), lambda n: {"a": n, "b": str(n)}),
    "bool": (pa.bool_(), lambda n: n % 2 == 0),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, database=None)
@given(owners=st.lists(st.integers(-1, 2), min_size=1, max_size=150), cut=st.integers(1, 20))
def test_sources_are_woven_in_the_order_of_their_places(kind: str, owners: list[int], cut: int) -> None:
    """Each place belongs to one of three sources, or to none."""
    arrow, value = KINDS[kind]
    places = [[place for place, owner in enumerate(owners) if owner == source] for source in range(3)]
    sources = [
        [
            (np.array(own[start : start + cut]), pa.array([value(n) for n in own[start : start + cut]], arrow))
            for start in range(0, len(own), cut)
        ]
        for own in places
    ]

    found = [entry for array in in_order(arrow, len(owners), sources) for entry in array.to_pylist()]

    assert found == [None if owner < 0 else value(place) for place, owner in enumerate(owners)]


def test_nulls_of_a_wide_column_come_in_pieces_of_bounded_size() -> None:
    width, num_rows = 1 << 20, 4096  # 4 GiB if it were made at once
    pieces = in_order(pa.list_(pa.uint8(), width), num_rows, [])

    sizes = [next(pieces).nbytes for _ in range(3)]

    assert max(sizes) <= 32 << 20


class Wide(BaseStep):
    """Rows of pixels: 150,528 bytes each, as a prepared picture of 224 pixels a side."""

    name, version, reads, returns = "Wide", "1", ("number",), pa.list_(pa.uint8(), 150_528)

    def compute(self, batch: pa.RecordBatch, prepared: object) -> pa.Array:
        pixels = np.repeat(batch.column("number").to_numpy().astype(np.uint8), 150_528)
        return pa.FixedSizeListArray.from_arrays(pa.array(pixels), 150_528)


def test_a_wide_column_is_filled_in_the_memory_of_a_few_batches(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3000)  # one fragment, 430 MiB of pixels
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    assert pool.max_memory() is not None
    peaks: list[int] = []

    class Watched(Wide):
        def compute(self, batch: pa.RecordBatch, prepared: object) -> pa.Array:
            peaks.append(pa.total_allocated_bytes() - before)
            return super().compute(batch, prepared)

    cd.map_column(table, Watched(), "pixels", batch_rows=64)

    assert max(peaks) < 200 << 20
    found = table.take(np.array([0, 1499, 2999]), ["pixels"]).column("pixels").combine_chunks().flatten().to_numpy()
    assert [int(row[0]) for row in found.reshape(3, -1)] == [0, 1499 % 256, 2999 % 256]
    assert (found.reshape(3, -1) == found.reshape(3, -1)[:, :1]).all()


def test_whether_a_wide_column_is_full_is_known_without_reading_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 60, rows_per_write=20)
    rows.delete_keys(table, ["000004"])
    cd.map_column(table, Wide(), "pixels")
    append_numbers(table, 60, 65)
    table.move_to(table.latest())
    fragments = table.dataset.get_fragments()
    table.dataset.io_stats_incremental()

    missing = [count_missing(table, fragment, "pixels") for fragment in fragments]

    assert missing == [0, 0, 0, 5]
    assert table.dataset.io_stats_incremental().read_bytes < 150_528


def test_a_column_file_that_was_folded_away_is_read_for_its_nulls(tmp_path: Path) -> None:
    table = number_table(tmp_path, 20, rows_per_write=10)
    cd.map_column(table, Wide(), "pixels")
    append_numbers(table, 20, 25)
    table.latest().dataset.optimize.compact_files()

    done = cd.map_column(table, Wide(), "pixels")

    assert (done.computed, done.kept, done.waiting) == (5, 20, 0)


def killed_before_the_commit(table: cd.Table, step: object, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clipdata.map_job.commit_finished", die)
        with pytest.raises(KeyboardInterrupt):
            cd.map_column(table, step, column)


def test_a_finished_fragment_is_committed_and_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 6, rows_per_write=3)
    killed_before_the_commit(table, Doubler(), "double", monkeypatch)
    again = Doubler()

    done = cd.map_column(table, again, "double")

    assert again.seen == []
    assert (done.computed, done.kept) == (0, 6)


def test_a_record_whose_column_file_was_cleaned_up_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 4)
    killed_before_the_commit(table, Doubler(), "double", monkeypatch)
    table.latest().dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)

    cd.map_column(table, Doubler(), "double")

    assert values(table, "double") == {n: 2 * n for n in range(4)}


def test_failed_rows_of_a_killed_run_are_tried_again_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = number_table(tmp_path, 4)
    killed_before_the_commit(table, Doubler(fail_on=frozenset({2})), "double", monkeypatch)

    done = cd.map_column(table, Doubler(), "double", retry_failed=True)

    assert values(table, "double") == {n: 2 * n for n in range(4)}
    assert done.failed == {}


@pytest.mark.parametrize("change", ["input", "column", "rows"])
def test_a_checkpoint_counts_only_for_what_it_was_computed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    table = number_table(tmp_path, 20)
    cd.map_column(table, Doubler(3), "made")

    class OfMade(Doubler):
        name, reads = "OfMade", ("made",)

        def compute(self, batch: pa.RecordBatch, prepared: object) -> pa.Array:
            numbers = batch.column("made").to_pylist()
            if self.die_after is not None and len(self.seen) + len(numbers) > self.die_after:
                raise KeyboardInterrupt
            self.seen += numbers
            return pa.array([n + 1 for n in numbers], pa.int64())

    monkeypatch.setattr("clipdata.engines.fill._Work.save", lambda self: None)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, OfMade(die_after=10), "more", batch_rows=5, engine=Checkpointing(every_s=0.0))
    if change == "input":  # another tool patches the file of the input in place
        patch = table.latest().to_table(["path", "made"])
        patch = patch.set_column(1, "made", pa.compute.add(patch.column("made"), 1000))
        builder = table.latest().dataset.merge_insert("path").when_matched_update_all()
        builder.write_mode("rewrite_columns").execute(patch)
    elif change == "column":
        table.latest().dataset.drop_columns(["more"])
    else:
        append_numbers(table, 20, 30)
        table.latest().dataset.optimize.compact_files()

    cd.map_column(table, OfMade(), "more", batch_rows=5)

    read = table.latest().to_table(["made", "more"]).to_pydict()
    assert read["more"] == [None if made is None else made + 1 for made in read["made"]]


def binary_table(folder: Path, **columns: pa.Array) -> cd.Table:
    num_rows = len(next(iter(columns.values())))
    image = pa.field("image", pa.large_binary(), metadata=IMAGE_METADATA)
    others = [pa.field(name, array.type) for name, array in columns.items() if name != "image"]
    schema = pa.schema([key_field("path"), *([image] if "image" in columns else []), *others])
    table = rows.create_table(folder / "binary.lance", schema)
    rows.upsert(table, pa.table({"path": [str(n) for n in range(num_rows)], **columns}))
    return open_table(table.uri)


@cd.step(reads="thumb", returns="int64")
def size_of(thumb: bytes) -> int:
    return len(thumb)


def test_a_thumbnail_that_is_not_computed_yet_is_not_the_image_at_the_uri(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"J" * 77)
    thumbs = pa.array([b"abc", None, b"de"], pa.binary())
    originals = pa.array([b"original"] * 3, pa.large_binary())
    table = binary_table(tmp_path, uri=pa.array([str(picture)] * 3), image=originals, thumb=thumbs)

    done = cd.map_column(table, size_of, "size")

    assert table.to_table(["size"])["size"].to_pylist() == [3, None, 2]
    assert (done.computed, done.failed, done.waiting) == (2, {}, 1)
    assert cd.map_column(table, size_of, "size").waiting == 1


def test_an_image_by_reference_is_still_read_from_its_uri(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"J" * 77)
    table = binary_table(tmp_path, uri=pa.array([str(picture)] * 2), image=pa.array([None, b"abc"], pa.large_binary()))

    @cd.step(reads="image", returns="int64")
    def image_size(image: bytes) -> int:
        return len(image)

    cd.map_column(table, image_size, "size")

    assert sorted(table.to_table(["size"])["size"].to_pylist()) == [3, 77]


@pytest.mark.parametrize(
    "make", [lambda f: f.checkpoint(0, []), lambda f: f.records.write_bytes("x.arrow", b"")], ids=["part", "bytes"]
)
def test_a_record_that_cannot_be_written_names_its_file(tmp_path: Path, make: Callable[[Filling], object]) -> None:
    table = number_table(tmp_path, 2)
    (tmp_path / "t.lance.state").write_text("in the way")
    filling = Filling(table, "number", ("path",), "map/x")

    with pytest.raises(cd.ClipdataError, match=r"t\.lance\.state/map/x") as refused:
        make(filling)

    assert refused.value.hint


def test_parts_of_two_runs_that_overlap_are_used_once(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    cd.map_column(table, Doubler(fail_on=frozenset(range(6))), "double")
    table.move_to(table.latest())
    filling = Filling(table, "double", ("number",), "map/x")

    def part(places: list[int]) -> Part:
        return Part(np.array(places), pa.array([7] * len(places)), pa.nulls(len(places), pa.string()))

    filling.checkpoint(0, [part([0, 1, 2])])
    filling.checkpoint(0, [part([2, 3])])

    found = filling.checkpoints(0)

    assert len(found) == 1


def test_a_step_that_reads_no_image_reads_no_location(tmp_path: Path) -> None:
    images = pa.array([b"original"], pa.large_binary())
    table = binary_table(tmp_path, uri=pa.array(["a"]), image=images, thumb=pa.array([None], pa.binary()))

    assert columns_needed(table.schema, ["thumb"]) == []
    assert columns_needed(table.schema, ["image"]) == ["uri"]


def test_reasons_belong_to_one_column_and_not_to_its_name() -> None:
    field = new_field("made", pa.int64(), Lineage("s", "1"))
    other = new_field("made", pa.int64(), Lineage("s", "1"))
    reasons = pa.field("made__error", pa.string(), metadata={REASONS_OF: mark_of(field)})

    assert reasons_of(pa.schema([field, reasons]), "made") == "made__error"
    assert reasons_of(pa.schema([other, reasons]), "made") is None
    assert reasons_of(pa.schema([field]), "made") is None
