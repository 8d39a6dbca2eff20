"""Multiple-choice questions about captioned pictures, in the manner of the New Yorker caption contest.

The same pictures and seed give the same questions, whatever the machine and the order of the pictures. It must know
nothing of files.
"""

from __future__ import annotations

import hashlib
import string
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from clipdata.errors import UsageError
from pipelines.sample.names import near_words, words

NUM_CHOICES = 5
QUESTIONS_PER_PICTURE = 3
WRONG_OF_OWN_CATEGORY = 2
LETTERS = string.ascii_uppercase[:NUM_CHOICES]


@dataclass(frozen=True)
class Picture:
    """What a question needs to know of a picture.

    Args:
        filename: unique among the pictures.
        caption: the right answer.
        category: half of the wrong answers come from the same one where it has enough, half from others.
        split: wrong answers come from the same one always.
    """

    filename: str
    caption: str
    category: str
    split: str


@dataclass(frozen=True)
class Question:
    """One question: which of the choices is the caption of the picture?

    Args:
        filename: of the picture.
        choices: five captions.
        label: letter of the right one, from A to E.
    """

    filename: str
    choices: tuple[str, ...]
    label: str


def make_questions(pictures: Sequence[Picture], *, seed: int = 0) -> list[Question]:
    """Ask about every picture three times, with other wrong answers each time.

    In each split every letter is right equally often, to one question.

    Args:
        pictures: in any order.
        seed: of what is asked together, and of the letters.

    Returns:
        questions, by filename.

    Raises:
        UsageError: two pictures share a filename, or a split has too few captions that differ.
    """
    if len({picture.filename for picture in pictures}) != len(pictures):
        raise UsageError(f"{len(pictures)} pictures; expected as many distinct filenames")
    by_split: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_split[picture.split].append(picture)
    made = [question for members in by_split.values() for question in _questions_of_split(members, seed)]
    return sorted(made, key=lambda question: question.filename)  # stable: a picture's questions keep their order


def _questions_of_split(pictures: Sequence[Picture], seed: int) -> list[Question]:
    categories = {picture.caption: picture.category for picture in pictures}
    says = {caption: words(caption) for caption in categories}
    asked = [(picture, number) for picture in pictures for number in range(QUESTIONS_PER_PICTURE)]
    shuffled = sorted(asked, key=lambda pair: digest(seed, "letter", pair[0].filename, pair[1]))
    letters = {pair: LETTERS[place % NUM_CHOICES] for place, pair in enumerate(shuffled)}
    return [
        _question(picture, wrong, letters[picture, number])
        for picture in pictures
        for number, wrong in enumerate(_wrong_answers(picture, categories, says, seed))
    ]


def _question(picture: Picture, wrong: Sequence[str], label: str) -> Question:
    place = LETTERS.index(label)
    return Question(picture.filename, (*wrong[:place], picture.caption, *wrong[place:]), label)


def _wrong_answers(
    picture: Picture, categories: dict[str, str], says: dict[str, frozenset[str]], seed: int
) -> list[list[str]]:
    """Draw the wrong answers to each of a picture's questions, none of them twice.

    Raises:
        UsageError: the split has too few captions.
    """

    def order(caption: str) -> str:
        return digest(seed, "wrong", picture.filename, caption)

    mine = says[picture.caption]
    drawn = sorted((caption for caption in categories if not near_words(says[caption], mine)), key=order)
    own = [caption for caption in drawn if categories[caption] == picture.category]
    own = own[: QUESTIONS_PER_PICTURE * WRONG_OF_OWN_CATEGORY]
    needed = QUESTIONS_PER_PICTURE * (NUM_CHOICES - 1)
    if len(drawn) < needed:
        found = f"{len(drawn)} captions of the {picture.split} split differ from {picture.caption!r}"
        raise UsageError(f"{found}; expected at least {needed}")
    others = [caption for caption in drawn if categories[caption] != picture.category]
    rest = others + [caption for caption in drawn if categories[caption] == picture.category and caption not in own]
    dealt = (own + rest)[:needed]
    return [sorted(dealt[number::QUESTIONS_PER_PICTURE], key=order) for number in range(QUESTIONS_PER_PICTURE)]


def digest(*parts: object) -> str:
    """A number-like text that depends on nothing but the parts: what everything here is shuffled by."""
    return hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).hexdigest()
