"""view(): a server on the loopback for as long as somebody looks, and how it is begun and ended."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata.errors import ClipdataError, UsageError
from clipdata.lance_io.table import AnyTable
from clipdata.storage import Storage
from clipdata.viewer.beginning import begin, query_of
from clipdata.viewer.desk import Desk

if TYPE_CHECKING:
    import uvicorn

    from clipdata.viewer.pages import Pages

HOST = "127.0.0.1"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NEEDED = ("starlette", "uvicorn", "jinja2")
_START_S, _STOP_S = 30.0, 5.0


class Viewer:
    """A page that is served; made by `view`.

    Args:
        url: of the page, with the token that lets a browser in.

    Attributes:
        held_back: in words, once it is closed, decisions that are not in the table: somebody else decided otherwise
            meanwhile, and nobody said which stands.
    """

    def __init__(self, url: str, desk: Desk, server: uvicorn.Server, pages: Pages, listening: socket.socket) -> None:
        self.url, self.desk = url, desk
        self.held_back: list[str] = []
        self._server, self._pages = server, pages
        self._thread = threading.Thread(target=server.run, args=([listening],), name="clipdata view", daemon=True)
        self._thread.start()
        give_up = time.monotonic() + _START_S
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > give_up:
                raise ClipdataError("the viewer's server did not start")
            time.sleep(0.01)

    def wait(self) -> None:
        """Serve until the server is closed, or the program is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """End the server, once decisions that wait are written."""
        self._server.should_exit = True
        self._thread.join(_STOP_S)
        self.held_back += self._pages.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Viewer({self.url!r})"


def view(
    table: AnyTable,
    *,
    version: int | str | None = None,
    where: str | None = None,
    sort: str | None = None,
    descending: bool = False,
    before: str | None = None,
    after: str | None = None,
    link: str | None = None,
    edit: bool = False,
    run: str | os.PathLike[str] | None = None,
    host: str = HOST,
    port: int = 0,
    open_browser: bool = False,
    storage: Storage | None = None,
) -> Viewer:
    """Serve a page on which a table, a parquet file or a folder of pictures can be looked at.

    The page is served on the loopback alone, to whoever has the token in its address. It sends no request elsewhere.
    Other versions of a table can be chosen on it; nothing is written without `edit`.

    Args:
        table: or its location; any Lance table will do, a parquet file, a folder of them, or a folder of pictures.
        version: number or tag to begin with.
        where: filter to begin with.
        sort: column to begin with, or "~change" for `after` minus `before`.
        descending: the highest first.
        before: column of scores to show beside `after`.
        after: column of scores.
        link: address of a state of the page, or its query: the version, filter, order and search to begin with.
        edit: let the page tag versions, write decisions and delete rows.
        run: folder of a training run, whose metrics the page draws as they come.
        host: a name of the loopback.
        port: to listen on; any free one by default.
        open_browser: open the page in the browser of this machine.
        storage: how to reach the location.

    Returns:
        the viewer, which serves in a thread until it is closed or the program ends.

    Raises:
        UsageError: a package is missing, the host is no loopback, the port is taken, or `edit` of what is no table.
        NotFoundError: there is nothing at the location that can be looked at.
        SchemaError: the filter or the order is not valid.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise UsageError(f"view needs {', '.join(missing)}, not installed", hint="pip install 'clipdata[view]'")
    import uvicorn

    from clipdata.viewer.guard import Guard
    from clipdata.viewer.live import Live
    from clipdata.viewer.pages import Pages

    if host not in _LOOPBACK:
        raise UsageError(
            f"view: host is {host!r}; expected a name of the loopback: {', '.join(_LOOPBACK)}",
            hint="from another machine, tunnel to it: ssh -L PORT:127.0.0.1:PORT HOST",
        )
    desk, state = begin(
        table, version=version, where=where, sort=sort, descending=descending, before=before, after=after, link=link,
        storage=storage, edit=edit,
    )  # fmt: skip
    listening = _listening(host, port)
    taken, token = listening.getsockname()[1], secrets.token_urlsafe(24)
    pages = Pages(desk, Live(desk.first, Path(run) if run is not None else None))
    config = uvicorn.Config(
        Guard(pages.app(), token=token, port=taken, start=query_of(link) if link is not None else state.query_string()),
        log_level="error", access_log=False, lifespan="off",
        server_header=False, date_header=False, timeout_graceful_shutdown=1, h11_max_incomplete_event_size=65_536,
        http="h11", ws="none", loop="asyncio",
    )  # fmt: skip
    server = uvicorn.Server(config)
    named = f"[{host}]" if ":" in host else host
    viewer = Viewer(f"http://{named}:{taken}/?token={token}", desk, server, pages, listening)
    if open_browser:
        webbrowser.open(viewer.url)
    return viewer


def _listening(host: str, port: int) -> socket.socket:
    """A socket on the loopback.

    Raises:
        UsageError: the port is taken, or none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name: asyncio sends small answers at once only where a socket says so, and else each waits 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise UsageError(
            f"view: port {port} of {host} cannot be used: {error}", hint="--port 0 takes a free one"
        ) from error
    return made
