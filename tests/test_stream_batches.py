"""What a batch holds when rows are bad, heavy, absent or many to a picture, and what columns may be called."""

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from clipdata.errors import ImageRefused, SchemaError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import IMAGE_METADATA
from clipdata.stream import Stream, load, sources
from clipdata.stream.fetch import Fetcher
from clipdata.stream.groups import Group, Slot
from tests.test_stream import half_size, labels, letters, png


def table_of(folder, **columns) -> Table:
    lance.write_dataset(pa.table(columns), folder / "rows.lance")
    return open_table(folder / "rows.lance")


def pictures(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.large_binary())


def bad_table(folder) -> Table:
    images = pictures(*(png(number) for number in range(9)), b"no image", None, png(11))
    return table_of(folder, label=pa.array(range(12)), image=images)


# Rows whose image cannot be used.


def test_a_bad_image_ends_the_stream_with_the_row_and_what_to_pass(tmp_path):
    with pytest.raises(ImageRefused, match="row 9") as caught:
        list(Stream(bad_table(tmp_path), ["image"], batch_size=4, shuffle=False, prepare=half_size))

    assert "on_bad_image='leave_out'" in str(caught.value.hint)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_images_are_left_out_and_counted_once(tmp_path, num_workers):
    stream = Stream(
        bad_table(tmp_path),
        ["image", "label"],
        batch_size=4,
        prepare=half_size,
        on_bad_image="leave_out",
        until_epoch=2,
    )

    batches = list(load(stream, num_workers))

    assert len(batches) == 6
    assert sorted(label for labels_of_one in labels(batches[:3]) for label in labels_of_one) == [*range(9), 11]
    assert all(batch["image"][:, 0, 0, 0].tolist() == batch["label"].tolist() for batch in batches)
    left_out = [(reason, row) for batch in batches[:3] for reason, rows in batch["left_out"].items() for row in rows]
    assert sorted(left_out) == [("missing", 10), ("not_an_image", 9)]
    assert stream.left_out == {"missing": 1, "not_an_image": 1}


def test_ranks_get_the_same_number_of_batches_when_one_loses_all_its_rows(tmp_path):
    table = bad_table(tmp_path)

    ranks = [
        list(
            Stream(
                table,
                ["image", "label"],
                batch_size=6,
                shuffle=False,
                prepare=half_size,
                on_bad_image="leave_out",
                rank=rank,
                world_size=6,
            )
        )
        for rank in range(6)
    ]

    assert [len(batches) for batches in ranks] == [2] * 6
    assert [batches[1]["image"].shape[0] for batches in ranks] == [1, 1, 1, 0, 0, 1]
    assert {batches[1]["image"].shape[1:] for batches in ranks} == {(3, 4, 4)}


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(UsageError, match="expected 'refuse' or 'leave_out'"):
        Stream(bad_table(tmp_path), ["label"], batch_size=4, on_bad_image="ignore")


# Batches of no row.


def test_a_rank_without_a_row_gets_tensors_of_the_right_shapes(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(9 * 5, np.float32)), 5)
    choices = [["a", "b"]] * 9
    images = pictures(*(png(number) for number in range(9)))
    table = table_of(tmp_path, image=images, label=pa.array(range(9)), vector=vectors, choices=choices)

    *_, last = Stream(
        table,
        ["image", "label", "vector", "choices"],
        batch_size=8,
        drop_last=False,
        prepare=half_size,
        texts="choices",
        tokenize=letters,
        rank=0,
        world_size=8,
    )

    assert last["image"].shape[0] == 0
    assert last["image"].ndim == 4
    assert last["label"].shape == (0,)
    assert last["label"].dtype == torch.int64
    assert last["vector"].shape == (0, 5)
    assert last["choices"] == []
    assert last["tokens"].shape == (0, 4)
    assert last["offsets"].shape == last["text_index"].shape == last["text_counts"].shape == (0,)


# Names.


@pytest.mark.parametrize("name", ["offsets", "cursor", "tokens", "text_index", "text_counts", "left_out"])
def test_a_column_with_a_name_of_the_batchs_own_is_refused_with_how_to_rename_it(tmp_path, name):
    table = table_of(tmp_path, **{name: [10, 11], "label": [0, 1]})

    with pytest.raises(UsageError, match=f"entry '{name}'") as caught:
        Stream(table, [name, "label"], batch_size=2)

    assert f"{name}_column" in str(caught.value.hint)
    batch = next(iter(Stream(table, {f"{name}_column": name, "label": "label"}, batch_size=2, shuffle=False)))
    assert batch[f"{name}_column"].tolist() == [10, 11]
    assert batch["offsets"].tolist() == [0, 1]


# Which nulls stand for a file.


def test_only_the_declared_image_is_read_from_the_uri(tmp_path):
    (tmp_path / "0.png").write_bytes(png(200))
    uri = [str(tmp_path / "0.png")] * 2
    schema = pa.schema(
        [
            ("uri", pa.string()),
            pa.field("picture", pa.large_binary(), metadata=IMAGE_METADATA),
            ("thumbnail", pa.binary()),
        ]
    )
    rows = pa.table({"uri": uri, "picture": [png(200), None], "thumbnail": [png(7), None]}, schema=schema)
    lance.write_dataset(rows, tmp_path / "rows.lance")
    table = open_table(tmp_path / "rows.lance")

    batch = next(iter(Stream(table, ["picture"], batch_size=2, prepare=half_size)))

    assert batch["picture"][:, 0, 0, 0].tolist() == [200, 200]
    with pytest.raises(SchemaError, match="1 of 2 rows hold no 'thumbnail' yet, such as row 1"):
        list(Stream(table, ["thumbnail"], batch_size=2, prepare=half_size))


# One picture, many rows.


def test_a_picture_that_rows_of_a_batch_share_is_decoded_once(tmp_path):
    images = pictures(*(png(number // 4) for number in range(16)))
    table = table_of(tmp_path, label=pa.array(range(16)), image=images)
    prepared = []

    def counted(pixels: np.ndarray) -> torch.Tensor:
        prepared.append(int(pixels[0, 0, 0]))
        return half_size(pixels)

    batch = next(iter(Stream(table, ["label", "image"], batch_size=16, prepare=counted)))

    assert sorted(prepared) == [0, 1, 2, 3]
    assert batch["image"][:, 0, 0, 0].tolist() == [label // 4 for label in batch["label"].tolist()]


# Groups.


def slots_of(parts, window_of=lambda number: 0):
    return [
        Slot((number,), (len(part),), part.astype(np.int64), np.full(len(part), window_of(number)))
        for number, part in enumerate(parts)
    ]


def test_groups_are_bounded_by_what_rows_weigh_not_by_what_the_rows_before_did(tmp_path, monkeypatch):
    light, heavy, row_bytes, bound = 2048, 2048, 4200, 2 * 2**20
    rng = np.random.default_rng(0)
    texts = [""] * light + [rng.bytes(row_bytes // 2).hex() for _ in range(heavy)]  # 8.6 MB together
    table = table_of(tmp_path, label=pa.array(range(light + heavy)), text=texts)
    held = []
    take_in = Group._take_in

    def watched(group):
        take_in(group)
        held.append(group.num_bytes)

    monkeypatch.setattr(Group, "_take_in", watched)
    slots = slots_of(np.arange(light + heavy).reshape(-1, 16))

    found = list(Fetcher(table, ["label", "text"], group_bytes=bound).read(slots))

    assert max(held) <= bound + sources.DISK.max_rows * row_bytes * 1.1  # and the piece at hand
    assert [label for one in found for label in one.rows["label"].to_pylist()] == list(range(light + heavy))
    assert [one.slot.numbers[0] for one in found] == list(range(len(slots)))


@pytest.mark.parametrize("group_bytes", [1, 3_000, 100_000, 10**9])
def test_the_bound_changes_nothing_of_what_batches_hold(tmp_path, group_bytes):
    rng = np.random.default_rng(0)
    texts = ["x" * int(size) for size in rng.integers(0, 3_000, 300)]
    table = table_of(tmp_path, label=pa.array(range(300)), text=texts)
    parts = np.split(rng.permutation(300), 20)

    fetcher = Fetcher(table, ["label", "text"], group_bytes=group_bytes)
    found = list(fetcher.read(slots_of(parts, lambda number: number // 7)))

    assert [one.rows["label"].to_pylist() for one in found] == [part.tolist() for part in parts]
    assert [one.rows["text"].to_pylist() for one in found] == [[texts[row] for row in part] for part in parts]
