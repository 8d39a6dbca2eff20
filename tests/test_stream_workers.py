"""Worker processes of a stream: killed, broken off and interrupted, they leave an error and nothing else."""

import itertools
import multiprocessing
import multiprocessing.reduction
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lance
import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

from clipdata.errors import ClipdataError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, load, parcels
from tests.test_stream import half_size, labels, png

NUM_ROWS = 96


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    """Rows whose texts are more than a pipe holds, so that workers stop in the middle of a batch."""
    uri = tmp_path_factory.mktemp("workers") / "rows.lance"
    images = pa.array([png(number) for number in range(NUM_ROWS)], pa.large_binary())
    texts = [f"{number} " + "x" * 50_000 for number in range(NUM_ROWS)]
    lance.write_dataset(pa.table({"label": range(NUM_ROWS), "text": texts, "image": images}), uri)
    return open_table(uri)


def stream_of(table: Table) -> Stream:
    return Stream(table, ["label", "text", "image"], batch_size=8, prepare=half_size, seed=3)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes that make batches: children of the one that starts them."""
    return [child for child in process.children(recursive=True) if child.ppid() != process.pid]


def shared_memory(*processes: psutil.Process) -> set[Path]:
    """Named memory that processes have mapped, as far as it would outlive them."""
    mapped = {Path(one.path) for process in processes for one in process.memory_maps(grouped=True)}
    return {path for path in mapped if path.is_relative_to("/dev/shm") and path.exists()}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("clipdata")}


def test_a_killed_worker_is_an_error_that_says_so_and_no_row_is_lost_by_it(table):
    stream = stream_of(table)
    batches = load(stream, 2)
    given = labels(itertools.islice(batches, 3))
    for worker in workers_of(psutil.Process()):
        worker.kill()
    killed_s = time.monotonic()

    with pytest.raises(ClipdataError, match=r"worker process \d+ of the stream was killed by SIGKILL") as caught:
        given.extend(labels(batches))

    assert time.monotonic() - killed_s < 120
    assert "fewer workers" in caught.value.hint
    assert workers_of(psutil.Process()) == []
    assert shared_memory(psutil.Process()) == set()
    # The same stream goes on behind what it gave last.
    stream.load_state_dict(stream.state_dict())
    assert given + labels(load(stream)) == labels(stream_of(table))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loop_that_is_broken_off_leaves_nothing(table, num_workers):
    def breaks_off() -> None:
        for _ in load(stream_of(table), num_workers):
            break

    def fails() -> None:
        for _ in load(stream_of(table), num_workers):
            raise LookupError

    breaks_off()
    with pytest.raises(LookupError) as caught:
        fails()
    del caught  # it holds the frame of the loop

    assert workers_of(psutil.Process()) == []
    assert threads() == set()
    assert shared_memory(psutil.Process()) == set()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ctrl_c_ends_a_script_and_all_it_started(table, tmp_path, num_workers):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\n"
        "from clipdata.lance_io.table import open_table\n"
        "from clipdata.stream import Stream, load\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits deafness\n"
        f"    stream = Stream(open_table({table.uri!r}), ['label', 'text'], batch_size=8, until_epoch=9999)\n"
        f"    for number, _ in enumerate(load(stream, {num_workers})):\n"
        "        if number == 3:\n"
        "            print('streaming', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout.readline() == "streaming\n"
        started = psutil.Process(running.pid).children(recursive=True)
        assert len(started) == (4 if num_workers else 0)
        named = shared_memory(psutil.Process(running.pid), *started)

        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: all processes of the group hear it
        _, said = running.communicate(timeout=180)

    assert running.returncode in (-signal.SIGINT, 130)
    assert said.strip().endswith("KeyboardInterrupt")
    assert said.count("Traceback") == 1
    _, alive = psutil.wait_procs(started, timeout=120)
    assert alive == []
    assert [path for path in named if path.exists()] == []


def test_workers_end_when_the_process_they_work_for_is_killed(table, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "from clipdata.lance_io.table import open_table\n"
        "from clipdata.stream import Stream, load\n"
        "if __name__ == '__main__':\n"
        f"    stream = Stream(open_table({table.uri!r}), ['label', 'text'], batch_size=8)\n"
        "    next(load(stream, 2))\n"
        "    print('streaming', flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "streaming\n"
        started = psutil.Process(running.pid).children(recursive=True)
        running.kill()

    _, alive = psutil.wait_procs(started, timeout=120)
    assert alive == []


class Breaks:
    """A preparation with a fault of its own."""

    def __call__(self, pixels):
        raise LookupError("no such table of colours")


def test_an_error_of_a_users_own_code_comes_from_a_worker_as_it_is(table):
    with pytest.raises(LookupError, match="no such table of colours"):
        list(load(Stream(table, ["image"], batch_size=8, prepare=Breaks()), 1))


@pytest.mark.parametrize(
    ("options", "said"),
    {
        "fewer than none": ({"num_workers": -1}, "num_workers is -1"),
        "a text": ({"num_workers": "2"}, "num_workers is '2'"),
        "none ahead, which would wait forever": ({"num_workers": 2, "prefetch_factor": 0}, "prefetch_factor is 0"),
        "no stream": ({"stream": "rows.lance"}, "stream is 'rows.lance'; expected Stream"),
    }.values(),
)
def test_workers_that_would_give_nothing_are_refused(table, options, said):
    with pytest.raises(UsageError, match=said):
        next(load(**{"stream": stream_of(table), **options}))


def test_batches_of_workers_are_those_of_this_process_to_the_last_stride(table):
    here, there = (list(load(stream_of(table), num_workers)) for num_workers in (0, 1))

    assert len(here) == len(there) == NUM_ROWS // 8
    for one, other in zip(here, there, strict=True):
        assert type(one) is type(other)
        assert one.keys() == other.keys()
        assert torch.equal(one["image"], other["image"])
        assert one["image"].stride() == other["image"].stride()
        assert one["image"].is_contiguous(memory_format=torch.channels_last)
        assert (one["label"].tolist(), one["text"]) == (other["label"].tolist(), other["text"])
        other["image"][0] = 7  # it is the reader's own


def test_a_parcel_holds_tensors_of_every_kind_as_they_were():
    floats_BHWC = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 4, 5, 3)
    things = {
        "channels last": floats_BHWC.permute(0, 3, 1, 2),
        "halves": torch.ones(3, dtype=torch.bfloat16),
        "none": torch.zeros(0, 5),
        "one": torch.tensor(3.5),
        "flags": torch.tensor([True, False]),
        "every second": torch.arange(10)[::2],
        "texts": ["a", "b"],
        "numpy": np.arange(3),
        "learned": torch.ones(2, requires_grad=True),
    }
    receiver, sender = multiprocessing.Pipe()

    for sent in (things, {"nothing": None}):
        thread = threading.Thread(target=parcels.send, args=(sender, sent))
        thread.start()
        found = parcels.receive(receiver)
        thread.join()

        assert found.keys() == sent.keys()
        for name, thing in sent.items():
            if isinstance(thing, torch.Tensor):
                assert torch.equal(found[name], thing), name
                assert found[name].dtype == thing.dtype
                assert name == "every second" or found[name].stride() == thing.stride(), name
            else:
                assert np.array_equal(found[name], thing), name
    sender.close()
    with pytest.raises(EOFError):
        parcels.receive(receiver)


def test_a_parcel_comes_while_signs_go_the_other_way_whatever_python_does_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From Python 3.14 on, multiprocessing waits for an answer to a file that it sends; 3.11 can be told to."""
    monkeypatch.setattr(multiprocessing.reduction, "ACKNOWLEDGE", True, raising=False)
    receiver, sender = multiprocessing.Pipe()
    receiver.send_bytes(b"+")  # asks for the next one

    thread = threading.Thread(target=parcels.send, args=(sender, torch.arange(5)))
    thread.start()
    found = parcels.receive(receiver)
    thread.join()

    assert found.tolist() == [0, 1, 2, 3, 4]
    assert sender.recv_bytes() == b"+"
