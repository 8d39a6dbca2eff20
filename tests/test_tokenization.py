"""Texts become ids as open_clip makes them, whether they were seen before or not."""

from __future__ import annotations

import open_clip
import pytest
import torch

from clipdata.encoder import tokenization
from clipdata.encoder.tokenization import TextTokenizer

TEXTS = ["a red house", "a brick building", "", "a red house", "word " * 100]


@pytest.mark.parametrize("most_kept", [0, 2, 100])
def test_ids_are_open_clips_own_the_first_time_and_later(monkeypatch, most_kept):
    monkeypatch.setattr(tokenization, "_MOST_KEPT", most_kept)
    theirs = open_clip.get_tokenizer("ViT-B-32")
    ours = TextTokenizer(open_clip.get_tokenizer("ViT-B-32"), 16)

    for texts in (TEXTS, TEXTS[:2], ["another", *TEXTS], TEXTS[0]):
        tokens_BL = ours(texts)
        assert tokens_BL.dtype == torch.int64
        assert torch.equal(tokens_BL, theirs(texts, context_length=16))
