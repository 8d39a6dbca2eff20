"""Pairs of Chinese texts and drawings, a small CLIP, an earlier run's model, and a train_clip.json."""

from __future__ import annotations

import json
from pathlib import Path

from clipdata.encoder import export, new_encoder
from clipdata.encoder.characters import bert_of_characters
from tests.chinese_pairs import write_pairs
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    write_pairs(folder)
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "clip")
    bert = bert_of_characters(["红绿蓝黄黑白粉棕色方块圆点横条"], folder / "bert", layers=1, width=32)
    towers = {"image": {"kind": "clip", "weights": str(folder / "clip")}}
    towers["text"] = {"kind": "hugging_face", "architecture": str(bert), "weights": "random"}
    both = new_encoder({**towers, "embed_dim": 32}, device="cpu")
    export(both.model, both, folder / "model")
    said = {
        "output_dir": "out", "clip_pretrain_path": "clip", "bert_pretrain_path": "random", "image_path": "images",
        "train_file": "train.csv", "test_file": "test.csv", "num_train_epochs": 1, "max_seq_length": 16,
    }  # fmt: skip
    (folder / "train_clip.json").write_text(json.dumps(said), encoding="utf-8")
