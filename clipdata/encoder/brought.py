"""What other models bring beside their trunks: a projection and a scale, both towers at once, BERT's own pooler.

It reads files and models, and makes none; `assembling.py` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from clipdata.encoder import hub
from clipdata.encoder.layout import is_foreign_folder
from clipdata.encoder.parts.other_model import open_model, read_model
from clipdata.encoder.parts.tensors import read_tensors, weights_in
from clipdata.errors import UsageError

_PROJECTION, _SCALE, _TEXTS = "visual_projection.weight", "logit_scale", "text_projection.weight"
_POOLER = "pooler.dense.weight"


@dataclass(frozen=True)
class Brought:
    """What a CLIP brings.

    Args:
        embed_dim: length of a vector behind its projection of pictures; None where it has no such projection.
        logit_scale: what it multiplies cosines by, or None.
        has_texts: whether it has a projection of texts, too.
    """

    embed_dim: int | None
    logit_scale: float | None
    has_texts: bool


def brought_by(name: str) -> Brought:
    """Look what a model brings.

    Args:
        name: anything that `tower_kinds.ClipImage` takes.

    Raises:
        NotFoundError: there is no such model.
        TransientError, CredentialsError: it could not be fetched.
    """
    found = open_model(name)
    if not isinstance(found, Path):
        return Brought(found.embed_dim, found.logit_scale, has_texts=True)
    _, tensors = read_model(found)
    projection = tensors.get(_PROJECTION)
    scale = math.exp(float(tensors[_SCALE])) if _SCALE in tensors else None
    return Brought(None if projection is None else len(projection), scale, _TEXTS in tensors)


def is_transformers_folder(name: str) -> bool:
    """Whether a name is that of a folder, or a repository on the hub, in transformers' format, and not one of ours."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return is_foreign_folder(folder)
    return hub.is_repository(name)


def has_pooler(name: str) -> bool:
    """Whether the weights of a text encoder hold BERT's own pooler, which those of many encoders lack.

    Raises:
        NotFoundError, UsageError: there are no weights that can be read.
    """
    folder = Path(name).expanduser()
    folder = folder if folder.is_dir() else hub.find_tower(name)
    if weights_in(folder) is None:
        raise UsageError(f"{folder} holds no weights of a text tower", hint="expected model.safetensors or such")
    return any(key.endswith(_POOLER) for key in read_tensors(folder))
