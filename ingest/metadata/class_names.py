"""Names of classes that Hugging Face `datasets` writes into a parquet file's schema, as a column of texts.

There a column `label` holds numbers, and the schema's metadata says what they mean. Beside it comes `label_name`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from clipdata.json_parsing import parse_json

SUFFIX = "_name"
ClassNames = Mapping[str, Sequence[str]]


def of(schema: pa.Schema) -> ClassNames:
    """Column → names of its classes, for columns of whole numbers that have any."""
    try:
        about = parse_json((schema.metadata or {})[b"huggingface"])
        features = about["info"]["features"]
        named = {column: said["names"] for column, said in features.items() if said.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {
        column: names
        for column, names in named.items()
        if isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and schema.names.count(column) == 1
        and pa.types.is_integer(schema.field(column).type)
    }


def added_to(schema: pa.Schema) -> pa.Schema:
    """The schema with a column of names behind the others for each column of classes."""
    for column in of(schema):
        if column + SUFFIX not in schema.names:
            schema = schema.append(pa.field(column + SUFFIX, pa.string()))
    return schema


def added(batch: pa.RecordBatch, names: ClassNames) -> pa.RecordBatch:
    """The batch with a column of names for each column of classes; a number without a name has none."""
    for column, of_column in names.items():
        if column + SUFFIX not in batch.schema.names:
            said = [_name(value, of_column) for value in batch.column(column).to_pylist()]
            batch = batch.append_column(column + SUFFIX, pa.array(said, pa.string()))
    return batch


def _name(number: int | None, names: Sequence[str]) -> str | None:
    return names[number] if number is not None and 0 <= number < len(names) else None
