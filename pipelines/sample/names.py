"""What the name of an emoji says: which names are variants of one another, and which belong to one family.

A family is held out as a whole. Two names are of one family when they share a word that says what is drawn ("cat face",
"black cat" and "grinning face" are), directly or through other names. It must know nothing of pictures or questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# Words between the others.
_JOINING = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "behind",
        "by",
        "down",
        "from",
        "in",
        "no",
        "not",
        "of",
        "on",
        "or",
        "over",
        "the",
        "to",
        "up",
        "with",
        "without",
    ]
)
# Names that differ in these alone are variants: gender, direction, number and phase.
_VARIANT = frozenset(
    [
        "adult",
        "boy",
        "child",
        "girl",
        "man",
        "mans",
        "men",
        "people",
        "person",
        "woman",
        "womans",
        "women",
        "facing",
        "left",
        "leftwards",
        "right",
        "rightwards",
        "first",
        "last",
        "quarter",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "1st",
        "2nd",
        "3rd",
        "waning",
        "waxing",
    ]
)
# How a thing looks tells two names apart, but does not make two things akin.
_LOOK = frozenset(
    [
        "big",
        "black",
        "blue",
        "brown",
        "closed",
        "cold",
        "dark",
        "full",
        "green",
        "grey",
        "half",
        "high",
        "hot",
        "large",
        "light",
        "low",
        "medium",
        "new",
        "old",
        "open",
        "orange",
        "pink",
        "purple",
        "red",
        "small",
        "white",
        "yellow",
    ]
)
_SPELLED = {
    "merman": "mermaid",
    "merperson": "mermaid",
    "oclock": "clock",
    "older": "old",
    "princess": "prince",
    "thirty": "clock",
}
_NOBODY_ELSE = frozenset({"person"})


def words(name: str) -> frozenset[str]:
    """Words that tell a name from others, in the singular; "person" for a plain "man" or "girl"."""
    plain = re.findall(r"[a-z0-9]+", re.sub(r"[’']", "", name.lower()))
    kept = (_SPELLED.get(word, word) for word in plain if word not in _JOINING and word not in _VARIANT)
    return frozenset(_singular(word) for word in kept) or _NOBODY_ELSE


def subjects(name: str) -> frozenset[str]:
    """Those of a name's words that say what is drawn, not how it looks."""
    return words(name) - _LOOK or _NOBODY_ELSE


def near(name: str, other: str) -> bool:
    """Tell whether one name says no more than the other: equal, a variant, or "cat" beside "black cat"."""
    return near_words(words(name), words(other))


def near_words(mine: frozenset[str], others: frozenset[str]) -> bool:
    """`near`, for two names whose words are known."""
    return mine <= others or others <= mine


def families(names: Iterable[str]) -> Mapping[str, str]:
    """Group names that share a subject, directly or through others.

    Returns:
        name → first name of its family in alphabetical order.
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    given = sorted(set(names))
    for name in given:
        for subject in subjects(name):
            parent[root(f"subject:{subject}")] = root(f"name:{name}")
    first: dict[str, str] = {}
    for name in given:
        first.setdefault(root(f"name:{name}"), name)
    return {name: first[root(f"name:{name}")] for name in given}


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
