"""The models: an image tower and a text tower with their preprocessing and tokenizer, under one identity.

The only package that speaks open_clip, timm and transformers. It must know nothing of tables, steps or training loops.
Names are loaded on first use, because open_clip alone takes seconds to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipdata.encoder.exporting import export
    from clipdata.encoder.loading import load_encoder, new_encoder
    from clipdata.encoder.locking import lock
    from clipdata.encoder.model import Encoder
    from clipdata.encoder.model_config import ModelConfig
    from clipdata.encoder.preparation import Preparation
    from clipdata.encoder.tokenization import TextTokenizer
    from clipdata.encoder.tower_exports import export_towers
    from clipdata.encoder.towers import TowerSplit, split

__all__ = [
    "Encoder",
    "ModelConfig",
    "Preparation",
    "TextTokenizer",
    "TowerSplit",
    "export",
    "export_towers",
    "load_encoder",
    "lock",
    "new_encoder",
    "split",
]

_HOME = {
    "Encoder": "model",
    "ModelConfig": "model_config",
    "Preparation": "preparation",
    "TextTokenizer": "tokenization",
    "TowerSplit": "towers",
    "export": "exporting",
    "export_towers": "tower_exports",
    "load_encoder": "loading",
    "lock": "locking",
    "new_encoder": "loading",
    "split": "towers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
