"""Arguments: what was typed, as text, also where the locale takes each byte beyond ASCII for half a letter.

It knows bytes and letters, and nothing of what the words mean.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from clipdata.errors import NotFoundError, UsageError

_MEND = "type it in a terminal of UTF-8; give a file or folder that is called so another name"


def as_text(words: Iterable[str]) -> list[str]:
    """The same words; those that Python could not read as the locale's are read as UTF-8.

    What is no UTF-8 either stays as it is: a file may be called so.
    """
    return [_as_text(word) for word in words]


def unreadable(error: Exception, words: Iterable[str]) -> UsageError | None:
    """What is wrong with a word whose letters cannot be written, where that is what an error tells."""
    words, encoding = list(words), sys.getfilesystemencoding()
    is_told = isinstance(error, UnicodeEncodeError) or "surrogates not allowed" in str(error)
    broken = [word for word in words if not _can_be(word, "utf-8")]
    if is_told and broken:
        return UsageError(f"{broken[0]!r} is no UTF-8; expected text in UTF-8", hint=_MEND)
    foreign = [word for word in words if not _can_be(word, encoding)]
    if not is_told:  # Python takes a file whose name it cannot write for one that is not there
        foreign = [word for word in foreign if isinstance(error, NotFoundError) and word in error.message]
    if foreign:
        return UsageError(
            f"{foreign[0]!r} cannot be a file's name here: this locale writes names in {encoding}",
            hint="set a locale of UTF-8: export LC_ALL=C.UTF-8; unset PYTHONUTF8",
        )
    return None


def _as_text(word: str) -> str:
    if _can_be(word, "utf-8"):
        return word
    try:
        return os.fsencode(word).decode()
    except UnicodeError:
        return word


def _can_be(word: str, encoding: str) -> bool:
    try:
        word.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
