"""Errands: what a crew of workers on other machines is given to do, whatever the work is. All of it pickles.

It knows neither steps nor tables; those who send the work do, and make what its workers call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from clipdata.progress import Counter


class Work(Protocol):
    """What errands have in common. It is sent once, and each worker keeps the one that it has."""

    def do(self, given: Any, counter: Counter, *, again: bool) -> Any:
        """Do one errand.

        Args:
            given: what the errand is about.
            again: whether a worker that had it was lost, and may have done some of it.
            counter: told of rows as they are done; it ends the work when nobody wants the rest.
        """
        ...


@dataclass(frozen=True)
class Errand:
    """One piece of work.

    Args:
        number: tells it from the others of a run.
        given: what it is about.
        work: the same object for all that have it in common.
        doing: what a worker did when it was lost, as in "filled fragment 3".
        again: whether a worker that had it was lost.
    """

    number: int
    given: Any
    work: Work
    doing: str
    again: bool = False
