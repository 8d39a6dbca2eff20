"""What the parts of a model need of each other: dimensions, vocabulary, padding, length, and open_clip's own classes.

It must know no kind of tower, and makes no model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipdata.encoder import hub
from clipdata.encoder.layout import has_tokenizer
from clipdata.encoder.model_config import ModelConfig
from clipdata.encoder.parts.protocol import Part
from clipdata.encoder.tokenization import TextTokenizer
from clipdata.errors import NotFoundError, UsageError

_CONTEXT_LENGTH = 77


def check_fit(config: ModelConfig, image: Part, text: Part, tokenize: TextTokenizer) -> None:
    """Hold the parts to each other.

    Raises:
        UsageError: lists all that does not fit.
    """
    problems = []
    for key, part in (("image", image), ("text", text)):
        if part.head.kind == "none" and part.trunk_dim != config.embed_dim:
            problems.append(
                f"{key}.head is 'none', whose trunk gives {part.trunk_dim} numbers, and embed_dim is {config.embed_dim}"
            )
        state = part.head_state or {}
        matrix = state.get("weight", state.get("projection.weight"))
        if matrix is not None and len(matrix) != config.embed_dim:
            problems.append(
                f"{key}.head is 'own', which gives {len(matrix)} numbers, and embed_dim is {config.embed_dim}"
            )
    inner: Any = getattr(tokenize.tokenizer, "tokenizer", None)
    vocab_size, pad_id = _vocabulary(text)
    largest = max(inner.get_vocab().values()) if tokenize.is_hugging_face else tokenize.tokenizer.vocab_size - 1
    if vocab_size is not None and largest >= vocab_size:
        problems.append(f"the tokenizer has ids up to {largest}, and the text tower knows {vocab_size}")
    if pad_id is not None and tokenize.is_hugging_face and inner.pad_token_id != pad_id:
        problems.append(
            f"the tokenizer pads with {inner.pad_token_id}, and the text tower's config says pad_token_id {pad_id}"
        )
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UsageError(f"the parts of the model do not fit each other:{listed}")


def _vocabulary(text: Part) -> tuple[int | None, int | None]:
    """Ids that a text tower knows, and the one that it masks as padding."""
    tower = getattr(text.trunk, "config", None)
    if tower is not None:
        return int(tower.vocab_size), int(tower.pad_token_id)
    return int(text.trunk.vocab_size), None  # type: ignore[arg-type]


def context_length(config: ModelConfig, text: Part) -> int:
    """Ids that a text is cut or padded to.

    Raises:
        UsageError: the text tower has fewer positions.
    """
    length = config.context_length or min(_CONTEXT_LENGTH, text.max_length or _CONTEXT_LENGTH)
    if text.max_length is not None and length > text.max_length:
        raise UsageError(f"context_length is {length}; the text tower knows {text.max_length} positions at most")
    return length


def tokenizer_folder_of(config: ModelConfig, text: Part) -> Path | None:
    """Folder of the Hugging Face tokenizer, or None for open_clip's own.

    Raises:
        NotFoundError: there is none.
        UsageError, TransientError, CredentialsError: it could not be fetched.
    """
    if config.tokenizer is not None:
        folder = Path(config.tokenizer).expanduser()
        if folder.is_dir():
            return folder
        if folder.exists() or config.tokenizer.startswith((".", "/", "~")):
            raise NotFoundError(f"there is no folder {config.tokenizer!r} with a tokenizer")
        return hub.find_tokenizer(config.tokenizer)
    if text.tokenizer is not None and has_tokenizer(text.tokenizer):
        return text.tokenizer
    if getattr(text.trunk, "config", None) is not None:
        raise NotFoundError(
            "the text tower comes without a tokenizer", hint='name one: "tokenizer": a folder, or a name on the hub'
        )
    return None


def why_not(image: Part, text: Part) -> list[str]:
    """Why open_clip's own classes cannot hold a model; nothing where they can."""
    reasons = [part.why_not for part in (image, text) if part.open_clip_cfg is None]
    activations = {part.quick_gelu for part in (image, text)} - {None}
    return reasons + (["open_clip has one activation for both of its own towers"] if len(activations) > 1 else [])
