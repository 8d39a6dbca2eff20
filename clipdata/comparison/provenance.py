"""Provenance: which models, pictures and score lists are behind a column, by the lineage that the columns carry.

Every link from a column to an input is held to the fingerprint that the lineage names, so that nothing is said of a
column by an input that was made anew since. Reads schemas, and no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from clipdata.answers import is_number
from clipdata.errors import LineageMismatchError
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.schema import is_binary, is_list
from clipdata.storage import redact

_PICK = "Pick"


@dataclass(frozen=True)
class Provenance:
    """What is behind a column.

    Args:
        lineage: of the column, or None.
        models: identity → name of the nearest models behind it: its step's own, else those behind its inputs.
        images: columns of bytes that it was made from, over any number of steps.
        scores: the list column that it was picked from, while that is there.
        index: the column of places that it was picked by.
        made_by: the step in words: of a picked column the one that made the scores.
        maker: lineage of the score lists that a picked column was picked from, while they are there.
    """

    lineage: Lineage | None = None
    models: Mapping[str, str | None] = field(default_factory=dict)
    images: frozenset[str] = frozenset()
    scores: str | None = None
    index: str | None = None
    made_by: str | None = None
    maker: Lineage | None = None

    @property
    def model(self) -> str | None:
        """Identity of the model; several are listed."""
        return ", ".join(sorted(self.models)) or None

    @property
    def model_name(self) -> str | None:
        """What people call it."""
        return ", ".join(name for _, name in sorted(self.models.items()) if name) or None


def trace(table: Table, column: str) -> Provenance:
    """Follow the lineage of a column through its inputs.

    Raises:
        LineageMismatchError: an input, of this column or of one before it, was made anew since.
    """
    lineage = table.lineage(column)
    if lineage is None:
        return Provenance()
    inputs = {name: _input(table, column, lineage, name) for name in lineage.inputs if name in table.schema.names}
    own = {lineage.model: lineage.model_name} if lineage.model else {}
    bytes_read = frozenset(name for name in inputs if is_binary(table.schema.field(name).type))
    scores, index = _picked(table.schema, lineage)
    maker = inputs[scores].lineage if scores else None
    return Provenance(
        lineage=lineage,
        models=own or {name: called for origin in inputs.values() for name, called in origin.models.items()},
        images=bytes_read.union(*(origin.images for origin in inputs.values())),
        scores=scores,
        index=index,
        made_by=(maker or lineage).describe(),
        maker=maker,
    )


def _input(table: Table, column: str, lineage: Lineage, name: str) -> Provenance:
    origin = trace(table, name)
    found = origin.lineage.fingerprint if origin.lineage else None
    if found != lineage.upstream.get(name):
        raise LineageMismatchError(
            f"compare: {column!r} was made from an earlier {name!r} than {redact(table.uri)} has at version "
            f"{table.version}; what is said of {name!r} now is not true of {column!r}",
            hint=f"map {column!r} again with overwrite, or open the version of the table in which both agree",
        )
    return origin


def _picked(schema: pa.Schema, lineage: Lineage) -> tuple[str | None, str | None]:
    """The scores and the places of a picked column; no other list that a step reads holds the scores of choices."""
    if lineage.step != _PICK or len(lineage.inputs) != 2:
        return None, None
    values, index = lineage.inputs
    kind = schema.field(values).type if values in schema.names else None
    holds_numbers = kind is not None and is_list(kind) and is_number(kind.value_type)
    return (values if holds_numbers else None), index
