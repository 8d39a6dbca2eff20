"""Any Python function as a step."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from clipdata.errors import UsageError


class FunctionStep:
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
        self.function, self.reads, self.returns, self.batch = function, reads, returns, batch
        self.name = function.__name__
        self.version = version or _code_digest(function)
        self.parameters: Mapping[str, Any] = dict(parameters)
        self.model: str | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the function itself."""
        return self.function(*arguments, **self.parameters)

    def check(self, schema: pa.Schema) -> None:
        """Any column type will do: the function says what it cannot take."""

    def prepare(self, batch: pa.RecordBatch) -> None:
        """Nothing to prepare."""

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> tuple[pa.Array, list[str | None]] | pa.Array:
        """Call the function once a row, or once for the whole batch."""
        if self.batch:
            result = self(*batch.columns)
            return result if isinstance(result, pa.Array) else pa.array(result, self.returns)
        values: list[Any] = []
        errors: list[str | None] = []
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            try:
                values.append(pa.scalar(self(*row), self.returns).as_py())
                errors.append(None)
            except Exception as error:  # any fault of the user's function belongs to this row
                values.append(None)
                errors.append(f"{type(error).__name__}: {error}")
        return pa.array(values, self.returns), errors


def step(
    *,
    reads: Sequence[str] | str,
    returns: pa.DataType | str,
    batch: bool = False,
    version: str | None = None,
    **parameters: Any,
) -> Callable[[Callable[..., Any]], FunctionStep]:
    """Make a function a step.

        @clipdata.step(reads="caption", returns="int32")
        def num_words(caption):
            return len(caption.split())

    Args:
        reads: columns, in the order of the function's arguments.
        returns: Arrow type of the new column, or its name.
        batch: the function takes whole Arrow arrays and returns one, instead of one row's values.
        version: of the code; by default a digest of the function's source, so that an edit is another step.
        parameters: keyword arguments given to the function, part of the lineage.

    Raises:
        UsageError: the type's name is unknown.
    """
    names = (reads,) if isinstance(reads, str) else tuple(reads)
    try:
        arrow_type = pa.type_for_alias(returns) if isinstance(returns, str) else returns
    except ValueError as error:
        raise UsageError(
            f"unknown Arrow type {returns!r}", hint='use a name like "float32", or pa.list_(pa.float32())'
        ) from error

    def decorate(function: Callable[..., Any]) -> FunctionStep:
        return FunctionStep(function, names, arrow_type, batch=batch, version=version, parameters=parameters)

    return decorate


def _code_digest(function: Callable[..., Any]) -> str:
    try:
        code: bytes = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = function.__code__.co_code
    return hashlib.sha256(code).hexdigest()[:12]
