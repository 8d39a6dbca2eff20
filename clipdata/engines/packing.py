"""A step, a source or an error as bytes for a worker of another machine, and back.

What is installed (clipdata, torch, a user's package) travels by its name. Code of a file that is not (the script that
runs, a FILE.py of the command line) travels as it is, since a worker has no such file. It knows nothing of tables.
"""

from __future__ import annotations

import copyreg
import inspect
import io
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from clipdata.engines.ray_library import ray_library
from clipdata.errors import StepError

_PACKAGES = [Path(__file__).resolve().parents[2] / name for name in ("clipdata", "ingest", "pipelines")]


class WorkerTraceback(Exception):  # noqa: N818 - the cause of an error, and none itself
    """Where in a worker an error arose; the cause of the error as it is raised again."""

    def __str__(self) -> str:
        return f"in a worker:\n{self.args[0]}"


class Unsendable(Exception):  # noqa: N818 - what it is of, not an error of ours
    """Something that holds what cannot be sent, such as an open file."""


def pack(sent: Any) -> bytes:
    """A step or a source as bytes that `unpack` makes one of, in a process that has the same packages.

    Raises:
        Unsendable: it holds what cannot be sent.
    """
    cloudpickle = ray_library().cloudpickle

    module = _own_module(sent)
    if module is not None:
        cloudpickle.register_pickle_by_value(module)
    try:
        return _packed(sent, module)
    except Exception as error:  # pickle raises whatever an object's own reduction does
        raise Unsendable(str(error)) from error
    finally:
        if module is not None:
            cloudpickle.unregister_pickle_by_value(module)


def unpack(data: bytes) -> Any:
    """What was packed; a model in it is loaded, and held to its identity."""
    return ray_library().cloudpickle.loads(data)


def pack_error(error: BaseException) -> bytes:
    """An error as bytes, with where it arose."""
    cloudpickle = ray_library().cloudpickle

    trace = "".join(traceback.format_exception(error))
    try:
        data: bytes = cloudpickle.dumps((error, trace))
        cloudpickle.loads(data)
    except Exception:  # an exception class may need more arguments than it keeps
        data = cloudpickle.dumps((StepError(f"{type(error).__name__}: {error}"), trace))
    return data


def unpack_error(data: bytes) -> BaseException:
    """The error again, with its worker's traceback as its cause."""
    cloudpickle = ray_library().cloudpickle

    error, trace = cloudpickle.loads(data)
    error.__cause__ = WorkerTraceback(trace)
    found: BaseException = error
    return found


def _packed(sent: Any, module: ModuleType | None) -> bytes:
    base: Any = ray_library().cloudpickle.cloudpickle.CloudPickler

    class Pickler(base):  # type: ignore[misc, valid-type]
        """Takes along also objects that reduce themselves to the name which the module has for them."""

        def reducer_override(self, obj: Any) -> Any:
            if module is not None and _is_a_name(obj):
                return copyreg.__newobj__, (type(obj),), vars(obj)  # type: ignore[attr-defined]
            return super().reducer_override(obj)

    with io.BytesIO() as stream:
        Pickler(stream).dump(sent)
        return stream.getvalue()


def _is_a_name(obj: Any) -> bool:
    if inspect.isclass(obj) or inspect.isroutine(obj) or inspect.ismodule(obj):
        return False
    reduce: Any = type(obj).__reduce__
    return reduce is not object.__reduce__ and isinstance(obj.__reduce__(), str)


def _own_module(sent: Any) -> ModuleType | None:
    """The module of a step's or a source's code, where no worker can be expected to have it."""
    code = getattr(sent, "function", None) or type(sent)
    module = sys.modules.get(getattr(code, "__module__", None) or "")
    if module is None or module.__name__ == "__main__":
        return module
    path = Path(getattr(module, "__file__", None) or sys.executable).resolve()
    installed = [*_PACKAGES, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))]
    return None if any(path.is_relative_to(place) for place in installed) else module
