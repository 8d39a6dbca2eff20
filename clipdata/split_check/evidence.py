"""Evidence: which columns of a table tell that two rows show or say the same. It knows schemas and lineages."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.lineage import Lineage
from clipdata.schema import is_of

BYTES, PIXELS, NEAR, CAPTIONS, VALUES = (
    "equal bytes",
    "equal pixels",
    "near duplicates",
    "equal captions",
    "equal values",
)
_BY_STEP = {
    "PictureDigest": BYTES,
    "PixelDigest": PIXELS,
    "NearDuplicates": NEAR,
    "EmbeddingDuplicates": NEAR,
    "CleanCaptions": CAPTIONS,
}
_BY_NAME = {"sha256": BYTES, "caption": CAPTIONS, "captions": CAPTIONS}
_OF_PICTURES = (BYTES, PIXELS, NEAR)


def kind_of(field: pa.Field) -> str:
    """What equal values of a column mean."""
    lineage = Lineage.of(field)
    if lineage is not None and lineage.step in _BY_STEP:
        return _BY_STEP[lineage.step]
    return _BY_NAME.get(field.name, VALUES) if is_of("captions", field.type) else VALUES


def evidence_columns(schema: pa.Schema, split: str) -> tuple[str, ...]:
    """Columns that are evidence by what made them, or by the name that the project gives to such."""
    found = [field for field in schema if field.name != split and kind_of(field) != VALUES]
    return tuple(field.name for field in found)


def picture_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Those of them that speak of pictures beyond their bytes."""
    return tuple(field.name for field in schema if kind_of(field) in _OF_PICTURES[1:])


def caption_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Those of them that hold captions."""
    return tuple(field.name for field in schema if kind_of(field) == CAPTIONS)


def require_evidence(schema: pa.Schema, columns: Sequence[str]) -> None:
    """Hold columns to types whose values can be told equal.

    Raises:
        SchemaError: names every other one.
    """
    wrong = [
        f"column {name!r} holds {schema.field(name).type}"
        for name in columns
        if not is_of("labels", schema.field(name).type)
    ]
    if wrong:
        raise SchemaError(f"check-split: {'; '.join(wrong)}; expected texts or integers, or lists of these")
