"""Pictures searched by text: a model's features in a column, and the best of them for each text.

It knows tables and encoders, and no pipeline. Shapes: Q texts, N pictures of a batch, D shared space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipdata.printable import printable
from clipdata.storage import redact

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.lance_io.table import Table

NAMES = ("filename", "file_name", "image_id", "path", "uri")
"""Columns that say how a picture is called, the first that is there."""


@dataclass(frozen=True)
class Hit:
    """A picture that was found.

    Args:
        name: how it is called.
        score: cosine of its features and the text's.
        split: of its row; None where it has none.
        is_own: whether the text is one of its captions; None where nothing tells.
    """

    name: str
    score: float
    split: str | None
    is_own: bool | None = None


@dataclass(frozen=True)
class Search:
    """What was found for each text, the best first.

    Args:
        pictures: how many were searched.
        hits: text → pictures.
    """

    pictures: int
    hits: Mapping[str, Sequence[Hit]]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        queries = [{"text": text, "hits": [asdict(hit) for hit in hits]} for text, hits in self.hits.items()]
        return {"pictures": self.pictures, "queries": queries}

    def __str__(self) -> str:
        lines = [f"search by text among {self.pictures:,} pictures"]
        for text, hits in self.hits.items():
            lines.append(f"  {printable(text)}")
            lines += [f"    {hit.score:.3f}  {printable(hit.name)}{_remark(hit)}" for hit in hits]
        return "\n".join(lines)


def _remark(hit: Hit) -> str:
    told = [*([hit.split] if hit.split else []), *(["its own picture"] if hit.is_own else [])]
    return f"  ({', '.join(told)})" if told else ""


def search_pictures(
    tables: Sequence[Table],
    encoder: Encoder,
    texts: Sequence[str],
    column: str,
    *,
    captions: str | None = None,
    top: int = 5,
) -> Search:
    """Find the pictures that a model takes for nearest to each text; a picture that stands in several rows counts once.

    Args:
        tables: with a column of the encoder's features; their pictures are searched together.
        encoder: makes the features of the texts.
        texts: what to search for.
        column: of features, L2-normalised, as `ImageEmbedding` makes it.
        captions: column of lists of captions, to tell whether a text is one of them.
        top: pictures of each text.
    """
    text_QD = encoder.encode_texts(list(texts)).float().cpu().numpy()
    best: list[dict[str, Hit]] = [{} for _ in texts]
    seen: set[str] = set()
    for table in tables:
        name = next((one for one in NAMES if one in table.schema.names), table.key)
        extra = [one for one in ("split", captions, name) if one is not None and one in table.schema.names]
        for number, batch in enumerate(table.scan([column, *extra], where=f"`{column}` IS NOT NULL")):
            image_ND = batch.column(column).flatten().to_numpy().reshape(batch.num_rows, -1)
            rows = batch.select(extra).to_pylist()
            names = [redact(str(row[name])) if name else f"row {number}.{at}" for at, row in enumerate(rows)]
            seen.update(names)
            score_QN = text_QD @ image_ND.T
            for query, score_N in enumerate(score_QN):
                for at in np.argsort(-score_N, kind="stable")[: 2 * top]:
                    own = texts[query] in (rows[at].get(captions) or ()) if captions else None
                    hit = Hit(names[at], float(score_N[at]), rows[at].get("split"), own)
                    known = best[query].get(hit.name)
                    if known is None or known.score < hit.score:
                        best[query][hit.name] = hit
                ranked = sorted(best[query].values(), key=lambda hit: -hit.score)[:top]
                best[query] = {hit.name: hit for hit in ranked}
    return Search(len(seen), {text: list(found.values()) for text, found in zip(texts, best, strict=True)})
