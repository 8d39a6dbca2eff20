"""A model's folder: the names of its files, how to find it, and how to read its config.

It must know nothing of models; it imports neither torch nor open_clip.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipdata.errors import NotFoundError, UsageError

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
TOWER_CONFIG = "config.json"
CLIPDATA_CONFIG = "clipdata_config.json"
# A training run keeps its exported model here.
RUN_EXPORT = "export"


def find_model_folder(path: Path) -> Path:
    """Return the folder that holds the model: the path itself, or `export/` inside a run's folder.

    Raises:
        NotFoundError: there is no such folder, or no model in it.
    """
    for folder in (path, path / RUN_EXPORT):
        if (folder / OPEN_CLIP_CONFIG).is_file():
            return folder.absolute()
    if not path.exists():
        raise NotFoundError(f"there is no folder {path}")
    if not path.is_dir():
        raise NotFoundError(
            f"{path} is a file; expected a folder with {OPEN_CLIP_CONFIG}",
            hint=f"to load weights into a known architecture, write its name first: 'ViT-B-32/{path}'",
        )
    held = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
    raise NotFoundError(
        f"{path} holds no model: expected {OPEN_CLIP_CONFIG} in it or in its {RUN_EXPORT}/, found {held}",
        hint="a training run writes its model when it ends; train() again resumes it",
    )


def find_weights(folder: Path) -> Path:
    """Return the file of weights in a model's folder, by open_clip's order of preference.

    Raises:
        NotFoundError: there is none.
    """
    for pattern in (OPEN_CLIP_WEIGHTS, "open_clip_pytorch_model.*", "*.safetensors", "*.bin", "*.pth"):
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    raise NotFoundError(f"{folder} holds no weights; expected {OPEN_CLIP_WEIGHTS}")


def read_config(path: Path) -> dict[str, Any]:
    """Read an `open_clip_config.json`.

    Raises:
        UsageError: the file is not one.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if {"embed_dim", "text_cfg", "vision_cfg"} <= set(config["model_cfg"]):
            return dict(config)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not an open_clip config: {error!r}") from error
    raise UsageError(f"{path} is not an open_clip config: model_cfg needs embed_dim, vision_cfg and text_cfg")
