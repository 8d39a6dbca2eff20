"""Functions as steps: what they read, return and are told apart by, and rows on which they fail."""

from __future__ import annotations

import functools
import pickle
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import StepError, UsageError
from clipdata.lineage import Lineage
from clipdata.steps import FunctionStep
from tests.tables import number_table


@cd.step
def letters(text: str) -> int:
    """How many letters."""
    return len(text)


def computed(step: FunctionStep, **columns: Any) -> tuple[list[Any], list[str | None]]:
    values, errors = step.compute(pa.record_batch(columns), None)
    assert values.type == step.returns
    return values.to_pylist(), errors


def made(**parameters: Any) -> FunctionStep:
    return cd.step(reads="n", returns="float64", **parameters)(lambda n, **_: n)


def fingerprint(step: FunctionStep) -> str:
    return Lineage(step.name, step.version, step.parameters, inputs=step.reads).fingerprint


def test_without_brackets_arguments_name_the_columns_and_the_annotation_the_type(tmp_path: Path) -> None:
    assert (letters.reads, letters.returns, letters.name) == (("text",), pa.int64(), "letters")
    assert letters("four") == 4
    assert letters.__doc__ == "How many letters."
    table = number_table(tmp_path, 3)

    cd.map_column(table, letters, "letters")

    assert table.to_table(["letters"])["letters"].to_pylist() == [6, 6, 6]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (float, pa.float64()),
        (str, pa.string()),
        (bool, pa.bool_()),
        (bytes, pa.large_binary()),
        (int | None, pa.int64()),
        (list[float], pa.list_(pa.float64())),
        (list[list[int]], pa.list_(pa.list_(pa.int64()))),
        (np.float32, pa.float32()),
        (pa.list_(pa.float32(), 3), pa.list_(pa.float32(), 3)),
    ],
)
def test_annotations_stand_for_arrow_types(annotation: Any, expected: pa.DataType) -> None:
    def function(n):
        return n

    function.__annotations__["return"] = annotation
    assert cd.step(function).returns == expected


def test_arguments_with_a_default_and_parameters_are_no_columns() -> None:
    @cd.step(returns="int64", base=3)
    def power(number, base, offset=1):
        return number**base + offset

    assert power.reads == ("number",)
    assert computed(power, number=[2]) == ([9], [None])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cd.step(lambda n: n), "does not say what it returns"),
        (lambda: cd.step(returns="int64")(lambda *n: n), "which columns it reads"),
        (lambda: cd.step(reads=(), returns="int64")(lambda: 1), "reads no column"),
        (lambda: cd.step(reads=("a", "b"), returns="int64")(lambda a: a), "cannot be called with"),
        (lambda: cd.step(reads="a", returns="int64", x=1)(lambda a: a), "cannot be called with"),
        (lambda: cd.step(reads="a", returns="integer")(lambda a: a), "unknown Arrow type 'integer'"),
        (lambda: cd.step(reads="a", returns=dict)(lambda a: a), "no Arrow type"),
        (lambda: cd.step("caption"), "expected a function"),
        (lambda: cd.step(reads=5, returns="int64")(abs), "reads is 5"),
        (lambda: cd.step(reads=["a", 5], returns="int64")(abs), "expected the name of a column"),
        (lambda: made(lock=threading.Lock()), "whose content no lineage can hold"),
        (lambda: made(files=[1, open(__file__)]), "whose content no lineage can hold"),  # noqa: SIM115
        (lambda: made(rows=(n for n in [1])), "whose content no lineage can hold"),
    ],
)
def test_what_cannot_be_a_step_is_refused_when_it_is_made(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        make()
    assert refused.value.hint


def test_a_column_is_read_once() -> None:
    with pytest.raises(UsageError, match="names a column twice"):
        cd.step(reads=["a", "a"], returns="int64")(lambda a, b: a)


async def later(n):
    return n


def many(n):
    yield n


@pytest.mark.parametrize("function", [later, many])
def test_a_function_that_answers_later_is_refused(function: Any) -> None:
    with pytest.raises(UsageError, match="one value"):
        cd.step(reads="n", returns="int64")(function)


def test_builtins_partials_lambdas_and_objects_are_named_after_what_they_are() -> None:
    class Scale:
        def __init__(self, by: int) -> None:
            self.by = by

        def __call__(self, n: int) -> int:
            return n * self.by

    step = cd.step(reads="n", returns="int64")
    assert step(abs).name == "abs"
    assert step(functools.partial(pow, 2)).name == "pow"
    assert step(lambda n: n).name == "lambda"
    assert step(Scale(2)).name == "Scale"
    assert cd.step(Scale(2)).returns == pa.int64()
    assert step(np.negative).name == "negative"
    assert computed(step(abs), n=[-1])[0] == [1]
    assert computed(step(functools.partial(pow, 2)), n=[5])[0] == [32]
    assert fingerprint(step(Scale(2))) == fingerprint(step(Scale(2))) != fingerprint(step(Scale(3)))
    assert fingerprint(step(functools.partial(pow, 2))) != fingerprint(step(functools.partial(pow, 3)))
    assert fingerprint(step(abs)) != fingerprint(step(round))


def test_an_array_that_differs_in_one_number_is_another_parameter() -> None:
    weights = np.zeros(5000)
    other = weights.copy()
    other[2500] = 1

    assert fingerprint(made(w=weights)) == fingerprint(made(w=weights.copy()))
    assert fingerprint(made(w=weights)) != fingerprint(made(w=other))
    assert fingerprint(made(w=weights)) != fingerprint(made(w=weights.reshape(50, 100)))
    assert fingerprint(made(w=weights)) != fingerprint(made(w=weights.astype(np.float32)))
    assert fingerprint(made(w=weights[::2])) == fingerprint(made(w=weights[::2].copy()))
    assert fingerprint(made(w=[weights])) != fingerprint(made(w=[other]))
    assert fingerprint(made(w={"a": b"x"})) != fingerprint(made(w={"a": b"y"}))
    assert fingerprint(made(w={"b", "a"})) == fingerprint(made(w={"a", "b"}))
    assert fingerprint(made(w=(1, 2))) != fingerprint(made(w=[1, 2]))
    assert fingerprint(made(w=Decimal("0.1"))) != fingerprint(made(w=Decimal("0.2")))
    assert fingerprint(made(w={1: 2})) != fingerprint(made(w={"1": 2}))
    assert fingerprint(made(w=Path("a"))) != fingerprint(made(w="a"))
    assert made(w=np.float32(0.5), size=[1, 2]).parameters == {"w": {"!float32": 0.5}, "size": [1, 2]}


def test_what_a_function_closes_over_is_part_of_its_version() -> None:
    def above(limit: Any) -> FunctionStep:
        return cd.step(reads="n", returns="bool")(lambda n: n > limit)

    def helped(offset: int) -> FunctionStep:
        def helper(n: int) -> int:
            return n + offset

        return cd.step(reads="n", returns="int64")(lambda n: helper(n))

    assert above(3).version == above(3).version != above(4).version
    assert above(np.array([1.0])).version != above(np.array([2.0])).version
    assert helped(1).version == helped(1).version != helped(2).version
    one, two = (cd.step(reads="n", returns="int64")(f) for f in (lambda n: n + 1, lambda n: n + 2))
    assert one.version != two.version


def test_a_version_that_is_named_stands_for_the_code() -> None:
    steps = [cd.step(reads="n", returns="int64", version="7")(lambda n, k=k: n + k) for k in range(2)]
    assert {step.version for step in steps} == {"7"}


def test_a_function_that_calls_itself_has_a_version() -> None:
    def outer() -> FunctionStep:
        def countdown(n: int) -> int:
            return countdown(n - 1) if n else 0

        return cd.step(countdown)

    assert outer().version == outer().version


def test_a_row_on_which_the_function_fails_or_whose_value_does_not_fit_has_a_reason() -> None:
    values: list[Any] = [1, "x", 1.5, None, 2**40, np.float32(2.0)]
    step = cd.step(reads="n", returns="int32")(lambda n: values[n] if n < 6 else 1 // 0)

    found, errors = computed(step, n=list(range(7)))

    assert found == [1, None, None, None, None, 2, None]
    assert [error.split(":")[0] if error else None for error in errors] == [
        None,
        "ValueError",
        "ValueError",
        None,
        "ArrowInvalid",
        None,
        "ZeroDivisionError",
    ]


def test_a_batch_that_fails_or_is_no_array_is_said_with_the_steps_name() -> None:
    step = cd.step(reads="n", returns="float32", batch=True)
    batch = pa.record_batch({"n": [1, 2]})

    assert step(lambda n: np.ones(len(n), np.float32)).compute(batch, None)[0].to_pylist() == [1, 1]
    with pytest.raises(StepError, match=r"lambda failed on a batch of 2 rows: ZeroDivisionError(.|\n)*batch=True"):
        step(lambda n: 1 // 0).compute(batch, None)
    with pytest.raises(StepError, match="no array of float"):
        step(lambda n: 5).compute(batch, None)


@pytest.mark.parametrize("batch", [False, True])
def test_a_step_that_asks_to_end_the_program_is_said_by_its_name(tmp_path: Path, batch: bool) -> None:
    def leaving(number: Any) -> int:
        raise SystemExit(0)

    with pytest.raises(StepError, match="step leaving asked to end the program"):
        cd.map_column(number_table(tmp_path, 3), cd.step(batch=batch)(leaving), "found")


def test_a_step_of_a_module_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(letters)) is letters
