"""The same view as a command and as Python, to be pasted as it stands. Knows the words of both, and no table."""

from __future__ import annotations

import shlex

from clipdata.column_names import quoted
from clipdata.viewer.sources.protocol import Source
from clipdata.viewer.view_state import CHANGE, ViewState

_ROWS = 100


def as_command(source: Source, state: ViewState, columns: list[str]) -> str:
    """What to type in a shell.

    Args:
        columns: to show of each row.
    """
    place = shlex.quote(source.location)
    if source.kind != "table":
        return " ".join(["clipdata view", place, *_view_options(state)])
    version = ["--version", shlex.quote(state.version)] if state.version else []
    if state.is_search:
        return " ".join(["clipdata search", place, *_search_options(state), *version])
    return " ".join(["clipdata query", place, shlex.quote(select_of(state, columns)), *version])


def as_python(source: Source, state: ViewState, columns: list[str]) -> str:
    """The same in Python."""
    if source.kind != "table":
        told = [f"{name}={value!r}" for name, value in _view_arguments(state).items()]
        return f"import clipdata as cd\n\ncd.view({', '.join([repr(source.location), *told])}).wait()"
    version = f", version={_number(state.version)!r}" if state.version else ""
    opened = f"import clipdata as cd\n\ntable = cd.open_table({source.location!r}{version})\n"
    if state.is_search:
        told = [f"{name}={value!r}" for name, value in _search_arguments(state).items()]
        return f"{opened}print(cd.search({', '.join(['table', *told])}))"
    return f"{opened}print(table.query({select_of(state, columns)!r}))"


def select_of(state: ViewState, columns: list[str]) -> str:
    """The view as one SELECT."""
    sql = f"SELECT {', '.join(map(quoted, columns)) or '*'} FROM dataset"  # noqa: S608 - it is shown, not run
    if state.where:
        sql += f" WHERE {state.where}"
    order = None
    if state.sort == CHANGE and state.before and state.after:
        order = f"{quoted(state.after)} - {quoted(state.before)}"
    elif state.sort and state.sort != CHANGE:
        order = quoted(state.sort)
    if order:
        sql += f" ORDER BY {order} {'DESC' if state.descending else 'ASC'} NULLS LAST"
    return f"{sql} LIMIT {_ROWS}"


def _number(version: str | None) -> str | int | None:
    return int(version) if version is not None and version.isdecimal() else version


def _search_arguments(state: ViewState) -> dict[str, str]:
    told = {"text": state.text, "words": state.words, "like": None if state.like is None else f"#{state.like}"}
    return {name: value for name, value in {**told, "where": state.where}.items() if value}


def _search_options(state: ViewState) -> list[str]:
    return [f"--{name} {shlex.quote(value)}" for name, value in _search_arguments(state).items()]


def _view_arguments(state: ViewState) -> dict[str, str | bool]:
    told: dict[str, str | bool | None] = {
        "where": state.where, "sort": state.sort, "descending": state.descending, "before": state.before,
        "after": state.after,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value}


def _view_options(state: ViewState) -> list[str]:
    return [
        f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
        for name, value in _view_arguments(state).items()
    ]
