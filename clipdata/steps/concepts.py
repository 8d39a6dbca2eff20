"""Concepts: a list of words and phrases, and which of them a caption names.

A phrase is found where its words follow each other in a caption, so that "cat" is not found in "category"; capitals and
blanks make no difference, and the marks . , ; : ? ! and brackets stand by themselves. That is the substring match of
MetaCLIP, which puts blanks around entries and marks. All phrases of any number are looked up in one table by their
words, so a caption takes no longer for half a million concepts than for ten. It knows no table of rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from clipdata.errors import UsageError
from clipdata.json_parsing import parse_json
from clipdata.steps.caption_figures import UNSPACED
from clipdata.steps.named_files import is_told, read_named

MOST_TOLD = 1_000  # concepts that a lineage lists; of more it tells the file
_MARKS = re.escape(',.;:?!`"()[]{}«»“”„、。，！？；：（）「」')
_WORDS = re.compile(f"[{UNSPACED}]|[{_MARKS}]|[^\\s{UNSPACED}{_MARKS}]+")


class Concepts:
    """A list of concepts, each known by its place in it.

    Args:
        phrases: words or phrases; those that differ in capitals and blanks alone are one, the first.

    Source: sub-string matching of MetaCLIP (arXiv 2309.16671, section 3.2).
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self.phrases: list[str] = []
        self._place_of: dict[str, int] = {}
        self._most_words: dict[str, int] = {}  # first word → words of the longest concept that begins with it
        for phrase in phrases:
            words = words_of(phrase)
            key = " ".join(words)
            if not words or key in self._place_of:
                continue
            self._place_of[key] = len(self.phrases)
            self.phrases.append(phrase.strip())
            if len(words) > self._most_words.get(words[0], 0):
                self._most_words[words[0]] = len(words)

    def __len__(self) -> int:
        return len(self.phrases)

    def named_in(self, captions: Iterable[str]) -> set[int]:
        """Places of the concepts that captions name, each once."""
        found: set[int] = set()
        for caption in captions:
            words = words_of(caption)
            for first, word in enumerate(words):
                most = self._most_words.get(word)
                if most is None:
                    continue
                key = word
                if (place := self._place_of.get(key)) is not None:
                    found.add(place)
                for following in words[first + 1 : first + most]:
                    key = f"{key} {following}"
                    if (place := self._place_of.get(key)) is not None:
                        found.add(place)
        return found


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared; Han characters, kana and marks are words of their own."""
    return _WORDS.findall(text.casefold())


def listed_concepts(given: Any, *, asker: str) -> tuple[Concepts, list[str] | str]:
    """Concepts, and what a lineage tells of them.

    Args:
        given: a list; a file with one a line, or with a JSON list; or a text of concepts with commas between.
        asker: who was given them, for messages.

    Raises:
        NotFoundError: there is no such file.
        UsageError: they are no texts, or there is none.
    """
    told: str | None = None
    if isinstance(given, os.PathLike) or is_told(given) or (isinstance(given, str) and _is_file(given)):
        path, data, told = read_named(given, asker=asker, argument="concepts")
        listed = _lines(data, path, asker)
    elif isinstance(given, str):
        if "," not in given and Path(given).suffix:
            read_named(given, asker=asker, argument="concepts")  # says that there is no such file
        listed = given.split(",")
    else:
        listed = given if isinstance(given, Sequence) and not isinstance(given, bytes) else None
    if listed is None or not all(isinstance(one, str) for one in listed):
        raise _no_concepts(given, asker)
    concepts = Concepts(listed)
    if not concepts:
        raise _no_concepts(given, asker)
    return concepts, told if told is not None and len(concepts) > MOST_TOLD else concepts.phrases


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a name, or a null byte in it
        return False


def _lines(data: bytes, path: Path, asker: str) -> Any:
    try:
        text = data.decode("utf-8-sig")
        return parse_json(text) if text.lstrip().startswith("[") else text.splitlines()
    except ValueError as error:
        raise UsageError(f"{asker}: {path} is no list of concepts: {error}", hint="one a line, in UTF-8") from error


def _no_concepts(given: Any, asker: str) -> UsageError:
    return UsageError(
        f"{asker}: concepts is {given!r:.80}; expected a list of words or phrases",
        hint='concepts=["cat", "hot dog"], or a file with one a line',
    )
