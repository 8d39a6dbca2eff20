"""Beginning: what is looked at, and the first state of its view, as `view` and `export_view` are asked for them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable
from clipdata.lance_io.version_numbers import version_named
from clipdata.storage import Storage
from clipdata.viewer.desk import Desk
from clipdata.viewer.sources import open_source
from clipdata.viewer.view_state import ViewState


def begin(
    table: AnyTable,
    *,
    version: int | str | None,
    where: str | None,
    sort: str | None,
    descending: bool,
    before: str | None,
    after: str | None,
    link: str | None,
    storage: Storage | None,
    edit: bool = False,
) -> tuple[Desk, ViewState]:
    """Open what is looked at, and hold the first state of its view to what is there; see `view`.

    Args:
        link: address of a state, or its query; it says all that the other arguments would.

    Raises:
        UsageError: a link is given beside what it says already, or it is none.
    """
    told = None if version is None else str(version)
    state = ViewState(told, where, sort, descending, before, after)
    if link is not None:
        if state != ViewState():
            raise UsageError(
                "view: a link says the version, the filter and the order by itself", hint="give --link alone"
            )
        state = ViewState.parse(dict(parse_qsl(query_of(link))))
        version = None if state.version is None else version_named(state.version)
    desk = Desk(open_source(table, version=version, storage=storage), edit=edit)
    desk.order(state)  # so that a false filter is said here
    return desk, state


def query_of(link: str) -> str:
    """The query of a link, with what belongs to the page alone, such as its tab, and without a token."""
    query = urlsplit(link).query if "?" in link else link
    return urlencode([(name, value) for name, value in parse_qsl(query) if name != "token"])
