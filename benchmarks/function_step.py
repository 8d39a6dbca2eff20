"""A plain function as a step, against the same function in a Python loop, over the same rows in one run.

    python benchmarks/function_step.py [--rows 200000]

Both read Arrow columns, call the function once a row and make an Arrow array. Expected: within 1.5 of the loop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pyarrow as pa

import clipdata as cd

BATCH_ROWS = 4096
REPEATS = 3


def num_words(caption: str) -> int:
    """Count the words."""
    return len(caption.split())


def ratio(width: int, height: int) -> float:
    """Width by height."""
    return width / height


def first_letters(caption: str) -> list[str]:
    """The first letter of each word."""
    return [word[0] for word in caption.split()]


def by_loop(function: Callable[..., object], returns: pa.DataType, batches: list[pa.RecordBatch]) -> list[pa.Array]:
    """What a person writes without clipdata, with the same care for rows that fail."""
    arrays = []
    for batch in batches:
        values = []
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            try:
                values.append(function(*row))
            except Exception:
                values.append(None)
        arrays.append(pa.array(values, returns))
    return arrays


def by_step(step: cd.steps.FunctionStep, batches: list[pa.RecordBatch]) -> list[pa.Array]:
    """The same by the step that `map` calls."""
    return [step.compute(batch, None)[0] for batch in batches]


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    num_rows = parser.parse_args().rows
    columns = {
        "caption": [f"a cat sits on mat number {n}" for n in range(num_rows)],
        "width": list(range(1, num_rows + 1)),
        "height": [480] * num_rows,
    }
    rows = pa.table(columns)
    for function in (num_words, ratio, first_letters):
        step = cd.step(function)
        batches = rows.select(list(step.reads)).to_batches(max_chunksize=BATCH_ROWS)
        assert by_loop(function, step.returns, batches) == by_step(step, batches)
        for _ in range(REPEATS):
            loop_s = seconds(lambda: by_loop(function, step.returns, batches))  # noqa: B023
            step_s = seconds(lambda: by_step(step, batches))  # noqa: B023
            print(
                f"{function.__name__:14} loop {num_rows / loop_s:10,.0f} rows/s"
                f"   step {num_rows / step_s:10,.0f} rows/s   {step_s / loop_s:.2f} of the loop's time"
            )


if __name__ == "__main__":
    main()
