"""Words in texts: what of a query counts as a word, whether a text holds it, and how well it answers.

A word of a script with spaces is found as a whole, whatever its case, accents or English ending. A word of a script
without spaces (Chinese, Japanese, Thai, …) is found wherever its characters stand together, also a single one: what a
dictionary makes of the text around it decides nothing. The query itself is split by ICU's dictionary, so that a whole
sentence may be typed. It knows texts, and nothing of tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from clipdata.lance_io.indices import tokens_of

# Thai, Lao, Myanmar, Khmer, kana and CJK ideographs: written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
_OWNING = re.compile(r"['’]s\b", re.IGNORECASE)
_MOST_MET = 1 << 17


def is_unspaced(text: str) -> bool:
    """Tell whether a text holds characters of a script without spaces between words."""
    return bool(_UNSPACED.search(text))


@dataclass(frozen=True)
class Words:
    """What a query asks for.

    Args:
        text: as it was typed.
        sought: the same without the endings that make an owner of a word.
        spaced: words of scripts with spaces, as `tokens_of` gives them.
        unspaced: words of scripts without.
    """

    text: str
    sought: str
    spaced: frozenset[str]
    unspaced: tuple[str, ...]
    _met: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    """Of pieces of texts between spaces that were met, the words in them; few make up most of a table's texts."""

    @classmethod
    def of(cls, text: str) -> Words:
        """Read a query. Of neighbouring characters that no dictionary joins (a name, mostly) each pair is a word."""
        sought = _OWNING.sub("", text)
        tokens = [token for part in sought.split() for token in _paired(tokens_of(part))]
        unspaced = tuple(dict.fromkeys(token for token in tokens if is_unspaced(token)))
        return cls(text, sought, frozenset(token for token in tokens if not is_unspaced(token)), unspaced)

    def __bool__(self) -> bool:
        return bool(self.spaced or self.unspaced)

    @property
    def all(self) -> tuple[str, ...]:
        """Every word, in a fixed order."""
        return (*sorted(self.spaced), *self.unspaced)

    def counts(self, texts: Iterable[str]) -> Counter[str]:
        """How often each word stands in a row's texts; words that do not are left out."""
        found: Counter[str] = Counter()
        for text in texts:
            folded = text.casefold()
            for word in self.unspaced:
                if times := folded.count(word):
                    found[word] += times
            if self.spaced:
                for piece in text.split():
                    for token in self._in(piece):
                        found[token] += 1
        return found

    def _in(self, piece: str) -> tuple[str, ...]:
        held = self._met.get(piece)
        if held is None:
            if len(self._met) >= _MOST_MET:
                self._met.clear()
            held = self._met[piece] = tuple(token for token in tokens_of(piece) if token in self.spaced)
        return held


def _paired(tokens: Sequence[str]) -> Iterator[str]:
    """Tokens, with the pairs of neighbouring single characters of unspaced scripts instead of the characters.

    Source: Nie, Gao, Zhang and Zhou, On the use of words and n-grams for Chinese information retrieval, 2000.
    """
    for alone, run in groupby(tokens, key=lambda token: len(token) == 1 and is_unspaced(token)):
        held = list(run)
        yield from map("".join, pairwise(held)) if alone and len(held) > 1 else held
