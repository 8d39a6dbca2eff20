"""Pairs as people have them, and a model that takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

from tests.captioned import drawings, pairs_csv
from tests.tiny_models import tiny_bert

MODEL = {
    "image": {"kind": "vit", "layers": 1, "width": 32, "heads": 2, "patch_size": 8, "head": "linear+layernorm"},
    "text": {
        "kind": "hugging_face",
        "architecture": {"model_type": "distilbert", "n_layers": 1, "dim": 32, "n_heads": 2, "hidden_dim": 64,
                         "vocab_size": 200, "max_position_embeddings": 32},
        "head": "linear+layernorm",
    },
    "embed_dim": 16,
    "context_length": 16,
    "preprocessing": {"size": 32},
}  # fmt: skip


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    rows = drawings(40)
    for name, some in (("captions", rows), ("train", rows[:28]), ("test", rows[28:])):
        pairs_csv(folder, some, f"{name}.csv")
    (folder / "texts.txt").write_text("".join(f"{row['captions'][1]}\n" for row in rows))
    (folder / "paths.txt").write_text("".join(f"images/{row['image_id']}\n" for row in rows))
    config = MODEL | {"tokenizer": str(tiny_bert(folder / "bert"))}
    (folder / "model.json").write_text(json.dumps(config))
