"""Querying: the answer to one SELECT, read batch by batch, so that one too large to hold is refused and not tried."""

from __future__ import annotations

import re
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
_ADDRESS = re.compile(r"\b_rowaddr\b", re.IGNORECASE)
"""The hidden column that a SELECT may name, such as to keep equal rows in the order in which they are stored."""
_WORD = re.compile(r"[()]|\w+")
_QUOTED = re.compile(r"'(?:[^']|'')*'")


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
    asked, told = dataset.sql(sql), _told(sql)
    names_address = bool(_ADDRESS.search(told))
    if names_address:
        asked = asked.with_row_addr(True)
    with asked.build().to_stream_reader() as reader:
        if not names_address or _ADDRESS.search(_selected(told)):
            yield reader.schema, iter(reader)
            return
        wanted = [name for name in reader.schema.names if not _ADDRESS.fullmatch(name)]  # Lance gives it unasked
        yield pa.schema([reader.schema.field(name) for name in wanted]), (batch.select(wanted) for batch in reader)


def _told(sql: str) -> str:
    """A statement without the texts in it."""
    return _QUOTED.sub("''", sql)


def _selected(told: str) -> str:
    """What the outermost SELECT of a statement gives, between that word and its FROM."""
    depth, begin = 0, 0
    for found in _WORD.finditer(told):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0 and found[0].casefold() == "select":
            begin = found.end()
        elif depth == 0 and begin and found[0].casefold() == "from":
            return told[begin : found.start()]
    return told[begin:]


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
