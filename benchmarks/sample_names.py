"""The sample's drawings with their Chinese names as a task, and a model whose text tower has met no text yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

import clipdata as cd
from benchmarks.cross_validation import TRUNK, Task, trunk_of
from clipdata.encoder import Encoder
from clipdata.encoder.characters import bert_of_characters
from clipdata.encoder.model_config import ModelConfig
from clipdata.lance_io.table import Table
from pipelines import sample

NAMES = "names"


class Drawings:
    """The sample's drawings to train on, each with its trunk, in the order of their rows.

    Args:
        table: of the captions' task, which holds them.
    """

    def __init__(self, table: Table) -> None:
        about = {row["filename"]: row for row in pq.read_table(sample.names_path()).to_pylist()}
        read = table.to_table(["filename", TRUNK, "sha256"], where="split = 'train'").combine_chunks()
        first = {name: place for place, name in reversed(list(enumerate(read["filename"].to_pylist())))}
        read = read.take(sorted(first.values())).combine_chunks()
        self.filenames, self._digests = read["filename"].to_pylist(), read["sha256"].to_pylist()
        self.trunk_NW = trunk_of(read[TRUNK])
        self.classes = [about[name]["class_name"] for name in self.filenames]
        self._names = [about[name]["caption_zh"] for name in self.filenames]

    def named(self, task: str) -> Task:
        """Which of five held-out Chinese names is a drawing's? Units are names."""
        return Task(
            task,
            self.trunk_NW,
            {NAMES: self._names},
            unit=self._names,
            picture=self._digests,
            row=range(-1, -1 - len(self._names), -1),
            choices=None,
            answer=self._names,
            objective={"objective": "multi_positive", "text": NAMES, "captions": "first"},
        )


def unread_model(texts: Sequence[str], folder: Path) -> Encoder:
    """The starter's image tower with a small BERT over characters that has met none of them."""
    made = bert_of_characters(texts, folder / "characters", length=32)
    config = {
        "image": {"kind": "clip", "weights": "starter", "head": {"kind": "own"}},
        "text": {"kind": "hugging_face", "architecture": str(made), "weights": "random", "pooling": "pooler"},
        "embed_dim": 384,
        "context_length": 32,
        "name": "starter's pictures and a BERT of characters",
    }
    return cd.new_encoder(ModelConfig.from_json(config), device="cpu")
