"""The folder of a small BERT that has met no text yet: an architecture, and a vocabulary made of texts at hand.

The vocabulary is of the kind that bert-base-chinese has: every Chinese character is a token of its own; other writing
is cut into words, and a word that is rare into letters. So it serves where no pretrained text tower can be reached. It
knows texts and files, and neither models nor tables.

Source: BERT's basic tokenizer and WordPiece (github.com/google-research/bert, multilingual.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from clipdata.encoder.layout import TOWER_CONFIG, write_json
from clipdata.errors import NotFoundError, UsageError

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_HEAD_WIDTH = 32
_WORD_COUNT = 2  # times that a word is met to be a token
_MOST_TOKENS = 21_128  # as many as bert-base-chinese has


def bert_of_characters(
    texts: Iterable[str], folder: Path, *, layers: int = 2, width: int = 128, length: int = 128
) -> Path:
    """Write `config.json` and the tokenizer's files of a BERT without weights; equal texts give equal files.

    Args:
        texts: to make the vocabulary of, in any order.
        folder: to write to.
        layers, width: of the transformer; a head has 32 of the width.
        length: most tokens of a text, marks included.

    Returns:
        the folder.

    Raises:
        UsageError: the texts hold no character, or the width is no multiple of 32.
        NotFoundError: transformers is not installed.
    """
    if layers < 1 or width < _HEAD_WIDTH or width % _HEAD_WIDTH:
        raise UsageError(f"a text tower of {layers} layers, {width} wide; expected 1 or more, and a multiple of 32")
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    except ImportError as error:
        raise NotFoundError(
            "text towers need the package 'transformers', which is not installed",
            hint="pip install 'clipdata[starter]'",
        ) from error
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    if not words:
        raise UsageError("the texts to make a vocabulary of hold no character")
    vocabulary = {token: number for number, token in enumerate([*MARKS, *_tokens_of(words)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - the mark of a rare character
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    about = {**dict(zip(names, MARKS, strict=True)), "do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    write_json(folder / "tokenizer_config.json", about)
    write_json(folder / TOWER_CONFIG, _config(len(vocabulary), layers, width, length))
    return folder


def _tokens_of(words: Counter[str]) -> list[str]:
    """Tokens of words, the most frequent first: characters that begin a word or go on in one, then whole words."""
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for place, character in enumerate(word):
            pieces[character if not place else f"##{character}"] += count
    whole = Counter({word: count for word, count in words.items() if len(word) > 1 and count >= _WORD_COUNT})
    ranked = [
        token for found in (pieces, whole) for token, _ in sorted(found.items(), key=lambda one: (-one[1], one[0]))
    ]
    return ranked[: _MOST_TOKENS - len(MARKS)]


def _config(vocab_size: int, layers: int, width: int, length: int) -> dict[str, object]:
    return {
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // _HEAD_WIDTH,
        "intermediate_size": 4 * width,
        "max_position_embeddings": length,
        "pad_token_id": 0,
    }
