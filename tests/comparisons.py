"""Small tables for comparisons: a fixture that writes columns, and contests with known answers."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.lance_io.table import open_table
from clipdata.schema import key_field


@pytest.fixture
def save(tmp_path):
    """Write columns as a table and open it."""

    def write(name="contest", **columns):
        fields = [key_field(n) if n == "id" else pa.field(n, pa.array(v).type) for n, v in columns.items()]
        table = pa.table([pa.array(v) for v in columns.values()], schema=pa.schema(fields))
        uri = str(tmp_path / f"{name}.lance")
        lance.write_dataset(table, uri, mode="overwrite")
        return open_table(uri)

    return write


def ids(count):
    return [f"q{i:04}" for i in range(count)]


def contest(save, num_images=60, questions=3, seed=0, **more):
    """Questions about images: the after column is higher by 0.2 and both share an image effect."""
    rng = np.random.default_rng(seed)
    count = num_images * questions
    shared_N = np.repeat(rng.normal(size=num_images), questions)
    before_N = 0.4 + 0.05 * shared_N
    after_N = before_N + 0.2 + 0.1 * shared_N + 0.02 * rng.normal(size=count)
    path = [f"cartoons/{i // questions}.jpg" for i in range(count)]
    columns = {"id": ids(count), "path": path, "before": before_N.tolist(), "after": after_N.tolist()}
    return save(**columns, **more)


RAGGED_BEFORE = [[0.7, 0.3], [0.2, 0.5, 0.3], [0.1, 0.9], [0.25] * 4, None, [0.6, 0.4]]
RAGGED_AFTER = [[0.8, 0.2], [0.6, 0.3, 0.1], [0.8, 0.2], [0.1, 0.1, 0.7, 0.1], [0.5, 0.5], [0.6, 0.4]]


def answered(save):
    return save(id=ids(6), scores=RAGGED_BEFORE, tuned=RAGGED_AFTER, label_ind=[0, 0, 0, 2, 0, None])
