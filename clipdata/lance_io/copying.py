"""Copying: rows of one table as another table that needs nobody else's files, in one commit.

Columns keep their metadata, so also the lineage of what made them. A copy that was killed is no table: its files wait
for nobody, and the next one takes no notice of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from clipdata.column_names import check_storable
from clipdata.errors import NotFoundError
from clipdata.lance_io.faults import translated
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.place import check_place
from clipdata.lance_io.rows import ROWS_PER_FRAGMENT
from clipdata.lance_io.settling import settle
from clipdata.lance_io.table import Table, open_table
from clipdata.storage import Storage, absolute


def write_copy(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, uri: str, properties: Properties, *, storage: Storage
) -> Table:
    """Write rows as a new table, or as the newest version of the one that is there, whatever that held.

    Args:
        batches: with the schema's columns.
        schema: with the metadata that the columns are to have.
        uri: where to.
        properties: of the commit.
        storage: how to reach it.

    Raises:
        UsageError: something else is there.
        SchemaError: a column has a name that Lance cannot read back.
    """
    import lance

    location = absolute(uri)
    check_storable(schema.names)
    try:
        present: Table | None = open_table(location, storage=storage)
    except NotFoundError:
        present = None
        check_place(location, storage)
    options = storage.lance_options(location) or None
    mode = "create" if present is None else "overwrite"
    with translated(location, "writing"), _raising(batches) as told:
        fragments = lance.fragment.write_fragments(
            pa.RecordBatchReader.from_batches(schema, told), location, schema, mode=mode, storage_options=options,
            max_rows_per_file=ROWS_PER_FRAGMENT, enable_stable_row_ids=True,
        )  # fmt: skip
        operation = lance.LanceOperation.Overwrite(schema, fragments)
        if present is not None:
            copy = commit(present, lambda _: operation, properties)[0]
        else:
            said = properties.to_strings()
            transaction = lance.Transaction(0, operation, str(uuid.uuid4()), transaction_properties=said)
            made = lance.LanceDataset.commit(
                location, transaction, storage_options=options, enable_stable_row_ids=True, max_retries=0
            )
            copy = Table(location, made.version, storage, made)
    settle(copy, is_made=present is None)
    return copy


@contextmanager
def _raising(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """The same batches; an error that they raise comes out as it was, and not in the words of who reads them."""
    raised: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:
            raised.append(error)
            raise

    try:
        yield watched()
    except Exception:
        if raised:
            raise raised[0] from None
        raise
