"""Writes what this release leaves on a disk, for all later ones to read: `python -m tests.golden.make_golden`.

It goes to `tests/golden/VERSION.tar.gz`, and is never made again: an old release's files are what that release wrote.

    pictures.lance          pictures, two of them deleted, with the refusals, deletes and tags beside them
    questions.lance         metadata with a column of every type
    contest.lance           both merged, scores before and after training, a map half-way
    model/  run/  stopped/  a tiny model, a training of it, and one that was killed after its first checkpoints
    expected.json           what all of it held
"""

from __future__ import annotations

import datetime
import decimal
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import clipdata as cd
import ingest
from clipdata.encoder import export, new_encoder
from clipdata.encoder.model_config import ModelConfig
from clipdata.json_values import plain
from clipdata.progress import Silent
from clipdata.step_protocol import BaseStep
from tests.pictures import encoded
from tests.tiny_models import tiny_bert

HERE = Path(__file__).parent
NUM_PICTURES = 12
TABLES = ("pictures.lance", "questions.lance", "contest.lance")
MODEL = {
    "image": {"kind": "vit", "layers": 1, "width": 16, "heads": 2, "patch_size": 16, "head": "linear"},
    "text": {
        "kind": "hugging_face",
        "architecture": {
            "model_type": "distilbert", "n_layers": 1, "dim": 16, "n_heads": 2, "hidden_dim": 32,
            "vocab_size": 120, "max_position_embeddings": 32,
        },
        "head": "linear",
    },
    "embed_dim": 8,
    "context_length": 12,
    "preprocessing": {"size": 32},
}  # fmt: skip
CONFIG = {"epochs": 2, "batch_size": 4, "lr": 1e-2, "checkpoint_every_steps": 1, "train": "projections", "pull": 0}


class Halves(BaseStep):
    """Half the bytes of a picture; it stops after so many rows."""

    name, returns, reads, version = "Halves", pa.float64(), ("bytes",), "1"

    def __init__(self, stop_after: int | None = None) -> None:
        self.num_left = stop_after

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        """The values of a batch."""
        if self.num_left is not None:
            self.num_left -= batch.num_rows
            if self.num_left < 0:
                raise KeyboardInterrupt
        return pc.divide(batch.column("bytes").cast(pa.float64()), 2.0)


class StopsAfter(Silent):
    """Ends a training at so many steps, as a person does."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Any]:
        """Count what is done where it is steps."""
        outer = self

        class Counter:
            num = 0

            def advance(self, num: int = 1) -> None:
                self.num += num
                if unit == "steps" and self.num >= outer.num_steps:
                    raise KeyboardInterrupt

            def refuse(self, reason: str, num: int = 1) -> None:
                pass

        yield Counter()


def questions(folder: Path) -> Path:
    """Metadata with a column of every type."""
    count = NUM_PICTURES
    columns: dict[str, Any] = {
        "filename": [f"{n:02d}.jpg" for n in range(count)],
        "caption_choices": [[f"a red {n}", f"a blue {n}", f"two dogs {n}"] for n in range(count)],
        "label": ["ABC"[n % 3] for n in range(count)],
        "split": ["test" if n % 4 == 3 else "train" for n in range(count)],
        "votes": pa.array([None if n == 5 else n for n in range(count)], pa.int32()),
        "half": pa.array(np.arange(count, dtype=np.float16)),
        "vector": pa.array(
            np.arange(4 * count, dtype=np.float32).reshape(count, 4).tolist(), pa.list_(pa.float32(), 4)
        ),
        "price": pa.array([decimal.Decimal(n) / 4 for n in range(count)], pa.decimal128(10, 2)),
        "day": pa.array([datetime.date(2026, 1, 1 + n) for n in range(count)]),
        "moment": pa.array([datetime.datetime(2026, 1, 1, n, tzinfo=datetime.UTC) for n in range(count)]),
        "bytes_of": pa.array([bytes([n]) for n in range(count)]),
        "is_new": [n % 2 == 0 for n in range(count)],
        "about": pa.array([{"a": {"b": [n]}} for n in range(count)]),
        "pairs": pa.array([[("k", n)] for n in range(count)], pa.map_(pa.string(), pa.int64())),
        "folded": pa.array(["x" if n % 2 else "猫" for n in range(count)]).dictionary_encode(),
        "large": pa.array([2**63 + n for n in range(count)], pa.uint64()),
        "nothing": pa.nulls(count),
    }
    pq.write_table(pa.table(columns), folder / "questions.parquet")
    return folder / "questions.parquet"


def make(folder: Path) -> None:
    """Write everything into a folder."""
    (folder / "in").mkdir(parents=True)
    for number in range(NUM_PICTURES):
        (folder / "in" / f"{number:02d}.jpg").write_bytes(encoded(number, height=32, width=32))
    (folder / "in" / "broken.jpg").write_bytes(encoded(99)[:200])
    ingest.from_images(folder / "in", into=folder / "pictures.lance", limit=6)
    cd.tag(folder / "pictures.lance", "first")
    pictures = ingest.from_images(folder / "in", into=folder / "pictures.lance").table
    cd.map_column(pictures, cd.steps.PictureDigest(), "picture")
    cd.delete(pictures.latest(), "filename = '11.jpg'")
    ingest.from_parquet(questions(folder), into=folder / "questions.lance")
    contest = ingest.merge(
        folder / "pictures.lance", folder / "questions.lance", on="filename", into=folder / "contest.lance"
    )
    bert = tiny_bert(folder / "bert")
    made = new_encoder(ModelConfig.from_json(MODEL | {"tokenizer": str(bert)}), seed=0, name="golden", device="cpu")
    encoder = cd.load_encoder(export(made.model, made, folder / "model"), device="cpu")
    cd.map_column(contest, cd.steps.ChoiceScores(encoder), "scores")
    cd.map_column(contest, cd.steps.LabelIndex("label"), "label_ind")
    cd.map_column(contest, cd.steps.Pick("scores", "label_ind"), "label_prob")
    config = cd.TrainConfig(**CONFIG)
    run = cd.train(contest, encoder, config, out=folder / "run", where="split = 'train'")
    cd.map_column(contest, cd.steps.ChoiceScores(run.encoder()), "scores_after")
    cd.map_column(contest, cd.steps.Pick("scores_after", "label_ind"), "label_prob_after")
    _stopped(lambda: cd.train(contest, encoder, config, out=folder / "stopped", where="split = 'train'",
                              progress=StopsAfter(2)))  # fmt: skip
    _stopped(lambda: cd.map_column(cd.open_table(contest.uri), Halves(5), "halves", batch_rows=2))
    (folder / "expected.json").write_text(json.dumps(held(folder), indent=1, ensure_ascii=False) + "\n")
    for name in ("in", "bert"):
        shutil.rmtree(folder / name)
    (folder / "questions.parquet").unlink()


def held(folder: Path) -> dict[str, Any]:
    """What the tables of a folder hold, as JSON; pictures by their number of bytes."""
    found: dict[str, Any] = {}
    for name in TABLES:
        table = cd.open_table(folder / name)
        rows = sorted(table.to_table().to_pylist(), key=lambda row: str(row[table.key]))
        found[name] = [{key: _as_json(value) for key, value in row.items()} for row in rows]
    found["losses"] = [line["loss"] for line in cd.open_run(folder / "run").metrics if "loss" in line]
    return found


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return [_as_json(one) for one in value] if isinstance(value, list) else plain(value)


def _stopped(call: Any) -> None:
    try:
        call()
    except KeyboardInterrupt:
        return
    raise AssertionError("it came to its end")


if __name__ == "__main__":
    target = HERE / f"{cd.__version__}.tar.gz"
    if target.exists():
        sys.exit(f"{target} is there; what a release wrote is never made again")
    work = Path("/tmp/golden")  # stands in the tables, so it names nobody's folder
    shutil.rmtree(work, ignore_errors=True)
    make(work)
    with tarfile.open(target, "w:gz") as archive:
        archive.add(work, arcname=".")
    shutil.rmtree(work)
