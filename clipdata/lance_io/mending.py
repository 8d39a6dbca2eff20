"""Mending: commits that take damaged files out of a table, so that what is left can be read and filled again.

The versions before stay as they are, damaged files included. No delete is remembered for the rows that go, so that an
ingest or merge brings them back. It must not know how damage was found, nor where lost rows came from.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import align

if TYPE_CHECKING:
    import lance

_REPLACED = -2  # Lance's number for a field of a data file that another file, or none, holds


def take_out(
    table: Table, files: Mapping[int, Sequence[str]], fragments: Sequence[int], properties: Properties
) -> tuple[Table, Properties | None]:
    """Make a version without some column files, whose columns are null there, and without some whole fragments.

    Args:
        table: that was looked at.
        files: fragment → paths inside the table of files that hold none but columns that can be made again.
        fragments: whose rows cannot be read.
        properties: of the commits.

    Returns:
        The newest version, and the properties of the last commit; None when another writer was faster.
    """
    from lance import LanceOperation

    def without_files(dataset: lance.LanceDataset) -> Any:
        found = (_without(one.metadata, set(files[one.fragment_id])) for one in _those(dataset, files))
        emptied = [one for one in found if one is not None]
        if not emptied:
            return None
        modified = sorted({number for _, numbers in emptied for number in numbers})
        return LanceOperation.Update(
            updated_fragments=[fragment for fragment, _ in emptied],
            fields_modified=modified,
            update_mode="rewrite_columns",
        )

    def without_fragments(dataset: lance.LanceDataset) -> Any:
        gone = [one.fragment_id for one in _those(dataset, fragments)]
        return LanceOperation.Delete([], gone, "false") if gone else None

    landed: Properties | None = None
    if files:
        table, landed = commit(table, without_files, dataclasses.replace(properties, id=f"{properties.id}-files"))
    if fragments:
        said = dataclasses.replace(properties, id=f"{properties.id}-fragments")
        table, also = commit(table, without_fragments, said)
        landed = also or landed
    return table, landed


def put_back(table: Table, column: str, pictures: Mapping[str, bytes]) -> int:
    """Write pictures into their rows again, the same bytes as before, so that all that was made of them stays.

    Args:
        column: of the pictures.
        pictures: key → bytes.

    Returns:
        Number of rows that were written.
    """
    key = table.key
    assert key is not None, "a row that cannot be named is not written"

    def attempt() -> int:
        newest = open_table(table.uri, storage=table.storage)
        others = [name for name in newest.schema.names if name != column]
        rows = newest.dataset.to_table(columns=others, filter=_any_of(key, list(pictures)))
        bytes_of = pa.array([pictures[name] for name in rows.column(key).to_pylist()], pa.large_binary())
        whole = rows.append_column(pa.field(column, pa.large_binary()), bytes_of)
        builder = newest.dataset.merge_insert(key).when_matched_update_all().conflict_retries(0)
        return int(builder.execute(align(whole, newest.dataset.schema))["num_updated_rows"])

    with translated(table.uri, "putting pictures back into"):
        return with_retries(attempt)


def _any_of(key: str, names: Sequence[str]) -> str:
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    return f"`{key}` IN ({listed})"


def _those(dataset: lance.LanceDataset, numbers: Any) -> list[Any]:
    return [one for one in dataset.get_fragments() if one.fragment_id in numbers]


def _without(fragment: Any, paths: set[str]) -> tuple[Any, set[int]] | None:
    """A fragment's metadata without some files, and the fields that they held; None when it has none of them."""
    kept, numbers = [], set[int]()
    for file in map(copy.copy, fragment.files):
        if f"data/{file.path}" in paths:
            numbers |= {number for number in file.fields if number != _REPLACED}
        else:
            kept.append(file)
    return (dataclasses.replace(fragment, files=kept), numbers) if numbers else None
