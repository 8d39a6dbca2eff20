"""Arguments of public functions, held to their kinds before anything is read, in one line that says what to type.

It knows Python's own kinds, and nothing of what a verb does with them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from clipdata.errors import UsageError
from clipdata.plurals import counted

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")  # texts and names in SQL
_DRAWN = re.compile(r"\b(random|rand|uuid)\s*\(", re.IGNORECASE)  # SQL functions that draw anew
_COMMENT = re.compile(r"--|/\*")
PROGRESS = "progress=clipdata.progress_bar()"


def check_count(found: Any, what: str, *, least: int | None = 0) -> None:
    """Hold a count to a whole number; to any, negative ones too, where `least` is None.

    Raises:
        UsageError: it is none, or too low.
    """
    is_whole = isinstance(found, int | np.integer) and not isinstance(found, bool | np.bool_)
    if not is_whole or (least is not None and found < least):
        raise UsageError(
            f"{what} is {found!r:.80}; expected a whole number" + ("" if least is None else f", at least {least}")
        )


def check_kind(found: Any, kind: type, what: str, example: str) -> None:
    """Hold an object to its class.

    Raises:
        UsageError: it is of another one.
    """
    if not isinstance(found, kind):
        raise UsageError(f"{what} is {found!r:.80}{_brackets(found)}; expected {kind.__name__}", hint=example)


def check_able(found: Any, what: str, verbs: tuple[str, ...], example: str) -> None:
    """Hold an object, if one is given, to the methods that will be called.

    Raises:
        UsageError: it lacks one, or it is the class or function that makes such an object.
    """
    fits = not isinstance(found, type) and all(callable(getattr(found, verb, None)) for verb in verbs)
    if found is not None and not fits:
        raise UsageError(f"{what} is {found!r:.80}{_brackets(found)}", hint=example)


def check_offsets(found: Any, num_rows: int, what: str) -> np.ndarray:
    """Hold positions of rows to whole numbers that a table of so many rows has.

    Returns:
        int64 [B], in the order given.

    Raises:
        UsageError: they are no whole numbers, such as a mask, or lie outside the table.
    """
    offsets = np.asarray(found)
    if not offsets.size:
        return np.empty(0, np.int64)
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        raise UsageError(
            f"{what} holds {offsets.dtype} of shape {offsets.shape}; expected whole numbers, one a row: [3, 5]",
            hint="of a mask they are numpy.flatnonzero(mask)",
        )
    outside = offsets[(offsets < 0) | (offsets >= num_rows)]
    if len(outside):
        raise UsageError(f"{what} holds {outside[0]}; the table has {counted(num_rows, 'row')}, which count from 0")
    return offsets.astype(np.int64)


def check_condition(where: Any) -> None:
    """Hold an SQL condition, if one is given, to a text that says something and stays one term beside others.

    Raises:
        UsageError: it is no text, or blank; or a bracket closes that none opened, which Lance passes over; or it holds
            a comment; or it draws anew, so that it would find other rows each time it is asked.
    """
    if where is not None and (not isinstance(where, str) or not where.strip()):
        raise UsageError(
            f"where is {where!r:.80}; expected an SQL condition",
            hint="leave it out for all rows, or name some: where=\"split = 'train'\"",
        )
    unquoted = _QUOTED.sub("", where or "")
    if comment := _COMMENT.search(unquoted):
        raise UsageError(
            f"where is {where!r:.80}; {comment[0]} begins a comment, and what verbs add would be in it",
            hint="leave the comment out; what is less by a negative number is written a - (-1)",
        )
    drawn = _DRAWN.search(unquoted)
    if drawn is not None:
        raise UsageError(
            f"where is {where!r:.80}; {drawn[1].lower()}() is another value each time it is asked, and so would be the "
            "rows",
            hint="name the rows by what stands in a column; a step can draw one first: clipdata map --help",
        )
    depth_N = np.cumsum([(sign == "(") - (sign == ")") for sign in unquoted] or [0])
    if depth_N.min() < 0 or depth_N[-1] != 0:
        what = "a ) closes what no ( opened" if depth_N.min() < 0 else "a ( is not closed"
        raise UsageError(
            f"where is {where!r:.80}; its brackets do not match: {what}", hint="each ( wants a ) behind it"
        )


def _brackets(found: Any) -> str:
    return "; its brackets were forgotten" if callable(found) else ""
