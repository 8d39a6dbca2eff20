"""The same view as a command and as Python, to be pasted as it stands. Knows the words of both, and no table.

`query` says a filter and an order, `search` the answer to a search; what neither says (a lasso, a search in another
order, what is no table) is said by `view` with the query of the page's own address.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from clipdata.column_names import quoted
from clipdata.lance_io.version_numbers import version_named
from clipdata.printable import shell_word
from clipdata.viewer.finding import TOP
from clipdata.viewer.sources.protocol import Source
from clipdata.viewer.view_state import CHANGE, ViewState

ROWS = 100


@dataclass(frozen=True)
class SharedView:
    """What is to be said.

    Args:
        source: that is looked at.
        state: of the view.
        columns: to show of each row.
        words_column: that words are searched in.
        picture: what the file was called that was searched by.
        link: query of the page's address, where a tab of it shows more than rows.
        by_address: the rows' own order is that of their addresses, so that SQL can keep it among equal values.
    """

    source: Source
    state: ViewState
    columns: list[str]
    words_column: str | None = None
    picture: str | None = None
    link: str | None = None
    by_address: bool = False

    @property
    def verb(self) -> str:
        """The one that says it: query, search or view."""
        state = self.state
        if (
            self.link
            or self.source.kind != "table"
            or state.lasso is not None
            or (state.is_search and state.sort is not None)
        ):
            return "view"
        return "search" if state.is_search else "query"

    @property
    def page(self) -> str:
        """Query of the page that shows it."""
        return self.link or self.state.query_string()

    @property
    def arguments(self) -> dict[str, str | int]:
        """Of `search`, by their names."""
        state = self.state
        like = None if state.like is None else f"#{state.like}"
        told: dict[str, str | int | None] = {
            "text": state.text, "image": self.picture, "like": like, "words": state.words,
            "words_column": self.words_column if state.words else None, "where": state.where, "top": TOP,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value}


def as_command(view: SharedView) -> str:
    """What to type in a shell."""
    place = shell_word(view.source.location)
    if view.verb == "view":
        link = f" --link {shell_word(view.page)}" if view.page else ""
        return f"clipdata view {place}{link}"
    version = f" --version {shell_word(view.state.version)}" if view.state.version else ""
    if view.verb == "search":
        options = [f"--{name.replace('_', '-')} {shell_word(str(value))}" for name, value in view.arguments.items()]
        return f"clipdata search {place} {' '.join(options)}{version}"
    return f"clipdata query {place} {shell_word(select_of(view))} --limit {ROWS}{version}"


def as_python(view: SharedView) -> str:
    """The same in Python."""
    state, place = view.state, view.source.location
    if view.verb == "view":
        given = f"{place!r}, link={view.page!r}" if view.page else repr(place)
        return f"import clipdata as cd\n\ncd.view({given}).wait()"
    version = f", version={_number(state.version)!r}" if state.version else ""
    opened = f"import clipdata as cd\n\ntable = cd.open_table({place!r}{version})\n"
    if view.verb == "search":
        told = [f"{name}={value!r}" for name, value in view.arguments.items()]
        return f"{opened}print(cd.search({', '.join(['table', *told])}))"
    return f"{opened}print(table.query({select_of(view)!r}, limit={ROWS}))"


def select_of(view: SharedView) -> str:
    """The view as one SELECT, whose rows come in the order in which they are seen."""
    state, columns = view.state, view.columns
    sql = f"SELECT {', '.join(map(quoted, columns)) or '*'} FROM dataset"  # noqa: S608 - it is shown, not run
    if state.where:
        sql += f" WHERE {state.where}"
    terms = _order_terms(view.source, state)
    if terms and columns and view.by_address:
        terms.append("_rowaddr")
    return f"{sql} ORDER BY {', '.join(terms)}" if terms else sql


def _order_terms(source: Source, state: ViewState) -> list[str]:
    """What SQL sorts by as the page does: NaN after all numbers, nulls last."""
    way = f"{'DESC' if state.descending else 'ASC'} NULLS LAST"
    if state.sort == CHANGE and state.before and state.after:
        after, before = (f"cast({quoted(name)} as double)" for name in (state.after, state.before))
        return [f"isnan({after} - {before}) ASC NULLS LAST", f"nanvl({after} - {before}, 0) {way}"]
    if state.sort is None or state.sort == CHANGE:
        return []
    name = quoted(state.sort)
    is_float = pa.types.is_floating(source.schema.field(state.sort).type)
    # Two NaN may differ in their bits, by which SQL would sort them.
    return [f"isnan({name}) ASC NULLS LAST", f"nanvl({name}, 0) {way}"] if is_float else [f"{name} {way}"]


def _number(version: str | None) -> str | int | None:
    return None if version is None else version_named(version)
