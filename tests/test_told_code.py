"""Told code: two functions that may give different values are two versions, wherever the difference lies."""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.errors import LineageMismatchError, UsageError
from tests.tables import number_table


class Side(enum.Enum):
    LEFT = 1
    RIGHT = 2


@dataclasses.dataclass
class Bound:
    low: float
    high: float = 1.0


class Plain:
    def __init__(self, by: Any) -> None:
        self.by = by

    def apply(self, number: int) -> int:
        return number * self.by


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by: Any) -> None:
        self.by = by

    def apply(self, number: int) -> int:
        return number * self.by


def version(function: Callable[..., Any]) -> str:
    return cd.step(reads="number", returns="int64")(function).version


def closing_over(value: Any) -> str:
    return version(lambda number: (number, value))


def loaded(source: str, folder: Path, name: str = "mine") -> ModuleType:
    """A module read anew from a file of this source."""
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), module.__dict__)  # an edit within one second is not told by a time
    return module


def knotted(number: int) -> list[Any]:
    knot: list[Any] = [number]
    knot.append(knot)
    return knot


PAIRS: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (lambda: re.compile("a"), lambda: re.compile("b")),
    (lambda: re.compile("a"), lambda: re.compile("a", re.IGNORECASE)),
    (lambda: Decimal("1.5"), lambda: Decimal("1.50")),
    (lambda: date(2020, 1, 1), lambda: date(2020, 1, 2)),
    (lambda: date(2020, 1, 1), lambda: datetime(2020, 1, 1)),
    (lambda: Bound(0.0), lambda: Bound(0.0, 2.0)),
    (lambda: Plain(2), lambda: Plain(3)),
    (lambda: Plain(2), lambda: Slotted(2)),
    (lambda: Slotted(2), lambda: Slotted(3)),
    (lambda: Plain(Plain(2)), lambda: Plain(Plain(3))),
    (lambda: Side.LEFT, lambda: Side.RIGHT),
    (lambda: {Side.LEFT}, lambda: {Side.RIGHT}),
    (lambda: 1 + 2j, lambda: 1 + 3j),
    (lambda: [Fraction(1, 2)], lambda: [Fraction(1, 3)]),
    (lambda: {"a": Decimal(1)}, lambda: {"a": Decimal(2)}),
    (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    (lambda: {1: "a"}, lambda: {"1": "a"}),
    (lambda: pa.array([1, 2]), lambda: pa.array([1, 3])),
    (lambda: pa.array([1, 2]), lambda: pa.array([1, 2], pa.int32())),
    (lambda: np.ma.masked_array([1, 2], [0, 1]), lambda: np.ma.masked_array([1, 2], [1, 0])),
    (lambda: np.array([1, "a"], object), lambda: np.array([1, "b"], object)),
    (lambda: torch.tensor([1.0]), lambda: torch.tensor([2.0])),
    (lambda: torch.nn.Linear(1, 1, bias=False).requires_grad_(False), lambda: torch.nn.Linear(1, 1)),
    (lambda: (1, 2), lambda: [1, 2]),
    (lambda: {1}, lambda: frozenset({1})),
    (lambda: 1, lambda: 1.0),
    (lambda: 1, lambda: True),
    (lambda: 1, lambda: "1"),
    (lambda: 0.5, lambda: np.float64(0.5)),
    (lambda: b"a", lambda: bytearray(b"a")),
    (lambda: Path("a"), lambda: "a"),
    (lambda: knotted(1), lambda: knotted(2)),
    (lambda: Plain(2).apply, lambda: Plain(3).apply),
    (lambda: functools.lru_cache(len), lambda: functools.lru_cache(abs)),
    (lambda: {"a": 1}.get, lambda: {"a": 2}.get),
    (lambda: np.negative, lambda: np.positive),
    (lambda: Plain, lambda: Slotted),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_values_that_a_function_closes_over_tell_it(one: Callable[[], Any], other: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    again = one() if not isinstance(one(), torch.nn.Module) else None
    if again is not None:
        assert closing_over(one()) == closing_over(again)
    assert closing_over(one()) != closing_over(other())


def test_bound_methods_and_partials_are_told_by_what_they_are_bound_to() -> None:
    for kind in (Plain, Slotted):
        assert version(kind(2).apply) == version(kind(2).apply) != version(kind(3).apply)

    def scaled(by: Any, number: int) -> int:
        return number * by

    two, three = (functools.partial(scaled, Decimal(by)) for by in (2, 3))
    assert version(two) == version(functools.partial(scaled, Decimal(2))) != version(three)
    renamed = [functools.update_wrapper(functools.partial(scaled, by), scaled) for by in (2, 3)]
    assert closing_over(renamed[0]) != closing_over(renamed[1])
    assert version({"a": 1}.get) != version({"a": 2}.get)


def test_two_lambdas_on_one_line_and_two_wrappers_of_one_function_are_told_apart() -> None:
    plus, minus = (
        cd.step(returns="int64")(lambda number: number + 1),
        cd.step(returns="int64")(lambda number: number - 1),
    )
    assert plus.version != minus.version

    def times(by: int) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def wrapper(number: int) -> int:
                return by * function(number)

            return wrapper

        return decorate

    assert version(times(2)(abs)) != version(times(3)(abs))


SOURCE = """
import helping
K = 2
class Scale:
    by = 3
    def of(self, number):
        return number * self.by
def helper(number):
    return number + 1
def function(number):
    return [helper(n) * K + Scale().of(n) for n in (number,)], helping.shift(number)
"""
HELPING = "def shift(number):\n    return number\ndef unused(number):\n    return 1\n"


@pytest.fixture
def helping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def place(source: str) -> None:
        monkeypatch.setitem(sys.modules, "helping", loaded(source, tmp_path, "helping"))

    place(HELPING)
    return place


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("K = 2", "K = 3"),
        ("K = 2", "K = 2.0"),
        ("number + 1", "number + 2"),
        ("by = 3", "by = 4"),
        ("number * self.by", "number / self.by"),
        ("helper(n) * K", "helper(n) ** K"),
    ],
)
def test_globals_helpers_and_classes_that_a_function_names_tell_it(
    tmp_path: Path, helping: Callable[[str], None], before: str, after: str
) -> None:
    old, new = (loaded(text, tmp_path) for text in (SOURCE, SOURCE.replace(before, after)))
    assert version(old.function) != version(new.function)


def test_a_helper_of_ones_own_module_tells_it_and_what_is_not_named_does_not(
    tmp_path: Path, helping: Callable[[str], None]
) -> None:
    first = version(loaded(SOURCE, tmp_path).function)
    helping(HELPING.replace("return 1", "return 2"))
    assert version(loaded(SOURCE, tmp_path).function) == first
    helping(HELPING.replace("    return number\n", "    return -number\n", 1))
    assert version(loaded(SOURCE, tmp_path).function) != first


def test_a_comment_a_docstring_and_another_layout_change_nothing(
    tmp_path: Path, helping: Callable[[str], None]
) -> None:
    described = SOURCE.replace("return number + 1", '"""Add one."""\n    # one\n\n    return (number\n        + 1)')
    assert version(loaded(SOURCE, tmp_path).function) == version(loaded(described, tmp_path).function)


def test_what_runs_is_told_and_not_what_stands_in_the_file_by_now(
    tmp_path: Path, helping: Callable[[str], None]
) -> None:
    module = loaded(SOURCE, tmp_path)
    before = version(module.function)
    (tmp_path / "mine.py").write_text(SOURCE.replace("* K", "+ K"))
    assert version(module.function) == before != version(loaded(SOURCE.replace("* K", "+ K"), tmp_path).function)


def test_a_file_that_is_called_as_a_module_of_python_is_told_by_its_code(tmp_path: Path) -> None:
    one, other = (loaded(f"def f(number):\n    return {k}\n", tmp_path, "statistics").f for k in (1, 2))
    assert version(one) != version(other)


def test_what_a_function_keeps_in_a_global_of_its_own_is_not_told(tmp_path: Path) -> None:
    kept = "model = None\ndef f(number):\n    global model\n    model = model or len\n    return 1\n"
    module = loaded(kept, tmp_path)
    before = version(module.f)
    module.f(1)
    assert module.model is len
    assert version(module.f) == before


def test_functions_that_call_each_other_and_steps_that_call_steps_have_a_version(tmp_path: Path) -> None:
    source = (
        "import clipdata as cd\n"
        "@cd.step(returns='int64')\ndef even(number):\n    return 1 if number == 0 else odd(number - 1)\n"
        "def odd(number):\n    return 0 if number == 0 else even(number - 1)\n"
    )
    one, other = (loaded(text, tmp_path) for text in (source, source.replace("return 0", "return 2")))
    assert one.even.version == loaded(source, tmp_path).even.version != other.even.version


def test_a_step_that_another_one_calls_tells_it_with_its_parameters(tmp_path: Path) -> None:
    def calling(by: int) -> str:
        inner = cd.step(reads="number", returns="int64", by=by)(lambda number, by: number * by)
        return version(lambda number: inner(number))

    assert calling(2) == calling(2) != calling(3)


def test_the_same_function_in_another_process_has_the_same_version(tmp_path: Path) -> None:
    source = (
        "import enum, re, clipdata as cd\n"
        "class Pet(enum.Enum):\n    CAT = 'c'\n    DOG = 'd'\n    COW = 'w'\n"
        "class Box:\n    def __init__(self, names):\n        self.names = names\n"
        "WORDS, PETS, BOX = {'a', 'b', 'c', 'd'}, {Pet.CAT, Pet.DOG, Pet.COW}, Box({Pet.DOG, Pet.COW, 'x', 'y'})\n"
        "@cd.step(returns='bool')\n"
        "def known(number):\n"
        "    return number in WORDS or number in PETS or number in {'p', 'q', 'r'} or number in BOX.names\n"
        "print(known.version)\n"
    )
    (tmp_path / "known.py").write_text(source)
    found = {
        subprocess.run(
            [sys.executable, *how],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(cd.__file__).parents[1]), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, how in (("1", ["known.py"]), ("2", ["-c", "exec(open('known.py').read())"]))
    }
    assert len(found) == 1
    assert "python3" in found.pop()


@pytest.mark.parametrize(
    "value",
    [threading.Lock, lambda: open(__file__), lambda: (n for n in [1]), lambda: [Plain(threading.Lock())]],  # noqa: SIM115
)
def test_what_nothing_tells_is_refused_unless_the_version_is_named(tmp_path: Path, value: Callable[[], Any]) -> None:
    held = value()
    table = number_table(tmp_path, 2)

    with pytest.raises(UsageError, match=r"depends on a \w+ \(held.*nothing tells its value(.|\n)*version="):
        cd.map_column(table, cd.step(returns="int64")(lambda number: (held, 1)[1]), "found")

    assert "found" not in table.latest().schema.names
    named = cd.step(returns="int64", version="1")(lambda number: (held, 1)[1])
    assert cd.map_column(table, named, "found").computed == 2


def test_a_global_that_changed_since_is_refused_by_map(tmp_path: Path) -> None:
    module = loaded("K = 2\ndef f(number):\n    return K\n", tmp_path)
    table, step = number_table(tmp_path, 2), cd.step(reads="number", returns="int64")(module.f)
    cd.map_column(table, step, "found")
    module.K = 3

    with pytest.raises(LineageMismatchError, match="found"):
        cd.map_column(table, step, "found")
