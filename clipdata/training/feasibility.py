"""Whether an encoder can be trained as a config asks, found out before anything is written.

It knows encoders and configs, and neither tables nor runs.
"""

from __future__ import annotations

import torch

from clipdata.encoder import Encoder, adapters
from clipdata.errors import UsageError
from clipdata.training.compiling import require_compiler
from clipdata.training.config import TrainConfig
from clipdata.training.forward import require_bias


def check_feasible(encoder: Encoder, config: TrainConfig) -> None:
    """Check what a config asks of an encoder.

    Raises:
        UsageError: the encoder's device cannot compute in the precision, or make compiled code; the objective needs a
            logit bias that the model has not; low-rank additions have no place, or would change features that are read
            from a column.
    """
    if config.precision != "fp32" and not torch.amp.is_autocast_available(encoder.device.type):
        found = f"precision is {config.precision!r}, which {encoder.device} cannot compute in"
        raise UsageError(found, hint="--set precision=fp32")
    require_bias(encoder, config.objective)
    if config.train == "lora":
        _check_additions(encoder, config)
    if config.compile:
        require_compiler(encoder.device)


def _check_additions(encoder: Encoder, config: TrainConfig) -> None:
    places = adapters.places_in(encoder.model)
    if not places.num_image and not places.num_text:
        raise UsageError(
            f"train is 'lora', and neither tower of {encoder.name} has attention of linear layers; expected queries, "
            "keys and values to put low-rank additions beside",
            hint="--set train=projections",
        )
    if places.num_image and config.image_trunk is not None:
        raise UsageError(
            f"image_trunk is {config.image_trunk!r} and train is 'lora', which changes the image tower of "
            f"{encoder.name}; features that are computed once can only train what lies behind them",
            hint="--set image_trunk=none decodes images; --set train=projections reads the column",
        )
