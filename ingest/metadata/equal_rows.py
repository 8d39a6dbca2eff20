"""Equal rows of a file told apart by numbers, in memory that grows by 16 bytes a distinct row."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from ingest.updating.digest_set import DigestSet


class EqualRows:
    """The digests that a file has had so far."""

    def __init__(self) -> None:
        self._seen = DigestSet()
        self._repeats: Tally[str] = Tally()

    def numbered(self, digests: Sequence[str]) -> list[str]:
        """Digests in which the second of two equal ones bears a number, the third another, and so on.

        Args:
            digests: of the rows that follow.
        """
        is_new = self._seen.add_new(digests)
        if is_new.all():
            return list(digests)
        return [
            digest if new else f"{digest}-{self._next(digest)}" for digest, new in zip(digests, is_new, strict=True)
        ]

    def _next(self, digest: str) -> int:
        self._repeats[digest] += 1
        return self._repeats[digest]
