"""Features: an Arrow schema in the words of Hugging Face's `datasets`, so that it shows pictures as pictures.

They stand in a parquet file's schema and in a data set's card. Of two spellings the older is written where both are
read. Nothing of that library is needed to say them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from clipdata.schema import is_picture_struct

KEY = b"huggingface"
IMAGE: Mapping[str, str] = {"_type": "Image"}


def features_of(schema: pa.Schema, pictures: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The features of a schema; None when a column has none.

    Args:
        pictures: columns of bytes that are pictures; structs `{bytes, path}` are so by themselves.
    """
    features = {column.name: IMAGE if column.name in pictures else feature_of(column.type) for column in schema}
    return None if None in features.values() else features


def schema_metadata(features: Mapping[str, Any]) -> bytes:
    """What a parquet file's schema says under `KEY`."""
    return json.dumps({"info": {"features": features}}).encode()


def feature_of(kind: pa.DataType) -> Any:
    """The feature of a type; None where there is none, as for maps and unions."""
    if is_picture_struct(kind):
        return dict(IMAGE)
    if pa.types.is_dictionary(kind):
        return feature_of(kind.value_type)
    if pa.types.is_struct(kind):
        inner = {kind.field(place).name: feature_of(kind.field(place).type) for place in range(kind.num_fields)}
        return None if None in inner.values() else inner
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        item = feature_of(kind.value_type)
        if item is None:
            return None
        if pa.types.is_large_list(kind):
            return {"feature": item, "_type": "LargeList"}
        if pa.types.is_fixed_size_list(kind):
            return {"feature": item, "length": kind.list_size, "_type": "List"}
        return {"feature": item, "_type": "List"}
    name = _value_name(kind)
    return {"dtype": name, "_type": "Value"} if name is not None else None


def _value_name(kind: pa.DataType) -> str | None:
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.unit}, tz={kind.tz}]" if kind.tz else f"timestamp[{kind.unit}]"
    if pa.types.is_decimal128(kind) or pa.types.is_decimal256(kind):
        return f"decimal{kind.bit_width}({kind.precision}, {kind.scale})"
    names = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64", pa.bool_(): "bool"}
    names |= {pa.date32(): "date32", pa.date64(): "date64", pa.null(): "null"}
    if kind in names:
        return names[kind]
    tests = (
        *(pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_binary),
        *(pa.types.is_large_binary, pa.types.is_duration, pa.types.is_time),
    )
    return str(kind) if any(test(kind) for test in tests) else None
