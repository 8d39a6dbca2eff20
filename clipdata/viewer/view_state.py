"""ViewState: what of a source is shown, as it stands in a link. Knows nothing of sources, and checks no column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from clipdata.errors import UsageError

CHANGE = "~change"
"""What `sort` is where rows are ordered by `after` minus `before`."""
MOST_LETTERS = 4_000
MOST_CORNERS = 128
_QUOTED = re.compile(r"'[^']*'|`[^`]*`|\"[^\"]*\"")


@dataclass(frozen=True)
class ViewState:
    """A version, a filter, an order, a search.

    Args:
        version: number or tag; None is the newest.
        where: filter, as of `--where`.
        sort: column to order by, or `CHANGE`; None leaves the rows in their own order.
        descending: the highest first.
        before: column of scores, shown beside `after`.
        after: column of scores.
        text: to search by.
        words: that texts must hold.
        like: position of a row to search by.
        picture: digest of a picture to search by, which the page sent.
        x: column of the map's abscissa; or of embeddings, where there is no `y`.
        y: column of its ordinate.
        lasso: corners of a polygon on that map, as x and y in turn, with commas between.

    Raises:
        UsageError: the filter is more than one condition.
    """

    version: str | None = None
    where: str | None = None
    sort: str | None = None
    descending: bool = False
    before: str | None = None
    after: str | None = None
    text: str | None = None
    words: str | None = None
    like: int | None = None
    picture: str | None = None
    x: str | None = None
    y: str | None = None
    lasso: str | None = None

    def __post_init__(self) -> None:
        if self.where is not None and ";" in _QUOTED.sub("", self.where):
            raise UsageError("the filter holds a semicolon; expected one condition, such as: split = 'test'")

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ViewState:
        """Read what `query_string` wrote; what belongs to the page alone is passed over.

        Raises:
            UsageError: a value is too long, or no number where one is expected.
        """
        given: dict[str, Any] = {}
        for entry in fields(cls):
            text = query.get(entry.name, "")
            if len(text) > MOST_LETTERS:
                raise UsageError(f"{entry.name} has {len(text):,} letters; expected at most {MOST_LETTERS:,}")
            if not text.strip():
                continue
            given[entry.name] = text
        given["descending"] = given.get("descending") == "1"
        if "like" in given:
            if not (given["like"].isascii() and given["like"].isdigit() and len(given["like"]) < 16):
                raise UsageError(f"like is {given['like']!r:.40}; expected the position of a row")
            given["like"] = int(given["like"])
        return cls(**given)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """The lasso's corners.

        Raises:
            UsageError: they are no polygon.
        """
        try:
            numbers = [float(word) for word in (self.lasso or "").split(",") if word]
        except ValueError:
            numbers = []
        if len(numbers) < 6 or len(numbers) % 2 or len(numbers) > 2 * MOST_CORNERS:
            raise UsageError(f"the lasso is {self.lasso!r:.60}; expected 3 to {MOST_CORNERS} corners")
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    @property
    def is_search(self) -> bool:
        """Whether rows come in the order of an answer."""
        return bool(self.text or self.words or self.picture or self.like is not None)

    def in_words(self) -> str:
        """What chose the rows, for people."""
        told = [self.where] if self.where else []
        told += [f"words {self.words!r}"] if self.words else []
        told += [f"like text {self.text!r}"] if self.text else []
        told += ["like a picture"] if self.picture else []
        told += [f"like row {self.like}"] if self.like is not None else []
        told += [f"inside a lasso on {', '.join(filter(None, (self.x, self.y)))}"] if self.lasso else []
        return "; ".join(told) or "all rows"

    def of(self, **changes: Any) -> ViewState:
        """The same with other values."""
        return replace(self, **changes)

    def query_string(self) -> str:
        """As it stands in a link."""
        told = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        told["descending"] = "1" if self.descending else None
        return urlencode({name: value for name, value in told.items() if value is not None and value != ""})
