"""Told code: functions, classes and objects by what will run, so that two of them are told apart where they differ.

A function is its compiled instructions, its defaults, what it closes over and the globals that it names; helper
functions, classes and modules of one's own are told through and through, those of Python and of installed packages by
name. An object is told by its class and by the parts that pickle would take it apart into. Comments, docstrings, line
numbers and the order of sets decide nothing. It must not know steps.
"""

from __future__ import annotations

import copyreg
import dis
import enum
import functools
import importlib.util
import operator
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clipdata.exact_values import ExactValues, Untold

_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs, generator, coroutine, asynchronous generator
_CODE_KINDS = (types.FunctionType, classmethod, staticmethod, property, functools.cached_property)
_CACHED = type(functools.lru_cache(len))
_INSTALLED = tuple(
    {
        Path(folder).resolve()
        for folder in (
            *(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")),
            *site.getsitepackages(),
            site.getusersitepackages(),
        )
    }
)


class ToldCode(ExactValues):
    """Tells values, functions and objects.

    Attributes:
        place: names that led to what is told now: `("limit",)` in a function that closes over `limit`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place: tuple[str, ...] = ()
        self._met: dict[int, int] = {}  # functions, classes, modules and objects, in the order of meeting them
        self._held: list[Any] = []  # keeps what is met alive, so that no other value gets its id

    def _told_other(self, value: Any) -> Any:
        if id(value) in self._met:
            return {"!met": self._met[id(value)]}
        self._met[id(value)] = len(self._met)
        self._held.append(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.ModuleType):
            return {"!module": value.__name__}
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.MethodType):
            return {"!method": [self.told(value.__func__), self.told(value.__self__)]}
        return self._object(value)

    def _told_apart(self, value: Any) -> Any:
        met = dict(self._met)
        told = self.told(value)
        self._met = met
        return told

    @contextmanager
    def _at(self, name: str) -> Iterator[None]:
        """Tell what stands under a name; a failure leaves the name behind for the message."""
        self.place = (*self.place, name)
        yield
        self.place = self.place[:-1]

    def _named(self, values: dict[str, Any]) -> Any:
        told = []
        for name in sorted(values):
            with self._at(name):
                told.append([name, self.told(values[name])])
        return told

    def _function(self, function: types.FunctionType) -> Any:
        code, installed = function.__code__, is_installed(function.__globals__)
        if installed and "<" not in code.co_qualname:
            return {"!function": f"{function.__globals__['__name__']}.{code.co_qualname}"}
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        closure = {name: _cell(cell) for name, cell in cells.items() if name not in _assigned(code)}
        attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        return {
            "!function": [
                self._code(code),
                self.told(function.__defaults__),
                self._named(function.__kwdefaults__ or {}),
                self._named(closure),
                [] if installed else self._globals(function),
                self._named(attributes),
            ]
        }

    def _code(self, code: types.CodeType) -> Any:
        """The instructions with what they name; not numbers of lines, nor the docstring, which no instruction loads."""
        arguments = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS]
        taken = list(code.co_varnames[: sum(arguments[:3:2])])
        instructions = [self._instruction(each) for each in dis.get_instructions(code)]
        return [arguments, taken, instructions, code.co_exceptiontable.hex()]

    def _instruction(self, instruction: dis.Instruction) -> Any:
        if instruction.opcode in dis.hasconst:
            constant = instruction.argval
            return [
                instruction.opname,
                self._code(constant) if isinstance(constant, types.CodeType) else self.told(constant),
            ]
        named = instruction.opcode in (*dis.hasname, *dis.haslocal, *dis.hasfree)
        return [instruction.opname, str(instruction.argval) if named else instruction.arg]

    def _globals(self, function: types.FunctionType) -> Any:
        """What a function names outside itself: values, functions, and what it takes from modules of one's own."""
        codes, known = list(_with_nested(function.__code__)), function.__globals__
        named = {name for code in codes for name in _global_names(code)} - _assigned(function.__code__)
        told = self._named({name: known[name] for name in named if name in known})
        modules = [known[name] for name in sorted(named) if isinstance(known.get(name), types.ModuleType)]
        modules += [module for code in codes for module in _imported(code, known)]
        asked = {name for code in codes for name in code.co_names}
        return [told, [self._module(module, asked, ()) for module in modules if not is_installed(vars(module))]]

    def _module(self, module: types.ModuleType, asked: set[str], outer: tuple[str, ...]) -> Any:
        """What code asks of a module of one's own, by the names that occur in the code."""
        held = {name: value for name, value in vars(module).items() if name in asked}
        parts = [value for value in held.values() if isinstance(value, types.ModuleType)]
        outer = (*outer, module.__name__)
        inner = [
            self._module(part, asked, outer)
            for part in parts
            if not is_installed(vars(part)) and part.__name__ not in outer
        ]
        return [module.__name__, self._named(held), inner]

    def _class(self, kind: type) -> Any:
        if _is_from_installed(kind):
            return {"!class": f"{kind.__module__}.{kind.__qualname__}"}
        named = vars(kind).items()
        code = {name: _code_in(value) for name, value in named if isinstance(value, _CODE_KINDS)}
        if issubclass(kind, enum.Enum):
            values = {name: member.value for name, member in kind.__members__.items()}
        else:
            values = {n: v for n, v in named if n not in code and not n.startswith("__") and n != "_abc_impl"}
            values = {n: v for n, v in values.items() if not isinstance(v, types.MemberDescriptorType)}
        bases = [self.told(base) for base in kind.__bases__]
        return {"!class": [kind.__qualname__, bases, self._named(code), self._named(values)]}

    def _object(self, value: Any) -> Any:
        """An object by the parts that pickle takes it apart into."""
        kind = type(value)
        if isinstance(value, enum.Enum):
            return {"!enum": [self.told(kind), value.name, self.told(value.value)]}
        own = kind.__module__.split(".")[0] == "clipdata"
        if own and isinstance(getattr(value, "identity", None), str):
            return {"!encoder": value.identity}
        if own and callable(getattr(value, "__wrapped__", None)):
            return {"!step": [self.told(value.__wrapped__), self.told(value.parameters)]}
        if isinstance(value, _CACHED):
            return {"!cached": self.told(value.__wrapped__)}
        parts = _taken_apart(value)
        if isinstance(parts, str):
            return {"!named": _global_name(value, parts)}
        make, arguments, state, items, pairs = (*parts, *[None] * 5)[:5]
        if getattr(make, "__name__", "") in ("__newobj__", "_reconstructor"):
            make = kind
        return {
            f"!{kind.__qualname__}": [
                self.told(make),
                [self.told(each) for each in arguments if each is not kind],
                self._state(state),
                [self.told(each) for each in items or ()],
                [[self.told(name), self.told(each)] for name, each in pairs or ()],
            ]
        }

    def _state(self, state: Any) -> Any:
        held, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        if all(part is None or (type(part) is dict and all(type(n) is str for n in part)) for part in (held, slots)):
            return self._named({**(held or {}), **(slots or {})})
        return self.told(state)


def is_installed(names: Mapping[str, Any]) -> bool:
    """Whether a module comes with Python or in an installed package; then its name tells it.

    Args:
        names: the module's own, such as a function's globals: a file of one's own may be called as one of Python's.
    """
    module = str(names.get("__name__", "")).split(".")[0]
    place = names.get("__file__") or next(iter(names.get("__path__", ())), None)
    if place is None:
        return module in sys.builtin_module_names or (module in sys.stdlib_module_names and module != "__main__")
    return module == "clipdata" or _is_installed_at(str(place))


def _is_from_installed(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return is_installed(vars(module) if module is not None else {"__name__": kind.__module__})


@functools.cache
def _is_installed_at(place: str) -> bool:
    return any(Path(place).resolve().is_relative_to(folder) for folder in _INSTALLED)


def _taken_apart(value: Any) -> Any:
    """What pickle would write of an object.

    Raises:
        Untold: it cannot be pickled, such as a lock, an open file or a generator.
    """
    reduce: Callable[..., Any] | None = copyreg.dispatch_table.get(type(value))
    try:
        return reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception as error:  # each class says in its own way that it cannot
        raise Untold(value) from error


def _global_name(value: Any, name: str) -> str:
    """The name that leads to an object, such as a builtin.

    Raises:
        Untold: it leads elsewhere, as that of a ufunc made from a Python function.
    """
    module = getattr(value, "__module__", None) or pickle.whichmodule(value, name)  # type: ignore[attr-defined]
    with suppress(AttributeError):
        if operator.attrgetter(name)(sys.modules.get(module)) is value:
            return f"{module}.{name}"
    raise Untold(value)


def _with_nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_nested(constant)


def _global_names(code: types.CodeType) -> set[str]:
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    return {each.argval for each in dis.get_instructions(code) if each.opname in loads}


def _assigned(code: types.CodeType) -> set[str]:
    """Names outside itself that code assigns: what it keeps there, such as a model loaded once, it made by itself."""
    kept = set()
    for inner in _with_nested(code):
        for each in dis.get_instructions(inner):
            if each.opname == "STORE_GLOBAL" or (each.opname == "STORE_DEREF" and each.argval in inner.co_freevars):
                kept.add(each.argval)
    return kept


def _imported(code: types.CodeType, known: dict[str, Any]) -> Iterator[types.ModuleType]:
    """Modules of one's own that code imports as it runs."""
    package = known.get("__package__") or ""
    for each in dis.get_instructions(code):
        if each.opname == "IMPORT_NAME":
            found = sys.modules.get(each.argval) or sys.modules.get(f"{package}.{each.argval}")
            if found is None and _is_ones_own(each.argval):
                found = importlib.import_module(each.argval)
            if found is not None:
                yield found


def _is_ones_own(module: str) -> bool:
    """Whether a module that is not loaded is no installed one; those stay unloaded."""
    try:
        found = importlib.util.find_spec(module.split(".")[0])
    except (ImportError, ValueError):
        return False
    return found is not None and not is_installed({"__name__": module, "__file__": found.origin})


def _code_in(value: Any) -> Any:
    """The functions in what a class holds under a name."""
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, functools.cached_property):
        return value.func
    return (type(value).__name__, value.__func__) if isinstance(value, classmethod | staticmethod) else value


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return NotImplemented
