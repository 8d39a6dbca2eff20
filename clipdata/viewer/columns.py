"""Columns as the page knows them: their kind, what made them, and which of them a card shows when nobody chose.

It knows Arrow schemas and lineage, and reads no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from clipdata.lineage import Lineage
from clipdata.named_rows import NAMES
from clipdata.schema import ERROR_SUFFIX, is_binary, is_list, is_picture_struct, is_text

Family = Literal["number", "text", "boolean", "texts", "numbers", "vector", "time", "bytes", "other"]
_MAP_PAIRS = (("x", "y"), ("umap_x", "umap_y"), ("tsne_x", "tsne_y"), ("pca_x", "pca_y"), ("map_x", "map_y"))
_BORING = ("sha256", "etag", "uri", "format", "mtime", "bytes", "width", "height")
_CARD_TEXTS = 2


@dataclass(frozen=True)
class ShownColumn:
    """A column.

    Args:
        name: of it.
        type: Arrow's word.
        family: what can be done with it.
        is_key: it tells rows apart.
        made_by: what made it, in words; None where no step did.
        model: of that step, as the person called it.
    """

    name: str
    type: str
    family: Family
    is_key: bool
    made_by: str | None
    model: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def shown_columns(schema: pa.Schema, key: str | None) -> list[ShownColumn]:
    """All columns of a schema, in its order."""
    found = []
    for column in schema:
        lineage = Lineage.of(column)
        made_by = lineage.describe() if lineage else None
        model = lineage.model_name if lineage else None
        family = family_of(column.type)
        found.append(ShownColumn(column.name, str(column.type), family, column.name == key, made_by, model))
    return found


def family_of(kind: pa.DataType) -> Family:
    """What can be done with values of a type."""
    if pa.types.is_dictionary(kind):
        return family_of(kind.value_type)
    if is_binary(kind) or is_picture_struct(kind):
        return "bytes"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if is_text(kind):
        return "text"
    if pa.types.is_temporal(kind):
        return "time"
    if is_list(kind):
        if pa.types.is_fixed_size_list(kind):
            return "vector"
        inner = family_of(kind.value_type)
        return "texts" if inner == "text" else "numbers" if inner == "number" else "other"
    return "other"


def title_of(columns: Sequence[ShownColumn]) -> str | None:
    """The column by which a card is called: the name of the picture, else the key."""
    names = {column.name for column in columns if column.family in ("text", "number")}
    key = next((column.name for column in columns if column.is_key), None)
    return next((name for name in NAMES if name in names), key)


def texts_of(columns: Sequence[ShownColumn]) -> list[str]:
    """The first columns of texts that say something of the picture."""
    title = title_of(columns)
    passed = {*_BORING, *NAMES, title}
    return [
        column.name
        for column in columns
        if column.family in ("text", "texts")
        and column.name not in passed
        and not column.is_key
        and not column.name.endswith(ERROR_SUFFIX)
    ][:_CARD_TEXTS]


def score_pairs(columns: Sequence[ShownColumn]) -> list[tuple[str, str]]:
    """Columns of numbers that are likely a score before and after: one is called as the other, and something more."""
    names = [column.name for column in columns if column.family == "number" and column.name not in _BORING]
    return [(one, two) for one in names for two in names if two.startswith(f"{one}_")]


def map_axes(columns: Sequence[ShownColumn]) -> list[tuple[str, str | None]]:
    """What a map of the rows can be drawn from: pairs of columns, and columns of vectors."""
    numbers = {column.name for column in columns if column.family == "number"}
    pairs: list[tuple[str, str | None]] = [pair for pair in _MAP_PAIRS if set(pair) <= numbers]
    return pairs + [(column.name, None) for column in columns if column.family == "vector"]
