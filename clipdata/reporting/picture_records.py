"""Rows with their pictures, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clipdata.comparison.records import Row

CAPTION_CHARS = 4_000


@dataclass(frozen=True)
class Picture:
    """A row's picture, small.

    Args:
        width, height: in pixels, of what is shown; None where nothing is.
        refused: why nothing is shown; None where something is.
        thumbnail: WebP as a data URI. JSON leaves it out unless it is asked for.
    """

    width: int | None = None
    height: int | None = None
    refused: str | None = None
    thumbnail: str | None = None


@dataclass(frozen=True)
class Choice:
    """One of the texts that a model chose between.

    Args:
        text: of it.
        before, after: its score; None where it is not known.
        is_right: whether it is the right one.
    """

    text: str
    before: float | None
    after: float | None
    is_right: bool


@dataclass(frozen=True)
class PictureRow:
    """A row with its picture.

    Args:
        name: what tells it from others.
        picture: of it.
        caption: the text that belongs to it; None where it has choices, or no text.
        choices: texts to choose from, in their order; the right one among them.
        num_choices_left_out: choices that are not listed.
        row: its figures, in a comparison.
        facts: further columns, as text.
        caption_chars: letters of the caption in the table, of which the first `CAPTION_CHARS` stand in `caption`.
    """

    name: str
    picture: Picture
    caption: str | None = None
    choices: tuple[Choice, ...] = ()
    num_choices_left_out: int = 0
    row: Row | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    caption_chars: int | None = None


@dataclass(frozen=True)
class Gallery:
    """Rows of one kind.

    Args:
        title: of the kind.
        about: how they were chosen.
        rows: at most as many as were asked for.
    """

    title: str
    about: str
    rows: tuple[PictureRow, ...]
