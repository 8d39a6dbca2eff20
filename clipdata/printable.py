"""Text from data as it may be shown: what would give a terminal an order, or turn a line around, is spelled out.

A file name may set a window's title (ESC ], BEL), a caption may colour or clear the screen, and a right-to-left
override shows `gpj.exe` as `exe.jpg`. Letters of every language, accents and emoji, joiners among them, stay as they
are. This module knows characters, and nothing of who shows them.
"""

from __future__ import annotations

import re

# C0, DEL and C1; line and paragraph separator; bidi embeddings, overrides and isolates; halves of surrogate pairs,
# which no stream can encode (a file name that is no UTF-8 holds them).
_ORDERS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def printable(text: str, *, keep: str = "") -> str:
    r"""Text in which control characters are spelled out: ESC as `\x1b`, a right-to-left override as `\u202e`.

    Args:
        text: from anywhere.
        keep: characters that stay as they are, such as the newline of a text of several lines.
    """
    return _ORDERS.sub(lambda found: found.group() if found.group() in keep else _spelled(found.group()), text)


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
