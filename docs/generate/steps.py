"""The page of steps: what `map` can fill a column with, by the names of the command line and in Python."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import clipdata as cd
from docs.generate.markdown import code, description, first_line, plain, table
from pipelines.cli.field_help import arguments_of, shown
from pipelines.cli.named_steps import GIVEN, STEPS

PATH = "reference/steps.md"
NAV = {"Steps": PATH}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    text = """# Steps

A step reads some columns and makes one new one. `clipdata map TABLE STEP COLUMN -p NAME=VALUE` fills a column by a
step's name;
`cd.map_column(table, cd.steps.Class(…), "column")` does the same in Python. A step of your own is a function:
[own step](../guides/own-step.md). Steps that take a model take it by `--model`.

"""
    named = {class_name: name for name, (class_name, _) in STEPS.items()}
    text += table(
        ("step", "makes"),
        [(f"[`{name}`](#{name})", plain(first_line(getattr(cd.steps, own)))) for own, name in named.items()],
    )
    return {PATH: text + "".join(_step(name, own, missing) for own, name in named.items())}


def _step(name: str, class_name: str, missing: list[str]) -> str:
    step = getattr(cd.steps, class_name)
    meanings = arguments_of(step)
    rows = []
    for parameter in inspect.signature(step).parameters.values():
        meaning = meanings.get(parameter.name, "")
        if not meaning:
            missing.append(f"step {name}: parameter {parameter.name} has no description")
        needed = parameter.default is inspect.Parameter.empty
        default = "must be given" if needed else f"`{shown(parameter.default)}`"
        if parameter.name in GIVEN:
            default = "given by `--model`" if parameter.name == "encoder" else "given by the command line"
        rows.append((code(parameter.name), default, plain(meaning)))
    if not first_line(step):
        missing.append(f"step {name}: no docstring")
    takes = ", takes `--model`" if STEPS[name][1] else ""
    return f"""
## {name} {{ #{name} }}

`cd.steps.{class_name}`{takes}

{description(step)}
{table(("parameter", "default", "is"), rows) if rows else ""}"""
