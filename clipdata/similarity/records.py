"""What is like what, as a person, a script and a notebook read it. Knows no model and no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clipdata.printable import printable

Kind = Literal["image-text", "text-text", "image-image"]
"""What is compared with what: each of the first among all of the second."""


@dataclass(frozen=True)
class Match:
    """One candidate of a row.

    Args:
        place: among the candidates, from 0.
        name: the text itself, or where the picture is.
        probability: softmax over the row's candidates of cosine times the model's scale.
        cosine: of the two features, from -1 to 1.
    """

    place: int
    name: str
    probability: float
    cosine: float


@dataclass(frozen=True)
class Ranking:
    """A text or picture with what is nearest to it.

    Args:
        place: among the texts or pictures, from 0.
        name: the text itself, or where the picture is.
        matches: the nearest first.
    """

    place: int
    name: str
    matches: Sequence[Match]


@dataclass(frozen=True)
class Similarity:
    """What a model finds like what.

    Args:
        model: as it was named.
        identity: of the model.
        logit_scale: that cosines were multiplied with before the softmax.
        texts: that were compared.
        images: where the pictures are that were compared.
        tables: kind → a ranking for each text or picture. A text among texts, or a picture among pictures, has all
            but itself as candidates.
        refused: where a picture is that cannot be used → why.
        notes: what a reader should know beside the numbers.
    """

    model: str
    identity: str
    logit_scale: float
    texts: Sequence[str]
    images: Sequence[str]
    tables: Mapping[Kind, Sequence[Ranking]]
    refused: Mapping[str, str]
    notes: Sequence[str]

    def records(self) -> Iterator[dict[str, Any]]:
        """Every match as one flat record: the lines of a CSV file."""
        for kind, rankings in self.tables.items():
            for ranking in rankings:
                for rank, match in enumerate(ranking.matches, 1):
                    yield {
                        "table": kind,
                        "place": ranking.place,
                        "name": ranking.name,
                        "rank": rank,
                        "match_place": match.place,
                        "match": match.name,
                        "probability": match.probability,
                        "cosine": match.cosine,
                    }

    def title(self, kind: Kind) -> str:
        """What a table holds, in words."""
        left, right = kind.split("-")
        candidates = self.images if right == "image" else self.texts
        num_candidates = len(candidates) - (left == right)
        others = "other " if left == right else ""
        return f"{kind}: each {left} among {num_candidates:,} {others}{right}{'s' if num_candidates != 1 else ''}"

    def remarks(self) -> list[str]:
        """What was refused and what should be known, a line each."""
        return [f"refused: {name}: {why}" for name, why in self.refused.items()] + [f"note: {n}" for n in self.notes]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **{name: getattr(self, name) for name in ("model", "identity", "logit_scale")},
            "texts": list(self.texts),
            "images": list(self.images),
            "tables": {kind: [asdict(ranking) for ranking in rankings] for kind, rankings in self.tables.items()},
            "refused": dict(self.refused),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        blocks = [[f"{self.model}: scale {self.logit_scale:.4g}"]]
        for kind, rankings in self.tables.items():
            lines = [self.title(kind)]
            for ranking in rankings:
                lines.append(f"  {ranking.name}")
                lines += [f"    {shown_probability(match.probability):>7}  {match.name}" for match in ranking.matches]
            blocks.append(lines)
        blocks.append(self.remarks())
        return "\n\n".join("\n".join(map(printable, block)) for block in blocks if block)


def shown_probability(probability: float) -> str:
    """A probability in seven cells at most, also a very small one."""
    return f"{probability:.4f}" if probability >= 1e-3 or not probability else f"{probability:.1e}"
