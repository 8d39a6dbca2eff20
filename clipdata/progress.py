"""Progress: how long work reports itself without knowing who watches: a command line draws it, a script is silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Counter(Protocol):
    """Counts one piece of long work. One that has a method `note(text)`, too, is told figures to show beside it."""

    def advance(self, num: int = 1) -> None:
        """Say that `num` more units are done."""
        ...

    def refuse(self, reason: str, num: int = 1) -> None:
        """Say that units were refused, and why."""
        ...


class Progress(Protocol):
    """Watches long work."""

    def task(self, label: str, total: int | None, unit: str = "rows") -> AbstractContextManager[Counter]:
        """Begin a piece of work of `total` units (None when unknown)."""
        ...

    def say(self, text: str) -> None:
        """Tell a fact that a person wants to know while waiting."""
        ...


def note(counter: Counter, text: str) -> None:
    """Tell a counter a figure that stands beside it until the next one comes, if it shows such figures."""
    show = getattr(counter, "note", None)
    if show is not None:
        show(text)


class _SilentCounter:
    def advance(self, num: int = 1) -> None:
        """Count nothing."""

    def refuse(self, reason: str, num: int = 1) -> None:
        """Count nothing."""


class Silent:
    """Watches nothing: the default of every function."""

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Counter]:
        """Yield a counter that counts nothing."""
        yield _SilentCounter()

    def say(self, text: str) -> None:
        """Say nothing."""
