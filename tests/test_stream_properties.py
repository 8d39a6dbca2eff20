"""Every row once an epoch, and nothing twice or never after an interruption: five hundred drawn cases."""

import itertools
from dataclasses import replace

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipdata.errors import ConfigError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream
from clipdata.stream.apart import LEAST_BATCHES, Apart, window_for
from clipdata.stream.plan import EpochOrder, Plan, worker_batches
from clipdata.stream.selection import Selection

SHUFFLES = st.sampled_from([True, True, "rows", False])
SEEDS = st.integers(-(2**70), 2**70)
WORLDS = st.integers(1, 8)


def cases(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@st.composite
def plans(draw, shuffles=SHUFFLES) -> tuple[Plan, int]:
    """A plan, and a number of ranks that share its batches."""
    world_size = draw(WORLDS)
    batch_size = world_size * draw(st.integers(1, 12))
    clump_rows = draw(st.integers(1, 40))
    plan = Plan(
        draw(st.integers(0, 1500)),
        batch_size,
        seed=draw(SEEDS),
        shuffle=draw(shuffles),
        drop_last=draw(st.booleans()),
        clump_rows=clump_rows,
        window_rows=clump_rows * draw(st.integers(1, 30)) + draw(st.integers(0, 3)),
    )
    return plan, world_size


def worlds_of(plan: Plan) -> st.SearchStrategy[int]:
    """Numbers of ranks that share a plan's batches."""
    return st.sampled_from([world for world in range(1, 9) if plan.batch_size % world == 0])


def batches_of(plan: Plan, order, world_size: int, numbers) -> list[list[int]]:
    """Global batches, each put together of what the ranks take."""
    return [
        np.concatenate([order.positions(*plan.share(batch, rank, world_size)) for rank in range(world_size)]).tolist()
        for batch in numbers
    ]


def flat(batches) -> list[int]:
    return list(itertools.chain(*batches))


@cases(150)
@given(plans(), st.integers(0, 2**40))
def test_an_epoch_holds_every_row_once_in_equal_batches_at_every_world_size(case, epoch):
    plan, world_size = case
    order = plan.order(epoch)

    batches = batches_of(plan, order, world_size, range(plan.num_batches))

    whole = order.positions(0, plan.num_rows).tolist()
    assert sorted(whole) == list(range(plan.num_rows))
    assert batches == batches_of(plan, plan.order(epoch), 1, range(plan.num_batches))
    assert flat(batches) == whole[: len(whole) - plan.num_dropped]
    assert plan.num_dropped == (plan.num_rows % plan.batch_size if plan.drop_last else 0)
    assert all(len(batch) == plan.batch_size for batch in batches[: plan.num_rows // plan.batch_size])


@cases(100)
@given(plans(), st.integers(0, 5), st.integers(1, 3), st.integers(0, 3), st.data())
def test_going_on_at_any_cut_repeats_and_skips_nothing_with_any_ranks_and_workers(case, epoch, before, after, data):
    plan, world_size = case
    other = data.draw(worlds_of(plan))
    cut = data.draw(st.integers(0, plan.num_batches))
    queues = [list(worker_batches(0, plan.num_batches, worker, before)) for worker in range(before)]
    handed = [queue[turn] for turn in range(plan.num_batches) for queue in queues if turn < len(queue)][:cut]

    num_workers = max(after, 1)
    rest = [
        number
        for turn in range(plan.num_batches)
        for worker in range(num_workers)
        for number in list(worker_batches(cut, plan.num_batches, worker, num_workers))[turn : turn + 1]
    ]

    first = batches_of(plan, plan.order(epoch), world_size, handed)
    second = batches_of(plan, plan.order(epoch), other, rest)
    assert first + second == batches_of(plan, plan.order(epoch), 1, range(plan.num_batches))


def can_be_apart(ids: np.ndarray, batch_size: int) -> bool:
    """Whether rows can be dealt to batches with no id twice in one: the theorem of Gale and Ryser."""
    rooms = [min(batch_size, len(ids) - start) for start in range(0, len(ids), batch_size)]
    counts = sorted(np.unique(ids, return_counts=True)[1].tolist(), reverse=True)
    return all(sum(counts[:k]) <= sum(min(room, k) for room in rooms) for k in range(1, len(counts) + 1))


@cases(100)
@given(plans(st.sampled_from([True, "rows"])), st.integers(1, 400), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_ids_are_apart_wherever_their_window_allows_it(case, num_ids, epoch, seed):
    plan, world_size = case
    plan = replace(plan, window_rows=window_for(plan.batch_size, plan.window_rows))
    ids = np.random.default_rng(seed).integers(0, num_ids, plan.num_rows) ** 2 // num_ids  # few have many rows
    apart = Apart.read("id", [pa.array(ids)], plan.num_rows)
    order, even = apart.order(plan, epoch), EpochOrder(plan, epoch, even=True)

    batches = batches_of(plan, order, world_size, range(plan.num_batches))

    assert batches == batches_of(plan, apart.order(plan, epoch), 1, range(plan.num_batches))
    assert sorted(order.positions(0, plan.num_rows).tolist()) == list(range(plan.num_rows))
    stop = plan.num_rows - plan.num_dropped
    for start in range(0, stop, plan.window_rows):
        first, last = start // plan.batch_size, -(-min(start + plan.window_rows, stop) // plan.batch_size)
        window = flat(batches[first:last])
        assert sorted(window) == sorted(even.positions(start, min(start + plan.window_rows, stop)))
        together = [len(batch) - len(np.unique(ids[batch])) for batch in batches[first:last]]
        assert together == [order.num_together(batch) for batch in range(first, last)]
        if can_be_apart(ids[window], plan.batch_size):
            assert not any(together)


@cases(50)
@given(st.integers(0, 5000), st.floats(0, 1), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_selection_gives_the_rows_that_were_selected_in_few_bytes(table_rows, part, shuffled, seed):
    rng = np.random.default_rng(seed)
    offsets = np.flatnonzero(rng.random(table_rows) < part).astype(np.int64)
    given_rows = rng.permutation(offsets) if shuffled else offsets

    selection = Selection.given(given_rows, table_rows)

    assert selection.at(np.arange(len(offsets))).tolist() == given_rows.tolist()
    places = rng.integers(0, max(len(offsets), 1), 40 if len(offsets) else 0)
    assert selection.at(places).tolist() == given_rows[places].tolist()
    if not shuffled:
        assert selection.num_bytes <= min(table_rows * 0.14 + 80, len(offsets) * 4)


LAYOUTS = {
    "one row": (1, 10, None),
    "one file": (90, 1000, None),
    "many files": (123, 11, None),
    "deleted here and there": (150, 40, "label % 7 = 3"),
    "a file deleted": (100, 20, "label >= 20 AND label < 45"),
    "little is left": (64, 64, "label > 9"),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, Table]:
    folder = tmp_path_factory.mktemp("layouts")
    made = {}
    for name, (num_rows, file_rows, deleted) in LAYOUTS.items():
        labels = np.arange(num_rows)
        rows = pa.table({"label": labels, "picture": [f"p{label // 3}" for label in labels]})
        dataset = lance.write_dataset(rows, folder / f"{name}.lance", max_rows_per_file=file_rows)
        if deleted:
            dataset.delete(deleted)
        made[name] = open_table(folder / f"{name}.lance")
    return made


FILTERS = {
    None: lambda label: label >= 0,
    "label % 2 = 0": lambda label: label % 2 == 0,
    "label >= 5 AND label <> 30": lambda label: (label >= 5) & (label != 30),
    "label < 0": lambda label: label < 0,
}


@cases(100)
@given(st.sampled_from(list(LAYOUTS)), st.sampled_from(list(FILTERS)), plans(), st.integers(0, 3), st.data())
def test_ranks_of_real_tables_give_each_row_once_also_when_others_go_on(tables, name, where, case, epoch, data):
    plan, world_size = case
    other = data.draw(worlds_of(plan))
    table = tables[name]
    labels = table.to_table(["label"])["label"].to_numpy()
    labels = labels[FILTERS[where](labels)]
    is_apart = bool(plan.shuffle) and data.draw(st.booleans())

    def streams(world: int) -> list[Stream]:
        return [
            Stream(
                table,
                ["label", "picture"],
                batch_size=plan.batch_size,
                where=where,
                seed=plan.seed,
                shuffle=plan.shuffle,
                epoch=epoch,
                rank=rank,
                world_size=world,
                drop_last=plan.drop_last,
                clump_rows=plan.clump_rows,
                window_rows=plan.window_rows,
                apart="picture" if is_apart else None,
            )
            for rank in range(world)
        ]

    total = len(labels) // plan.batch_size if plan.drop_last else -(-len(labels) // plan.batch_size)
    if not total:
        with pytest.raises(ConfigError, match="expected at least one batch"):
            streams(1)
        return
    cut = data.draw(st.integers(0, total))

    found, states, together = [], [], []
    for stream in (first := streams(world_size)):
        batches = iter(stream)
        found.append(list(itertools.islice(batches, cut)))
        states.append(stream.state_dict())
        batches.close()
        together.append(stream.num_together)
    rest = []
    for stream in streams(other):
        stream.load_state_dict(Stream.merge_states(states))
        rest.append(list(stream) if (cut < total or stream.state_dict()["epoch"] == epoch) else [])

    whole = [
        flat(batch["label"].tolist() for batch in ranks) for part in (found, rest) for ranks in zip(*part, strict=True)
    ]
    assert len(whole) == len(first[0]) == total
    assert len({len(part) for part in found}) == len({len(part) for part in rest}) == 1
    assert all(len(batch) == plan.batch_size for batch in whole[: len(labels) // plan.batch_size])
    seen = flat(whole)
    assert len(seen) == len(set(seen)) == len(labels) - first[0].num_dropped
    assert set(seen) <= set(labels.tolist())
    if not plan.shuffle:
        assert seen == labels.tolist()[: len(seen)]
    if is_apart:
        assert len(set(together)) == 1
        doubles = [len(batch) - len({label // 3 for label in batch}) for batch in whole]
        assert sum(doubles[:cut]) == together[0]
        if total >= LEAST_BATCHES and len(labels) <= first[0].plan.window_rows and name != "one row":
            assert not any(doubles)
