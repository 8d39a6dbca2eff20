"""Cards: a picture with its text and its values, as HTML that a report and a page that is served share.

It knows plain values: no table, no comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from clipdata.reporting.rendering import cut, rendered

SHOWN_CHARS, SHOWN_LINES = 280, 6


@dataclass(frozen=True)
class CardPicture:
    """What stands in a card's place for a picture.

    Args:
        source: address of the picture, such as a data URI; None where there is none to show.
        width, height: in pixels; None without a picture.
        refused: why there is none, in words.
    """

    source: str | None = None
    width: int | None = None
    height: int | None = None
    refused: str = "no picture"


@dataclass(frozen=True)
class CardChoice:
    """One of the texts that a model chose between.

    Args:
        text: of it.
        values: figures of it, as text, such as the probability before and after.
        is_right: whether it is the right one.
    """

    text: str
    values: tuple[str, ...] = ()
    is_right: bool = False


def card(
    picture: CardPicture,
    *,
    caption: str | None = None,
    caption_chars: int | None = None,
    name: str | None = None,
    values: Mapping[str, str] | None = None,
    choices: Sequence[CardChoice] = (),
    choice_heads: Sequence[str] = (),
    verdict: str = "",
    link: str | None = None,
) -> Markup:
    """A picture with what belongs to it; every text is escaped, and its direction is that of its letters.

    Args:
        picture: what is shown, or why nothing is.
        caption: the text beside it.
        caption_chars: letters of that text where it lies, of which `caption` may be the first.
        name: of the row, such as its file's name.
        values: name → figure as text, a line each.
        choices: texts to choose from, the right one marked.
        choice_heads: what the figures of choices are, as many as each has.
        verdict: "better" or "worse" colours the last figure.
        link: where the card leads; nowhere in a report.
    """
    shown, rest = folded(caption or "")
    num_chars = max(caption_chars or 0, len(shown) + len(rest))
    words = cut(caption or name or "a picture without a text", 120)
    return rendered(
        "card.html",
        picture=picture,
        source=escape(picture.source or ""),  # markup, so that it is not cut like a text
        alt=f"picture: {words}",
        caption=shown,
        rest=rest,
        num_chars=num_chars,
        num_hidden=num_chars - len(shown) - len(rest),
        name=cut(name, 120) if name else None,
        values=dict(values or {}),
        choices=choices,
        choice_heads=choice_heads,
        verdict=verdict if verdict in ("better", "worse") else "",
        link=link,
    )


def folded(text: str) -> tuple[str, str]:
    """A text as what stands in a card at once and the rest of it, so that no text makes a row of cards endless."""
    ends = [found.end() for found in re.finditer("\n", text)][SHOWN_LINES - 1 : SHOWN_LINES]
    most = min([SHOWN_CHARS, *ends])
    return (text, "") if len(text) <= most else (text[:most], text[most:])
