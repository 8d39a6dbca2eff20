"""A vocabulary of the characters of texts, as bert-base-chinese has one, and the small BERT around it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipdata.encoder.characters import bert_of_characters
from clipdata.errors import UsageError

TEXTS = ["女童黄色连衣裙", "欧美夏季ebay连衣裙 zc3730", "雪花漫天飞舞,狂风怒号", "ebay 长裙"]


def tokens(folder: Path, text: str) -> list[str]:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(str(folder)).tokenize(text)


def test_every_chinese_character_is_a_token_and_words_of_other_writing_are_words_or_letters(tmp_path: Path) -> None:
    folder = bert_of_characters(TEXTS, tmp_path / "bert")

    assert tokens(folder, "黄色的裙子") == ["黄", "色", "[UNK]", "裙", "[UNK]"]
    assert tokens(folder, "eBay连衣裙, zc37") == ["ebay", "连", "衣", "裙", ",", "z", "##c", "##3", "##7"]


def test_transformers_opens_the_folder_and_both_agree_on_the_padding(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = bert_of_characters(TEXTS, tmp_path / "bert", layers=1, width=64, length=16)
    config, tokenizer = AutoConfig.from_pretrained(str(folder)), AutoTokenizer.from_pretrained(str(folder))

    assert (config.model_type, config.hidden_size, config.max_position_embeddings) == ("bert", 64, 16)
    assert config.pad_token_id == tokenizer.pad_token_id == 0
    assert config.vocab_size == len(tokenizer)
    marked = tokenizer(["长裙"])["input_ids"][0]
    assert tokenizer.convert_ids_to_tokens(marked) == ["[CLS]", "长", "裙", "[SEP]"]


def test_equal_texts_give_equal_files_in_whatever_order_they_come(tmp_path: Path) -> None:
    one, other = (bert_of_characters(texts, tmp_path / str(n)) for n, texts in enumerate((TEXTS, TEXTS[::-1])))

    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()


def test_the_vocabulary_grows_no_further_than_that_of_bert_base_chinese(tmp_path: Path) -> None:
    every = "".join(chr(code) for code in range(0x3400, 0xA000))

    folder = bert_of_characters([every, "一" * 3], tmp_path / "bert")

    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert len(vocabulary) == json.loads((folder / "config.json").read_text())["vocab_size"] == 21_128
    assert vocabulary[5] == "一"


@pytest.mark.parametrize(("texts", "shape"), [([" ", ""], {}), (TEXTS, {"width": 40}), (TEXTS, {"layers": 0})])
def test_texts_without_a_character_and_impossible_shapes_are_refused(tmp_path: Path, texts: list, shape: dict) -> None:
    with pytest.raises(UsageError, match=r"no character|text tower of"):
        bert_of_characters(texts, tmp_path / "bert", **shape)
