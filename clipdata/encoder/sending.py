"""An encoder on its way to another process: the name that loads it there, or its weights; held to its identity.

A published name ("starter", "ViT-B-32/openai", "hf-hub:…") means the same model everywhere, so the name alone travels.
A path is of one machine, a model that was made or tuned here has no name, and weights that changed since they were
loaded are others: of these the weights travel. Whichever it was, a process in which another model comes of it is
refused. It must know nothing of tables, nor of what sends.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from clipdata.encoder.loading import best_device, load_encoder
from clipdata.encoder.model import Encoder
from clipdata.errors import LineageMismatchError


def packed(encoder: Encoder) -> tuple[Callable[..., Encoder], tuple[Any, ...]]:
    """What pickle keeps of an encoder: how it is made again, and its identity."""
    if encoder.is_known_by_name:
        return loaded_there, (encoder.name, encoder.precision, encoder.identity)
    model = encoder.model
    if encoder.device.type != "cpu":  # whoever receives it may have no such device
        model = copy.deepcopy(model).cpu()
    parts = {
        "name": encoder.name,
        "model_cfg": encoder.model_cfg,
        "prepare": encoder.prepare,
        "tokenize": encoder.tokenize,
        "precision": encoder.precision,
        "trained_on": encoder.trained_on,
    }
    return made_there, (model, parts, encoder.identity)


def loaded_there(name: str, precision: str, identity: str) -> Encoder:
    """Load a model by its name, on the best device of this process.

    Raises:
        LineageMismatchError: the name gives another model here.
        NotFoundError, TransientError, CredentialsError, UsageError: as of `load_encoder`.
    """
    return _held(load_encoder(name, precision=precision), identity)


def made_there(model: Any, parts: Mapping[str, Any], identity: str) -> Encoder:
    """Make an encoder of weights that came along, on the best device of this process.

    Raises:
        LineageMismatchError: another model comes of them here.
        UsageError: this process has no device of the encoder's precision.
    """
    return _held(Encoder(model, **parts, device=best_device()), identity)


def _held(encoder: Encoder, identity: str) -> Encoder:
    if encoder.identity != identity:
        raise LineageMismatchError(
            f"{encoder.name!r} is the model {encoder.identity[:12]} in this process; expected {identity[:12]}, as "
            "where the work was begun: weights, preprocessing or tokenizer differ",
            hint="install the same packages on every machine; or export the model and name its folder, whose weights "
            "travel along",
        )
    return encoder
