"""Image trunks from timm: any architecture, random, with timm's own weights or with those of a file.

Shapes: as in protocol.py.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from clipdata.encoder import hub
from clipdata.encoder.parts.protocol import Part, no_key
from clipdata.encoder.parts.tensors import put_in, read_tensors
from clipdata.encoder.tower_kinds import PRETRAINED, RANDOM, Head, TimmImage
from clipdata.errors import NotFoundError, UsageError

# timm's arguments that open_clip passes on, by open_clip's keys.
_OPEN_CLIP_KEYS = {"drop_path_rate": "timm_drop_path", "patch_drop_rate": "patch_dropout"}


def timm_part(config: TimmImage, size: tuple[int, int] | None) -> Part:
    """Make a timm trunk.

    Args:
        config: which, and its weights.
        size: height and width of the pictures; by default those of timm's weights.

    Raises:
        NotFoundError: timm has no such architecture, or there are no such weights.
        UsageError: the weights are another architecture's, or timm takes no such argument.
    """
    known = _known(config.architecture)
    shape = size or tuple(known.input_size[1:])
    resized = bool(known.fixed_input_size) and shape != tuple(known.input_size[1:])
    trunk = _trunk(config, shape if resized else None)
    if config.weights != RANDOM:
        _fill(trunk, config)
    plain_dim, trunk_dim = int(trunk.num_features), int(getattr(trunk, "head_hidden_size", None) or trunk.num_features)
    why_not = _why_not(config, trunk, resized, plain_dim == trunk_dim)
    return Part(
        trunk=trunk,
        trunk_dim=trunk_dim,
        section=_section(config),
        head=_head(config),
        open_clip_cfg=None if why_not else _open_clip_cfg(config, shape),
        why_not=why_not,
        preprocessing={
            "size": list(shape),
            "mean": list(known.mean),
            "std": list(known.std),
            "interpolation": known.interpolation if known.interpolation in ("bilinear", "bicubic") else "bicubic",
        },
    )


def _known(architecture: str) -> Any:
    name = architecture.removeprefix("timm/")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them all"
        raise NotFoundError(f"timm has no architecture {architecture!r}", hint=hint)
    return timm.get_pretrained_cfg(name)


def _trunk(config: TimmImage, img_size: tuple[int, ...] | None) -> Any:
    arguments: dict[str, Any] = {"num_classes": 0, **config.options}
    if config.pool is not None:
        arguments["global_pool"] = config.pool
    if img_size is not None:
        arguments["img_size"] = img_size
    try:
        return timm.create_model(config.architecture.removeprefix("timm/"), **arguments).eval()
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(f"timm cannot build {config.architecture!r} with {arguments}: {error}") from error


def _fill(trunk: Any, config: TimmImage) -> None:
    path = _pretrained_file(trunk, config) if config.weights == PRETRAINED else Path(config.weights)
    tensors = read_tensors(path)
    classifier = trunk.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    options: dict[str, Any] = {
        "what": f"timm's {config.architecture}",
        "spare": lambda name: name.startswith(heads) if heads else False,
    }
    try:
        put_in(trunk, tensors, path, **options)
    except UsageError:
        # Weights of another size, or in the names of the project that published them.
        convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
        if convert is None:
            raise
        put_in(trunk, _converted(convert, tensors, trunk, path, config), path, **options)


def _converted(convert: Any, tensors: dict[str, torch.Tensor], trunk: nn.Module, path: Path, config: TimmImage) -> Any:
    try:
        return convert(dict(tensors), trunk) if len(inspect.signature(convert).parameters) > 1 else convert(tensors)
    except Exception as error:  # timm's converters take for granted that the weights are theirs
        raise UsageError(
            f"{path} does not hold the weights of timm's {config.architecture}: {type(error).__name__}: {error}",
            hint="another architecture's weights, or another size of it",
        ) from error


def _pretrained_file(trunk: Any, config: TimmImage) -> Path:
    repository = trunk.pretrained_cfg.get("hf_hub_id")
    if not repository:
        raise NotFoundError(f"timm publishes no weights of {config.architecture!r}", hint='use "weights": "random"')
    return hub.find_file(f"timm/{config.architecture}", repository, ["model.safetensors", "pytorch_model.bin"])


def _head(config: TimmImage) -> Head:
    if config.head.kind == "own":
        raise UsageError(f"timm's {config.architecture} has no projection of its own; choose another kind of head")
    return config.head


def _section(config: TimmImage) -> dict[str, Any]:
    section: dict[str, Any] = {"kind": "timm", "architecture": config.architecture}
    if config.pool is not None:
        section["pool"] = config.pool
    return section | ({"options": dict(config.options)} if config.options else {})


def _why_not(config: TimmImage, trunk: nn.Module, resized: bool, same_dims: bool) -> str:
    if config.head.kind != "linear":
        return no_key(config.head)
    if resized:
        return f"open_clip has no key for the size of timm's {config.architecture}"
    if set(config.options) - set(_OPEN_CLIP_KEYS):
        return f"open_clip has no key for timm's {', '.join(sorted(set(config.options) - set(_OPEN_CLIP_KEYS)))}"
    # open_clip changes the pooling of a trunk that is built, where timm builds some trunks otherwise for it.
    if not same_dims or (config.pool is not None and hasattr(trunk, "fc_norm")):
        return f"open_clip cuts timm's {config.architecture} in another place"
    return ""


def _open_clip_cfg(config: TimmImage, shape: tuple[int, ...]) -> dict[str, Any]:
    chosen = {_OPEN_CLIP_KEYS[name]: value for name, value in config.options.items()}
    return chosen | {
        "timm_model_name": config.architecture.removeprefix("timm/"),
        "timm_model_pretrained": False,
        "timm_pool": config.pool or "",
        "timm_proj": "linear",
        **({"timm_proj_bias": True} if config.head.has_bias else {}),
        "image_size": shape[0] if shape[0] == shape[1] else list(shape),
    }
