"""From texts to token ids: open_clip's tokenizers behind one face, cheap to hand to a data worker.

It must know nothing of models. Shapes: B = texts, L = context length.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

# Texts whose ids tell two tokenizers apart: case, accents, scripts, marks, numbers, white space, more than any context.
_PROBES = (
    "",
    "A photo of a CAT, and the naïve café's 2nd façade!!",
    "don't  stop\tat\nwhite   space &amp; entities",
    "一只猫坐在椅子上 😀👩‍🚀 Ω≈ç√ مرحبا привет",
    "supercalifragilisticexpialidocious 1234567890 <unk> [MASK] </s>",
    "word " * 400,
)


_MOST_KEPT = 1 << 17
"""Texts whose ids are kept, about 50 MB of them for 77 ids each."""


class TextTokenizer:
    """A model's tokenizer with its context length; calling it turns texts into ids.

    Ids of the first texts are kept: a tokenizer in plain Python is slow, and while one runs beside a training of many
    epochs, the step cannot give a GPU its work.

    It pickles without importing open_clip or transformers in the process that receives it, until that one tokenizes.

    Args:
        tokenizer: what `open_clip.get_tokenizer` returned.
        context_length: number of ids of a text, L.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.context_length = context_length
        self._pickled: bytes | None = None
        self._live: Any = tokenizer
        self._kept: dict[str, torch.Tensor] = {}

    @property
    def tokenizer(self) -> Any:
        """open_clip's own tokenizer."""
        if self._live is None:
            self._live = pickle.loads(self._pickled or b"")  # noqa: S301 - bytes from our own __getstate__
        return self._live

    def __getstate__(self) -> dict[str, Any]:
        packed = self._pickled if self._live is None else pickle.dumps(self._live)
        return {"context_length": self.context_length, "_pickled": packed, "_live": None, "_kept": {}}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return int64 [B, L] on the CPU; longer texts are cut as open_clip cuts them."""
        if not texts:
            return torch.zeros((0, self.context_length), dtype=torch.int64)
        asked = [texts] if isinstance(texts, str) else list(texts)
        kept = self._kept  # threads share it: what one adds, another may find
        found = {text: kept[text] for text in dict.fromkeys(asked) if text in kept}
        if new := [text for text in dict.fromkeys(asked) if text not in found]:
            tokens_NL = self.tokenizer(new, context_length=self.context_length)
            found |= zip(new, tokens_NL, strict=True)
            if len(kept) + len(new) <= _MOST_KEPT:
                kept.update(zip(new, tokens_NL.int(), strict=True))
        return torch.stack([found[text] for text in asked]).long()

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Count the texts that do not fit the context, so that their end is not seen by the model."""
        return sum(self.are_truncated(texts))

    def are_truncated(self, texts: Sequence[str]) -> list[bool]:
        """Tell of each text whether it does not fit the context."""
        return [length > self.context_length for length in self.lengths(texts)]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Count the ids of each text before it is cut, start and end marks included."""
        inner = self.tokenizer
        if not hasattr(inner, "tokenizer"):
            return [len(inner.encode(text)) + 2 for text in texts]
        if not texts:
            return []
        cleaned = [_clean(inner, text) for text in texts]
        # In "clips" mode open_clip adds start, end and class marks itself.
        own_marks = 3 if getattr(inner, "tokenizer_mode", "") == "clips" else 0
        ids = inner.tokenizer(cleaned, truncation=False, verbose=False, add_special_tokens=not own_marks)["input_ids"]
        return [len(one) + own_marks for one in ids]

    @property
    def is_hugging_face(self) -> bool:
        """Whether the tokenizer has files of its own that an export must carry."""
        return hasattr(self.tokenizer, "save_pretrained")

    def save(self, folder: Path) -> None:
        """Write the tokenizer's own files, if it has any; open_clip's built-in one is known by its absence."""
        if self.is_hugging_face:
            self.tokenizer.save_pretrained(str(folder))

    @cached_property
    def identity(self) -> str:
        """Hex digest of the vocabulary, the context length and how a set of difficult texts is tokenized.

        The behaviour is digested instead of the files, because libraries rewrite the files when they save them.
        """
        inner = getattr(self.tokenizer, "tokenizer", self.tokenizer)
        vocabulary = inner.get_vocab() if hasattr(inner, "get_vocab") else getattr(inner, "encoder", {})
        facts = [self.context_length, sorted(vocabulary.items()), self(_PROBES).tolist()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _clean(tokenizer: Any, text: str) -> str:
    """Clean a text as open_clip's wrappers do before they hand it to a Hugging Face tokenizer."""
    if hasattr(tokenizer, "clean_fn"):
        return str(tokenizer.clean_fn(text))
    from open_clip.tokenizer import basic_clean, canonicalize_text

    return str(canonicalize_text(basic_clean(text)))
