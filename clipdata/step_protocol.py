"""The Step protocol: what `map` asks of whatever makes a column, and a plain base for steps that need no more.

It knows Arrow types, and nothing of tables, engines or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from clipdata import schema as schemas
from clipdata.errors import SchemaError
from clipdata.trained_rows import TrainedRows


@dataclass(frozen=True)
class Kind:
    """A family of Arrow types that a step can read.

    Args:
        expected: how a message calls it: "a text", "a list of texts".
        family: as `schema.is_of` names it.
    """

    expected: str
    family: str

    def fits(self, found: pa.DataType) -> bool:
        """Tell whether a column of this type can be read."""
        return schemas.is_of(self.family, found)


TEXT = Kind("texts", "text")
TEXTS = Kind("lists of texts", "texts")
INTEGER = Kind("integers", "integer")
NUMBER = Kind("numbers", "number")
NUMBERS = Kind("lists of numbers", "numbers")
LABEL = Kind("texts or integers", "label")
BYTES = Kind("bytes of pictures", "bytes")


@runtime_checkable
class Step(Protocol):
    """Makes one column out of others.

    Attributes:
        name: of the step, in the lineage.
        version: of its code; another version makes other values.
        reads: columns it needs.
        returns: Arrow type of the column.
        parameters: JSON values that decide the result.
        model: identity of the encoder that decides the result, or None.
    """

    name: str
    reads: tuple[str, ...]
    returns: pa.DataType
    parameters: Mapping[str, Any]
    model: str | None

    @property
    def version(self) -> str:
        """Of the code; a class attribute will do."""
        ...

    def check(self, schema: pa.Schema) -> None:
        """Raise SchemaError or LineageMismatchError when a table's columns are not what the step needs."""
        ...

    def prepare(self, batch: pa.RecordBatch) -> Any:
        """Do the part that needs no model (decoding), in a thread beside it, batch after batch in order."""
        ...

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> pa.Array | tuple[pa.Array, Sequence[str | None]]:
        """Return one value a row, and where a value is null the reason for it."""
        ...


class BaseStep:
    """A step with nothing to check beyond its columns' types, nothing to prepare and nothing to note.

    Attributes:
        takes: column → the kind of values it must hold; `map` checks it before any work.
        trained_on: rows that the step's model was trained on, in each of its trainings.
    """

    model: str | None = None
    parameters: Mapping[str, Any] = {}
    takes: Mapping[str, Kind] = {}
    trained_on: tuple[TrainedRows, ...] = ()

    def check(self, schema: pa.Schema) -> None:
        """Nothing more than `takes`."""

    def prepare(self, batch: pa.RecordBatch) -> Any:
        """Nothing to prepare."""
        return None

    def notes(self) -> Mapping[str, Any]:
        """Nothing counted."""
        return {}


def check_types(step: Step, schema: pa.Schema) -> None:
    """Hold a table's columns to the kinds that a step declares.

    Raises:
        SchemaError: names every column of another type, what it holds and what was expected.
    """
    takes: Mapping[str, Kind] = getattr(step, "takes", {})
    wrong = [
        f"column {column!r} holds {schema.field(column).type}; expected {kind.expected}"
        for column, kind in takes.items()
        if not kind.fits(schema.field(column).type)
    ]
    if wrong:
        raise SchemaError(f"map {step.name}: {'; '.join(wrong)}")
