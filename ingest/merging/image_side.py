"""The images of a merge: which column holds the image, what a row is called by, and what tells that it changed.

The table may be of any maker. What clipdata's own have is taken as it is: `path`, `etag`, `bytes`. Where there is no
`path`, an image is called by the table's key, or by what it is joined on; where there is no `etag`, by a digest of all
that is carried. What a step derived from the images is not carried: it is derived anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError
from clipdata.lance_io.table import Table
from clipdata.printable import shell_word
from clipdata.schema import IMAGE_METADATA, columns_listed, image_column
from clipdata.storage import redact
from ingest.merging import foreign_columns
from ingest.merging.column_names import ETAG
from ingest.merging.join_keys import key_texts
from ingest.updating.digests import (
    DIGEST_BYTES,
    digests_of_bytes,
    digests_of_rows,
    digests_of_texts,
    numbers_among_equal,
)

_SMALL_ROWS, _IMAGE_ROWS = 16_384, 64
_UNKNOWN_BYTES = 128 << 10
_MADE_BY_US = ("path", "row_key")
_OWN_COLUMNS = ("row_key", "source")
# Metadata of the columns that `map` writes: what a step made, and the reasons why it did not; and of those by which a
# merge says where pictures are.
DERIVED = (b"clipdata.lineage", b"clipdata.reasons_of", b"clipdata.picture")


class ImageSide:
    """The images' columns, and what a merge keeps of every row in memory.

    Args:
        table: pinned.
        on: column to join on.

    Attributes:
        columns: that are carried.
        identity: column that says what an image is called.
        notes: what was made of a table that is not like clipdata's own.
        keys: uint8 [I, 16], digests of what is joined on; `named` says which rows have one, None for all of them.
        identities: uint8 [I, 16], of what images are called.
        etags: uint8 [I, 16], of the etags; `has_etags` says whether the table has them.
        sizes: int64 [I], bytes of the images.
        rank: int32 [I], place of each image in the order of what images are called; None where that is their order.

    Raises:
        SchemaError: a column that is needed does not exist, or no column or several may hold the image.
    """

    def __init__(self, table: Table, on: str) -> None:
        others = [name for name in ("filename", "path", table.key) if name is not None and name in table.schema.names]
        table.require([on], verb="merge", hint=f"--on {shell_word(next(iter(others), 'COLUMN'))}")
        self.table, self.on = table, on
        self.image = _image_column(table)
        names = table.schema.names
        by_path = "path" in names and table.key in (None, *_MADE_BY_US)
        self.identity = "path" if by_path else table.key or on
        self.columns = [column.name for column in table.schema if _is_carried(column, table.key)]
        has_text = ETAG in names and pa.types.is_string(table.schema.field(ETAG).type)
        self.has_etags = has_text and ETAG in self.columns
        self.notes = self._notes()

    def fields(self, names: dict[str, str]) -> list[pa.Field]:
        """The columns as a merged table keeps them.

        Args:
            names: own name → name in the merged table.
        """
        fields = []
        for own, new in names.items():
            column = self.table.schema.field(own)
            kind = pa.large_binary() if own == self.image else foreign_columns.kept_type(column)
            fields.append(pa.field(new, kind, metadata=IMAGE_METADATA if own == self.image else None))
        return fields

    def load(self) -> None:
        """Read what is kept of every row: it is laid out at once, for to put parts together takes twice the memory."""
        num_rows = self.table.num_rows
        self.keys, self.etags = (np.empty((num_rows, DIGEST_BYTES), np.uint8) for _ in range(2))
        self.identities = self.keys if self.identity == self.on else np.empty_like(self.keys)
        self.sizes, named = np.empty(num_rows, np.int64), np.empty(num_rows, np.bool_)
        first, last, is_in_order = 0, None, True
        for batch in self._scan():
            here = slice(first, first := first + batch.num_rows)
            texts = key_texts(batch.column(self.on), where=f"the images' {self.on!r}")
            self.keys[here], named[here] = digests_of_texts(texts), texts.is_valid()
            if self.identity != self.on:
                texts = key_texts(batch.column(self.identity), where=f"the images' {self.identity!r}")
                self.identities[here] = digests_of_texts(texts)
            is_in_order, last = is_in_order and _is_in_order(texts, last), texts[-1:]
            self.etags[here], self.sizes[here] = self._etags(batch), self._sizes(batch)
        self.named = None if named.all() else named
        self.rank = None if is_in_order else _rank(self._called())
        if self.identity != self.table.key:
            self.identities = _told_apart(self.identities)

    def holds_pictures(self) -> bool:
        """Whether any row may hold its picture; one of ours that only says where the file is has no digest of it."""
        if self.table.key not in _MADE_BY_US or "sha256" not in self.table.schema.names:
            return True
        return self.table.num_rows == 0 or self.table.count_rows("sha256 IS NOT NULL") > 0

    def forget_keys(self) -> None:
        """Give back the memory of what only the matching needs."""
        self.keys = self.keys[:0].copy()
        self.rank = None

    def key_batches(self) -> Iterator[pa.Array]:
        """What the images are joined on, as texts, in the order of the table."""
        rows = max(
            4 * _SMALL_ROWS, len(self.sizes) // 16
        )  # who looks names up in a batch makes an index of them each time
        for batch in self.table.scan([self.on], batch_rows=rows):
            yield key_texts(batch.column(0), where=self.on)

    def called(self, places: Sequence[int] | np.ndarray) -> list[str]:
        """What images at positions are called."""
        return self._texts_at(places, self.identity)

    def keys_of(self, places: Sequence[int]) -> list[str]:
        """What images at positions are joined on, as texts."""
        return self._texts_at(places, self.on)

    def take(self, places: np.ndarray, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Carried columns of images at positions, by their own names: the image as bytes."""
        rows = foreign_columns.take(self.table, places, columns)
        values = dict(zip(rows.schema.names, rows.columns, strict=True))
        if self.image in values:
            values[self.image] = foreign_columns.image_bytes(values[self.image])
        return values

    def _called(self) -> pa.ChunkedArray:
        """What all images are called."""
        batches = self.table.scan([self.identity], batch_rows=_SMALL_ROWS)
        return pa.chunked_array([key_texts(batch.column(0), where=self.identity) for batch in batches])

    def _texts_at(self, places: Sequence[int] | np.ndarray, column: str) -> list[str]:
        read = self.table.take(np.asarray(places, np.int64), [column])
        return key_texts(read.column(0).combine_chunks(), where=column).to_pylist()

    def _scan(self) -> Iterator[pa.RecordBatch]:
        if not self.has_etags:
            yield from self.table.scan(
                list(dict.fromkeys([*self.columns, self.on, self.identity])), batch_rows=_IMAGE_ROWS
            )
            return
        wanted = [self.on, self.identity, ETAG, *(["bytes"] if "bytes" in self.columns else [])]
        yield from self.table.scan(list(dict.fromkeys(wanted)), batch_rows=_SMALL_ROWS)

    def _etags(self, batch: pa.RecordBatch) -> np.ndarray:
        if self.has_etags:
            return digests_of_texts(batch.column(ETAG))
        content = {name: batch.column(name) for name in self.columns}
        content[self.image] = foreign_columns.image_bytes(content[self.image])
        return digests_of_texts(etags_of(content, self))

    def _sizes(self, batch: pa.RecordBatch) -> np.ndarray:
        if "bytes" in batch.schema.names and pa.types.is_integer(batch.schema.field("bytes").type):
            return batch.column("bytes").cast(pa.int64()).fill_null(0).to_numpy()
        if self.image in batch.schema.names:
            lengths = pc.binary_length(foreign_columns.image_bytes(batch.column(self.image)))
            return lengths.fill_null(0).cast(pa.int64()).to_numpy()
        return np.full(batch.num_rows, _UNKNOWN_BYTES, np.int64)

    def _notes(self) -> list[str]:
        notes = []
        if self.image != "image":
            notes.append(f"the images are column {self.image!r}")
        if self.identity != "path":
            notes.append(f"the images have no path; rows are called by {self.identity!r}")
        if not self.has_etags:
            notes.append("the images have no etag; their content says what changed, so every merge reads it")
        return notes


def etags_of(pictures: Mapping[str, pa.Array | pa.ChunkedArray], side: ImageSide) -> pa.Array:
    """Etags of images that have none, from all that is carried."""
    columns = side.columns
    return hexadecimal(digests_of_rows(pa.table([pictures[name] for name in columns], names=columns)))


def _image_column(table: Table) -> str:
    """The column that holds the image.

    Raises:
        SchemaError: none may hold it, or several may.
    """
    declared = image_column(table.schema)
    if declared is not None:
        return declared
    found = [column.name for column in table.schema if foreign_columns.is_image_like(column)]
    if len(found) == 1 or "image" in found:
        return "image" if "image" in found else found[0]
    said = (
        f"columns {', '.join(map(repr, found))} may all be"
        if found
        else f"none of {columns_listed(table.schema.names)} is"
    )
    raise SchemaError(
        f"merge: {redact(table.uri)}: {said} the column of images",
        hint="call the column of image bytes 'image'; the first table is the one of images",
    )


def _is_carried(column: pa.Field, key: str | None) -> bool:
    """Columns that a merged row carries; what a step derived from them, and why it failed, is derived anew."""
    if key in _MADE_BY_US and column.name in _OWN_COLUMNS:
        return False
    return not any(name in (column.metadata or {}) for name in DERIVED)


def _is_in_order(texts: pa.Array, last: pa.Array | None) -> bool:
    """Whether texts come in their order, after the last of those before them."""
    joined = texts if last is None else pa.concat_arrays([last, texts])
    return pc.all(pc.less_equal(joined[:-1], joined[1:])).as_py() is not False


def _rank(texts: pa.ChunkedArray) -> np.ndarray:
    """Place of each text in their order."""
    order = pc.sort_indices(texts).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank


def _told_apart(identities: np.ndarray) -> np.ndarray:
    """Identities of which no two are equal: nothing holds a table without a key to that."""
    numbers = numbers_among_equal(identities)
    again = np.flatnonzero(numbers)
    if len(again):
        counted = numbers[again].astype("<i4").view(np.uint8).reshape(-1, 4)
        identities = identities.copy()
        identities[again] = digests_of_bytes(np.concatenate([identities[again], counted], axis=1))
    return identities


def hexadecimal(digests: np.ndarray) -> pa.Array:
    """Texts of digests, 32 hexadecimal digits each."""
    packed = digests.tobytes().hex()
    width = 2 * digests.shape[1]
    offsets = np.arange(0, len(packed) + width, width, dtype=np.int64)
    return pa.LargeStringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(packed.encode())).cast(
        pa.string()
    )
