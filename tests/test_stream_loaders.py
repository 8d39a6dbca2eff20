"""A stream in other hands: workers that live on, loaders that would make batches of batches, and single rows."""

import itertools
import warnings
from pathlib import Path

import lance
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from clipdata.errors import UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, load
from tests.test_stream import labels, letters

NUM_ROWS = 20
FORKSERVER = "forkserver"


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    uri = tmp_path_factory.mktemp("loaders") / "rows.lance"
    choices = [[f"c{number}", "both", f"d{number}"][: 2 + number % 2] for number in range(NUM_ROWS)]
    lance.write_dataset(
        pa.table({"label": range(NUM_ROWS), "choices": choices, "name": [f"n{n}" for n in range(NUM_ROWS)]}), uri
    )
    return open_table(uri)


def stream_of(table: Table, **options) -> Stream:
    return Stream(table, ["label"], **{"batch_size": 4, "seed": 1, **options})


def of_epoch(table: Table, epoch: int) -> list[list[int]]:
    return labels(stream_of(table, epoch=epoch))


def test_workers_that_live_on_hear_which_epoch_begins(table):
    stream = stream_of(table)
    loader = DataLoader(
        stream, batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=FORKSERVER
    )

    for epoch in (0, 5, 2):
        stream.set_epoch(epoch)
        assert labels(loader) == of_epoch(table, epoch)


def test_workers_that_live_on_go_to_the_next_epoch_when_nobody_says_anything(table):
    loader = DataLoader(
        stream_of(table), batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=FORKSERVER
    )

    assert [labels(loader) for _ in range(3)] == [of_epoch(table, epoch) for epoch in range(3)]


def test_workers_started_anew_for_the_same_epoch_are_worth_a_word(table):
    loader = DataLoader(stream_of(table), batch_size=None, num_workers=1, multiprocessing_context=FORKSERVER)
    list(loader)

    with pytest.warns(UserWarning, match=r"begin it once more; call stream.set_epoch\(epoch\)"):
        list(loader)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_load_moves_the_stream_whatever_the_number_of_workers(table, num_workers):
    stream = stream_of(table)

    epochs = [labels(load(stream, num_workers)) for _ in range(2)]

    assert epochs == [of_epoch(table, 0), of_epoch(table, 1)]
    assert (stream.state_dict()["epoch"], stream.state_dict()["batch"]) == (2, 0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_state_amid_load_is_that_of_the_batch_at_hand(table, num_workers):
    stream, again = stream_of(table), stream_of(table)
    for batch in itertools.islice(load(stream, num_workers), 2):
        state = stream.state_dict()
        assert (state["epoch"], state["batch"]) == batch["cursor"]

    again.load_state_dict(state)

    assert labels(load(again, num_workers)) == of_epoch(table, 0)[2:]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_whoever_takes_as_many_batches_as_there_are_has_ended_the_epoch(table, num_workers):
    stream = stream_of(table)
    for epoch in range(2):
        taken = load(stream, num_workers)
        assert labels(itertools.islice(taken, len(stream))) == of_epoch(table, epoch)
        taken.close()


def test_a_loop_that_says_the_epoch_it_resumes_goes_on_in_its_midst(table):
    stream = stream_of(table)
    stream.load_state_dict({"epoch": 1, "batch": 3})
    seen = []
    for epoch in range(1, 3):
        stream.set_epoch(epoch)
        seen.append(labels(DataLoader(stream, batch_size=None)))

    assert seen == [of_epoch(table, 1)[3:], of_epoch(table, 2)]
    stream.set_epoch(1)
    assert labels(stream) == of_epoch(table, 1)


def test_a_loader_that_would_make_batches_of_batches_is_told_what_to_pass(table):
    with pytest.raises(UsageError, match="batch_size=None"):
        next(iter(DataLoader(stream_of(table), batch_size=2)))


def test_so_is_a_loader_with_workers(table):
    with pytest.raises(UsageError, match="batch_size=None"):
        next(iter(DataLoader(stream_of(table), batch_size=2, num_workers=1, multiprocessing_context=FORKSERVER)))


def test_batches_handed_to_torchs_own_collation_are_refused(table):
    batches = list(itertools.islice(stream_of(table), 2))

    with pytest.raises(UsageError, match="batch_size=None"):
        torch.utils.data.default_collate(batches)


def test_a_trainers_collation_is_refused_as_well(table):
    collator = pytest.importorskip("transformers").default_data_collator

    with pytest.raises(UsageError, match="batch_size=None"):
        next(iter(DataLoader(stream_of(table), batch_size=2, collate_fn=collator)))


def test_single_rows_make_the_batches_that_a_loader_wants(table):
    stream = Stream(table, ["label", "name"], batch_size=None, seed=1)

    batches = list(DataLoader(stream, batch_size=6))

    assert [batch["label"].shape for batch in batches] == [(6,), (6,), (6,), (2,)]
    assert sorted(label for batch in batches for label in batch["label"].tolist()) == list(range(NUM_ROWS))
    assert [name for batch in batches for name in batch["name"]] == [
        f"n{label}" for batch in batches for label in batch["label"].tolist()
    ]
    assert len(stream) == NUM_ROWS


def test_single_rows_come_once_whatever_the_number_of_workers(table):
    stream = Stream(table, ["label"], batch_size=None, seed=1)

    loader = DataLoader(stream, batch_size=3, num_workers=2, multiprocessing_context=FORKSERVER)

    assert sorted(label for batch in loader for label in batch["label"].tolist()) == list(range(NUM_ROWS))


def test_single_rows_hold_the_tokens_of_their_own_texts(table):
    for sample in Stream(table, ["label", "choices"], batch_size=None, texts="choices", tokenize=letters):
        assert torch.equal(sample["tokens"], letters(sample["choices"]))
        assert "cursor" not in sample


def test_single_rows_go_on_where_they_stopped(table):
    stream, again = (Stream(table, ["label"], batch_size=None, seed=1) for _ in range(2))
    whole = [int(sample["label"]) for sample in load(stream)]
    stream.set_epoch(0)
    for _ in itertools.islice(stream, 7):
        state = stream.state_dict()

    again.load_state_dict(state)

    assert [int(sample["label"]) for sample in again] == whole[7:]


def test_a_copy_of_a_stream_goes_its_own_way(table, tmp_path: Path):
    path = tmp_path / "stream.pt"
    stream = stream_of(table)
    torch.save(stream, path)
    copy = torch.load(path, weights_only=False)

    stream.set_epoch(3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert labels(copy) == of_epoch(table, 0)
