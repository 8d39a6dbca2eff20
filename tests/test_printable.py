"""Printable: what of a text may reach a terminal as it is."""

from __future__ import annotations

import pytest

from clipdata.printable import printable


@pytest.mark.parametrize(
    ("letters", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        ("\u202eexe.jpg\u202c", r"\u202eexe.jpg\u202c"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("one\u2028two\u2029", r"one\u2028two\u2029"),
        ("caf\udce9.jpg", r"caf\udce9.jpg"),
    ],
)
def test_what_gives_orders_is_spelled_out(letters: str, shown: str) -> None:
    assert printable(letters) == shown


@pytest.mark.parametrize(
    "text",
    [
        "漫画の猫",
        "e\u0301té",
        "👩\u200d👩\u200d👧",
        "قِطّة",
        "می\u200cخواهم",
        "🏴\U000e0067\U000e0062\U000e007f",
        "a\\x1b b",
    ],
)
def test_letters_of_every_language_stay(text: str) -> None:
    assert printable(text) == text


def test_what_is_kept_stays() -> None:
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"
