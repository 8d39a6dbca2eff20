"""Counts in words: "1 row was refused", "1,024 rows were refused". It knows grammar, and nothing of what is counted."""

from __future__ import annotations


def counted(number: float, one: str, several: str | None = None) -> str:
    """A count with what is counted, in the number that English wants.

    Args:
        number: of them.
        one: what stands behind 1, "row is".
        several: behind every other number; by default `one` with an s.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
