"""The Step protocol: what `map` asks of whatever makes a column, and a plain base for steps that need no more.

It knows Arrow types, and nothing of tables, engines or models.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from clipdata import schema as schemas
from clipdata.arguments import PROGRESS, check_able, check_count
from clipdata.errors import SchemaError, UsageError
from clipdata.lineage import Lineage
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
CAPTIONS = Kind("texts or lists of texts", "captions")
INTEGER = Kind("integers", "integer")
NUMBER = Kind("numbers", "number")
NUMBERS = Kind("lists of numbers", "numbers")
LABEL = Kind("texts or integers", "label")
LABELS = Kind("texts or integers, or lists of these", "labels")
BYTES = Kind("bytes of pictures", "bytes")


GIVEN = ("encoder", "table", "column")
"""Arguments of steps that are neither parameters nor inputs: a model, the table, and where the step wrote before."""

_GATHERING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_ATTRIBUTES = ("name", "version", "reads", "returns", "parameters", "model", "check", "prepare", "compute")


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
        tables: locations of the tables that the step read as a whole when it was made.
        decided: digest of what it decided then for all rows; values that an interrupted job stored under other
            decisions are computed again, for half of one and half of another may contradict each other.
    """

    model: str | None = None
    parameters: Mapping[str, Any] = {}
    takes: Mapping[str, Kind] = {}
    trained_on: tuple[TrainedRows, ...] = ()
    tables: tuple[str, ...] = ()
    decided: str | None = None

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - some steps ask it
        """The constructor's arguments by which this step made a column, but for those in `GIVEN`.

        Parameters stand in the lineage under the arguments' own names. The other arguments are columns, which are read
        in this order; one that is None by default may have been left out.

        Args:
            lineage: of a column that the step made.
            schema: of the table.

        Raises:
            UsageError: more than one choice of columns fits.
        """
        return {**lineage.parameters, **columns_in_order(cls, lineage.inputs, but=lineage.parameters)}

    def check(self, schema: pa.Schema) -> None:
        """Nothing more than `takes`."""

    def prepare(self, batch: pa.RecordBatch) -> Any:
        """Nothing to prepare."""
        return None

    def notes(self) -> Mapping[str, Any]:
        """Nothing counted."""
        return {}

    def tally(self) -> Mapping[str, int]:
        """The counts that the notes are made of, by names; none. What must count once has a name of its own."""
        return {}

    def add(self, tally: Mapping[str, int]) -> None:
        """Count in what a copy of the step counted in another process; nothing."""

    def foretell(self, num_rows: int) -> Mapping[str, Any]:
        """What a dry run says of so many rows, after the step computed a handful; nothing."""
        return {}


def columns_in_order(step_class: type, inputs: Sequence[str], *, but: Collection[str]) -> dict[str, Any]:
    """Which argument of a step's constructor named which of its inputs.

    Args:
        step_class: whose constructor it is.
        inputs: columns, in the order of the arguments; several may belong to the last of them.
        but: arguments that name no input.

    Raises:
        UsageError: it cannot be told which of the arguments were left out.
    """
    named = {
        name: argument.default is None
        for name, argument in inspect.signature(step_class).parameters.items()
        if name not in GIVEN and name not in but and argument.kind not in _GATHERING
    }
    if not named:
        return {}
    if len(inputs) < len(named):
        named = {name: may_lack for name, may_lack in named.items() if not may_lack}
    if len(inputs) < len(named) or not named:
        raise UsageError(
            f"{step_class.__name__}: nothing tells which of its arguments named {', '.join(inputs) or 'no column'}",
            hint="map the column again, with --overwrite",
        )
    last = len(named) - 1
    columns: list[Any] = [*inputs[:last], inputs[last] if len(inputs) == len(named) else list(inputs[last:])]
    return dict(zip(named, columns, strict=True))


def require_names(step: str, **columns: Any) -> None:
    """Hold what a step was given as the names of columns to be such.

    Args:
        columns: argument → what was given; None is an argument that was left out.

    Raises:
        UsageError: one is no text, or empty.
    """
    for argument, name in columns.items():
        if name is not None and not (isinstance(name, str) and name):
            raise UsageError(
                f"{step}: {argument} is {name!r:.80}; expected the name of a column",
                hint=f'{argument}="…" names the column that holds it; clipdata show TABLE lists them',
            )


def require_arguments(step: Any, batch_rows: Any, engine: Any, progress: Any) -> None:
    """Hold the arguments of a map to their kinds, before anything is read.

    Raises:
        UsageError: one is of another kind, or its brackets were forgotten.
    """
    _require_step(step)
    if batch_rows is not None:
        check_count(batch_rows, "map: batch_rows", least=1)
    check_able(engine, "map: engine", ("run",), "leave it out, and the work runs in this process")
    check_able(progress, "map: progress", ("task", "say"), PROGRESS)


def _require_step(step: Any) -> None:
    if isinstance(step, type):
        raise UsageError(
            f"map: the step is the class {step.__name__}, not a step that was made of it",
            hint=f"write its brackets: {step.__name__}(…)",
        )
    lacking = [
        name for name in _ATTRIBUTES if not hasattr(type(step), name) and name not in getattr(step, "__dict__", {})
    ]
    if not lacking:
        return
    if callable(step):
        raise UsageError(
            f"map: the step is the function {getattr(step, '__name__', step)!r:.80}; only step() makes a step of it",
            hint='clipdata.step(reads="caption", returns="int64")(function)',
        )
    raise UsageError(
        f"map: the step is {step!r:.80}; expected a step, which has {', '.join(_ATTRIBUTES)}",
        hint='such as clipdata.steps.LabelIndex("label"), or a function under @clipdata.step',
    )


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
        texts = [name for name, kind in takes.items() if kind == TEXTS and schemas.is_text(schema.field(name).type)]
        hint = f"lists that went through CSV are texts; {ingest_lists(texts)} reads them as lists" if texts else None
        raise SchemaError(f"map {step.name}: {'; '.join(wrong)}", hint=hint)


def ingest_lists(columns: Sequence[str]) -> str:
    """The command that takes metadata in with columns of texts read as lists."""
    return "clipdata ingest parquet FILE --into TABLE " + f"--lists {','.join(columns)}"
