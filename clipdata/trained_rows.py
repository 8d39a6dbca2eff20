"""Trained rows: which rows and pictures a model was trained on, so that whoever compares can tell seen from unseen.

A training writes a `TrainedRows` beside its weights; an encoder loaded from them carries it; the lineage of every
column that the encoder makes names it, and `map` keeps it beside the table. Rows and pictures are known by 64-bit
digests, so that those of other tables and versions are recognised too; a record says of how many rows it has none,
since an empty set of digests is no evidence. This module knows Arrow, numpy and the row contract, no table, no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import StorageError
from clipdata.json_parsing import parse_json
from clipdata.lineage import Lineage
from clipdata.schema import image_column, is_binary, is_text

FOLDER = "trained_rows"  # beside a table (in its state folder) and in the folder of a model
OF_A_RUN = "trained_rows.arrow"  # in the folder of a run
LOCATED = "uri, etag"


@dataclass(frozen=True, eq=False)
class TrainedRows:
    """The rows that one training read.

    Args:
        table: location of the table, without secrets.
        version: of the table.
        where: filter of the rows, or None.
        num_rows: rows trained on.
        keys: uint64 [K], sorted and distinct digests of the rows' keys.
        pictures: uint64 [P], sorted and distinct digests of the rows' pictures.
        num_without_key: rows whose key is not among `keys`: all of them where the table has no key.
        num_without_picture: rows whose picture is not among `pictures`, because nothing tells it from others.
        pictures_by: what the pictures are known by: "sha256", "uri, etag", "uri", "etag".
        images: columns of the pictures; none in particular stands for the table's own.
    """

    table: str
    version: int
    where: str | None
    num_rows: int
    keys: np.ndarray
    pictures: np.ndarray
    num_without_key: int
    num_without_picture: int
    pictures_by: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, keys_N: np.ndarray, pictures_N: np.ndarray, *, pictures_by: Collection[str] = (), **described: Any
    ) -> TrainedRows:
        """The record of N rows.

        Args:
            keys_N: uint64, digest of each row's key, 0 where it has none.
            pictures_N: uint64, digest of each row's picture, 0 where nothing tells it apart.
            pictures_by: what these are digests of.
            described: the other fields.
        """
        keys, pictures = np.unique(keys_N), np.unique(pictures_N)
        return cls(
            num_rows=len(keys_N),
            keys=keys[keys != 0],
            pictures=pictures[pictures != 0],
            num_without_key=int((keys_N == 0).sum()),
            num_without_picture=int((pictures_N == 0).sum()),
            pictures_by=tuple(sorted(pictures_by)),
            **described,
        )

    @cached_property
    def digest(self) -> str:
        """Hex digest of the whole record: the name under which it is stored."""
        whole = json.dumps([self._said(), self.rows_digest], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    @cached_property
    def rows_digest(self) -> str:
        """Hex digest of the keys and pictures alone: equal for equal rows of any version of a table."""
        rows = hashlib.sha256(len(self.keys).to_bytes(8, "little"))
        for values in (self.keys, self.pictures):
            rows.update(values.astype("<u8").tobytes())
        return rows.hexdigest()[:32]

    def to_record(self) -> dict[str, Any]:
        """JSON values, without the digests of single rows: what a lineage holds."""
        return {**self._said(), "digest": self.digest}

    def _said(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "version": self.version,
            "where": self.where,
            "num_rows": self.num_rows,
            "num_without_key": self.num_without_key,
            "num_without_picture": self.num_without_picture,
            "pictures_by": list(self.pictures_by),
            "images": list(self.images),
        }

    def to_bytes(self) -> bytes:
        """An Arrow IPC file that `from_bytes` reads."""
        sink = pa.BufferOutputStream()
        kinds = np.concatenate([np.zeros(len(self.keys), bool), np.ones(len(self.pictures), bool)])
        rows = pa.table({"digest": np.concatenate([self.keys, self.pictures]), "is_picture": kinds})
        rows = rows.replace_schema_metadata({"record": json.dumps(self.to_record())})
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
            said = parse_json((rows.schema.metadata or {})[b"record"])
            digest = said.pop("digest")
            said |= {name: tuple(said[name]) for name in ("pictures_by", "images")}
            digests, is_picture = (rows.column(name).to_numpy() for name in ("digest", "is_picture"))
            read = cls(keys=digests[~is_picture], pictures=digests[is_picture], **said)
        except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            said = str(error) if isinstance(error, pa.ArrowException) else "it holds something else"
            raise StorageError(f"the record of the rows that a model was trained on cannot be read: {said}") from error
        if read.digest != digest:
            raise StorageError(f"the record of the rows that a model was trained on was changed: {digest}")
        return read


def digests(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """64-bit digests of texts, the same for the same text in whatever Arrow type it is held.

    Args:
        values: strings, bytes, or what can be cast to strings [N], none null.

    Returns:
        uint64 [N].
    """
    distinct = values.dictionary_encode() if not pa.types.is_dictionary(values.type) else values
    encoded = distinct.combine_chunks() if isinstance(distinct, pa.ChunkedArray) else distinct
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.empty(0, np.uint64)
    named = encoded.dictionary
    named = named.cast(pa.large_binary() if _is_bytes(named.type) else pa.large_string())
    found = np.array([_digest(value) for value in named.to_pylist()], np.uint64)
    return found[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, np.uint64)


def digests_or_0(values: pa.Array | None, num_rows: int) -> np.ndarray:
    """Digests of values as uint64 [num_rows], 0 for a null; no text has the digest 0 in practice."""
    found = np.zeros(num_rows, np.uint64)
    if values is not None and values.null_count < num_rows:
        found[values.is_valid().to_numpy(zero_copy_only=False)] = digests(values.drop_null())
    return found


def _digest(value: str | bytes) -> int:
    content = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _is_bytes(kind: pa.DataType) -> bool:
    return is_binary(kind) or bool(pa.types.is_fixed_size_binary(kind))


def shown_image(schema: pa.Schema) -> str | None:
    """The column of bytes whose picture `sha256`, `etag` and `uri` speak of: the table's own, or the only one."""
    held = [field.name for field in schema if is_binary(field.type)]
    return image_column(schema) or (held[0] if len(held) == 1 else None)


def images_behind(schema: pa.Schema, column: str) -> frozenset[str]:
    """Columns of bytes that a column was made from, over any number of steps, by the lineage of the columns."""
    if column not in schema.names:
        return frozenset()
    field = schema.field(column)
    if is_binary(field.type):
        return frozenset([column])
    lineage = Lineage.of(field)
    return frozenset().union(*(images_behind(schema, name) for name in (lineage.inputs if lineage else ())))


def tells_pictures(schema: pa.Schema, images: Collection[str]) -> bool:
    """Whether the picture columns of a table speak of these columns of pictures; of none in particular they do."""
    return set(images) <= {shown_image(schema)}


def picture_columns(schema: pa.Schema, images: Collection[str] = ()) -> tuple[str, ...]:
    """Columns that tell pictures apart, best first: a row's picture is known by the first that is not null.

    Args:
        images: columns of the pictures in question; by default the table's own. Of another one nothing is known.
    """
    if not tells_pictures(schema, images):
        return ()
    found = [schema.field(name) for name in ("sha256", "etag", "uri") if name in schema.names]
    return tuple(f.name for f in found if is_text(f.type) or (f.name == "sha256" and _is_bytes(f.type)))


def picture_kinds(rows: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """What each row's picture is known by, for every kind of knowing it that the columns allow, best first.

    Args:
        rows: of columns that `picture_columns` named.

    Returns:
        kind → texts [N], null where a row lacks it.
    """
    known = {name: _as_text(column) for name, column in rows.items()}
    found = {"sha256": known["sha256"]} if "sha256" in known else {}
    if "uri" in known and "etag" in known:
        between = pa.scalar("\n", pa.large_string())
        found[LOCATED] = pc.binary_join_element_wise(known["uri"], known["etag"], between)
    return found | {name: known[name] for name in ("uri", "etag") if name in known}


def picture_texts(rows: Mapping[str, pa.Array]) -> pa.Array:
    """What each row's picture is known by: its sha256, else its location and etag; null where there is neither.

    Args:
        rows: of the columns that `picture_columns` named.
    """
    best = _best_kinds(rows)
    if not best:
        return pa.nulls(len(next(iter(rows.values()))) if rows else 0, pa.large_string())
    return pc.coalesce(*best.values())


def kinds_used(rows: Mapping[str, pa.Array]) -> set[str]:
    """By which kinds `picture_texts` knows the pictures of these rows."""
    used, missing = set(), None
    for kind, texts in _best_kinds(rows).items():
        taken = texts.is_valid() if missing is None else pc.and_(texts.is_valid(), missing)
        if pc.any(taken).as_py():
            used.add(kind)
        missing = texts.is_null() if missing is None else pc.and_(texts.is_null(), missing)
    return used


def _best_kinds(rows: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Of `picture_kinds` those that are enough: the sha256, and the location as exactly as the columns tell it."""
    found = picture_kinds(rows)
    located = next((kind for kind in (LOCATED, "uri", "etag") if kind in found), None)
    return {kind: texts for kind, texts in found.items() if kind in ("sha256", located)}


def _as_text(column: pa.Array) -> pa.Array:
    if not _is_bytes(column.type):
        return column.cast(pa.large_string())
    return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.large_string())
