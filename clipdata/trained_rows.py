"""Trained rows: which rows and pictures a model was trained on, so that whoever compares can tell seen from unseen.

A training writes a `TrainedRows` beside its weights; an encoder loaded from them carries it; the lineage of every
column that the encoder makes names it, and `map` keeps it beside the table. Rows and pictures are known by 64-bit
digests, so that those of other tables and versions are recognised too. This module knows Arrow and numpy, no table and
no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.errors import StorageError

FOLDER = "trained_rows"  # beside a table (in its state folder) and in the folder of a model


@dataclass(frozen=True, eq=False)
class TrainedRows:
    """The rows that one training read.

    Args:
        table: location of the table, without secrets.
        version: of the table.
        where: filter of the rows, or None.
        num_rows: rows trained on.
        keys: uint64 [K], sorted and distinct digests of the rows' keys; empty for a table without a key.
        pictures: uint64 [P], sorted and distinct digests of the rows' pictures; empty where nothing tells them apart.
    """

    table: str
    version: int
    where: str | None
    num_rows: int
    keys: np.ndarray
    pictures: np.ndarray

    @cached_property
    def digest(self) -> str:
        """Hex digest of keys and pictures: the name under which they are stored."""
        whole = hashlib.sha256(len(self.keys).to_bytes(8, "little"))
        for values in (self.keys, self.pictures):
            whole.update(values.astype("<u8").tobytes())
        return whole.hexdigest()[:32]

    def to_record(self) -> dict[str, Any]:
        """JSON values, without the digests of single rows: what a lineage holds."""
        return {
            "table": self.table,
            "version": self.version,
            "where": self.where,
            "num_rows": self.num_rows,
            "digest": self.digest,
        }

    def to_bytes(self) -> bytes:
        """An Arrow IPC file that `from_bytes` reads."""
        sink = pa.BufferOutputStream()
        kinds = np.concatenate([np.zeros(len(self.keys), bool), np.ones(len(self.pictures), bool)])
        rows = pa.table({"digest": np.concatenate([self.keys, self.pictures]), "is_picture": kinds})
        record = {name: "" if value is None else str(value) for name, value in self.to_record().items()}
        rows = rows.replace_schema_metadata({**record, "filtered": str(self.where is not None)})
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        return sink.getvalue().to_pybytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainedRows:
        """Read what `to_bytes` wrote.

        Raises:
            StorageError: the bytes are something else, or were changed.
        """
        try:
            rows = pa.ipc.open_file(pa.py_buffer(data)).read_all()
            said = {name.decode(): text.decode() for name, text in (rows.schema.metadata or {}).items()}
            digests, is_picture = (rows.column(name).to_numpy() for name in ("digest", "is_picture"))
            read = cls(
                table=said["table"],
                version=int(said["version"]),
                where=said["where"] if said["filtered"] == "True" else None,
                num_rows=int(said["num_rows"]),
                keys=digests[~is_picture],
                pictures=digests[is_picture],
            )
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            raise StorageError(f"the record of the rows that a model was trained on cannot be read: {error}") from error
        if read.digest != said["digest"]:
            raise StorageError(f"the record of the rows that a model was trained on was changed: {said['digest']}")
        return read


def digests(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """64-bit digests of texts, the same for the same text in whatever Arrow type it is held.

    Args:
        values: strings or integers [N], none null.

    Returns:
        uint64 [N].
    """
    distinct = values.dictionary_encode() if not pa.types.is_dictionary(values.type) else values
    encoded = distinct.combine_chunks() if isinstance(distinct, pa.ChunkedArray) else distinct
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.empty(0, np.uint64)
    texts = encoded.dictionary.cast(pa.large_string()).to_pylist()
    found = np.array([_digest(text) for text in texts], np.uint64)
    return found[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, np.uint64)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def picture_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Columns that tell pictures apart, best first: a row's picture is known by the first that is not null."""
    return tuple(name for name in ("sha256", "etag", "uri") if name in schema.names)


def picture_texts(rows: Mapping[str, pa.Array]) -> pa.Array:
    """What each row's picture is known by: its sha256, else its location and etag; null where there is neither.

    Args:
        rows: of the columns that `picture_columns` named.
    """
    import pyarrow.compute as pc

    known = {name: column.cast(pa.large_string()) for name, column in rows.items()}
    if "uri" in known and "etag" in known:
        located = pc.binary_join_element_wise(known["uri"], known["etag"], pa.scalar("\n", pa.large_string()))
    else:
        located = known.get("uri", known.get("etag"))
    best = [column for column in (known.get("sha256"), located) if column is not None]
    if not best:
        return pa.nulls(len(next(iter(rows.values()))) if rows else 0, pa.large_string())
    return pc.coalesce(*best)
