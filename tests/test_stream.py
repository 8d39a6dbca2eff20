"""A table as batches: what they hold, in which order, and going on after an interruption."""

import itertools
import pickle
import subprocess
import sys
import threading

import cv2
import lance
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from clipdata.errors import ConfigError, ImageRefused, SchemaError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, load
from clipdata.stream.columns import distinct_texts, to_batch

NUM_ROWS = 50


def half_size(pixels: np.ndarray) -> torch.Tensor:
    """What stands for a model's preparation; at module level, so that workers can unpickle it."""
    return torch.from_numpy(np.ascontiguousarray(pixels[::2, ::2].transpose(2, 0, 1)))


def letters(texts: list[str]) -> torch.Tensor:
    """What stands for a tokenizer: the first four code points."""
    return torch.tensor([[ord(letter) for letter in text.ljust(4)[:4]] for text in texts])


def png(level: int) -> bytes:
    return cv2.imencode(".png", np.full((8, 8, 3), level, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    vectors = np.arange(NUM_ROWS * 4, dtype=np.float32).reshape(NUM_ROWS, 4)
    return pa.table(
        {
            "path": [f"picture-{number:03}.png" for number in range(NUM_ROWS)],
            "image": pa.array([png(number) for number in range(NUM_ROWS)], pa.large_binary()),
            "label": pa.array(range(NUM_ROWS), pa.int32()),
            "weight": pa.array(np.linspace(0, 1, NUM_ROWS)),
            "choices": [[f"c{number}", "both", "c0"][: 2 + number % 2] for number in range(NUM_ROWS)],
            "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 4),
        }
    )


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory) -> Table:
    uri = tmp_path_factory.mktemp("stream") / "rows.lance"
    lance.write_dataset(rows, uri, max_rows_per_file=20)
    return open_table(uri)


def labels(batches) -> list[list[int]]:
    return [batch["label"].tolist() for batch in batches]


def test_a_batch_holds_images_numbers_vectors_and_texts(table, rows):
    stream = Stream(table, ["image", "label", "weight", "vector", "choices"], batch_size=8, prepare=half_size)

    batch = next(iter(stream))

    assert batch["image"].shape == (8, 3, 4, 4)
    assert batch["image"].dtype == torch.uint8
    assert batch["image"][:, 0, 0, 0].tolist() == batch["label"].tolist() == batch["offsets"].tolist()
    assert batch["vector"].tolist() == [[4.0 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3] for n in batch["label"].tolist()]
    assert batch["vector"].dtype == torch.float32
    assert batch["weight"].dtype == torch.float64
    assert batch["choices"] == [rows["choices"][n].as_py() for n in batch["label"].tolist()]
    assert batch["cursor"] == (0, 1)


def test_tensors_of_a_batch_are_its_own(table):
    batch = next(iter(Stream(table, ["label", "vector"], batch_size=8)))

    batch["vector"].zero_()
    batch["label"].zero_()

    assert next(iter(Stream(table, ["label", "vector"], batch_size=8)))["vector"].abs().sum() > 0


def test_lists_of_texts_are_tokenized_once_a_text(table):
    stream = Stream(table, ["choices"], batch_size=8, texts="choices", tokenize=letters)

    batch = next(iter(stream))

    flat = [text for row in batch["choices"] for text in row]
    assert batch["text_counts"].tolist() == [len(row) for row in batch["choices"]]
    assert len(batch["tokens"]) == len(set(flat)) < len(flat)
    assert torch.equal(batch["tokens"][batch["text_index"]], letters(flat))


def test_one_text_a_row_is_tokenized_in_the_order_of_the_rows(table):
    batch = next(iter(Stream(table, ["path"], batch_size=8, texts="path", tokenize=letters)))

    assert torch.equal(batch["tokens"], letters(batch["path"]))
    assert "text_index" not in batch


def test_an_epoch_gives_every_row_at_most_once_and_the_next_one_another_order(table):
    stream = Stream(table, ["label"], batch_size=8, seed=1)

    first, second = labels(stream), labels(stream)

    for epoch in (first, second):
        assert len(epoch) == len(stream) == 6
        assert len({label for batch in epoch for label in batch}) == 48
    assert first != second


def test_drop_last_false_gives_the_short_last_batch(table):
    batches = labels(Stream(table, ["label"], batch_size=8, drop_last=False))

    assert [len(batch) for batch in batches] == [8] * 6 + [2]
    assert sorted(label for batch in batches for label in batch) == list(range(NUM_ROWS))


def test_a_filter_leaves_out_rows(table):
    batches = labels(Stream(table, ["label"], batch_size=5, where="label >= 30", shuffle=False))

    assert [label for batch in batches for label in batch] == list(range(30, 50))


def test_given_rows_are_the_only_ones(table):
    batches = labels(Stream(table, ["label"], batch_size=2, rows=np.array([3, 21, 40, 44])))

    assert sorted(label for batch in batches for label in batch) == [3, 21, 40, 44]


def test_deleted_rows_are_not_streamed(rows, tmp_path):
    dataset = lance.write_dataset(rows, tmp_path / "rows.lance", max_rows_per_file=20)
    dataset.delete("label < 10")

    batches = labels(Stream(open_table(tmp_path / "rows.lance"), ["label"], batch_size=8))

    assert sorted(label for batch in batches for label in batch) == list(range(10, 50))


def test_rows_added_later_are_not_streamed(rows, tmp_path):
    lance.write_dataset(rows, tmp_path / "rows.lance")
    stream = Stream(open_table(tmp_path / "rows.lance"), ["label"], batch_size=10)
    expected = labels(pickle.loads(pickle.dumps(stream)))

    lance.write_dataset(rows, tmp_path / "rows.lance", mode="append")

    assert labels(pickle.loads(pickle.dumps(stream))) == expected
    assert len(expected) == 5


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_workers_give_the_same_batches_in_the_same_order(table, num_workers):
    stream = Stream(table, ["image", "label"], batch_size=8, seed=5, until_epoch=2, prepare=half_size)
    alone = list(load(stream))
    stream.set_epoch(0)

    together = list(load(stream, num_workers))

    assert labels(together) == labels(alone)
    assert [batch["cursor"] for batch in together] == [batch["cursor"] for batch in alone]
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(alone, together, strict=True))


def test_a_plain_data_loader_gives_the_same_order(table):
    stream = Stream(table, ["label"], batch_size=8, seed=5)
    expected = labels(Stream(table, ["label"], batch_size=8, seed=5))

    loader = DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="forkserver")

    assert labels(loader) == expected
    assert len(loader) == 6


def test_forked_workers_are_refused_with_what_to_type(table):
    loader = DataLoader(
        Stream(table, ["label"], batch_size=8), batch_size=None, num_workers=1, multiprocessing_context="fork"
    )

    with pytest.raises(UsageError, match='multiprocessing_context="forkserver"'):
        next(iter(loader))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_batches_of_one_order(table, world_size):
    whole = labels(Stream(table, ["label"], batch_size=8, seed=2))

    ranks = [
        labels(Stream(table, ["label"], batch_size=8, seed=2, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]

    assert [[*itertools.chain(*parts)] for parts in zip(*ranks, strict=True)] == whole


def test_torchruns_environment_says_which_rank_this_is(table, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    implied = labels(Stream(table, ["label"], batch_size=8))

    assert implied == labels(Stream(table, ["label"], batch_size=8, rank=1, world_size=2))


def test_ranks_that_cannot_share_a_batch_are_refused(table):
    with pytest.raises(ConfigError, match="3 ranks cannot share it evenly; use 6 or 9"):
        Stream(table, ["label"], batch_size=8, rank=0, world_size=3)


@pytest.mark.parametrize("taken_after", [1, 5, 6, 8])
def test_a_state_goes_on_with_the_next_batch(table, taken_after):
    stream = Stream(table, ["label"], batch_size=8, seed=3, until_epoch=2)
    whole, state = [], None
    for number, batch in enumerate(stream, 1):
        whole.append(batch["label"].tolist())
        if number == taken_after:
            state = stream.state_dict()

    again = Stream(table, ["label"], batch_size=8, seed=3, until_epoch=2)
    again.load_state_dict(state)

    assert labels(again) == whole[taken_after:]


def test_going_on_reads_no_batch_again(table):
    stream = Stream(table, ["image"], batch_size=8, seed=3, prepare=half_size)
    list(stream)  # reads what Lance then remembers of the files
    table.dataset.io_stats_incremental()

    stream.load_state_dict({"epoch": 0, "batch": 4})
    list(stream)
    read_for_two = table.dataset.io_stats_incremental().read_bytes
    stream.set_epoch(0)
    list(stream)
    read_for_six = table.dataset.io_stats_incremental().read_bytes

    assert 0 < read_for_two < read_for_six


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_cursor_of_a_batch_is_a_state_whatever_the_number_of_workers(table, num_workers):
    stream = Stream(table, ["label"], batch_size=8, seed=3, until_epoch=2)
    whole = list(load(stream))

    again = Stream(table, ["label"], batch_size=8, seed=3, until_epoch=2)
    epoch, batch = whole[6]["cursor"]
    again.load_state_dict({"epoch": epoch, "batch": batch})

    assert labels(load(again, num_workers)) == labels(whole)[7:]


@pytest.mark.parametrize("num_workers", [0, 2, 5])
def test_torchdatas_stateful_loader_goes_on_in_the_middle_of_an_epoch(table, num_workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        return stateful.StatefulDataLoader(
            Stream(table, ["label"], batch_size=4, seed=1),
            batch_size=None,
            num_workers=num_workers,
            multiprocessing_context="forkserver" if num_workers else None,
        )

    broken_off, whole, state = loader(), [], None
    for number, batch in enumerate(broken_off, 1):
        whole.append(batch["label"].tolist())
        state = broken_off.state_dict() if number == 7 else state
    again = loader()
    again.load_state_dict(state)

    assert labels(again) == whole[7:]
    assert len(labels(again)) == 12  # the next epoch is whole again


def test_a_state_of_another_stream_is_refused_with_every_difference(table):
    state = Stream(table, ["label"], batch_size=8, seed=3).state_dict()

    with pytest.raises(ConfigError) as caught:
        Stream(table, ["label"], batch_size=10, seed=4).load_state_dict(state)

    assert [problem.split(" was ")[0] for problem in caught.value.problems] == ["batch_size", "seed", "num_batches"]
    assert caught.value.problems[0] == "batch_size was 8 and is 10 now"


def test_breaking_off_and_iterating_anew_starts_the_epoch_again(table):
    stream = Stream(table, ["label"], batch_size=8)
    expected = labels(Stream(table, ["label"], batch_size=8))
    for _ in stream:
        break

    assert labels(stream) == expected


def test_breaking_off_leaves_no_thread_behind(table):
    before = threading.active_count()

    batches = iter(Stream(table, ["image"], batch_size=8, prepare=half_size))
    next(batches)
    batches.close()

    assert threading.active_count() == before


def test_images_held_by_reference_are_read_from_their_uri(rows, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    uris = [str(tmp_path / f"{number}.png") for number in range(4)]
    by_reference = pa.table(
        {"label": range(4), "uri": uris, "image": pa.array([png(0), None, None, None], pa.large_binary())}
    )
    lance.write_dataset(by_reference, tmp_path / "rows.lance")

    batch = next(iter(Stream(open_table(tmp_path / "rows.lance"), ["image", "label"], batch_size=4, prepare=half_size)))

    assert batch["image"][:, 0, 0, 0].tolist() == batch["label"].tolist()


def test_an_image_that_does_not_decode_names_its_row(tmp_path):
    lance.write_dataset(pa.table({"image": pa.array([b"no image"], pa.large_binary())}), tmp_path / "rows.lance")
    stream = Stream(open_table(tmp_path / "rows.lance"), ["image"], batch_size=1, prepare=half_size)

    with pytest.raises(ImageRefused, match="row 0"):
        next(iter(stream))


def test_a_null_names_the_column_the_count_and_the_command(rows, tmp_path):
    label = pa.array([None if number < 7 else number for number in range(NUM_ROWS)], pa.int32())
    position = rows.schema.get_field_index("label")
    lance.write_dataset(rows.set_column(position, "label", label), tmp_path / "rows.lance")
    stream = Stream(open_table(tmp_path / "rows.lance"), ["label"], batch_size=10)

    with pytest.raises(SchemaError, match=r"7 of 50 rows hold no 'label'[^$]*clipdata map"):
        list(stream)


def test_an_error_in_a_worker_arrives_as_it_was_raised(rows, tmp_path):
    lance.write_dataset(rows.append_column("empty", pa.nulls(NUM_ROWS, pa.int32())), tmp_path / "rows.lance")
    stream = Stream(open_table(tmp_path / "rows.lance"), ["empty"], batch_size=10)

    with pytest.raises(SchemaError) as caught:
        list(load(stream, 1))

    assert "50 of 50 rows hold no 'empty' yet, such as row " in caught.value.message
    assert caught.value.hint.startswith("clipdata map")


def test_a_missing_column_is_refused_before_anything_is_read(table):
    with pytest.raises(SchemaError, match="did you mean label"):
        Stream(table, ["labels"], batch_size=8)


def test_images_without_a_preparation_are_refused(table):
    with pytest.raises(UsageError, match="nothing says what size"):
        Stream(table, ["image"], batch_size=8)


def test_fewer_rows_than_a_batch_are_refused(table):
    with pytest.raises(ConfigError, match="batch_size is 64, and 20 rows are to be streamed"):
        Stream(table, ["label"], batch_size=64, where="label < 20")


def test_columns_become_tensors_of_their_own_type():
    assert to_batch(pa.chunked_array([pa.array([True, False])])).tolist() == [True, False]
    assert to_batch(pa.chunked_array([pa.array([1, 2], pa.uint8())])).dtype == torch.uint8
    halves = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(6, np.float16)), 3)
    assert to_batch(pa.chunked_array([halves[1:]])).shape == (1, 3)
    assert to_batch(pa.chunked_array([pa.array(["a", "b"])])) == ["a", "b"]


def test_distinct_texts_keep_their_first_order():
    texts, index, counts = distinct_texts([["b", "a"], [], ["a", "a", "c"]])

    assert texts == ["b", "a", "c"]
    assert index.tolist() == [0, 1, 1, 1, 2]
    assert counts.tolist() == [2, 0, 3]


def test_a_process_that_ends_in_the_middle_of_a_stream_ends_cleanly(table, tmp_path):
    """A thread that still reads when the interpreter goes away used to abort the process."""
    script = (
        "import sys; from clipdata.stream import Stream; from clipdata.lance_io.table import open_table\n"
        f"batches = iter(Stream(open_table({table.uri!r}), ['label'], batch_size=2, until_epoch=999))\n"
        "next(batches); sys.exit(7)"
    )

    ended = [subprocess.run([sys.executable, "-c", script], timeout=120, check=False).returncode for _ in range(3)]

    assert ended == [7, 7, 7]


def test_a_stream_stays_at_its_version_when_the_callers_handle_moves_on(rows, tmp_path):
    lance.write_dataset(rows, tmp_path / "rows.lance")
    handle = open_table(tmp_path / "rows.lance")
    stream = Stream(handle, ["label"], batch_size=10)
    lance.write_dataset(rows.slice(0, 20), tmp_path / "rows.lance", mode="overwrite")

    handle.move_to(handle.latest())

    assert len(labels(stream)) == 5
    assert stream.state_dict()["table_version"] < handle.version


def test_a_state_of_other_given_rows_is_refused(table):
    state = Stream(table, ["label"], batch_size=2, rows=[0, 1, 2, 3]).state_dict()

    with pytest.raises(ConfigError, match="rows was"):
        Stream(table, ["label"], batch_size=2, rows=[4, 5, 6, 7]).load_state_dict(state)
    Stream(table, ["label"], batch_size=2, rows=np.arange(4)).load_state_dict(state)


@pytest.mark.parametrize("given", [[5, 3, 3], [-1, 2], [0, 10**6], [True, False], [0.5, 1.0]])
def test_given_rows_that_are_no_offsets_are_refused(table, given):
    with pytest.raises(UsageError, match="rows holds"):
        Stream(table, ["label"], batch_size=1, rows=given)


def test_a_stream_begins_before_no_epoch_and_no_batch(table):
    with pytest.raises(ConfigError, match="0 or more"):
        Stream(table, ["label"], batch_size=2, epoch=-1)
    with pytest.raises(ConfigError, match="0 or more"):
        Stream(table, ["label"], batch_size=2).load_state_dict({"epoch": 0, "batch": -5})
