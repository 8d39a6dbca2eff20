"""Text encoders from transformers: BERT, RoBERTa, DistilBERT and their like, with weights of a folder or random ones.

Shapes: as in protocol.py; L = ids of a text.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clipdata.encoder import hub
from clipdata.encoder.layout import TOWER_CONFIG, has_tokenizer
from clipdata.encoder.parts.protocol import Part, no_key
from clipdata.encoder.parts.tensors import put_in, read_tensors, weights_in
from clipdata.encoder.tower_kinds import PRETRAINED, RANDOM, HuggingFaceText
from clipdata.encoder.towers.hugging_face import HuggingFaceText as HuggingFaceTrunk
from clipdata.errors import ConfigError, NotFoundError, UsageError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_POOLERS = {"cls": "cls_last_hidden_state_pooler", "mean": "mean_pooler", "pooler": "cls_pooler"}
# Types that open_clip's class can build; its list holds more, which it builds otherwise or not at all.
_OPEN_CLIP_TYPES = ("bert", "roberta", "xlm-roberta")
# Of files of weights: heads for tasks of the encoder's own training, and a pooler where the tower does not use it.
_SPARE = ("pooler.", "cls.", "lm_head.", "vocab_", "classifier.", "qa_outputs.", "mlm.", "predictions.")
_NO_FACTS = ("transformers_version", "architectures", "dtype", "torch_dtype", "_name_or_path")


def hugging_face_part(config: HuggingFaceText, tensors: Mapping[str, torch.Tensor] | None = None) -> Part:
    """Make a text trunk.

    Args:
        config: which, and its weights.
        tensors: weights to take instead of those that the config names.

    Raises:
        NotFoundError: there is no such folder, type or hub name, or no weights in it.
        ConfigError: the architecture's own config is wrong.
        UsageError: the weights are another architecture's.
    """
    folder, tower_config = _architecture(config.architecture)
    trunk = _trunk(tower_config, config)
    weights = _weights(config, folder)
    if tensors is None and weights is not None:
        tensors = read_tensors(weights)
    if tensors is not None:
        name = config.architecture if isinstance(config.architecture, str) else tower_config.model_type
        put_in(
            trunk.transformer,
            {_present_name(key): tensor for key, tensor in tensors.items()},
            weights or "the other model",
            what=f"the text tower {name} ({tower_config.model_type}, pooling {config.pooling!r})",
            spare=lambda key: key.startswith(_SPARE),
        )
    why_not = _why_not(config, tower_config)
    return Part(
        trunk=trunk,
        trunk_dim=int(tower_config.hidden_size),
        section={"kind": "hugging_face", "architecture": plain_config(tower_config), "pooling": config.pooling},
        head=_head(config),
        open_clip_cfg=None if why_not else _open_clip_cfg(config),
        why_not=why_not,
        max_length=_max_length(trunk.transformer, tower_config),
        tokenizer=next((path for path in (folder, weights) if path is not None and has_tokenizer(path)), None),
    )


def is_model_type(name: str) -> bool:
    """Whether a name is that of a type of model, of which there are no files: neither a tokenizer nor weights."""
    from transformers import CONFIG_MAPPING

    return name in CONFIG_MAPPING and not Path(name).expanduser().exists()


def plain_config(tower_config: PretrainedConfig) -> dict[str, Any]:
    """What of a transformers config differs from the defaults of its type, as JSON values."""
    default = type(tower_config)()
    found = {k: v for k, v in tower_config.to_diff_dict().items() if hasattr(default, k) and k not in _NO_FACTS}
    pad_id = tower_config.pad_token_id
    return {"model_type": tower_config.model_type, **found, "pad_token_id": pad_id}


def config_of(given: Mapping[str, Any]) -> PretrainedConfig:
    """Make transformers' config of an object with a `model_type`.

    Raises:
        ConfigError: transformers knows no such type, or the type has no such key.
    """
    from transformers import CONFIG_MAPPING

    kind = given["model_type"]
    if kind not in CONFIG_MAPPING:
        raise ConfigError([_near(f"there is no model type {kind!r}", kind, CONFIG_MAPPING)], what="text.architecture")
    default = CONFIG_MAPPING[kind]()
    unknown = [key for key in given if key != "model_type" and not hasattr(default, key)]
    if unknown:
        known = default.to_dict()
        problems = [_near(f"a config of the type {kind!r} has no {key!r}", key, known) for key in unknown]
        raise ConfigError(problems, what="text.architecture")
    try:
        return CONFIG_MAPPING[kind](**{key: value for key, value in given.items() if key != "model_type"})
    except (TypeError, ValueError) as error:
        raise ConfigError([f"{kind}: {error}"], what="text.architecture") from error


def _near(said: str, wrong: str, known: Any) -> str:
    near = difflib.get_close_matches(wrong, [str(name) for name in known], n=2)
    return f"{said}; did you mean {' or '.join(near)}?" if near else said


def _architecture(named: str | Mapping[str, Any]) -> tuple[Path | None, PretrainedConfig]:
    """The folder of an architecture, if it has one, and its config."""
    try:
        from transformers import CONFIG_MAPPING, AutoConfig
    except ImportError as error:
        raise NotFoundError(
            "text towers from Hugging Face need the package 'transformers', which is not installed",
            hint="pip install 'clipdata[starter]'",
        ) from error
    if isinstance(named, Mapping):
        return None, config_of(named)
    folder = Path(named).expanduser()
    if not folder.is_dir():
        if named in CONFIG_MAPPING:
            return None, config_of({"model_type": named})
        if folder.exists() or named.startswith((".", "/", "~")):
            raise NotFoundError(f"there is no folder {named!r} with a text tower's {TOWER_CONFIG}")
        folder = hub.find_tower(named)
    if not (folder / TOWER_CONFIG).is_file():
        held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise NotFoundError(f"{folder} holds no text tower: expected {TOWER_CONFIG}, found {held}")
    try:
        return folder, AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"{folder / TOWER_CONFIG} is not a text tower's config: {said}") from error


def _trunk(tower_config: PretrainedConfig, config: HuggingFaceText) -> HuggingFaceTrunk:
    from transformers import MODEL_MAPPING, AutoModel

    kind: Any = MODEL_MAPPING.get(type(tower_config), None)
    reads_texts = hasattr(tower_config, "vocab_size") and hasattr(tower_config, "hidden_size")
    if kind is None or not reads_texts or getattr(tower_config, "is_encoder_decoder", False):
        raise UsageError(
            f"text.architecture is of the type {tower_config.model_type!r}, which is no encoder of texts; "
            "expected one such as bert, roberta or distilbert"
        )
    can_pool = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    if config.pooling == "pooler" and not can_pool:
        raise UsageError(
            f"text.pooling is 'pooler', and {tower_config.model_type!r} has none", hint="choose 'cls' or 'mean'"
        )
    options = {"add_pooling_layer": config.pooling == "pooler"} if can_pool else {}
    transformer = AutoModel.from_config(tower_config, dtype=torch.float32, **options)
    return HuggingFaceTrunk(transformer.eval(), config.pooling, tower_config.pad_token_id)


def _weights(config: HuggingFaceText, folder: Path | None) -> Path | None:
    """Where the weights lie, or None for random ones."""
    named = config.weights or (PRETRAINED if folder is not None else RANDOM)
    if named == RANDOM:
        return None
    if named == PRETRAINED:
        if folder is None:
            raise NotFoundError(f"{config.architecture!r} is a type of model and has no weights", hint="use 'random'")
        if weights_in(folder) is None:
            raise NotFoundError(
                f"{folder} holds no weights of the text tower: expected model.safetensors or pytorch_model.bin",
                hint='for random weights write "weights": "random"',
            )
        return folder
    path = Path(named).expanduser()
    if path.exists() or named.startswith((".", "/", "~")):
        return path
    return hub.find_tower(named)


def _present_name(name: str) -> str:
    """The name of a tensor today; files of the first BERTs say gamma and beta."""
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        name = name.replace(old, new)
    return name


def _max_length(transformer: Any, tower_config: PretrainedConfig) -> int | None:
    positions = getattr(tower_config, "max_position_embeddings", None)
    # RoBERTa and its like begin to count behind the number of the padding.
    before = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
    return int(positions) - (0 if before is None else before + 1) if positions and positions > 0 else None


def _head(config: HuggingFaceText) -> Any:
    if config.head.kind == "own":
        raise UsageError("a text encoder has no projection of its own; choose another kind of text.head than 'own'")
    return config.head


def _why_not(config: HuggingFaceText, tower_config: PretrainedConfig) -> str:
    if tower_config.model_type not in _OPEN_CLIP_TYPES:
        return f"open_clip's own class cannot build a text tower of the type {tower_config.model_type!r}"
    return "" if config.head.is_matrix else no_key(config.head)


def _open_clip_cfg(config: HuggingFaceText) -> dict[str, Any]:
    return {"hf_model_pretrained": False, "hf_pooler_type": _POOLERS[config.pooling], "hf_proj_type": "linear"}
