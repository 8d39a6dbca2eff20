"""Pictures that stand in another table: rows whose image is null and that name the row that holds it.

    image       image_row   image_table
    null        123         images.lance@7#3fa9c2d1       the picture of row 123 of that version of images.lance
    null        null        null                          a file, if the row has a `uri` (`objects.references`)
    bytes       null        null                          held in the row itself

The fields' metadata declare the two columns, and the table's own metadata says where such a version is. Its name ends
in a digest of its files, and what is opened must have that digest: a reference never means another picture. It is read
where Table and the filling of a column read rows, a batch at a time, each picture of a batch once; so nothing above
knows where a picture came from. How rows come to refer to pictures stands in `referring`.
"""

from __future__ import annotations

import json
import posixpath
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata import hints
from clipdata.errors import NotFoundError, StorageError
from clipdata.json_parsing import parse_json
from clipdata.prefetch import map_ordered
from clipdata.schema import image_column
from clipdata.storage import Storage, is_remote, redact

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

T = TypeVar("T")
Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)

ROW, TABLE = "image_row", "image_table"
ENTRY = "clipdata.pictures."  # and a name: key of the table's metadata
_DECLARED = b"clipdata.picture"
BATCHES_AT_ONCE = 4  # of a table on a remote store, where a request costs time rather than work


def picture_fields() -> list[pa.Field]:
    """The two columns of a table whose rows refer to pictures."""
    return [
        pa.field(ROW, pa.uint64(), metadata={_DECLARED: b"row"}),
        pa.field(TABLE, pa.string(), metadata={_DECLARED: b"table"}),
    ]


def places_needed(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Columns to read beside those wanted, so that pictures of other tables can be filled in; none for most tables."""
    declared = place_columns(schema)
    if len(declared) < 2 or image_column(schema) not in wanted:
        return []
    return [name for name in declared if name not in wanted]


def place_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that say where pictures are: the row, and the table."""
    found = {(column.metadata or {}).get(_DECLARED): column.name for column in schema}
    return [found[what] for what in (b"row", b"table") if what in found]


@dataclass(frozen=True)
class PictureTable:
    """A version of a table that rows refer to.

    Args:
        name: what the rows call it.
        uri: where it was when rows began to refer to it.
        relative: the same, seen from the folder of the referring table, so that both can be moved together; None where
            no path leads from one to the other.
        column: of the pictures in it: bytes, or what Hugging Face's data sets hold them in, `{bytes, path}`.
        version: of it.
        tag: that keeps the version from being cleaned up.
        digest: of its files; see `data_files`.
        until: newest version of the referring table that may hold rows which refer to it; None while rows do.
    """

    name: str
    uri: str
    relative: str | None
    column: str
    version: int
    tag: str
    digest: str
    until: int | None = None

    @property
    def key(self) -> str:
        """Of the entry in the referring table's metadata."""
        return ENTRY + self.name

    def to_json(self) -> str:
        """The entry."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "name"}, sort_keys=True)

    @property
    def words(self) -> str:
        """For people."""
        return f"{redact(self.uri).rsplit('/', 1)[-1]}@{self.version}"

    def places(self, referring: str) -> list[str]:
        """Where it may be, the likeliest first.

        Args:
            referring: location of the table whose rows refer to it.
        """
        near = [resolved(referring, self.relative)] if self.relative else []
        return list(dict.fromkeys([*near, self.uri]))


def picture_tables(metadata: Mapping[str, str]) -> dict[str, PictureTable]:
    """The versions that a table's metadata names, by what rows call them."""
    found = {key.removeprefix(ENTRY): parse_json(entry) for key, entry in metadata.items() if key.startswith(ENTRY)}
    return {name: PictureTable(name=name, **entry) for name, entry in found.items()}


class Pictures:
    """Fills rows with the pictures that they refer to. Safe to use from several threads.

    Args:
        uri: the referring table.
        storage: how to reach it, and the tables with the pictures.
        tables: from its metadata.
        before: of another version; what it opened needs not be opened again, for a name means the same everywhere.
    """

    def __init__(
        self, uri: str, storage: Storage, tables: Mapping[str, PictureTable], before: Pictures | None = None
    ) -> None:
        self._uri, self._storage, self._tables = uri, storage, tables
        self._opened: dict[str, Table] = before._opened if before else {}
        self._opening: threading.Lock = before._opening if before else threading.Lock()

    def filled(self, rows: Rows) -> Rows:
        """Rows with the pictures that they refer to; a picture that its own table does not hold stays null.

        Raises:
            NotFoundError: a table with pictures is gone, or that version of it.
        """
        image, places = image_column(rows.schema), place_columns(rows.schema)
        if image is None or len(places) < 2 or not rows.num_rows:
            return rows
        present = rows.column(image)
        refers = _flags(pc.and_(present.is_null(), rows.column(places[0]).is_valid()))
        if not refers.any():
            return rows
        row_N, table_N = _whole(rows.column(places[0])), _whole(rows.column(places[1])).dictionary_encode()
        code_N = table_N.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        held: list[pa.Array] = []
        index_N = np.full(rows.num_rows, -1, np.int64)
        for code in np.unique(code_N[refers]):
            mine = np.flatnonzero(refers & (code_N == code))
            distinct, inverse = np.unique(row_N.take(pa.array(mine)).to_numpy(), return_inverse=True)
            index_N[mine] = inverse + sum(map(len, held))
            held.append(self.read(table_N.dictionary[int(code)].as_py() if code >= 0 else None, distinct, present.type))
        filled = pa.concat_arrays(held).take(pa.array(index_N, mask=index_N < 0))
        values = filled if present.null_count == rows.num_rows else pc.coalesce(_whole(present), filled)
        place = rows.schema.get_field_index(image)
        return rows.set_column(place, rows.schema.field(place), values)

    def all_filled(self, batches: Iterable[tuple[T, Rows]]) -> Generator[tuple[T, Rows], None, None]:
        """The same for many batches, each with anything that names it, in order; over a network, several at a time."""
        if not is_remote(self._uri):
            for name, rows in batches:
                yield name, self.filled(rows)
            return

        def fill(batch: tuple[T, Rows]) -> tuple[T, Rows]:
            return batch[0], self.filled(batch[1])

        yield from map_ordered(fill, batches, num_threads=BATCHES_AT_ONCE, max_items=BATCHES_AT_ONCE)

    def reader(self, reader: pa.RecordBatchReader, columns: Sequence[str]) -> pa.RecordBatchReader:
        """The same for the batches of a reader, of which some columns are kept."""

        def batches() -> Generator[pa.RecordBatch, None, None]:
            for _, batch in self.all_filled((None, batch) for batch in reader):
                yield batch.select(columns)

        schema = pa.schema([reader.schema.field(name) for name in columns], metadata=reader.schema.metadata)
        return pa.RecordBatchReader.from_batches(schema, batches())

    def table(self, name: str) -> Table:
        """The version that rows call so, opened.

        Raises:
            NotFoundError: it is not where it was, nor beside the referring table; or that version is gone.
            StorageError: the table's metadata does not say where it was.
        """
        with self._opening:
            if name not in self._opened:
                self._opened[name] = self._open(name)
            return self._opened[name]

    def read(self, name: str | None, rows: np.ndarray, kind: pa.DataType) -> pa.Array:
        """Pictures of one table; one that it does not hold is null.

        Args:
            name: what rows call the table.
            rows: uint64 [D], ascending numbers of the rows that hold them.
            kind: of bytes to return [D].

        Raises:
            NotFoundError: the table is gone, or that version of it.
            StorageError: `name` is None or unknown, or a row is gone.
        """
        if name is None:
            raise StorageError(f"rows of {redact(self._uri)} say which row holds their picture, but not of which table")
        table = self.table(name)
        found = _whole(table.take_ids(rows, [self._tables[name].column]).column(0))
        plain = pc.struct_field(found, "bytes") if pa.types.is_struct(found.type) else found
        return plain if plain.type == kind else plain.cast(kind)

    def _open(self, name: str) -> Table:
        from clipdata.lance_io.data_files import digest_of_files
        from clipdata.lance_io.table import open_table

        known = self._tables.get(name)
        if known is None:
            raise StorageError(
                f"rows of {redact(self._uri)} refer to pictures of {name}, and its metadata does not say where that is",
                hint=f"merge again; or read an earlier version: {hints.log(self._uri)}",
            )
        found = []
        for place in known.places(self._uri):
            try:
                opened = open_table(place, version=known.version, storage=self._storage)
            except NotFoundError as error:
                found.append(error.message)
                continue
            if digest_of_files(opened) == known.digest:
                return opened
            found.append(f"version {known.version} of {redact(place)} is of another table than it was")
        raise NotFoundError(
            f"rows of {redact(self._uri)} refer to pictures of {known.words} (tag {known.tag}), which cannot be read: "
            + "; ".join(found),
            hint=f"put it back; or merge again from where the pictures are now: {hints.merge_again(self._uri)}; "
            "with --copy-images the merged table needs no other",
        )


def relative_to(referring: str, uri: str) -> str | None:
    """The way from the folder of a table to another table; None where there is none."""
    (root, here), (other_root, there) = _split(referring), _split(uri)
    return posixpath.relpath(there, posixpath.dirname(here)) if root == other_root else None


def resolved(referring: str, relative: str) -> str:
    """Where such a way leads."""
    root, path = _split(referring)
    return root + posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))


def _split(uri: str) -> tuple[str, str]:
    """The store and bucket of a location, and the path in it."""
    if not is_remote(uri):
        return "", uri
    scheme, _, rest = uri.partition("://")
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", f"/{path}"


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _flags(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    flags: np.ndarray = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return flags.astype(bool)
