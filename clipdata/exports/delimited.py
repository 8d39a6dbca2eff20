"""CSV and TSV out: what spreadsheets and every other tool read.

A null is an empty field, an empty text a pair of quotes; a list is JSON. Nothing is changed to please a spreadsheet: a
text that one takes for a formula is counted and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from clipdata.exports.formats import About, Notes, holds_bytes
from clipdata.exports.places import Place
from clipdata.json_values import dump_value, plain
from clipdata.schema import is_list, is_text

_BOM = b"\xef\xbb\xbf"
_FORMULA = r"^[=+\-@\t\r]"


class Delimited:
    """One file of CSV or TSV.

    Args:
        delimiter: one character.
        bom: begin the file with a byte order mark, by which Excel knows that it is UTF-8.
    """

    is_folder, needs_picture = False, False

    def __init__(self, *, delimiter: str = ",", bom: bool = False) -> None:
        self.name = "tsv" if delimiter == "\t" else "csv"
        self._delimiter, self._bom = delimiter, bom

    def why_not(self, column: pa.Field) -> str | None:
        """It holds no bytes."""
        return "holds bytes" if holds_bytes(column) else None

    def check(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        """Any columns will do."""

    def write(self, batches: Iterator[pa.RecordBatch], place: Place, about: About) -> Notes:
        """Write the lines, and count the texts that a spreadsheet would run."""
        num_formulas = 0
        with place.open() as stream:
            if self._bom:
                stream.write(_BOM)
            writer: Any = None
            options = pa_csv.WriteOptions(delimiter=self._delimiter, include_header=True, quoting_style="needed")
            for batch in batches:
                num_formulas += _formulas_in(batch)
                flat = _flat(batch)
                if writer is None:
                    writer = pa_csv.CSVWriter(stream, flat.schema, write_options=options)
                writer.write_batch(flat)
            writer.close()
        words = "texts that begin with = + - or @, which a spreadsheet takes for formulas"
        return {words: num_formulas} if num_formulas else {}


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with lists, structs and other nested values as JSON."""
    columns = [_as_text(values) if _is_odd(values.type) else values for values in map(_spelled, batch.columns)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _spelled(values: pa.Array) -> pa.Array:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _is_odd(kind: pa.DataType) -> bool:
    tests = (
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string),
        *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_null),
    )
    return pa.types.is_float16(kind) or not any(test(kind) for test in tests)


def _as_text(values: pa.Array) -> pa.Array:
    if not (is_list(values.type) or pa.types.is_nested(values.type)):
        return values.cast(pa.float32() if pa.types.is_float16(values.type) else pa.string())
    texts = [None if value is None else dump_value(plain(value)) for value in values.to_pylist()]
    return pa.array(texts, pa.string())


def _formulas_in(batch: pa.RecordBatch) -> int:
    texts = [values for values in batch.columns if is_text(values.type)]
    found = [pc.sum(pc.match_substring_regex(_spelled(values), _FORMULA)).as_py() for values in texts]
    return sum(count or 0 for count in found)
