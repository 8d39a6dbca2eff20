"""Captions made fit to train on and to ask about: CleanCaptions, UnseenCaptions.

They make small columns, so that a table of another tool is used as it lies, and no picture is copied. This module must
not know models.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pyarrow as pa

from clipdata.arguments import check_condition
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.step_protocol import CAPTIONS, BaseStep, check_types, require_names

SCAN_ROWS = 8192


class CleanCaptions(BaseStep):
    """A row's captions without blanks and line ends around them, each once, and without those that say nothing.

    Args:
        text: column of captions, one or a list a row.

    Raises:
        UsageError: the name of the column is no text.
    """

    name = "CleanCaptions"
    version = "1"
    returns = pa.list_(pa.string())

    def __init__(self, text: str = "captions") -> None:
        require_names(self.name, text=text)
        self.reads: tuple[str, ...] = (text,)
        self.takes = {text: CAPTIONS}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Clean one batch: list<string> [B]."""
        cleaned = [_clean(value) or None for value in batch.column(0).to_pylist()]
        return pa.array(cleaned, self.returns), [None if found else "no caption" for found in cleaned]


class UnseenCaptions(BaseStep):
    """Those captions of a held-out row that no training row has; capitals and blanks make no difference.

    A training row has none.

    Args:
        table: all of it is read once; or the location of one, or several.
        text: column of captions, one or a list a row.
        trained_where: SQL condition of the training rows.

    Raises:
        UsageError: a name of a column is no text, or the condition is none.
        SchemaError: a table lacks a column, or the captions are none.
    """

    name = "UnseenCaptions"
    version = "1"
    returns = pa.list_(pa.string())

    def __init__(
        self,
        table: AnyTable | Sequence[AnyTable],
        text: str = "captions",
        *,
        trained_where: str = "split = 'train'",
    ) -> None:
        require_names(self.name, text=text)
        check_condition(trained_where)
        self.reads: tuple[str, ...] = (text,)
        self.takes = {text: CAPTIONS}
        self.parameters = {"trained_where": trained_where}
        self._seen: set[str] = set()
        self.num_captions = self.num_unseen = 0
        for one in table if isinstance(table, list | tuple) else [table]:
            newest = as_table(one).latest()  # type: ignore[arg-type]
            self.tables = (*self.tables, newest.uri)
            newest.require([text], verb="map UnseenCaptions")
            check_types(self, newest.schema)
            for batch in newest.scan([text], where=trained_where, batch_rows=SCAN_ROWS):
                captions = map(_clean, batch.column(0).to_pylist())
                self._seen.update(map(alike, chain.from_iterable(captions)))

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Leave the unseen captions of each row: list<string> [B]."""
        unseen: list[list[str] | None] = []
        reasons: list[str | None] = []
        for value in batch.column(0).to_pylist():
            captions = _clean(value)
            left = [caption for caption in captions if alike(caption) not in self._seen]
            unseen.append(left or None)
            reasons.append(None if left else "all of its captions are trained on" if captions else "no caption")
        return pa.array(unseen, self.returns), reasons


def captions_of(value: str | Sequence[str | None] | None) -> list[str]:
    """The captions of a row that say something, as they stand.

    Args:
        value: one, or a list, of which some may be null.
    """
    texts = [value] if isinstance(value, str) else value or ()
    return [text for text in texts if text and text.strip()]


def alike(caption: str) -> str:
    """A caption as it is compared with others: capitals and blanks make no difference."""
    return " ".join(caption.split()).casefold()


def _clean(value: str | Sequence[str | None] | None) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in captions_of(value)))
