"""Tables as data sets of Hugging Face's `datasets`. The way back is `ingest.from_hugging_face`.

Pictures are an `Image` feature over their own bytes: nothing is decoded or encoded anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clipdata.column_names import quoted
from clipdata.errors import SchemaError, UsageError
from clipdata.exports.features import IMAGE, feature_of
from clipdata.exports.selection import Selection
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.schema import is_blob, is_picture_struct, is_text, picture_column

if TYPE_CHECKING:
    import datasets

_NAMES = ("filename", "path")
_MOST_SPLITS = 100


def to_hugging_face(
    table: AnyTable,
    columns: Sequence[str] | None = None,
    *,
    where: str | None = None,
    split_column: str | None = None,
    streaming: bool = False,
) -> datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict:
    """Make a data set of a table's rows.

    Args:
        table: read at its version, batch by batch.
        columns: names; all by default, but those that say in which other table a picture stands: it is read from there.
        where: SQL condition on the rows.
        split_column: column of texts whose values become the splits of a `DatasetDict`; rows without one are left out.
        streaming: an `IterableDataset`, which reads the table as it goes; otherwise the rows are written to the cache
            that `datasets` keeps on disk, once for each version of the table.

    Returns:
        With `split_column` one data set for each split.

    Raises:
        SchemaError: a column does not exist, or its type has no counterpart there.
        UsageError: `datasets` is not installed.
    """
    library = require_datasets("to_hugging_face")
    table = as_table(table).pinned()
    places = place_columns(table.schema)
    chosen = list(columns) if columns is not None else [name for name in table.schema.names if name not in places]
    table.require(chosen, verb="to_hugging_face")
    features = library.Features.from_dict(_features(table, chosen))
    if split_column is None:
        return _made(library, table, chosen, where, features, streaming=streaming)
    splits: dict[str, Any] = {
        name: _made(library, table, chosen, condition, features, streaming=streaming)
        for name, condition in _splits(table, split_column, where).items()
    }
    return library.IterableDatasetDict(splits) if streaming else library.DatasetDict(splits)


def require_datasets(verb: str) -> Any:
    """Hugging Face's library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"{verb}: the package datasets is not installed", hint="pip install 'clipdata[datasets]'"
        ) from error
    return datasets


def _made(library: Any, table: Table, columns: list[str], where: str | None, features: Any, *, streaming: bool) -> Any:
    # A tuple: of a list, `datasets` would take each entry for a part of the rows.
    given = {"table": table, "columns": tuple(columns), "where": where}
    kind = library.IterableDataset if streaming else library.Dataset
    return kind.from_generator(_examples, features=features, gen_kwargs=given)


def _examples(table: Table, columns: tuple[str, ...], where: str | None) -> Iterator[dict[str, Any]]:
    selection = Selection(table, columns, where)
    picture = selection.picture
    for batch in selection.batches():
        for row in batch.to_pylist():
            if picture is not None and isinstance(row[picture], bytes):
                path = next((row[name] for name in _NAMES if row.get(name)), None)
                row[picture] = {"bytes": row[picture], "path": path}
            yield row


def _features(table: Table, columns: Sequence[str]) -> dict[str, Any]:
    """Features of columns, as `datasets` reads them.

    Raises:
        SchemaError: a column has none.
    """
    picture, found = picture_column(table.schema), {}
    for name in columns:
        column = table.schema.field(name)
        is_picture = name == picture or is_picture_struct(column.type)
        blob = {"dtype": "large_binary", "_type": "Value"}
        feature = IMAGE if is_picture else blob if is_blob(column) else feature_of(column.type)
        if feature is None:
            raise SchemaError(f"to_hugging_face: column {name!r} is {column.type}, which has no feature there")
        found[name] = feature
    return found


def _splits(table: Table, column: str, where: str | None) -> dict[str, str]:
    """Split → the condition on its rows.

    Raises:
        SchemaError: the column is none of splits.
    """
    table.require([column], verb="to_hugging_face")
    if not is_text(table.schema.field(column).type):
        kind = table.schema.field(column).type
        raise SchemaError(f"to_hugging_face: column {column!r} is {kind}; expected texts that name splits")
    also = f" AND ({where})" if where is not None else ""
    named = quoted(column)
    sql = f"SELECT DISTINCT {named} AS split FROM dataset WHERE {named} IS NOT NULL{also}"  # noqa: S608
    names = table.query(sql, limit=_MOST_SPLITS + 1).column("split").to_pylist()
    if len(names) > _MOST_SPLITS:
        raise SchemaError(f"to_hugging_face: column {column!r} holds more than {_MOST_SPLITS} names of splits")
    texts = {name: name.replace("'", "''") for name in sorted(names)}
    return {name: f"{named} = '{text}'{also}" for name, text in texts.items()}
