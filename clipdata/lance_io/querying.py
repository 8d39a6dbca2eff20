"""Querying: the answer to one SELECT, read batch by batch, so that one too large to hold is refused and not tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.lance_io.select_statement import check_select

if TYPE_CHECKING:
    import lance

ANSWER_BYTES = 4 << 30


def check_query(sql: str, limit: int | None, max_bytes: int) -> None:
    """Hold a query to one SELECT, and its limits to counts.

    Raises:
        UsageError: says what else it is.
    """
    check_select(sql)
    if limit is not None:
        check_count(limit, "query: limit")
    check_count(max_bytes, "query: max_bytes", least=1)


@contextmanager
def answering(dataset: lance.LanceDataset, sql: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The columns of the answer to a SELECT, and its rows as they are computed."""
    with dataset.sql(sql).build().to_stream_reader() as reader:
        yield reader.schema, iter(reader)


def answer(dataset: lance.LanceDataset, sql: str, limit: int | None, max_bytes: int) -> pa.Table:
    """Read the answer to a SELECT, up to a number of rows, and refuse it when it takes more than so many bytes.

    Raises:
        UsageError: it takes more.
    """
    batches: list[pa.RecordBatch] = []
    num_rows = num_bytes = 0
    with answering(dataset, sql) as (schema, found):
        for batch in found:
            batches.append(batch if limit is None else batch.slice(0, limit - num_rows))
            num_rows, num_bytes = num_rows + batches[-1].num_rows, num_bytes + batches[-1].nbytes
            if num_bytes > max_bytes:
                raise UsageError(
                    f"query: the first {num_rows:,} rows of the answer take more than {max_bytes / 2**30:,.1f} GiB",
                    hint="name fewer columns, add WHERE or LIMIT, raise max_bytes=…, or read batches: table.scan(…)",
                )
            if limit is not None and num_rows >= limit:
                break
        return pa.Table.from_batches(batches, schema)
