"""Cells: values of a table as JSON that a page can show, short enough for it. Knows values, and no table."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from clipdata.plurals import counted
from clipdata.printable import printable

SHORT, LONG = 600, 50_000
_MOST_ENTRIES = 64


def cell(value: Any, most_letters: int = SHORT) -> Any:
    """A value as JSON; bytes are told by their number, NaN and infinities by their name.

    Texts and lists are cut, and then say how long they are.

    Characters of a text that would turn the line around are spelled out.
    """
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        shown = printable(value[: most_letters + 1], keep="\n\t")
        return shown if len(value) <= most_letters else f"{shown[:most_letters]}… ({counted(len(value), 'letter')})"
    if isinstance(value, bytes):
        return counted(len(value), "byte")
    if isinstance(value, list | tuple):
        entries = [cell(entry, most_letters) for entry in value[:_MOST_ENTRIES]]
        return entries + ([f"… {len(value):,} in all"] if len(value) > _MOST_ENTRIES else [])
    if isinstance(value, dict):
        return {str(name): cell(entry, most_letters) for name, entry in list(value.items())[:_MOST_ENTRIES]}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta | Decimal):
        return str(value)
    return cell(str(value), most_letters)
