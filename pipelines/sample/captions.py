"""English captions of a picture, from its name and tags. Every caption holds the whole name, so that captions of two
names are never the same. It knows words only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.sample.names import words
from pipelines.sample.questions import digest

MOST_TAGS = 3
_HEAD_ENDS = re.compile(r"(:| (with|without|in|of|on|at|behind|over|and|facing) )")
# Last words of names that are spoken of without "a".
_WITHOUT_ARTICLE = frozenset(
    """bacon badminton bowling bread breast-feeding broccoli butter camping candy construction cooking coral dizzy dna
    e-mail fire foggy food garlic luggage meat milk money oden pong popcorn racing rail rice sake salt soap star-struck
    sushi locked unlocked wood yarn zzz claus fuji nine-thirty polish people root""".split()  # noqa: SIM905 - a word list
)
_PLURAL = frozenset({"men", "palms", "skis", "thumbs", "women"})
_PERSONS = ("man ", "person ", "woman ")
_SOUNDS_LIKE_YOU = ("unicorn", "ewe", "euro", "one", "uni")
_SOUNDS_LIKE_A_VOWEL = ("x-ray", "hour", "OK")


def captions_of(name: str, tags: Sequence[str], *, class_name: str, artist: str) -> list[str]:
    """Three to five captions, the plainest first.

    Args:
        name: what is drawn, "ear of corn".
        tags: words that belong to it; those that the name says already are left out.
        class_name: with underscores for spaces.
        artist: who drew it.
    """
    thing = with_article(name)
    said = words(name)
    other = [tag for tag in tags if re.fullmatch(r"[a-z]{3,}( [a-z]+)*", tag) and not words(tag) & said]
    more = sorted(other, key=lambda tag: digest("tag", name, tag))[:MOST_TAGS]
    captions = [
        f"a drawing of {thing}",
        f"{thing}, drawn by {artist.capitalize()}",
        f"an emoji that shows {thing}, filed under {class_name.replace('_', ' ')}",
    ]
    if more:
        captions.append(f"a small picture of {thing}, tagged {_listed(more)}")
    if len(more) > 1:
        captions.append(f"{thing} on a plain background, to say {_listed(more[:2])}")
    return captions


def with_article(name: str) -> str:
    """A name as it stands in a sentence: "an ear of corn", "grapes"."""
    head = _HEAD_ENDS.split(name, maxsplit=1)[0].split()[-1]
    is_plural = head.endswith("s") and not head.endswith(("ss", "us", "is", "ros")) and not name.startswith(_PERSONS)
    if is_plural or name.split()[0] in _PLURAL or head.lower() in _WITHOUT_ARTICLE:
        return name
    is_vowel = name[0].lower() in "aeiou" and not name.startswith(_SOUNDS_LIKE_YOU)
    return f"an {name}" if is_vowel or name.startswith(_SOUNDS_LIKE_A_VOWEL) else f"a {name}"


def _listed(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
