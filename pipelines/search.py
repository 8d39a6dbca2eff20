"""Pictures of several tables searched together by text: for each the best, and whether a text is its own caption.

It knows tables and encoders, and no pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import clipdata as cd
from clipdata.column_names import quoted
from clipdata.named_rows import NAMES
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import redact

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.lance_io.table import Table


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
        lines = [f"search by text among {counted(self.pictures, 'picture')}"]
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
        column: of features, as `ImageEmbedding` makes it.
        captions: column of lists of captions, to tell whether a text is one of them.
        top: pictures of each text.
    """
    found: dict[str, dict[str, Hit]] = {text: {} for text in texts}
    pictures = 0
    for table in tables:
        names = table.schema.names
        name = next((one for one in NAMES if one in names), None)
        shown = [one for one in dict.fromkeys([name, "split", captions]) if one is not None and one in names]
        answers = cd.search(
            table, text=list(texts), column=column, model=encoder, top=top, distinct=name, columns=shown
        ).answers
        pictures += _num_pictures(table, column, name)
        for answer in answers:
            for hit in answer.hits:
                called = redact(str(hit.values[name])) if name is not None else hit.row
                own = answer.query in (hit.values.get(captions) or ()) if captions else None
                one = Hit(called, float(hit.cosine or 0.0), hit.values.get("split"), own)
                known = found[answer.query].get(called)
                if known is None or known.score < one.score:
                    found[answer.query][called] = one
    best = {text: sorted(hits.values(), key=lambda hit: -hit.score)[:top] for text, hits in found.items()}
    return Search(pictures, best)


def _num_pictures(table: Table, column: str, name: str | None) -> int:
    what = f"DISTINCT {quoted(name)}" if name is not None else "*"
    sql = f"SELECT count({what}) AS n FROM dataset WHERE {quoted(column)} IS NOT NULL"  # noqa: S608 - names are quoted
    return int(table.query(sql).column("n")[0].as_py())
