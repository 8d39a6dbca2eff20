"""HeldBack: the disputes that wait for an answer, each page's own. It knows pages by the id that they give themselves.

A page settles its own and is told of no other's: two pages may each hold back a decision, also on one row. Of a page
that was closed they wait until the viewer ends, and are listed then; they keep nobody from deciding of the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clipdata.viewer.disputes import Dispute, told


class HeldBack:
    """Decisions that are not written until somebody says which of two stands; whoever calls keeps threads apart."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], dict[Any, Dispute]] = {}

    def hold(self, column: str, disputes: Iterable[Dispute]) -> None:
        """Keep them, each for the page that its decision came from."""
        for one in disputes:
            self._held.setdefault((one.mine.page, column), {})[one.key] = one

    def drop(self, page: str, column: str, keys: Iterable[Any]) -> None:
        """Forget those on rows of which the page has decided anew."""
        held = self._held.get((page, column), {})
        for key in keys:
            held.pop(key, None)
        if not held:
            self._held.pop((page, column), None)

    def release(self, page: str, column: str) -> list[Dispute]:
        """Those of a page and a column, which wait no more; none where there are none."""
        return list(self._held.pop((page, column), {}).values())

    def told(self, page: str) -> list[dict[str, Any]]:
        """JSON values of those of a page, one a column; see `disputes.told`."""
        return [told(held.values(), column) for (whose, column), held in self._held.items() if whose == page]

    def release_all(self) -> list[str]:
        """In words, those of every page, which wait no more."""
        held, self._held = self._held, {}
        return [f"{column}: {one}" for (_, column), disputes in held.items() for one in disputes.values()]
