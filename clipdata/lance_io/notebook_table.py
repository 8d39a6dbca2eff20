"""What a person types at a table in a notebook: its length, first rows, one column, and the way into other libraries.

It is the half of `Table` that only reads and converts; how rows are read stands in `table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.errors import ClipdataError, ImageRefused, UsageError
from clipdata.notebook import html_table
from clipdata.plurals import counted
from clipdata.schema import is_binary, picture_column
from clipdata.storage import redact

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from clipdata.lineage import Lineage

SHOWN_ROWS = 5
_SIDE = 96


class NotebookTable:
    """Answers of a table to what Python, notebooks and other libraries ask of tabular data."""

    uri: str
    version: int

    if TYPE_CHECKING:  # by Table

        @property
        def schema(self) -> pa.Schema: ...
        @property
        def num_rows(self) -> int: ...
        def require(self, columns: Sequence[str], *, verb: str, hint: str | None = None) -> None: ...
        def lineage(self, column: str) -> Lineage | None: ...
        def reader(
            self,
            columns: Sequence[str] | None = None,
            *,
            where: str | None = None,
            batch_rows: int = 1024,
            limit: int | None = None,
        ) -> pa.RecordBatchReader: ...
        def to_table(
            self, columns: Sequence[str] | None = None, *, where: str | None = None, limit: int | None = None
        ) -> pa.Table: ...

    def __len__(self) -> int:
        return self.num_rows

    def __bool__(self) -> bool:
        return True  # a table without rows is a table too

    def __iter__(self) -> Iterator[str]:
        return iter(self.schema.names)  # as a DataFrame and a dict do; rows come by `scan`

    def __contains__(self, column: object) -> bool:
        return column in self.schema.names

    @overload
    def __getitem__(self, name: str) -> pa.ChunkedArray: ...
    @overload
    def __getitem__(self, name: list[str]) -> pa.Table: ...

    def __getitem__(self, name: str | list[str]) -> pa.ChunkedArray | pa.Table:
        """Read one column, or a table of several.

        Raises:
            SchemaError: there is no such column.
            UsageError: what is asked for is no name.
        """
        names = [name] if isinstance(name, str) else name
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise UsageError(
                f"{name!r} names no column; expected a column's name, or a list of them",
                hint="rows: table.head(10), table.to_table(where=…), table.take(offsets, columns)",
            )
        self.require(names, verb="read")
        found = self.to_table(names)
        return found.column(0) if isinstance(name, str) else found

    def head(self, num_rows: int = SHOWN_ROWS, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the first rows.

        Args:
            num_rows: at most.
            columns: names; by default all but those that hold bytes, such as the image.
        """
        check_count(num_rows, "head: num_rows")
        return self.to_table(columns if columns is not None else self._without_bytes(), limit=num_rows)

    def to_pandas(self, columns: Sequence[str] | None = None, *, where: str | None = None) -> pd.DataFrame:
        """Read rows into a pandas DataFrame; all columns by default, the images' bytes among them."""
        found: pd.DataFrame = self.to_table(columns, where=where).to_pandas()
        return found

    def to_polars(self, columns: Sequence[str] | None = None, *, where: str | None = None) -> pl.DataFrame:
        """Read rows into a polars DataFrame; all columns by default, the images' bytes among them.

        Raises:
            UsageError: polars is not installed.
        """
        try:
            import polars as pl
        except ImportError as error:
            raise UsageError("to_polars needs polars, which is not installed", hint="pip install polars") from error
        return pl.DataFrame(self.to_table(columns, where=where))

    def __array__(self, *_: object, **__: object) -> Any:
        """Refuse to be taken for a list of column names, which is what NumPy and `pandas.DataFrame(table)` would do."""
        raise UsageError("a table is no array", hint="table.to_pandas(), or table.to_table().to_pandas()")

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """All rows and columns as an Arrow stream, batch by batch: what pyarrow, polars and DuckDB ask for."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def _without_bytes(self) -> list[str]:
        return [column.name for column in self.schema if not is_binary(column.type)]

    def _repr_html_(self) -> str:
        columns = [self._described(column) for column in self.schema]
        title = f"{redact(self.uri)}: {counted(self.num_rows, 'row')}, version {self.version}"
        try:
            first = html_table(self._first_rows(), title=f"first {SHOWN_ROWS} rows")
        except ClipdataError as error:
            first = html_table([{"rows": error.message}])
        return html_table(columns, title=title) + first

    def _first_rows(self) -> list[dict[str, Any]]:
        """The first rows, with small pictures where the table holds them itself."""
        rows: list[dict[str, Any]] = self.head().to_pylist()
        pictures = picture_column(self.schema)
        if pictures is None or not is_binary(self.schema.field(pictures).type):
            return rows
        files = self.to_table([pictures], limit=SHOWN_ROWS).column(0).to_pylist()
        return [{pictures: small_picture(file), **row} for file, row in zip(files, rows, strict=True)]

    def _described(self, column: pa.Field) -> dict[str, Any]:
        lineage = self.lineage(column.name)
        return {"column": column.name, "type": str(column.type), "made by": lineage.describe() if lineage else ""}


def small_picture(file: bytes | None) -> Any:
    """A picture's file as markup of a small one; why there is none, in words."""
    from markupsafe import Markup

    from clipdata.images.thumbnails import thumbnail

    if file is None:
        return None
    try:
        small = thumbnail(file, side=_SIDE)
    except ImageRefused as refused:
        return f"{refused.reason}: {refused.message}"
    shown = '<img src="{}" width="{}" height="{}" alt="picture">'
    return Markup(shown).format(small.uri, small.width, small.height)  # noqa: S704 - no text of a table is in it
