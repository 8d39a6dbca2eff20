"""Finds the files of published models: in the local cache first, then on the Hugging Face hub, without long retries.

It must know nothing of how a model is built. What it raises says what was tried and what to type instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from clipdata.encoder.layout import OPEN_CLIP_CONFIG, TOWER_CONFIG, has_tokenizer, read_config
from clipdata.encoder.parts.tensors import weights_in
from clipdata.errors import CredentialsError, NotFoundError, TransientError, UsageError
from clipdata.json_parsing import parse_json

# The first answer of a hub that can be reached takes well under a second.
_TIMEOUT_S = 10.0
_TOWER_WITHOUT_HUB = (
    "or set HF_HOME to a cache that holds it; or name a folder with its files; "
    '"weights": "random" needs none where the architecture is a type such as "distilbert"'
)
_WITHOUT_HUB = (
    "or set HF_HOME to a cache that holds the model; or give a file of weights, "
    "'ViT-B-32//path/to/weights.safetensors'; or use 'starter', which needs no hub"
)
HF_INDEX = "model.safetensors.index.json"
# The last of them is fetched last: where the cache holds it, there is nothing left to ask for.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    TOWER_CONFIG,
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class Published:
    """Where the parts of a published model lie on this machine.

    Args:
        model_cfg: open_clip's architecture; towers named by local folders.
        preprocess_cfg: open_clip's preprocessing.
        weights: file with the weights.
        tokenizer_folder: files of a Hugging Face tokenizer, if the model uses one.
    """

    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    weights: Path
    tokenizer_folder: Path | None


def find_by_tag(name: str) -> Published:
    """Find "architecture/tag" or "architecture/file", such as "ViT-B-32/openai" or "ViT-B-32//data/weights.pt".

    Raises:
        NotFoundError: there is no such architecture, tag or file.
        UsageError: the name says no weights.
        TransientError, CredentialsError: the weights could not be fetched.
    """
    architecture, chosen = _parse(name)
    model_cfg = open_clip.get_model_config(architecture)
    assert model_cfg is not None
    tag = open_clip.get_pretrained_cfg(architecture, chosen)
    if not tag:
        weights, preprocess_cfg = Path(chosen).expanduser(), {}
    else:
        repository, _, file = tag["hf_hub"].rpartition("/")
        weights = _fetch(name, repository, _weights_names(file))
        preprocess_cfg = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag}
        # open_clip only warns when a tag's weights were trained with another activation than the architecture says.
        model_cfg["quick_gelu"] = bool(tag.get("quick_gelu") or model_cfg.get("quick_gelu"))
    return _with_local_towers(name, model_cfg, preprocess_cfg, weights)


def find_on_hub(name: str, repository: str) -> Published:
    """Find the model that a repository of the Hugging Face hub holds in open_clip's format.

    Raises:
        UsageError: the repository's name is malformed.
        NotFoundError: there is no such repository, or no open_clip model in it.
        TransientError, CredentialsError: its files could not be fetched.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UsageError(f"{name!r} does not name a repository; expected 'hf-hub:org/name'") from error
    config = read_config(_fetch(name, repository, [OPEN_CLIP_CONFIG]))
    weights = _fetch(name, repository, _weights_names(""))
    return _with_local_towers(name, config["model_cfg"], config.get("preprocess_cfg", {}), weights)


def is_repository(name: str) -> bool:
    """Whether a name can only be that of a repository: "org/name" whose beginning is no architecture of open_clip's."""
    org, slash, rest = name.partition("/")
    return bool(slash) and "/" not in rest and ":" not in name and bool(rest) and org not in open_clip.list_models()


def find_file(name: str, repository: str, files: list[str]) -> Path:
    """Find the first of some files that a repository holds.

    Raises:
        NotFoundError: there is no such repository, or none of the files in it.
        UsageError, TransientError, CredentialsError: it could not be fetched.
    """
    return _fetch(name, repository, files, _TOWER_WITHOUT_HUB)


def find_tower(repository: str) -> Path:
    """Find a model in transformers' format: the folder of its config, its weights if it has any, and its tokenizer.

    Raises:
        UsageError: the repository's name is malformed.
        NotFoundError: there is no such repository.
        TransientError, CredentialsError: its files could not be fetched.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UsageError(f"{repository!r} is neither a folder nor the name of a repository") from error
    folder = _fetch(repository, repository, [TOWER_CONFIG], _TOWER_WITHOUT_HUB).parent
    if weights_in(folder) and has_tokenizer(folder):
        return folder
    for file in (HF_INDEX, "preprocessor_config.json", *_TOKENIZER_FILES):
        with suppress(NotFoundError):
            _fetch(repository, repository, [file], _TOWER_WITHOUT_HUB)
    shards = parse_json((folder / HF_INDEX).read_text())["weight_map"] if (folder / HF_INDEX).is_file() else {}
    for shard in sorted(set(shards.values())):
        _fetch(repository, repository, [shard], _TOWER_WITHOUT_HUB)
    if not shards:
        with suppress(NotFoundError):
            _fetch(repository, repository, ["model.safetensors", "pytorch_model.bin"], _TOWER_WITHOUT_HUB)
    return folder


def _with_local_towers(
    name: str, model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], weights: Path
) -> Published:
    text_cfg = model_cfg["text_cfg"]
    tower, tokenizer = text_cfg.get("hf_model_name"), text_cfg.get("hf_tokenizer_name")
    if tower and not Path(tower).is_dir():
        text_cfg["hf_model_name"] = str(_fetch(name, tower, [TOWER_CONFIG]).parent)
    folder = None
    if tokenizer:
        folder = Path(tokenizer) if Path(tokenizer).is_dir() else find_tokenizer(tokenizer, name)
    return Published(model_cfg, preprocess_cfg, weights, folder)


def _parse(name: str) -> tuple[str, str]:
    """Split a name at the slash that ends a known architecture."""
    known = open_clip.list_models()
    if name.replace("/", "-") in known:
        architecture = name.replace("/", "-")
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise UsageError(
            f"{name!r} is an architecture without weights; expected 'architecture/weights'",
            hint=f"{architecture}/{tags[0]}, or another of {_few(tags)}" if tags else None,
        )
    parts = name.split("/")
    for end in range(1, len(parts)):
        architecture, chosen = "-".join(parts[:end]), "/".join(parts[end:])
        if architecture not in known:
            continue
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        if open_clip.get_pretrained_cfg(architecture, chosen) or Path(chosen).expanduser().is_file():
            return architecture, chosen
        raise NotFoundError(
            f"{architecture!r} has no weights {chosen!r} (it has {_few(tags)}), and there is no such file",
            hint=near_names(chosen, tags, f"{architecture}/"),
        )
    everything = ["starter", *("/".join(pair) for pair in open_clip.list_pretrained())]
    raise NotFoundError(
        f"there is no model {name!r}; expected 'starter', 'architecture/weights' of open_clip, 'hf-hub:org/name', "
        "'local-dir:path' or the path of an exported model",
        hint=near_names(name, everything),
    )


def _few(tags: list[str]) -> str:
    return ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "") or "none"


def near_names(wrong: str, right: list[str], prefix: str = "") -> str | None:
    """A question after the names that are nearly those that were typed."""
    by_folded = {name.casefold(): name for name in right}
    near = difflib.get_close_matches(wrong.casefold(), by_folded, n=5, cutoff=0.5)
    return "did you mean " + ", ".join(prefix + by_folded[name] for name in near) + "?" if near else None


def _weights_names(file: str) -> list[str]:
    if not file:
        return [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    stem, _, ending = file.rpartition(".")
    return [f"{stem}.safetensors", file] if ending in ("bin", "pth") else [file]


def find_tokenizer(repository: str, name: str | None = None) -> Path:
    """Find what there is of a tokenizer's files; which of them exist depends on its kind.

    Args:
        repository: that holds it.
        name: of the model that wants it, for errors.
    """
    name = name or repository
    cached = huggingface_hub.try_to_load_from_cache(repository, _TOKENIZER_FILES[-1])
    if isinstance(cached, str):
        return Path(cached).parent
    folder = None
    for file in _TOKENIZER_FILES:
        try:
            folder = _fetch(name, repository, [file], _TOWER_WITHOUT_HUB).parent
        except NotFoundError:
            continue
    if folder is None:
        raise NotFoundError(f"{name!r}: the repository {repository} holds no tokenizer")
    return folder


def _fetch(name: str, repository: str, files: Iterable[str], otherwise: str = _WITHOUT_HUB) -> Path:
    """Return the first of some files that the local cache holds, else the first that the hub has."""
    files = list(files)
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    for file in files:
        url = huggingface_hub.hf_hub_url(repository, file)
        try:
            # Asked first because the download itself retries for minutes when there is no hub.
            huggingface_hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S)
            return Path(huggingface_hub.hf_hub_download(repository, file))
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client raises its HTTP library's own errors, which change by version
            raise _translated(name, repository, url, error, otherwise) from error
    raise NotFoundError(f"{name!r}: the repository {repository} holds none of {', '.join(files)}")


def _translated(name: str, repository: str, url: str, error: Exception, otherwise: str) -> Exception:
    status = getattr(getattr(error, "response", None), "status_code", None)
    missing = isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)
    if status in (401, 403) and not missing:
        return CredentialsError(f"{name!r}: the hub refused access to {repository}", hint="hf auth login")
    if missing:
        return NotFoundError(
            f"{name!r}: the hub has no repository {repository}, or keeps it private", hint="hf auth login"
        )
    if isinstance(error, HfHubHTTPError) and status is not None and status < 500 and status != 429:
        return NotFoundError(f"{name!r}: the hub answered {status} for {url}")
    cache = huggingface_hub.constants.HF_HUB_CACHE
    absent = f"{name!r} is not on this machine (looked for {repository} in {cache})"
    if isinstance(error, OfflineModeIsEnabled):
        return UsageError(
            f"{absent} and HF_HUB_OFFLINE forbids to ask the hub", hint=f"unset HF_HUB_OFFLINE; {otherwise}"
        )
    return TransientError(
        f"{absent} and the hub could not be reached: tried {url} ({type(error).__name__}: {error})",
        hint=f"try again with a network; {otherwise}",
    )
