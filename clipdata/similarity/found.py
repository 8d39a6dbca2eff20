"""What a search found, as a person, a script and a notebook read it. Knows no model and no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from clipdata.plurals import counted
from clipdata.printable import printable

By = Literal["text", "image", "row", "words"]
UNSEARCHABLE = {
    "empty": "without a vector",
    "not_finite": "with NaN or infinity",
    "zero": "with zeros alone",
    "length": "with a list of another length",
}
"""Why rows cannot be found by their vector."""


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Args:
        rank: from 1.
        row: its key; where the table has none, its number among the rows, as in "#12".
        cosine: of its vector and the query's, from -1 to 1; None where only words were searched, or only they found it.
        score: of its words by BM25, or where words and vectors were searched together the sum of 1 / (60 + rank);
            None where only vectors were searched.
        values: of the columns that are shown.
    """

    rank: int
    row: str
    cosine: float | None
    score: float | None
    values: Mapping[str, Any]

    @property
    def distance(self) -> float | None:
        """1 - cosine."""
        return None if self.cosine is None else 1.0 - self.cosine


@dataclass(frozen=True)
class Answer:
    """What was found for one query.

    Args:
        by: what the query is.
        query: the text, where the picture is, the row, or the words.
        words: that were searched together with it; None where none were.
        hits: the best first.
    """

    by: By
    query: str
    words: str | None
    hits: Sequence[Hit]

    def __str__(self) -> str:
        words = f" with the words {self.words!r}" if self.words is not None else ""
        lines = [f"{self.by}: {self.query}{words}"]
        for hit in self.hits:
            told = "  ".join(f"{value:.4f}" for value in (hit.cosine, hit.score) if value is not None)
            shown = "  ".join(f"{value}" for value in hit.values.values() if value is not None)
            lines.append(f"  {hit.rank}. {told}  {hit.row}" + (f"  {shown}" if shown and shown != hit.row else ""))
        return "\n".join(map(printable, lines if self.hits else [*lines, "  nothing"]))


@dataclass(frozen=True)
class Way:
    """How a column was searched.

    Args:
        column: that was searched.
        index: Lance's kind of the index that answered; None where every row was read.
        rows: that could be found: read, or inside and outside the index.
        outside: of those, rows outside the index, which were read beside it.
        not_searched: rows that cannot be found, by reason, one of `UNSEARCHABLE`.
        why: an index that is there was not used; None where one was, or there is none.
    """

    column: str
    index: str | None
    rows: int
    outside: int = 0
    not_searched: Mapping[str, int] = field(default_factory=dict)
    why: str | None = None

    def __str__(self) -> str:
        how = "exact" if self.index is None else f"by the index {self.index}"
        behind = f", {self.outside:,} of them outside it" if self.outside else ""
        why = f" ({self.why})" if self.why else ""
        left = ", ".join(f"{count:,} {UNSEARCHABLE[reason]}" for reason, count in self.not_searched.items())
        left = f"; rows that cannot be found: {left}" if left else ""
        return f"{self.column}: {counted(self.rows, 'row')}, {how}{behind}{why}{left}"


@dataclass(frozen=True)
class Found:
    """What a search found in a table.

    Args:
        table: location.
        version: that was searched.
        model: name of the model that made the queries' vectors; None where none was needed.
        identity: of that model.
        ways: how the column of vectors, and that of words, were searched.
        answers: of each query, in the order given: texts, pictures, rows, words.
        notes: what else to know.
    """

    table: str
    version: int
    model: str | None
    identity: str | None
    ways: Sequence[Way]
    answers: Sequence[Answer]
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            "model": self.model,
            "identity": self.identity,
            "ways": [asdict(way) for way in self.ways],
            "answers": [
                {
                    "by": answer.by,
                    "query": answer.query,
                    "words": answer.words,
                    "hits": [asdict(hit) | {"distance": hit.distance} for hit in answer.hits],
                }
                for answer in self.answers
            ],
            "notes": list(self.notes),
        }

    def remarks(self) -> list[str]:
        """Lines beside the rows: how they were searched, and what else to know."""
        return [printable(str(one)) for one in (*self.ways, *self.notes)]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.answers), *self.remarks()])
