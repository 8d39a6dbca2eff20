"""Several streams mixed to one: proportions, epochs, ranks, workers, states, and what is refused."""

import itertools
from collections import Counter
from fractions import Fraction

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import clipdata as cd
from clipdata.errors import ConfigError, SchemaError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, load, mix
from clipdata.stream.proportions import MixPlan, exact_weights
from tests.test_stream import half_size, labels, letters, png

FORKSERVER = "forkserver"
SIZES = {"a": 23, "b": 10, "c": 4}


def choices_of(number: int) -> list[str]:
    return [f"c{number % 3}", "both", f"d{number // 1000}{number % 1000:02}"][: number % 4]


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, Table]:
    """Tables whose labels tell them apart; 1,000 a table."""
    folder, tables = tmp_path_factory.mktemp("mixing"), {}
    for place, (name, size) in enumerate(SIZES.items()):
        numbers = [1000 * place + row for row in range(size)]
        columns = {
            "label": pa.array(numbers, pa.int64()),
            "name": [f"n{number}" for number in numbers],
            "choices": [choices_of(number) for number in numbers],
            "image": pa.array([png(number % 1000) for number in numbers], pa.large_binary()),
            "vector": pa.FixedSizeListArray.from_arrays(np.repeat(np.float32(numbers), 2), 2),
        }
        lance.write_dataset(pa.table(columns), folder / f"{name}.lance", max_rows_per_file=9)
        tables[name] = open_table(folder / f"{name}.lance")
    return tables


def mixed(tables, names="ab", weights=None, columns=("label",), *, of_mix=None, **of_parts):
    parts = [
        Stream(tables[name], list(columns), **{"batch_size": None, "seed": seed, **of_parts})
        for seed, name in enumerate(names)
    ]
    return mix(parts, **{"weights": weights, "batch_size": 5, **(of_mix or {})})


def flat(batches) -> list[int]:
    return [label for batch in labels(batches) for label in batch]


def endless(table: Table, seed: int, num_rows: int) -> list[int]:
    """The oracle: the rows of a part, epoch after epoch, as its own stream gives them."""
    samples = Stream(table, ["label"], batch_size=None, seed=seed, until_epoch=99)
    return [int(sample["label"]) for sample in itertools.islice(samples, num_rows)]


# The arithmetic.

weights_of_parts = st.lists(st.one_of(st.integers(1, 40), st.floats(0.001, 5)), min_size=1, max_size=6)


@given(weights_of_parts, st.integers(1, 50), st.integers(0, 10**12))
def test_any_stretch_of_a_mix_holds_its_parts_in_their_proportions(weights, length, start):
    shares = exact_weights(weights)
    plan = MixPlan((10,) * len(weights), shares, batch_size=1)

    parts = plan.parts(start, start + length)

    assert len(parts) == length
    before, after = plan.counts(start), plan.counts(start + length)
    assert np.bincount(parts, minlength=len(weights)).tolist() == [
        stop - start for start, stop in zip(before, after, strict=True)
    ]
    assert sum(after) == start + length
    for count, share in zip(after, shares, strict=True):
        assert abs(count - share / sum(shares) * (start + length)) < 2


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(1, 20),
    st.booleans(),
)
def test_an_epoch_ends_where_it_says(parts, batch_size, drop_last):
    num_rows, weights = zip(*parts, strict=True)
    first, every = (
        MixPlan(num_rows, exact_weights(weights), batch_size, until, drop_last) for until in ("first", "all")
    )

    assert all(given <= rows for given, rows in zip(first.counts(first.epoch_rows), num_rows, strict=True))
    beyond = first.counts(first.epoch_rows + (batch_size if drop_last else 1))
    assert any(given > rows for given, rows in zip(beyond, num_rows, strict=True))
    assert all(given >= rows for given, rows in zip(every.counts(every.epoch_rows), num_rows, strict=True))
    before = every.counts(every.epoch_rows - (batch_size if drop_last else 1))
    assert any(given < rows for given, rows in zip(before, num_rows, strict=True))
    if drop_last:
        assert first.epoch_rows % batch_size == every.epoch_rows % batch_size == 0


def test_written_weights_are_exact():
    assert exact_weights([0.7, np.float32(0.3), Fraction(1, 3), 2]) == (*map(Fraction, ("7/10", "3/10", "1/3")), 2)
    plan = MixPlan((10**9, 10**9), exact_weights([0.7, 0.3]), 10)
    assert [plan.counts(10 * batch) for batch in (1, 2, 10**8)] == [(7, 3), (14, 6), (7 * 10**8, 3 * 10**8)]


# What is handed out.


def test_without_weights_an_epoch_holds_each_row_of_each_part_once(tables):
    for epoch in (0, 3):
        stream = mixed(tables, "abc", drop_last=False, of_mix={"epoch": epoch})
        assert sorted(flat(stream)) == [*range(23), *range(1000, 1010), *range(2000, 2004)]
        assert len(stream) == 8


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_mix_is_its_parts_own_orders_interleaved_whatever_the_ranks_and_the_cut(tables, data):
    names = data.draw(st.sampled_from(["a", "ab", "cb", "abc"]))
    weights = data.draw(st.one_of(st.none(), st.lists(st.integers(1, 9), min_size=len(names), max_size=len(names))))
    world_size = data.draw(st.sampled_from([1, 2, 3]))
    until = data.draw(st.sampled_from(["first", "all", 2]))
    drop_last, of_epochs = data.draw(st.booleans()), data.draw(st.integers(1, 3))
    options = {
        "drop_last": drop_last,
        "of_mix": {"batch_size": 6, "until": until, "until_epoch": of_epochs},
    }
    try:
        whole = mixed(tables, names, weights, rank=0, world_size=1, **options)
    except ConfigError:  # too few rows for a batch
        return
    batches = list(whole)

    assert len(batches) == of_epochs * whole.plan.num_batches
    given = {part: [] for part in range(len(names))}
    for batch in batches:
        for part, label in zip(batch["part"].tolist(), batch["label"].tolist(), strict=True):
            given[part].append(label)
    for part, name in enumerate(names):
        assert given[part] == endless(tables[name], part, len(given[part]))

    ranks = []
    for rank in range(world_size):
        stream = mixed(tables, names, weights, rank=rank, world_size=world_size, **options)
        cut = data.draw(st.integers(0, len(batches)))
        of_rank = labels(itertools.islice(stream, cut))
        again = mixed(tables, names, weights, rank=rank, world_size=world_size, **options)
        again.load_state_dict(stream.state_dict())
        ranks.append(of_rank + labels(again))
    assert [[*itertools.chain(*of_ranks)] for of_ranks in zip(*ranks, strict=True)] == labels(batches)


def test_every_rank_holds_the_parts_in_their_proportions(tables):
    for rank in range(2):
        stream = mixed(tables, "ab", [3, 1], of_mix={"batch_size": 16, "until": 4}, rank=rank, world_size=2)
        for batch in stream:
            assert Counter(batch["part"].tolist()) == {0: 6, 1: 2}


def test_all_entries_of_a_row_come_from_the_same_row(tables):
    columns = ("label", "name", "choices", "image", "vector")
    stream = mixed(tables, "abc", columns=columns, prepare=half_size, texts="choices", tokenize=letters)

    for batch in stream:
        numbers = batch["label"].tolist()
        assert batch["part"].tolist() == [number // 1000 for number in numbers]
        assert batch["offsets"].tolist() == [number % 1000 for number in numbers]
        assert batch["name"] == [f"n{number}" for number in numbers]
        assert batch["vector"].tolist() == [[number] * 2 for number in numbers]
        assert batch["image"][:, 0, 0, 0].tolist() == [number % 1000 for number in numbers]
        choices = [choices_of(number) for number in numbers]
        assert batch["choices"] == choices
        texts = [text for of_row in choices for text in of_row]
        assert torch.equal(batch["tokens"][batch["text_index"]], letters(texts))
        assert torch.equal(batch["tokens"], letters(list(dict.fromkeys(texts))))
        assert batch["text_counts"].tolist() == [len(of_row) for of_row in choices]


def test_bad_images_are_left_out_and_named_by_their_part(tables, tmp_path):
    images = pa.array([png(1), b"no image", None, png(4)], pa.large_binary())
    lance.write_dataset(pa.table({"label": range(4), "image": images}), tmp_path / "bad.lance")
    bad = Stream(
        open_table(tmp_path / "bad.lance"),
        ["label", "image"],
        batch_size=None,
        prepare=half_size,
        on_bad_image="leave_out",
    )
    good = Stream(tables["b"], ["label", "image"], batch_size=None, prepare=half_size)
    stream = mix([good, bad], batch_size=5, until=4)

    batches = list(load(stream))

    assert len(batches) == 4
    assert sorted({label for label in flat(batches) if label < 1000}) == [0, 3]
    found = {(reason, row) for batch in batches for reason, rows in batch["left_out"].items() for row in rows}
    assert found == {("not_an_image", (1, 1)), ("missing", (1, 2))}
    assert stream.left_out == {"missing": 1, "not_an_image": 1}
    assert all(batch["image"].shape[0] == len(batch["label"]) == len(batch["part"]) for batch in batches)


def test_pictures_keep_their_memory_as_a_stream_gives_it(tables):
    alone = next(iter(Stream(tables["b"], ["image"], batch_size=5, prepare=half_size)))["image"]
    joined = next(iter(mixed(tables, "ab", columns=["image"], prepare=half_size)))["image"]

    assert joined.stride() == alone.stride()


# Workers and loaders.


def test_workers_and_loaders_change_nothing(tables):
    def fresh():
        return mixed(tables, "ab", [0.7, 0.3])

    epochs = [labels(mixed(tables, "ab", [0.7, 0.3], of_mix={"epoch": epoch})) for epoch in range(2)]

    stream = fresh()
    assert [labels(load(stream, 2)) for _ in range(2)] == epochs
    assert (stream.state_dict()["epoch"], stream.state_dict()["batch"]) == (2, 0)

    plain = DataLoader(fresh(), batch_size=None, num_workers=2, multiprocessing_context=FORKSERVER)
    assert labels(plain) == epochs[0]

    def stateful(num_workers: int) -> StatefulDataLoader:
        return StatefulDataLoader(
            fresh(),
            batch_size=None,
            num_workers=num_workers,
            multiprocessing_context=FORKSERVER if num_workers else None,
        )

    for num_workers in (0, 2):
        loader = stateful(num_workers)
        begun = labels(itertools.islice(loader, 3))
        again = stateful(num_workers)
        again.load_state_dict(loader.state_dict())
        assert begun + labels(again) == epochs[0]


def test_a_state_names_where_every_part_stands(tables):
    stream = mixed(tables, "abc", [5, 3, 2], of_mix={"until": "all"})
    given = Counter()
    for batch in itertools.islice(stream, 7):
        given.update(batch["part"].tolist())

    state = stream.state_dict()

    assert state["parts"] == [list(divmod(given[part], size)) for part, size in enumerate(SIZES.values())]


def test_a_mix_is_taken_repeated_and_merged_like_a_stream(tables):
    whole = labels(mixed(tables, of_mix={"until_epoch": 2}))
    assert labels(mixed(tables).repeat(2)) == whole
    assert labels(mixed(tables).repeat(2).take(8)) == whole[:8]
    taken = mixed(tables).take(3)
    assert (labels(taken), labels(taken)[0], len(taken)) == (whole[:3], whole[3], 3)
    assert "Mix of 2 streams: 3 batches of 5 an epoch" in repr(taken)

    ranks = [mixed(tables, of_mix={"batch_size": 6}, rank=rank, world_size=2) for rank in range(2)]
    given = [labels(itertools.islice(stream, 2)) for stream in ranks]
    again = mixed(tables, of_mix={"batch_size": 6})
    again.load_state_dict(Stream.merge_states([stream.state_dict() for stream in ranks]))
    begun = [of_first + of_second for of_first, of_second in zip(*given, strict=True)]
    assert begun + labels(again) == labels(mixed(tables, of_mix={"batch_size": 6}))


def test_single_rows_of_a_mix_make_the_batches_that_a_loader_wants(tables):
    def stream() -> cd.Mix:
        return mixed(tables, "ab", columns=["label", "name"], of_mix={"batch_size": None})

    samples = list(stream())
    batches = list(DataLoader(stream(), batch_size=8, num_workers=2, multiprocessing_context=FORKSERVER))

    assert sorted(int(sample["label"]) for sample in samples) == [*range(23), *range(1000, 1010)]
    assert all(sample["name"] == f"n{int(sample['label'])}" for sample in samples)
    assert sorted(flat(batches)) == [*range(23), *range(1000, 1010)]
    assert len(stream()) == 33


# What is refused, before anything is read.


def test_parts_with_other_entries_are_listed(tables, tmp_path):
    columns = {"label": pa.array([1, 2], pa.int8()), "name": [["x"], ["y"]], "score": [0.5, 1.0]}
    lance.write_dataset(pa.table(columns), tmp_path / "other.lance")
    other = Stream(open_table(tmp_path / "other.lance"), ["label", "name", "score"], batch_size=2)

    with pytest.raises(SchemaError) as caught:
        mix([Stream(tables["a"], ["label", "name"], batch_size=2), other])

    assert "'label' is numbers of int64, numbers of int8" in caught.value.message
    assert "'name' is texts, lists of texts" in caught.value.message
    assert "'score' is nothing, numbers of double" in caught.value.message


def test_columns_of_other_names_mix_under_one(tables):
    parts = [Stream(tables["a"], {"number": "label"}, batch_size=5), Stream(tables["b"], ["label"], batch_size=5)]
    with pytest.raises(SchemaError, match="'number' is numbers of int64, nothing"):
        mix(parts)

    parts[1] = Stream(tables["b"], {"number": "label"}, batch_size=5)

    assert sorted(number for batch in mix(parts, until="all") for number in batch["number"].tolist())


def test_parts_that_disagree_are_listed(tables):
    parts = [
        Stream(tables["a"], ["label"], batch_size=4, rank=0, world_size=2),
        Stream(tables["b"], ["label"], batch_size=6, rank=0, world_size=2, drop_last=False),
        Stream(tables["b"], ["label"], batch_size=6, rank=1, world_size=2),
    ]

    with pytest.raises(ConfigError) as caught:
        mix(parts)

    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "batch_size is 4, 6, 6",
        "drop_last is True, False, True",
        "rank is 0, 0, 1",
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"weights": [0.7]}, "1 weights for 2 streams"),
        ({"weights": [0.7, 0]}, "a weight is 0; expected a number above 0"),
        ({"weights": [0.7, -1]}, "a weight is -1"),
        ({"weights": [0.7, float("nan")]}, "a weight is nan"),
        ({"weights": ["7", "3"]}, "a weight is '7'"),
        ({"weights": [True, 1]}, "a weight is True"),
        ({"until": "last"}, "until is 'last'"),
        ({"until": 0}, "mix: until is 0"),
        ({"until": 2.5}, "mix: until is 2.5"),
        ({"batch_size": 200}, "before it fills a batch of 200 rows"),
    ],
)
def test_wrong_arguments_are_told(tables, wrong, said):
    with pytest.raises((UsageError, ConfigError), match=said):
        mixed(tables, of_mix=wrong)


def test_a_batch_that_the_ranks_cannot_share_is_told(tables):
    with pytest.raises(ConfigError, match="5, over all ranks, and 2 ranks cannot share it evenly"):
        mixed(tables, rank=0, world_size=2)


def test_parts_that_are_none_are_told(tables):
    stream = Stream(tables["a"], ["label"], batch_size=5)

    with pytest.raises(UsageError, match="no stream"):
        mix([])
    with pytest.raises(UsageError, match="expected Stream"):
        mix([stream, tables["b"]])
    with pytest.raises(UsageError, match="is a mix"):
        mix([stream, mix([stream])])
    for part in (Stream(tables["a"], ["label"], batch_size=5, epoch=2), stream.take(2), stream.repeat(2)):
        with pytest.raises(UsageError, match="of its own"):
            mix([part, stream])
    with pytest.raises(UsageError, match="keeps ids apart"):
        mix([Stream(tables["a"], ["label"], batch_size=5, apart="name"), stream])


def test_parts_whose_preparations_differ_are_told(tables):
    parts = [
        Stream(tables["a"], ["image"], batch_size=5, prepare=half_size),
        Stream(tables["b"], ["image"], batch_size=5, prepare=torch.from_numpy),
    ]

    with pytest.raises(UsageError, match=r"a row's 'image' is torch.uint8 \[3, 4, 4\] and torch.uint8 \[8, 8, 3\]"):
        next(iter(mix(parts)))


def test_a_state_of_another_mix_is_refused_with_what_differs(tables):
    state = mixed(tables, "ab", [2, 1]).state_dict()

    with pytest.raises(ConfigError) as caught:
        mixed(tables, "ac", [3, 1], of_mix={"until": 2}).load_state_dict(state)

    assert {problem.split(" was ")[0] for problem in caught.value.problems} <= {
        "weights",
        "until",
        "num_batches",
        "part 1: table",
        "part 1: table_files",
        "part 1: num_rows",
        "part 1: clump_rows",
        "part 1: window_rows",
    }
    assert {problem.split(" was ")[0] for problem in caught.value.problems} >= {"weights", "until", "part 1: table"}
