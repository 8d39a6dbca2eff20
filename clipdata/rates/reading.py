"""Reading: how fast rows come from the disk or the bucket, in the order and the groups in which a stream reads them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from clipdata.rates.records import Rate
from clipdata.stream import Stream


@dataclass(frozen=True)
class _Read:
    rows: int = 0
    value_bytes: int = 0
    seconds: float = 0.0
    requests: int = 0


class Reading:
    """Measures what reading gives.

    Args:
        stream: of the columns that are read; it need not be able to decode them.
    """

    def __init__(self, stream: Stream) -> None:
        self._table = stream.table
        self._coming = stream.fetched()
        self._now = self._settled = _Read()
        self._begun = self._requests()

    def turn(self, seconds: float) -> None:
        """Read for so long, or one batch; the next turn goes on behind it."""
        until_s = time.perf_counter() + seconds
        while True:
            begun_s = time.perf_counter()
            found = next(self._coming, None)
            ended_s = time.perf_counter()
            if found is None:
                return
            requests = self._requests() - self._begun
            if requests != self._now.requests:
                # Batches of one group come at once, so a rate is that of whole groups.
                self._settled = self._now
            now = self._now
            self._now = _Read(
                now.rows + len(found.slot.offsets),
                now.value_bytes + found.num_bytes,
                now.seconds + ended_s - begun_s,
                requests,
            )
            if ended_s > until_s:
                return

    def close(self) -> None:
        """End the reading."""
        self._coming.close()

    @property
    def row_bytes(self) -> float:
        """Mean bytes of a row's values."""
        return self._now.value_bytes / max(self._now.rows, 1)

    def rate(self) -> Rate:
        """What was found."""
        found = self._settled if self._settled.rows else self._now
        seconds = max(found.seconds, 1e-9)
        each = f"{found.requests / max(found.rows, 1) * 1024:,.0f} requests for 1,024 rows" if found.requests else ""
        return Rate("read", "read", found.rows / seconds, found.rows, found.seconds, found.value_bytes / seconds, each)

    def _requests(self) -> int:
        return int(self._table.dataset.io_stats_snapshot().read_iops)
