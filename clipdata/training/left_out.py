"""LeftOut: rows whose pictures a run could not decode, by reason, and how many of them are too many.

It knows offsets and reasons, and nothing of pictures or streams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from clipdata.errors import TooManyRejectsError


class LeftOut:
    """Counts rows that were left out, each once, however many epochs meet it.

    Args:
        what: the rows they are of, for messages: "rows to train on".
        num_rows: how many there are.
        max_share: most of them that may be left out.
    """

    def __init__(self, what: str, num_rows: int, max_share: float) -> None:
        self._what, self._num_rows, self._max_share = what, num_rows, max_share
        self._reason_of: dict[int, str] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Rows by reason."""
        return dict(sorted(Counter(self._reason_of.values()).items()))

    def add(self, reason_of: Mapping[int, str]) -> None:
        """Take in what a batch left out: offset → reason.

        Raises:
            TooManyRejectsError: these are too many now.
        """
        self._reason_of.update(reason_of)
        if len(self._reason_of) > self._max_share * self._num_rows:
            first = min(self._reason_of)
            raise TooManyRejectsError(
                f"{len(self._reason_of):,} of the {self._num_rows:,} {self._what} hold pictures that cannot be used "
                f"({self}), such as row {first}; max_bad_share allows {self._max_share:.0%}",
                hint="leave them out with --where, or allow more: --set max_bad_share=0.5",
            )

    def state(self) -> dict[str, list[int]]:
        """For a checkpoint: reason → offsets."""
        offsets: dict[str, list[int]] = {}
        for offset, reason in self._reason_of.items():
            offsets.setdefault(reason, []).append(offset)
        return offsets

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._reason_of = {offset: reason for reason, offsets in state.items() for offset in offsets}

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {reason}" for reason, count in self.counts.items())


def left_out_of(batch: Mapping[str, Any]) -> dict[int, str]:
    """Offset and reason of the rows that a stream left out of a batch."""
    by_reason: Mapping[str, Any] = batch.get("left_out", {})
    return {int(offset): reason for reason, offsets in by_reason.items() for offset in offsets}
