"""Any Python function as a step."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import pyarrow as pa

from clipdata.errors import StepError, UsageError
from clipdata.step_protocol import BaseStep
from clipdata.steps.conversion import of_arrays, to_array
from clipdata.steps.function_digests import code_digest, decisive, name_of
from clipdata.steps.own_errors import place_of, told
from clipdata.steps.signatures import arrow_type_of, columns_of, hold_to_signature


class FunctionStep(BaseStep):
    """A Python function as a step; made by `step`."""

    def __init__(
        self,
        function: Callable[..., Any],
        reads: tuple[str, ...],
        returns: pa.DataType,
        *,
        batch: bool,
        version: str | None,
        parameters: Mapping[str, Any],
    ) -> None:
        hold_to_signature(function, reads, parameters)
        self.function, self.reads, self.returns, self.batch = function, reads, returns, batch
        self.name = name_of(function)
        self._version = version
        self.parameters: Mapping[str, Any] = {name: decisive(value, name) for name, value in parameters.items()}
        self._keywords = dict(parameters)
        functools.update_wrapper(self, function, updated=())

    @property
    def version(self) -> str:
        """The version that was named, or a digest of the code as it stands now, with what it depends on.

        Raises:
            UsageError: nothing tells the value of something that the function depends on.
        """
        return self._version or code_digest(self.function)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function itself."""
        return self.function(*arguments, **self._keywords)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """A step of a module is pickled by its name: the function itself is hidden behind it there."""
        name = getattr(self.function, "__qualname__", "")
        module = sys.modules.get(getattr(self.function, "__module__", None) or "")
        if name and getattr(module, name, None) is self:
            return name
        return super().__reduce__()

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> tuple[pa.Array, list[str | None]] | pa.Array:
        """Call the function once a row, or once for the whole batch.

        Raises:
            StepError: the function asked to end the program, or failed on the whole batch.
        """
        try:
            return self._of_batch(batch) if self.batch else self._of_rows(batch)
        except SystemExit as asked:
            raise StepError(
                f"step {self.name} asked to end the program (exit code {asked.code}){place_of(asked)}; "
                "expected a value a row",
                hint="raise an error, and the row has it as its reason; or return None",
            ) from asked

    def _of_batch(self, batch: pa.RecordBatch) -> tuple[pa.Array, list[str | None]] | pa.Array:
        try:
            result = self(*batch.columns)
        except Exception as error:
            raise StepError(
                f"step {self.name} failed on a batch of {batch.num_rows} rows: {told(error)}",
                hint="without batch=True a row that fails is counted and the others are computed",
            ) from error
        if isinstance(result, pa.Array | pa.ChunkedArray):
            return result
        try:
            return of_arrays(result, self.returns)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise StepError(
                f"step {self.name} returned a {type(result).__name__} that is no array of {self.returns}: {error}"
            ) from error

    def _of_rows(self, batch: pa.RecordBatch) -> tuple[pa.Array, list[str | None]]:
        call = functools.partial(self.function, **self._keywords) if self._keywords else self.function
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        values: list[Any] = []
        failed: dict[int, str] = {}
        while len(values) < batch.num_rows:
            try:
                for row in rows:
                    values.append(call(*row))
            except (
                Exception
            ) as error:  # any fault of the user's function belongs to this row; the loop goes on after it
                failed[len(values)] = told(error)
                values.append(None)
        array, reasons = to_array(values, self.returns)
        for place, reason in failed.items():
            reasons[place] = reason
        return array, reasons


def _listed(reads: Any) -> tuple[str, ...]:
    """The columns that are read.

    Raises:
        UsageError: they are no names of columns, or one is there twice.
    """
    names = (reads,) if isinstance(reads, str) else reads
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise UsageError(
            f"step: reads is {reads!r:.80}; expected the name of a column, or a list of them",
            hint='reads=["image", "caption"]',
        )
    if len(set(names)) < len(names):
        raise UsageError(f"step: reads is {reads!r:.80}, which names a column twice; a function takes each once")
    return tuple(names)


@overload
def step(function: Callable[..., Any], /) -> FunctionStep: ...
@overload
def step(
    *,
    reads: Sequence[str] | str | None = None,
    returns: pa.DataType | str | None = None,
    batch: bool = False,
    version: str | None = None,
    **parameters: Any,
) -> Callable[[Callable[..., Any]], FunctionStep]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    reads: Sequence[str] | str | None = None,
    returns: pa.DataType | str | None = None,
    batch: bool = False,
    version: str | None = None,
    **parameters: Any,
) -> FunctionStep | Callable[[Callable[..., Any]], FunctionStep]:
    """Make a function a step.

        @clipdata.step
        def num_words(caption: str) -> int:
            return len(caption.split())

        @clipdata.step(reads="caption", returns="int32")
        def num_letters(text):
            return len(text)

    Args:
        function: given by `@clipdata.step` without brackets.
        reads: columns, in the order of the function's arguments; by default the arguments' own names, without those
            that have a default.
        returns: Arrow type of the new column, or its name; by default that of the return annotation (int is int64,
            float float64, str string, list[float] a list of float64).
        batch: the function takes whole Arrow arrays and returns one, instead of one row's values.
        version: of the code; by default a digest of the compiled function with all that it closes over and names, by
            exact value, helpers of your own modules included; so an edit is another step, and so is another version of
            Python. Name it where the function depends on what nothing can tell, such as an open file.
        parameters: keyword arguments given to the function, part of the lineage: JSON values, or others, of which the
            lineage keeps a digest.

    Raises:
        UsageError: what it reads or returns is not said and cannot be told, the type's name is unknown, the function
            does not take these arguments, a column is named twice, or a parameter has no content that could be told
            from another's.
    """

    def decorate(function: Callable[..., Any]) -> FunctionStep:
        if not callable(function):
            raise UsageError(
                f"step was given {function!r}; expected a function", hint='@clipdata.step(reads="caption", returns=…)'
            )
        columns = columns_of(function, parameters) if reads is None else _listed(reads)
        return FunctionStep(
            function, columns, arrow_type_of(function, returns), batch=batch, version=version, parameters=parameters
        )

    return decorate if function is None else decorate(function)
