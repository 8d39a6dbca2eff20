"""Tiny models with random weights for tests: real open_clip models of which one forward takes milliseconds.

    tiny_encoder()        a CLIP of 32-pixel ViT and two-layer transformer with open_clip's own tokenizer
    tiny_config()         its open_clip `model_cfg`, to be changed by a test
    tiny_bert(folder)     the folder of a BERT-like text tower with a tokenizer of its own, for models with such a tower

The same arguments always give the same weights.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from clipdata.encoder import Encoder, export, load_encoder, new_encoder

TINY_SIZE = 32
TINY_EMBED_DIM = 32
_WORDS = (
    "a photo of the cat dog red blue green square circle on in and table chair small large two three . , ! ##s ##ing"
)


def tiny_config(**changes: Any) -> dict[str, Any]:
    """Return the `model_cfg` of the tiny CLIP; `vision_cfg` and `text_cfg` given as changes are merged into its own."""
    config: dict[str, Any] = {
        "embed_dim": TINY_EMBED_DIM,
        "vision_cfg": {"image_size": TINY_SIZE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(config.get(key), dict) else value
    return config


def tiny_encoder(folder: str | Path | None = None, *, seed: int = 0, **changes: Any) -> Encoder:
    """Write the tiny CLIP as an export and load it from there.

    Args:
        folder: where the export is written (`<folder>/tiny-<seed>`) and stays; by default a temporary folder that is
            gone when the encoder is returned.
        seed: another seed gives another model with another identity.
        changes: to `tiny_config`, or `preprocess_cfg`.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return tiny_encoder(temporary, seed=seed, **changes)
    preprocess_cfg = changes.pop("preprocess_cfg", None)
    made = new_encoder(tiny_config(**changes), preprocess_cfg=preprocess_cfg, seed=seed, name="tiny", device="cpu")
    return load_encoder(export(made.model, made, Path(folder) / f"tiny-{seed}"), device="cpu")


def tiny_bert(folder: Path) -> Path:
    """Write `config.json` and tokenizer files of a BERT with two layers of width 32 and a few dozen words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS.split(), *"bcefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    about = {**marks, "mask_token": "[MASK]", "do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    (folder / "vocab.txt").write_text("\n".join(words))
    config = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tiny_dual_encoder(folder: Path, *, seed: int = 0, **changes: Any) -> Encoder:
    """Make a model of a timm image tower (with BatchNorm) and a Hugging Face text tower (with dropout)."""
    tower = str(tiny_bert(folder / "tower"))
    text_cfg = {
        "hf_model_name": tower,
        "hf_tokenizer_name": tower,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "context_length": 16,
    }
    vision_cfg = {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": TINY_SIZE}
    config = {"embed_dim": TINY_EMBED_DIM, "vision_cfg": vision_cfg, "text_cfg": text_cfg}
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(config.get(key), dict) else value
    return new_encoder(config, seed=seed, name="tiny dual", device="cpu")
