"""Rebuilding: the step that made a column, made again from the column's lineage.

    models = Models()                                  what is loaded once for all columns
    step = rebuild(table, "scores", models)

What is rebuilt must be what stands in the lineage, parameters, inputs and weights; only its code may be newer. It knows
the steps of this package; a function of somebody's own has to be given. It knows nothing of what is then done with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clipdata import steps
from clipdata.errors import ClipdataError, LineageMismatchError, NotFoundError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.lineage import Lineage
from clipdata.step_protocol import BaseStep, Step

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

_SHOWN = 12  # characters of an identity that a line for people shows
_OWN_TABLE = "."


def step_classes() -> dict[str, type[BaseStep]]:
    """The steps of this package that a lineage alone can make again, by their name in it."""
    found = (getattr(steps, name) for name in steps.__all__)
    classes = [one for one in found if isinstance(one, type) and issubclass(one, BaseStep)]
    named = {getattr(one, "name", None): one for one in classes}
    return {name: one for name, one in named.items() if isinstance(name, str)}


@dataclass
class Models:
    """Encoders by what a lineage says of them, each loaded once.

    Args:
        given: encoders to look among first, by their identity.
        device: where others run.
        say: told what is loaded.
    """

    given: Sequence[Encoder] = ()
    device: str | None = None
    say: Callable[[str], None] = lambda _: None
    _loaded: dict[str, Encoder] = field(default_factory=dict)

    def of(self, lineage: Lineage) -> Encoder:
        """The encoder with the very weights that made a column.

        Raises:
            NotFoundError: its files are gone, or nobody recorded its name.
            LineageMismatchError: other weights stand under its name now.
        """
        for encoder in (*self.given, *self._loaded.values()):
            if lineage.model in (encoder.identity, encoder.trunk_identity):
                return encoder
        name, wanted = lineage.model_name, str(lineage.model)[:_SHOWN]
        hint = "name a model with these weights: --model MODEL (models=[clipdata.load_encoder(…)])"
        if name is None:
            raise NotFoundError(f"{lineage.step} was made with model {wanted}, whose name nobody recorded", hint=hint)
        if name not in self._loaded:
            self._loaded[name] = self._load(name, wanted, hint)
        found = self._loaded[name]
        if lineage.model not in (found.identity, found.trunk_identity):
            is_trunk = lineage.step == "ImageTrunk"
            identity = found.trunk_identity if is_trunk else found.identity
            raise LineageMismatchError(
                f"{lineage.step} was made with {name} {wanted}; what {name} names now is {identity[:_SHOWN]} "
                f"({found.precision}): other weights, preprocessing or precision",
                hint=hint,
            )
        return found

    def _load(self, name: str, wanted: str, hint: str) -> Encoder:
        from clipdata.encoder.loading import load_encoder

        self.say(f"loading {name}")
        try:
            return load_encoder(name, device=self.device)
        except (NotFoundError, UsageError) as error:
            raise NotFoundError(f"{name} ({wanted}) is not there any more: {error.message}", hint=hint) from error


def rebuild(table: Table, column: str, models: Models, own: Sequence[Step] = ()) -> Step:
    """Make the step again that made a column.

    Args:
        table: that has the column; steps that read a table as a whole read its newest version.
        models: where encoders come from.
        own: steps that are functions, of which the lineage holds the name alone.

    Raises:
        UsageError: no step made the column; or a function did that is not among `own`.
        NotFoundError: the files of its model, or a table that it read, are gone.
        LineageMismatchError: what can be made now is another step than the lineage says.
    """
    lineage = table.lineage(column)
    if lineage is None:
        raise UsageError(f"no step made column {column!r}: it came with the data", hint="map fills columns by steps")
    step = _own_step(lineage, own) or _made(table, column, lineage, models)
    _require_alike(column, lineage, step, table.schema.field(column).type)
    return step


def _own_step(lineage: Lineage, own: Sequence[Step]) -> Step | None:
    """The function that made a column, if it is among those given; None for a step of this package."""
    named = [step for step in own if step.name == lineage.step]
    if found := next((step for step in named if tuple(step.reads) == lineage.inputs), named[0] if named else None):
        return found
    if lineage.step not in step_classes():
        raise UsageError(
            f"{lineage.step} is a function of your own, of which a lineage holds the name and not the code",
            hint=f"--step FILE.py:{lineage.step} (steps=[{lineage.step}]) gives it",
        )
    return None


def _made(table: Table, column: str, lineage: Lineage, models: Models) -> Step:
    step_class: Any = step_classes()[lineage.step]
    arguments = step_class.arguments_of(lineage, table.schema)
    wanted = inspect.signature(step_class).parameters
    if "encoder" in wanted and lineage.model is not None:
        arguments["encoder"] = models.of(lineage)
    if "table" in wanted:
        read = [table if uri == _OWN_TABLE else open_table(uri, storage=table.storage) for uri in lineage.tables]
        arguments["table"] = read if len(read) > 1 else read[0] if read else table
    if "column" in wanted:
        arguments["column"] = column
    try:
        made: Step = step_class(**arguments)
    except TypeError as error:  # the lineage is of another release, whose step had other arguments
        raise LineageMismatchError(
            f"{lineage.step} of this release has other arguments than the lineage of {column!r} holds: {error}",
            hint="map the column again, with --overwrite",
        ) from error
    return made


def _require_alike(column: str, lineage: Lineage, step: Step, kind: pa.DataType) -> None:
    """Hold a step to the lineage it was made from; its code may be newer.

    Raises:
        LineageMismatchError: it reads, is given or gives something else.
    """
    rebuilt = replace(
        lineage,
        step=step.name,
        parameters=dict(step.parameters),
        model=step.model,
        inputs=tuple(step.reads),
    )
    differences = lineage.differences(rebuilt)
    if step.returns != kind:
        differences.append(f"type: {kind} in the column, {step.returns} in this run")
    if differences:
        raise LineageMismatchError(
            f"the step of column {column!r} cannot be made again from its lineage, {lineage.describe()}"
            + "".join(f"\n  {line}" for line in differences),
            hint="map the column again, with --overwrite",
        )


def newer_code(table: Table, column: str, own: Sequence[Step] = ()) -> str | None:
    """What is newer of the code of a column's step, told without loading a model; None where nothing is.

    Of a function that is not among `own` nothing can be told.

    Args:
        table: that has the column.
        column: made by a step.
        own: steps that are functions.
    """
    lineage = table.lineage(column)
    assert lineage is not None, "no step made this column"
    version = _version_now(table, column, lineage, own)
    if version is None or version == lineage.step_version:
        return None
    return f"{lineage.step} is at version {version}, the column was made at {lineage.step_version}"


def _version_now(table: Table, column: str, lineage: Lineage, own: Sequence[Step]) -> str | None:
    named = next((step for step in own if step.name == lineage.step), None)
    if named is not None:
        return named.version
    step_class = step_classes().get(lineage.step)
    version = getattr(step_class, "version", None)
    if step_class is None or isinstance(version, str):
        return version
    if {"encoder", "table"} & set(inspect.signature(step_class).parameters):
        return None
    with suppress(ClipdataError):  # a version that hangs on what is installed is told by the step itself
        return _made(table, column, lineage, Models()).version
    return None
