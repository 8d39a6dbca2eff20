"""From ranked rows to what is told of them: how each is called, and the values that are shown beside it.

It knows tables and records, and nothing of queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipdata import schema as schemas
from clipdata.errors import UsageError
from clipdata.lance_io.table import Table
from clipdata.named_rows import NAMES, names_of
from clipdata.similarity.found import Hit
from clipdata.similarity.ranks import Ranked

_SHOWN_LETTERS = 200


def hits_of(
    table: Table, ranked: Ranked, shown: Sequence[str], cosines: Ranked | None, *, is_cosine: bool = False
) -> list[Hit]:
    """Rows as they are told.

    Args:
        ranked: the rows.
        shown: columns to read of them.
        cosines: of rows with a vector near the query's; None where vectors were not searched.
        is_cosine: whether the scores of `ranked` are the cosines themselves.
    """
    if not len(ranked):
        return []
    near = dict(zip(cosines.row_K.tolist(), cosines.score_K.tolist(), strict=True)) if cosines is not None else {}
    values: Sequence[Mapping[str, Any]] = [{}] * len(ranked)
    if shown:
        values = [_cut(row) for row in table.take_ids(ranked.row_K, shown).to_pylist()]
    told = zip(names_of(table, ranked.row_K), ranked.row_K.tolist(), ranked.score_K.tolist(), values, strict=True)
    return [
        Hit(rank, name, near.get(row), None if is_cosine else score, held)
        for rank, (name, row, score, held) in enumerate(told, start=1)
    ]


def shown_columns(table: Table, named: Sequence[str] | None, searched: Sequence[str | None]) -> list[str]:
    """Columns to show: those that are named, or the picture's name and what is text among the columns searched.

    Raises:
        SchemaError: a column does not exist.
        UsageError: one holds bytes of pictures, or `named` is no list.
    """
    schema = table.schema
    if named is None:
        texts = [one for one in searched if one in schema.names and schemas.is_of("captions", schema.field(one).type)]
        names = [one for one in NAMES if one in schema.names and one != table.key][:1]
        return list(dict.fromkeys([*names, *filter(None, texts)]))
    if isinstance(named, str):
        raise UsageError(f"search: columns is {named!r}; expected a list of names", hint=f"columns=[{named!r}]")
    table.require(named, verb="search")
    held = [name for name in named if schemas.is_binary(schema.field(name).type)]
    if held:
        raise UsageError(f"search: column {held[0]!r} holds bytes of pictures, which a search does not read")
    return list(dict.fromkeys(named))


def _cut(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if not isinstance(value, str) or len(value) <= _SHOWN_LETTERS else f"{value[:_SHOWN_LETTERS]}…"
        for name, value in row.items()
    }
