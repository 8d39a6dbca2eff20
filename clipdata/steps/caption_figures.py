"""Figures of a caption that a person filters by: its length, letters, script and repetition, and what is no caption.

Pure functions of texts, for every script. It knows no table and no library of languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_NGRAMS = (2, 3, 4)
# Scripts that are written without blanks: each character counts as a word, as word processors count them.
UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORDS = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")
_RUNS = re.compile(r"(.)\1+", re.DOTALL)
# Bounded everywhere, so that no caption takes longer than its length.
_URL = re.compile(
    r"\b(?:https?|ftp)://\S|\bwww\.\w|\b[\w.+-]{1,64}@[\w-]{1,63}\.[a-z]{2,}\b|"
    r"\b[\w-]{1,63}\.(?:com|net|org|io|de|cn|ru|jp|co\.uk|info)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"</?[a-z][a-z0-9]{0,20}(?:\s[^<>]{0,500})?/?>|<!--|&(?:[a-z]{2,8}|#\d{1,6}|#x[0-9a-f]{1,5});|"
    r"\[/?(?:img|url|b|i|quote)[^\[\]]{0,500}\]|\{\{|\}\}",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"\S\.(?:jpe?g|png|gif|bmp|webp|tiff?|svg|heic|pdf|psd|mp4|avi|mov)$", re.IGNORECASE)
_CAMERA = re.compile(
    r"(?:img|dsc[nf]?|dcim|pict?|image|photo|picture|screen[ _-]?shot|untitled|scan)[ _-]*\d+", re.IGNORECASE
)
_CODE = re.compile(r"(?=\S*\d)(?:\w+_\w+|\w+(?:-\w+){2,})|[0-9a-f]{12,}|\d{5,}", re.IGNORECASE)
_NAMES = {"CJK": "Han", "IDEOGRAPHIC": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana", "FULLWIDTH": "Latin"}
_VARIANTS = range(0xFE00, 0xFE10)  # they choose how the character before them looks, and emoji have them


@dataclass(frozen=True)
class CaptionFigures:
    """What was measured of a row's captions. Of several the worst decides, so that what holds for it holds for each.

    Args:
        captions: that there are.
        characters: code points of the shortest, without blanks around it.
        longest: code points of the longest.
        words: of the one with the fewest; a Han character or a kana is a word of its own.
        non_letters: share of the characters but blanks that belong to no word of any script: digits, signs, emoji.
        repetition: share of its characters that lies in its most frequent sequence of 2, 3 or 4 words, if it occurs
            twice or more.
        run: how often one and the same character follows itself: 1 where none does.
        script: that most letters of all captions are of, such as "Latin", "Han", "Kana", "Cyrillic" or "Arabic"; None
            without letters.
        script_share: share of all letters that are of it; 1 where there are none.
        url: one holds an address of the web or of mail.
        markup: one holds tags or entities of HTML, or brackets of forums and templates.
        filename: one is the name of a file or a code, such as "IMG_1234", "cat-2.jpg" or "8f14e45fceea167a".

    Source: repetition: the top n-gram rule of MassiveText (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1), which
    drops documents above 0.20, 0.18 and 0.16 for n of 2, 3 and 4; as captions are short, a sequence that occurs once
    does not count here.
    """

    captions: int
    characters: int
    longest: int
    words: int
    non_letters: float
    repetition: float
    run: int
    script: str | None
    script_share: float
    url: bool
    markup: bool
    filename: bool


def measure(captions: Sequence[str]) -> CaptionFigures:
    """Measure a row's captions, one at least."""
    texts = [text.strip() for text in captions]
    words = [_WORDS.findall(text) for text in texts]
    lengths = [len(text) for text in texts]
    letters = [Tally("".join(text.split())) for text in texts]
    scripts = _scripts(letters)
    script, most = max(scripts.items(), key=lambda one: (one[1], one[0]), default=(None, 1))
    return CaptionFigures(
        captions=len(texts),
        characters=min(lengths),
        longest=max(lengths),
        words=min(map(len, words)),
        non_letters=max(map(_non_letters, letters)),
        repetition=max(map(_repetition, words)),
        run=max(_longest_run(text) for text in texts),
        script=script,
        script_share=most / max(scripts.total(), 1),
        url=any(_URL.search(text) for text in texts),
        markup=any(_MARKUP.search(text) for text in texts),
        filename=any(_is_filename(text) for text in texts),
    )


def _scripts(letters: Sequence[Tally[str]]) -> Tally[str]:
    """How many letters there are of each script."""
    found: Tally[str] = Tally()
    for own in letters:
        for letter, num in own.items():
            if script := _script(letter):
                found[script] += num
    return found


@lru_cache(maxsize=65_536)
def _script(letter: str) -> str | None:
    """Script of a letter, the first word of its Unicode name; None for what is none."""
    if unicodedata.category(letter)[0] != "L":
        return None
    first = unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
    return _NAMES.get(first, first.capitalize()) or None


@lru_cache(maxsize=65_536)
def _is_of_a_word(letter: str) -> bool:
    # Marks are vowels in many scripts.
    return unicodedata.category(letter)[0] in "LM" and ord(letter) not in _VARIANTS


def _non_letters(letters: Tally[str]) -> float:
    others = sum(num for letter, num in letters.items() if not _is_of_a_word(letter))
    return others / max(letters.total(), 1)


def _longest_run(text: str) -> int:
    shown = "".join(text.split())
    return max((found.end() - found.start() for found in _RUNS.finditer(shown)), default=min(len(shown), 1))


def _repetition(words: Sequence[str]) -> float:
    """Share of the characters that the most frequent sequence of words covers, over all lengths of sequences."""
    folded = [word.casefold() for word in words]
    if len(folded) - len(set(folded)) < 2:  # where a sequence comes back, two words do
        return 0.0
    return max(_covered(folded, size) for size in _NGRAMS) / sum(map(len, folded))


def _covered(words: Sequence[str], size: int) -> int:
    """Characters of the words that the most frequent sequence covers, each once; none where all occur once."""
    sequences = list(zip(*(words[first:] for first in range(size)), strict=False))
    grams = Tally(sequences)
    gram, most = max(grams.items(), key=lambda one: (one[1], one[0]), default=((), 0))
    if most < 2:
        return 0
    places = {start + offset for start, one in enumerate(sequences) if one == gram for offset in range(size)}
    return sum(len(words[place]) for place in places)


def _is_filename(text: str) -> bool:
    if _SUFFIX.search(text):
        return True
    return bool(_CAMERA.fullmatch(text) or _CODE.fullmatch(text))
