"""The page of public names: every name of `clipdata` and `ingest` with its signature and docstring.

The page holds directives that mkdocstrings turns into text when the site is built; what is public is read from the packages.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import clipdata as cd
import ingest
from docs.generate.markdown import first_line

PATH = "reference/python.md"
NAV = {"Python": PATH}

_NO_TEXT = {"__version__": "The version of this package, as text."}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    verbs, records, modules = _sorted_by_kind(missing)
    text = f"""# Python

```python
import clipdata as cd
import ingest
```

Names load on first use: `import clipdata` alone pulls in neither torch nor lance. All of it is typed. `cd.__version__` is the version.

## Functions of clipdata

{"".join(map(_function, verbs))}
## Classes of clipdata

{"".join(map(_class, records))}
"""
    text += "".join(_module(name, missing) for name in modules)
    text += "## ingest\n\n" + "".join(_ingest(name, missing) for name in ingest.__all__)
    return {PATH: text}


def _sorted_by_kind(missing: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Names of functions, of classes, and of modules."""
    verbs, records, modules = [], [], []
    for name in cd.__all__:
        value = getattr(cd, name)
        if name in _NO_TEXT:
            continue
        _require_text(f"clipdata.{name}", value, missing)
        kinds = modules if isinstance(value, ModuleType) else records if inspect.isclass(value) else verbs
        kinds.append(name)
    return verbs, records, modules


def _require_text(name: str, value: Any, missing: list[str]) -> None:
    """Note what has no docstring of its own: not that of a parent, nor what dataclasses write by themselves."""
    own = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    if not own or (inspect.isclass(value) and own.startswith(f"{value.__name__}(")):
        missing.append(f"{name}: no docstring")


def _function(name: str) -> str:
    return _directive(getattr(cd, name), f"cd.{name}")


def _class(name: str) -> str:
    return _directive(getattr(cd, name), f"cd.{name}", members=_methods(getattr(cd, name)))


def _methods(kind: type) -> list[str]:
    """Public methods and properties that are declared, with a docstring, in a class itself."""
    return [
        name
        for name, value in vars(kind).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod)))
        and first_line(value)
    ]


def _module(name: str, missing: list[str]) -> str:
    """The names of a public module; steps, objectives and recipes have pages of their own."""
    module = getattr(cd, name)
    pages = {"steps": "steps.md", "objectives": "training.md#objectives", "recipes": "training.md#recipes"}
    for one in getattr(module, "__all__", ()):
        if callable(value := getattr(module, one)):
            _require_text(f"clipdata.{name}.{one}", value, missing)
    told = f"## cd.{name}\n\n{first_line(module)}\n\n"
    if name in pages:
        return f"{told}See [{name}]({pages[name]}).\n\n"
    others = [one for one in module.__all__ if one not in cd.__all__ and callable(getattr(module, one))]
    return told + "".join(_directive(getattr(module, one), f"cd.{name}.{one}") for one in others)


def _ingest(name: str, missing: list[str]) -> str:
    value = getattr(ingest, name)
    _require_text(f"ingest.{name}", value, missing)
    return _directive(value, f"ingest.{name}", members=_methods(value) if inspect.isclass(value) else ())


def _directive(value: Any, heading: str, *, members: Iterable[str] = ()) -> str:
    listed = "".join(f"\n        - {name}" for name in members)
    shown = f"\n      members:{listed}" if listed else ""
    return f"""::: {value.__module__}.{value.__qualname__}
    options:
      heading: {heading}
      toc_label: {heading}{shown}

"""
