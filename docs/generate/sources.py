"""The page of the ways in: what each reads, its arguments, and the command that does the same."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import ingest
from docs.generate.markdown import code, description, first_line, plain, table
from pipelines.cli.app import VERBS
from pipelines.cli.field_help import arguments_of, shown

PATH = "reference/sources.md"
NAV = {"Ways in": PATH}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    names = [name for name in ingest.__all__ if name.startswith("from_")]
    rows = [(f"[`ingest.{name}`](#{name})", _command(name), plain(first_line(getattr(ingest, name)))) for name in names]
    text = f"""# Ways in

Each is a function that brings a table up to date with one kind of source: what is known is not read again, what is
equal is not
written, what cannot be used is refused with a [reason](reject-reasons.md). It makes the table where there is none.

{table(("in Python", "command", "reads"), rows)}"""
    return {PATH: text + "".join(_source(name, missing) for name in names)}


def _command(name: str) -> str:
    words = f"ingest {name.removeprefix('from_').replace('_', '-')}"
    found = any(verb.words == words for verb in VERBS)
    return f"[`clipdata {words}`](verbs/{words.replace(' ', '-')}.md)" if found else "only in Python"


def _source(name: str, missing: list[str]) -> str:
    function = getattr(ingest, name)
    meanings = arguments_of(function)
    rows = []
    for parameter in inspect.signature(function).parameters.values():
        meaning = meanings.get(parameter.name, "")
        if not meaning:
            missing.append(f"ingest.{name}: argument {parameter.name} has no description")
        needed = parameter.default is inspect.Parameter.empty
        rows.append(
            (code(parameter.name), "must be given" if needed else code(shown(parameter.default)), plain(meaning))
        )
    return f"""
## ingest.{name} {{ #{name} }}

{description(function)}
{table(("argument", "default", "is"), rows)}"""
