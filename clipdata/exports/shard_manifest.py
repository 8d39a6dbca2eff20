"""The record that an export keeps beside its shards: the columns in their own types, and how far it came.

`sizes.json` is WebDataset's (shard → number of samples). `clipdata.json` is ours: with it, shards become the same table
again. Knows locations and Arrow schemas; nothing of archives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from clipdata.errors import StorageError
from clipdata.json_parsing import parse_json
from clipdata.plurals import counted
from clipdata.storage import Storage, join, redact

NAME = "clipdata.json"
SIZES = "sizes.json"
SCHEMA_VERSION = 1
_MAX_BYTES = 16 << 20
_TIMES = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us") for zone in (None, "UTC")]
_NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
_FLOATS = [pa.float16(), pa.float32(), pa.float64()]
_OTHERS = [pa.string(), pa.large_string(), pa.bool_(), pa.date32()]
_PLAIN_TYPES = {str(kind): kind for kind in (*_TIMES, *_NUMBERS, *_FLOATS, *_OTHERS)}
_LIST = re.compile(r"^(list|large_list|fixed_size_list)<\w+: (.{1,200}?)(?: not null)?>(?:\[(\d{1,6})\])?$")


@dataclass(frozen=True)
class Manifest:
    """What was asked of an export and what is done.

    Args:
        request: table, version, clause, columns and sizes asked for; equal requests write equal shards.
        columns: schema of the fields in the JSON of each sample.
        shards: name of each finished shard → what it holds.
        complete: whether all shards are there, and no other.
        replaces: names of files of a former export that are to go, as long as they may be there.
    """

    request: Mapping[str, Any]
    columns: pa.Schema
    shards: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    complete: bool = False
    replaces: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Text of `clipdata.json`."""
        record = {
            "schema_version": SCHEMA_VERSION,
            "request": dict(self.request),
            "columns": {column.name: str(column.type) for column in self.columns},
            "shards": {name: dict(counts) for name, counts in self.shards.items()},
            "complete": self.complete,
            **({"replaces": list(self.replaces)} if self.replaces else {}),
        }
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is something else.
        """
        record = parse_json(text)
        if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"expected schema_version {SCHEMA_VERSION}")
        try:
            columns = pa.schema([(name, type_named(text)) for name, text in record["columns"].items()])
            replaces = tuple(record.get("replaces", ()))
            if any("/" in name or "\\" in name for name in (*record["shards"], *replaces)):
                raise ValueError("a shard's name leads out of the folder")
            return cls(record["request"], columns, record["shards"], bool(record["complete"]), replaces)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a field is missing or damaged: {error}") from error


def type_named(text: str) -> pa.DataType:
    """The type that Arrow writes as `text`, among those that go through JSON.

    Raises:
        ValueError: it is no such type.
    """
    found = _LIST.match(text)
    if found is None:
        if text in _PLAIN_TYPES:
            return _PLAIN_TYPES[text]
        raise ValueError(f"unknown type {text[:80]!r}")
    kind, inner, size = found.groups()
    if kind == "fixed_size_list":
        return pa.list_(type_named(inner), int(size or "0"))
    return pa.large_list(type_named(inner)) if kind == "large_list" else pa.list_(type_named(inner))


def load_manifest(folder: str, storage: Storage) -> Manifest | None:
    """The manifest of a folder of shards, or None when it has none.

    Raises:
        StorageError: there is one, and it cannot be read.
    """
    fs, path = storage.filesystem(join(folder, NAME))
    if not fs.exists(path):
        return None
    if fs.info(path)["size"] > _MAX_BYTES:
        raise StorageError(
            f"{redact(folder)}/{NAME} is larger than {counted(_MAX_BYTES, 'byte')}; expected the record of an export"
        )
    try:
        return Manifest.from_json(fs.cat_file(path))
    except ValueError as error:
        raise StorageError(
            f"{redact(folder)}/{NAME} is not the record of an export: {error}", hint="remove it, or name the columns"
        ) from error
