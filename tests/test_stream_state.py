"""States: what they carry, what refuses them, and one made of several; take, repeat and len."""

import itertools
import json
import shutil

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import ConfigError, SchemaError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, load
from clipdata.stream import apart as apart_module
from tests.test_stream import labels

NUM_ROWS = 50


def written(uri, num_rows=NUM_ROWS) -> Table:
    numbers = np.arange(num_rows)
    lance.write_dataset(pa.table({"label": numbers, "picture": numbers // 5, "other": numbers}), uri)
    return open_table(uri)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    return written(tmp_path_factory.mktemp("states") / "rows.lance")


def stream_of(table: Table, **options) -> Stream:
    return Stream(table, ["label"], **{"batch_size": 4, "seed": 1, **options})


def after(stream: Stream, num_batches: int) -> dict:
    batches = iter(stream)
    list(itertools.islice(batches, num_batches))
    state = stream.state_dict()
    batches.close()
    return json.loads(json.dumps(state))


# What refuses a state.


@pytest.mark.parametrize(
    ("options", "said"),
    {
        "seed": ({"seed": 2}, "seed was 1 and is 2 now"),
        "batches": ({"batch_size": 8}, "batch_size was 4 and is 8 now"),
        "a filter": ({"where": "label < 40"}, "where was None and is 'label < 40' now"),
        "given rows": ({"rows": np.arange(50)}, "rows was None and is "),
        "the order": ({"shuffle": "rows"}, "shuffle was True and is 'rows' now"),
        "no order": ({"shuffle": False}, "shuffle was True and is False now"),
        "windows": ({"window_rows": 32, "clump_rows": 4}, "window_rows was "),
        "the rest": ({"drop_last": False}, "drop_last was True and is False now"),
        "ids apart": ({"apart": "picture"}, "apart was None and is 'picture' now"),
    }.values(),
)
def test_a_state_of_another_plan_is_refused_with_what_was_and_what_is(table, options, said):
    with pytest.raises(ConfigError) as caught:
        stream_of(table, **options).load_state_dict(after(stream_of(table), 2))

    assert any(problem.startswith(said) for problem in caught.value.problems)


def test_a_state_of_a_changed_table_is_refused(tmp_path):
    uri = tmp_path / "rows.lance"
    state = after(stream_of(written(uri)), 2)

    lance.dataset(uri).delete("label = 3")
    with pytest.raises(ConfigError, match="table_version was 1 and is 2 now"):
        stream_of(open_table(uri)).load_state_dict(state)
    shutil.rmtree(uri)
    with pytest.raises(ConfigError, match=r"table_files was '[0-9a-f]+' and is '[0-9a-f]+' now"):
        stream_of(written(uri)).load_state_dict(state)  # the same version of a table made anew in its place
    with pytest.raises(ConfigError, match="table was "):
        stream_of(written(tmp_path / "elsewhere.lance")).load_state_dict(state)


def test_a_state_of_another_order_version_and_one_with_parts_missing_are_refused(table):
    state = after(stream_of(table), 2)

    with pytest.raises(ConfigError, match="order was 1 and is 2 now"):
        stream_of(table).load_state_dict({**state, "order": 1})
    with pytest.raises(ConfigError, match="table_version was not said"):
        stream_of(table).load_state_dict({name: value for name, value in state.items() if name != "table_version"})


@pytest.mark.parametrize(
    "place",
    [{"epoch": 0, "batch": 13}, {"epoch": -1, "batch": 0}, {"epoch": 0, "batch": 1.5}, {"epoch": True, "batch": 0}],
)
def test_a_place_that_the_stream_does_not_have_is_refused(table, place):
    with pytest.raises(ConfigError):
        stream_of(table).load_state_dict(place)


def test_ranks_and_workers_are_no_part_of_a_state(table):
    whole = labels(stream_of(table))

    state = after(stream_of(table, rank=1, world_size=2), 5)

    ranks = []
    for rank in range(4):
        stream = stream_of(table, rank=rank, world_size=4)
        stream.load_state_dict(state)
        ranks.append(labels(stream))
    assert [[*itertools.chain(*parts)] for parts in zip(*ranks, strict=True)] == whole[5:]


def test_windows_are_sized_by_what_rows_weigh_and_the_state_carries_them(table):
    state = stream_of(table).state_dict()

    assert state["window_rows"] % state["clump_rows"] == 0
    assert (state["clump_rows"], state["window_rows"]) == (496, 7936)
    assert stream_of(table, clump_rows=5).plan.window_rows % 5 == 0


# One state of several.


def test_the_states_of_ranks_make_one_that_any_number_of_ranks_loads(table):
    states = [after(stream_of(table, rank=rank, world_size=4), 3) for rank in range(4)]

    merged = Stream.merge_states(states)

    stream = stream_of(table)
    stream.load_state_dict(merged)
    assert labels(stream) == labels(stream_of(table))[3:]


def test_states_that_do_not_belong_together_make_none(table):
    state = after(stream_of(table), 3)

    with pytest.raises(ConfigError, match="state 1: seed was 1 and is 2 now"):
        Stream.merge_states([state, after(stream_of(table, seed=2), 3)])
    with pytest.raises(ConfigError, match="one stands at batch 3 of epoch 0 and another at batch 4 of epoch 0"):
        Stream.merge_states([state, after(stream_of(table), 4)])
    for nothing in ([], state, [None], ["state"], [{}]):
        with pytest.raises(UsageError):
            Stream.merge_states(nothing)


def test_the_state_of_a_loader_with_workers_becomes_one_for_any_number_of_them(table):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    whole = labels(stream_of(table, drop_last=False))
    loader = stateful.StatefulDataLoader(
        stream_of(table, drop_last=False),
        batch_size=None,
        num_workers=2,
        multiprocessing_context="forkserver",
        snapshot_every_n_steps=2,
    )

    states = [loader.state_dict()]
    for batch in loader:
        assert batch["label"].tolist() == whole[len(states) - 1]
        states.append(loader.state_dict())

    places = [Stream.merge_states([state, state]) for state in states]
    assert [(place["epoch"], place["batch"]) for place in places] == [*((0, done) for done in range(13)), (1, 0)]
    stream = stream_of(table, drop_last=False)
    stream.load_state_dict(places[7])
    assert labels(stream) == whole[7:]
    lanes = [worker["dataset_state"] for worker in states[7]["_snapshot"]["_worker_snapshots"].values()]
    with pytest.raises(ConfigError, match="2 workers that take turns stand at batches that follow one another"):
        Stream.merge_states(lanes[:1])
    with pytest.raises(UsageError, match=r"merge_states\(\[state\]\)"):
        stream.load_state_dict(states[7])


def test_single_rows_go_on_with_another_number_of_ranks(table):
    def rows_of(world_size: int, state: dict | None = None, most: int | None = None) -> tuple[list[int], dict]:
        ranks, states = [], []
        for rank in range(world_size):
            stream = Stream(table, ["label"], batch_size=None, seed=1, rank=rank, world_size=world_size)
            if state is not None:
                stream.load_state_dict(state)
            rows = iter(stream)
            ranks.append([int(row["label"]) for row in itertools.islice(rows, most)])
            states.append(stream.state_dict())
            rows.close()
        return [label for turn in zip(*ranks, strict=True) for label in turn], Stream.merge_states(states)

    whole, _ = rows_of(1)
    first, state = rows_of(2, most=6)

    assert state["batch"] == 12
    assert first + rows_of(1, state)[0] == whole
    assert first + rows_of(4, state)[0] == whole[:48]
    with pytest.raises(ConfigError, match="behind 12 single rows; expected a number that 5 ranks share evenly"):
        rows_of(5, state)


# Take, repeat, len.


def test_take_ends_each_epoch_early_and_repeat_joins_epochs(table):
    epochs = [labels(stream_of(table, epoch=epoch)) for epoch in range(4)]
    stream = stream_of(table)

    taken = stream.take(5)
    assert (len(stream), len(taken)) == (12, 5)
    assert [labels(taken), labels(taken)] == [epochs[0][:5], epochs[1][:5]]
    repeated = stream.take(5).repeat(2)
    assert len(repeated) == 10
    assert labels(repeated) == epochs[0][:5] + epochs[1][:5]
    assert labels(repeated) == epochs[2][:5] + epochs[3][:5]
    all_together = stream.repeat(2).take(15)
    assert len(all_together) == 15
    assert labels(all_together) == epochs[0] + epochs[1][:3]
    assert labels(all_together) == epochs[2] + epochs[3][:3]
    assert labels(stream) == epochs[0]  # which they left alone
    assert len(stream.take(99)) == 12
    assert len(stream.take(5).take(7).take(3)) == 3


def test_a_stream_without_an_end_has_no_length(table):
    endless = stream_of(table).repeat()

    assert len(list(itertools.islice(endless, 30))) == 30
    assert labels(endless.take(13))[:12] == labels(stream_of(table))
    with pytest.raises(TypeError, match="no length"):
        len(endless)


def test_an_endless_stream_cut_short_goes_on_when_it_is_iterated_again(table):
    epochs = [labels(stream_of(table, epoch=epoch)) for epoch in range(5)]
    cut = stream_of(table).repeat().take(17)

    assert labels(cut) == epochs[0] + epochs[1][:5]
    assert cut.state_dict()["epoch"] == 2
    assert len(cut) == 17
    assert labels(cut) == epochs[2] + epochs[3][:5]
    short = stream_of(table).repeat().take(5)
    assert [labels(short), labels(short.take(3))] == [epochs[0][:5], epochs[0][:3]]
    with pytest.raises(UsageError, match="several epochs already"):
        short.repeat(2)


@pytest.mark.parametrize(
    ("options", "said"),
    {
        "seed": ({"seed": 2.7}, "seed is 2.7; expected a whole number$"),
        "end": ({"until_epoch": "3"}, "until_epoch is '3'"),
        "threads": ({"num_threads": 0}, "num_threads is 0; expected a whole number, at least 1"),
        "rest": ({"drop_last": "no"}, "drop_last is 'no'; expected bool"),
        "preparation": ({"prepare": 3}, "prepare is 3"),
        "cache": ({"cache": "/scratch"}, "cache is '/scratch'; expected Cache"),
    }.values(),
)
def test_arguments_of_another_kind_are_refused(table, options, said):
    with pytest.raises(UsageError, match=said):
        stream_of(table, **options)


@pytest.mark.parametrize(
    ("num_rows", "options", "said"),
    {
        "empty table": (0, {}, "the table itself has no row"),
        "filter": (5, {"where": "label > 9"}, "check the filter"),
        "rows": (5, {"rows": []}, "rows names none"),
    }.values(),
)
def test_a_stream_of_no_row_says_why_there_is_none(tmp_path, num_rows, options, said):
    with pytest.raises(ConfigError, match="0 rows are to be streamed") as refused:
        stream_of(written(tmp_path / "few.lance", num_rows), **options)

    assert refused.value.hint == said


def test_a_column_that_is_no_text_is_refused_by_what_it_is(table):
    for ask in (lambda: Stream(table, [3], batch_size=4), lambda: stream_of(table).mixing(3)):
        with pytest.raises(SchemaError, match="no column 3; it has label"):
            ask()


@pytest.mark.parametrize("cut", [0, 3, 5, 7, 10])
def test_taken_and_repeated_streams_go_on_where_they_stopped(table, cut):
    for make in (lambda: stream_of(table).take(5).repeat(2), lambda: stream_of(table).repeat(2).take(17)):
        whole, again = labels(make()), make()

        again.load_state_dict(after(make(), cut))

        if cut < len(whole):
            assert labels(again) == whole[cut:]
    with pytest.raises(ConfigError, match="take was 5 and is None now"):
        stream_of(table).load_state_dict(after(stream_of(table).take(5), 1))


def test_workers_keep_filters_ids_and_ends(table):
    stream = Stream(
        table, ["label", "picture"], batch_size=4, where="label <> 7", apart="picture", clump_rows=5, window_rows=20
    ).take(5).repeat(2)  # fmt: skip
    alone = labels(load(stream))
    again = stream.take(10)

    together = labels(load(again, 2))

    assert together == alone
    assert len(alone) == 10
    assert all(len({label // 5 for label in batch}) == 4 for batch in alone)
    assert stream.num_together == again.num_together == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    {
        "no batch": (lambda stream: stream.take(0), "num_batches is 0"),
        "a text": (lambda stream: stream.take("3"), "num_batches is '3'"),
        "no epoch": (lambda stream: stream.repeat(0), "num_epochs is 0"),
        "twice": (lambda stream: stream.repeat(2).repeat(2), "goes through several epochs already"),
    }.values(),
)
def test_wrong_ends_are_refused(table, wrong, said):
    with pytest.raises(UsageError, match=said):
        wrong(stream_of(table))


def test_what_is_dropped_is_said(table):
    stream = stream_of(table, batch_size=8)

    assert stream.num_dropped == 2
    assert "50 rows, 6 batches of 8 an epoch, 2 rows left out of each" in repr(stream)
    assert stream_of(table, batch_size=8, drop_last=False).num_dropped == 0
    dropped = [set(range(50)) - set(itertools.chain(*labels(stream_of(table, batch_size=8, epoch=e)))) for e in (0, 1)]
    assert [len(rows) for rows in dropped] == [2, 2]
    assert dropped[0] != dropped[1]


# Ids apart.


def test_ids_that_cannot_be_apart_are_counted(table):
    stream = Stream(table, ["label"], batch_size=10, where="picture = 0 OR picture = 1", apart="picture", seed=3)

    (batch,) = labels(stream)

    assert sorted(batch) == list(range(10))
    assert stream.num_together == 8


def test_each_window_is_dealt_once_to_read_it_and_once_to_count(table, monkeypatch):
    dealt = []
    deal = apart_module.places_apart
    monkeypatch.setattr(apart_module, "places_apart", lambda *given: dealt.append(given) or deal(*given))
    stream = Stream(table, ["label"], batch_size=1, apart="picture", clump_rows=4, window_rows=16)

    assert len(labels(stream)) == NUM_ROWS
    assert len(dealt) == 2 * 4  # windows of sixteen rows each


@pytest.mark.parametrize(
    ("options", "said"),
    {
        "order kept": ({"shuffle": False}, "keeps them in the table's order"),
        "single rows": ({"batch_size": None}, "gives single rows"),
        "no column": ({"apart": "pictures"}, "did you mean picture"),
    }.values(),
)
def test_ids_are_not_kept_apart_where_that_means_nothing(table, options, said):
    with pytest.raises(UsageError, match=said):
        stream_of(table, **{"apart": "picture", **options})


# Mixing.


def test_mixing_says_how_many_classes_a_batch_holds_against_a_perfect_shuffle(tmp_path):
    numbers = np.arange(20_000)
    lance.write_dataset(pa.table({"label": numbers // 100, "half": numbers % 2}), tmp_path / "sorted.lance")
    table = open_table(tmp_path / "sorted.lance")

    def mixing(column="label", **options):
        return Stream(table, ["label"], **{"batch_size": 50, "clump_rows": 50, "window_rows": 1000, **options}).mixing(
            column
        )

    in_order, clumps, rows = mixing(shuffle=False), mixing(), mixing(shuffle="rows")

    rng = np.random.default_rng(0)
    drawn = np.mean([len(np.unique(rng.choice(numbers, 50, replace=False) // 100)) for _ in range(2000)])
    assert rows.values_expected == pytest.approx(drawn, rel=0.01)
    assert in_order.values_a_batch == 1
    assert 15 < clumps.values_a_batch < 20  # of the twenty clumps of a window
    assert rows.share == pytest.approx(1, abs=0.03)
    assert (rows.num_values, rows.num_rows, rows.batch_rows, rows.num_batches) == (200, 20_000, 50, 64)
    assert "a batch of 50 holds 1.0 of the 200 values of 'label'; a perfect shuffle gives 44" in str(in_order)
    assert mixing("half", where="half = 1").share == 1
    assert mixing(rows=numbers[::-7]).num_rows == len(numbers[::-7])
    with pytest.raises(UsageError, match="single rows has no batches"):
        mixing(batch_size=None)
    assert (
        Stream(table, ["label"], batch_size=None).mixing("label", batch_rows=50).values_expected == rows.values_expected
    )
