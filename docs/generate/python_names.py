"""The pages of public names: every name of `clipdata` and `ingest` with its signature, what it takes, gives and raises.

What is public is read from the packages, and what it does from its docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import clipdata as cd
import ingest
from docs.generate.markdown import code, description, first_line, named_parts, plain, table

FOLDER = "reference/python"
NAV = {"Python": [f"{FOLDER}/{page}.md" for page in ("index", "functions", "classes", "ingest")]}

_PAGES = {"steps": "../steps.md", "objectives": "../training.md#objectives", "recipes": "../training.md#recipes"}
_TITLES = {"Args": "argument", "Attributes": "attribute", "Returns": "returns", "Raises": "raises", "Yields": "yields"}
_WIDTH = 96


def pages(missing: list[str]) -> Mapping[str, str]:
    """A page of functions, one of classes, one of the ways in, and one that lists them all."""
    public = {name: getattr(cd, name) for name in cd.__all__ if name != "__version__"}
    for name, value in public.items():
        _require_text(f"clipdata.{name}", value, missing)
    modules = {name: value for name, value in public.items() if isinstance(value, ModuleType)}
    classes = {name: value for name, value in public.items() if inspect.isclass(value)}
    functions = {name: value for name, value in public.items() if name not in modules and name not in classes}
    ways_in = {name: getattr(ingest, name) for name in ingest.__all__}
    for name, value in ways_in.items():
        _require_text(f"ingest.{name}", value, missing)
    index = f"""# Python

```python
import clipdata as cd
import ingest
```

Names load on first use: `import clipdata` alone pulls in neither torch nor lance. All of it is typed.
`cd.__version__` is the version.

## Functions

{_listed("cd", functions, "functions.md")}
## Classes

{_listed("cd", classes, "classes.md")}
## ingest

{_listed("ingest", ways_in, "ingest.md")}
"""
    index += "".join(_module(name, module, missing) for name, module in modules.items())
    return {
        f"{FOLDER}/index.md": index,
        f"{FOLDER}/functions.md": _page("Functions of clipdata", "cd", functions),
        f"{FOLDER}/classes.md": _page("Classes of clipdata", "cd", classes),
        f"{FOLDER}/ingest.md": _page("Names of ingest", "ingest", ways_in),
    }


def _page(title: str, package: str, names: Mapping[str, Any]) -> str:
    return f"# {title}\n\n" + "".join(_documented(f"{package}.{name}", value) for name, value in names.items())


def _listed(package: str, names: Mapping[str, Any], page: str) -> str:
    rows = [(f"[`{package}.{n}`]({page}#{package}.{n})", plain(first_line(value))) for n, value in names.items()]
    return table(("name", "is"), rows)


def _module(name: str, module: ModuleType, missing: list[str]) -> str:
    """The names of a public module; steps, objectives and recipes have pages of their own."""
    public = {one: getattr(module, one) for one in getattr(module, "__all__", ()) if callable(getattr(module, one))}
    for one, value in public.items():
        _require_text(f"clipdata.{name}.{one}", value, missing)
    text = f"## cd.{name} {{ #cd.{name} }}\n\n{plain(first_line(module))}\n\n"
    if name in _PAGES:
        return f"{text}See [{name}]({_PAGES[name]}).\n\n"
    others = [(one, value) for one, value in public.items() if one not in cd.__all__]
    return text + "".join(_documented(f"cd.{name}.{one}", value) for one, value in others)


def _require_text(name: str, value: Any, missing: list[str]) -> None:
    """Note what has no docstring of its own: not that of a parent, nor what dataclasses write by themselves."""
    own = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    if not own or (inspect.isclass(value) and own.startswith(f"{value.__name__}(")):
        missing.append(f"{name}: no docstring")


def _documented(name: str, value: Any) -> str:
    """One name: its signature as code, its text, what it takes, gives and raises, and the methods of a class."""
    text = f"## {name} {{ #{name} }}\n\n"
    if (signature := _signature(name, value)) is not None:
        text += f"```python\n{signature}\n```\n\n"
    text += description(value) + "\n"
    for section, rows in named_parts(value).items():
        titles = (
            _TITLES[section],
            "is" if section in ("Args", "Attributes") else "when" if section == "Raises" else "",
        )
        text += table(titles, [(code(part) if part else " ", plain(told)) for part, told in rows]) + "\n"
    return text + (_methods(name, value) if inspect.isclass(value) else "")


def _signature(name: str, value: Any) -> str | None:
    """A call as it is written, on one line or with a line for each argument; None where there is none to show."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    given = [_parameter(one) for one in found.parameters.values() if one.name not in ("self", "cls")]
    kinds = [one.kind for one in found.parameters.values() if one.name not in ("self", "cls")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    if keyword in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        given.insert(kinds.index(keyword), "*")
    returns = "" if found.return_annotation is inspect.Signature.empty else f" -> {_kind(found.return_annotation)}"
    line = f"{name}({', '.join(given)}){'' if inspect.isclass(value) else returns}"
    if len(line) <= _WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {one},\n" for one in given) + f"){'' if inspect.isclass(value) else returns}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = "" if parameter.annotation is inspect.Parameter.empty else f": {_kind(parameter.annotation)}"
    if parameter.default is inspect.Parameter.empty:
        return f"{stars}{parameter.name}{kind}"
    default = repr(parameter.default)
    shown = default if len(default) < 40 and "<" not in default and " at 0x" not in default else "…"
    return f"{parameter.name}{kind} = {shown}" if kind else f"{parameter.name}={shown}"


def _kind(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _methods(name: str, kind: type) -> str:
    """Public methods and properties that a class declares with a docstring."""
    rows = []
    for one, value in vars(kind).items():
        made = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if one.startswith("_") or not (inspect.isfunction(made) or isinstance(made, property)) or not first_line(made):
            continue
        call = "" if isinstance(made, property) else f"({', '.join(_names_of(made))})"
        rows.append((code(f".{one}{call}"), plain(first_line(made))))
    return table((f"of {name}", "is"), rows) + "\n" if rows else ""


def _names_of(function: Any) -> list[str]:
    given = [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]
    return [one.name if one.default is inspect.Parameter.empty else f"{one.name}=…" for one in given]
