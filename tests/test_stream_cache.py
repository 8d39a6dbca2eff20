"""What a stream reads is kept on a disk of this machine: the next epoch needs no table, whoever runs it."""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from clipdata.errors import UsageError
from clipdata.lance_io.kept_rows import KeptRows
from clipdata.lance_io.table import Table, open_table
from clipdata.storage import Storage
from clipdata.stream import Cache, Stream
from tests.pictures import encoded

NUM_ROWS = 300
COLUMNS = ["number", "image"]


def whole(pixels: np.ndarray) -> torch.Tensor:
    """What stands for a model's preparation; at module level, so that workers can unpickle it."""
    return torch.from_numpy(np.ascontiguousarray(pixels[:8, :8].transpose(2, 0, 1)))


def rows_of(start: int, stop: int) -> pa.Table:
    pictures = [encoded(number % 7, ".jpg", 16, 16) + bytes(number) for number in range(start, stop)]
    return pa.table({"number": range(start, stop), "image": pa.array(pictures, pa.large_binary())})


def made(folder: Path) -> Table:
    lance.write_dataset(rows_of(0, NUM_ROWS), folder, max_rows_per_file=70, enable_stable_row_ids=True)
    return open_table(folder)


def streamed(table: Table, cache: Cache | None, **options) -> list[tuple[list[int], float]]:
    options = {"batch_size": 20, "clump_rows": 8, "window_rows": 64, "drop_last": False, "prepare": whole} | options
    stream = pickle.loads(pickle.dumps(Stream(table, COLUMNS, cache=cache, **options)))  # as workers get it
    return [(batch["number"].tolist(), float(batch["image"].float().sum())) for batch in stream]


def take_away_data(table: Table) -> Path:
    return Path(shutil.move(Path(table.uri) / "data", Path(table.uri).with_suffix(".data")))


def test_the_second_epoch_reads_nothing_of_the_table_in_any_order_or_share(tmp_path):
    table, cache = made(tmp_path / "t.lance"), Cache(tmp_path / "kept", 10**8)
    expected = [streamed(table, None, epoch=epoch) for epoch in range(3)]

    first = streamed(table, cache)
    take_away_data(table)

    assert first == expected[0]
    assert [streamed(table, cache, epoch=epoch) for epoch in (1, 2)] == expected[1:]
    halves = [streamed(table, cache, rank=rank, world_size=2) for rank in range(2)]
    assert [one[0] + other[0] for one, other in zip(*halves, strict=True)] == [batch[0] for batch in expected[0]]


def test_rows_that_a_filter_leaves_are_kept_as_well_and_in_any_order_of_theirs(tmp_path):
    table, cache = made(tmp_path / "t.lance"), Cache(tmp_path / "kept", 10**8)
    given = np.random.default_rng(0).permutation(NUM_ROWS)[:111]
    asked = [{"where": "number % 3 = 1"}, {"rows": given}, {"shuffle": False}]
    expected = [streamed(table, None, **one) for one in asked]

    assert [streamed(table, cache, **one) for one in asked] == expected
    data = take_away_data(table)
    assert [streamed(table, cache, **one) for one in asked[1:]] == expected[1:]
    data.rename(Path(table.uri) / "data")
    assert streamed(table, cache, **asked[0]) == expected[0]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Offsets of the rows whose pictures are read from a table."""
    found: list[int] = []
    take = Table.take

    def counted(self: Table, offsets: np.ndarray, names: list[str], **how: bool) -> pa.Table:
        if "image" in names:
            found.extend(offsets.tolist())
        return take(self, offsets, names, **how)

    monkeypatch.setattr(Table, "take", counted)
    return found


def test_a_new_version_reads_what_is_new_and_never_gets_what_was(tmp_path, taken):
    table, cache = made(tmp_path / "t.lance"), Cache(tmp_path / "kept", 10**8)
    streamed(table, cache)
    taken.clear()
    dataset = lance.dataset(table.uri)
    lance.write_dataset(rows_of(NUM_ROWS, NUM_ROWS + 40), dataset, mode="append")
    longer = table.latest()

    read = sorted(number for batch, _ in streamed(longer, cache) for number in batch)

    assert read == list(range(NUM_ROWS + 40))
    assert sorted(taken) == list(range(NUM_ROWS // 8 * 8, NUM_ROWS + 40))  # the last clump was not whole

    dataset = lance.dataset(table.uri)
    dataset.delete("number in (3, 150)")
    dataset.update({"number": "number + 1000"}, where="number = 7")
    for version in (table.latest(), table):
        assert streamed(version, cache) == streamed(version, None)


def test_half_of_the_room_serves_about_half_of_each_later_epoch(tmp_path, taken):
    table = made(tmp_path / "t.lance")
    streamed(table, Cache(tmp_path / "all", 10**9))
    needed = sum(-(-path.stat().st_size // 4096) * 4096 for path in (tmp_path / "all").glob("*/*/*.kept"))
    cache = Cache(tmp_path / "kept", needed // 2)

    for epoch in range(4):
        expected = streamed(table, None, epoch=epoch)
        taken.clear()
        assert streamed(table, cache, epoch=epoch) == expected
        assert 0.4 * NUM_ROWS <= len(taken) <= (1.3 if epoch == 0 else 0.7) * NUM_ROWS
        assert sum(path.stat().st_size for path in (tmp_path / "kept").glob("*/*/*")) <= needed // 2


CHILD = """
import sys
import numpy as np
from clipdata.lance_io.table import open_table
from clipdata.lance_io.kept_rows import Cache, KeptRows
table = open_table(sys.argv[1])
cache, num = Cache(sys.argv[2], 10**8), table.num_rows
asked = lambda start, stop: np.arange(start, min(stop, num))
kept = KeptRows(table, cache, 8, ["number", "image"], asked=asked, num=num, name="all")
print("ready", flush=True)
sys.stdin.readline()
for start in range(16):
    kept.take(np.arange(start, table.num_rows, 16))
"""


def kept_of(table: Table, folder: Path) -> KeptRows:
    def asked(start: int, stop: int) -> np.ndarray:
        return np.arange(start, min(stop, NUM_ROWS))

    return KeptRows(table, Cache(folder, 10**8), 8, COLUMNS, asked=asked, num=NUM_ROWS, name="all")


def test_two_processes_share_it_and_one_that_is_killed_leaves_it_whole(tmp_path):
    table, folder = made(tmp_path / "t.lance"), tmp_path / "kept"
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", CHILD, table.uri, str(folder)], stdin=pipe, stdout=pipe)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    kept = kept_of(table, folder)

    child.stdin.write(b"go\n")
    child.stdin.flush()
    while not list(folder.glob("*/*/*.kept")):
        time.sleep(0.0002)
    child.send_signal(signal.SIGKILL)
    for start in range(16):
        offsets = np.arange(start, NUM_ROWS, 16)
        assert kept.take(offsets) == table.take(offsets, COLUMNS)
    child.wait()

    names = [path.name for path in folder.glob("*/*/*.kept")]
    assert len(names) == len(set(names)) == -(-NUM_ROWS // 8)
    expected = table.take(np.arange(NUM_ROWS), COLUMNS)
    take_away_data(table)
    assert kept_of(table, folder).take(np.arange(NUM_ROWS)) == expected


def test_a_row_whose_picture_cannot_be_used_is_as_bad_from_the_disk(tmp_path):
    rows = rows_of(0, 40)
    pictures = rows["image"].to_pylist()
    pictures[11], pictures[30] = b"no picture", None
    lance.write_dataset(rows.set_column(1, "image", pa.array(pictures, pa.large_binary())), tmp_path / "t.lance")
    table, cache = open_table(tmp_path / "t.lance"), Cache(tmp_path / "kept", 10**8)

    counted = []
    for _ in range(2):
        stream = Stream(table, COLUMNS, cache=cache, batch_size=8, prepare=whole, on_bad_image="leave_out")
        counted.append((sum(len(batch["offsets"]) for batch in stream), stream.left_out))

    assert counted[0] == counted[1]
    assert counted[0][0] == 38
    assert sum(counted[0][1].values()) == 2


def test_what_is_no_place_or_bound_is_refused_before_anything_is_read():
    for folder, max_bytes in (("", 1), ("gs://bucket/kept", 1), ("kept", 0), ("kept", 1.5), (3, 1)):
        with pytest.raises(UsageError, match="cache"):
            Cache(folder, max_bytes)
    for options in ({"cache_folder": "s3://b/kept"}, {"cache_bytes": "much"}, {"cache_bytes": "-1GB"}):
        with pytest.raises(UsageError, match="cache_"):
            Storage(options=options)
    asked = Storage(options={"cache_folder": "/scratch/kept", "cache_bytes": "1.5GB"})
    assert Cache.of(asked, "gs://bucket/t.lance") == Cache("/scratch/kept", 1_500_000_000)
    assert Cache.of(asked, "/here/t.lance") is None
    assert Cache.of(Storage(), "gs://bucket/t.lance") is None
