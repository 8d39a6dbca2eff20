"""Rows to a batch: images decoded, numbers and vectors as tensors, texts as lists and tokens.

It knows tables and tensors; it must not know in which order batches come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.table import Table
from clipdata.objects.references import columns_needed
from clipdata.storage import redact
from clipdata.stream import columns as kinds
from clipdata.stream.decode import ImageDecoder
from clipdata.stream.fetch import Slot

Tokenize = Callable[[Sequence[str]], torch.Tensor]
"""B texts to tokens int64 [B, L]."""

Batch = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a batch shall hold.

    Args:
        columns: names.
        texts: the column to tokenize, one text or a list of texts a row, or None.
        tokenize: how.
    """

    columns: tuple[str, ...]
    texts: str | None = None
    tokenize: Tokenize | None = None

    def check(self, table: Table, *, can_prepare: bool) -> None:
        """Check the request against a table, before anything is read.

        Raises:
            SchemaError: columns are missing, or `texts` does not hold text.
            UsageError: images are asked for without `prepare`, or only one of `texts` and `tokenize` is given.
        """
        table.require([*self.columns, *([self.texts] if self.texts else [])], verb="stream")
        images = self.images(table)
        if images and not can_prepare:
            raise UsageError(
                f"column {images[0]!r} holds images, and nothing says what size they shall have",
                hint="pass prepare=encoder.preprocess to Stream",
            )
        if (self.texts is None) != (self.tokenize is None):
            raise UsageError("texts names the column to tokenize and tokenize says how; expected both or neither")
        if self.texts is not None:
            kind = table.schema.field(self.texts).type
            if not (kinds.is_text(kind) or kinds.is_texts(kind)):
                raise SchemaError(f"column {self.texts!r} holds {kind}; expected text or lists of text to tokenize")

    def images(self, table: Table) -> list[str]:
        """Columns asked for that hold encoded images."""
        return [name for name in self.columns if kinds.is_image(table.schema.field(name).type)]

    def read_columns(self, table: Table) -> list[str]:
        """Columns to read for it: those asked for, and where images lie that are held by reference."""
        extra = [self.texts] if self.texts else []
        extra += columns_needed(table.schema, self.columns)
        return list(dict.fromkeys([*self.columns, *extra]))


def assemble(request: Request, slot: Slot, rows: pa.Table, decoder: ImageDecoder | None) -> Batch:
    """Make a batch of rows without nulls; see `clipdata.stream.dataset` for its entries."""
    batch: Batch = {}
    for name in request.columns:
        column = rows.column(name)
        if kinds.is_image(column.type):
            assert decoder is not None
            uris = rows.column("uri") if "uri" in rows.column_names else None
            batch[name] = decoder.batch(column, uris, slot.offsets)
        else:
            batch[name] = kinds.to_batch(column)
    if request.texts is not None and request.tokenize is not None:
        batch.update(_tokens(rows.column(request.texts), request.tokenize))
    batch["offsets"] = torch.from_numpy(slot.offsets.copy())
    batch["cursor"] = (slot.following.epoch, slot.following.batch)
    return batch


def refuse_nulls(request: Request, table: Table, rows: pa.Table, *, where: str | None) -> None:
    """Check that a batch holds no null in what was asked for; images are checked when they are decoded.

    Raises:
        SchemaError: names the column, how many rows of the table lack it, and what fills them.
    """
    for name in dict.fromkeys([*request.columns, *([request.texts] if request.texts else [])]):
        column = rows.column(name)
        if kinds.is_image(column.type) or not kinds.count_nulls(column):
            continue
        num_nulls = table.count_rows(f"`{name}` is null" + (f" and ({where})" if where else ""))
        found = f"{num_nulls:,} of {table.count_rows(where):,} rows hold no {name!r}"
        if not num_nulls:
            found = f"{name!r} holds nulls inside its lists"
        raise SchemaError(
            f"{redact(table.uri)}: {found}; a stream needs a value in every row",
            hint=f'{fill_command(table, name)}; or leave them out: --where "{name} is not null"',
        )


def fill_command(table: Table, column: str) -> str:
    """What to type to fill a column's nulls with the step that made the rest of it."""
    lineage = table.lineage(column)
    if lineage is None:
        return f"clipdata map {redact(table.uri)} STEP {column}"
    step = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", lineage.step).lower()
    return f"clipdata map {redact(table.uri)} {step} {column}" + (" --model MODEL" if lineage.model else "")


def _tokens(column: pa.ChunkedArray, tokenize: Tokenize) -> Batch:
    texts = column.to_pylist()
    if kinds.is_text(column.type):
        return {"tokens": tokenize(texts)}
    distinct, index, counts = kinds.distinct_texts(texts)
    return {"tokens": tokenize(distinct), "text_index": index, "text_counts": counts}
