"""Pages: addresses of the viewer, and what a desk answers as JSON, WebP or numbers. Knows HTTP, and no table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from mimetypes import guess_type
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from clipdata.errors import ClipdataError, ImageRefused, UsageError
from clipdata.json_parsing import parse_json
from clipdata.viewer.bodies import BODIES
from clipdata.viewer.desk import Desk
from clipdata.viewer.live import Live
from clipdata.viewer.thumbnails import SIZES
from clipdata.viewer.view_state import ViewState

HERE = Path(__file__).parent
PATIENCE_S = 30.0
_AT_ONCE = 4
_MOST_LETTERS = 400
_MOST_DIGITS = 15
_FOREVER = {"cache-control": "private, max-age=86400, immutable"}
_A_WHILE = {"cache-control": "private, max-age=600"}
_NEVER = {"cache-control": "no-store"}
STATIC = {file.name: file.read_bytes() for file in sorted((HERE / "static").iterdir()) if file.is_file()}
MODULES = [name for name in STATIC if name.endswith(".js")]
T = TypeVar("T")
Answer = Callable[[Request], Awaitable[Response]]


def templates() -> Environment:
    """The HTML of the page, and of the exported file."""
    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)


class Pages:
    """All that the server answers.

    Args:
        desk: knows the answers.
        live: what has changed meanwhile.
        patience_s: seconds after which an answer is given up.
    """

    def __init__(self, desk: Desk, live: Live, *, patience_s: float = PATIENCE_S) -> None:
        self._desk, self._live, self._patience_s = desk, live, patience_s
        self._asking = ThreadPoolExecutor(_AT_ONCE, "view")
        self._drawing = ThreadPoolExecutor(_AT_ONCE, "view-pictures")
        self._page = templates().get_template("page.html")

    def app(self) -> Starlette:
        """The app, without its guard."""
        read = {
            "table": self._table, "rows": self._rows, "row": self._row, "facet": self._facet,
            "versions": self._versions, "diff": self._diff, "failures": self._failures, "commands": self._commands,
            "groups": self._groups, "live": self._now, "decisions": self._decisions,
        }  # fmt: skip
        routes = [
            Route("/", self._home),
            Route("/picture", self._told(self._picture)),
            Route("/asked/{digest}", self._told(self._asked_picture)),
            Route("/api/picture", self._told(_as_json(self._ask_picture)), methods=["POST"]),
            Route("/api/points", self._told(self._points)),
            *[Route(f"/api/{name}", self._told(_as_json(answer))) for name, answer in read.items()],
            Route("/api/edit/{what}", self._told(_as_json(self._edit)), methods=["POST"]),
            Route("/static/{name}", self._static),
        ]
        return Starlette(routes=routes)

    def close(self) -> list[str]:
        """Write decisions that wait, and end the threads, without waiting for answers that nobody wants any more.

        Returns:
            In words, decisions that were held back; see `Decider.close`.
        """
        held_back = self._desk.decider.close()
        for pool in (self._asking, self._drawing):
            pool.shutdown(wait=False, cancel_futures=True)
        return held_back

    async def _home(self, request: Request) -> Response:
        told = await self._first_told(request)
        page = {"title": self._desk.first.location, "edit": self._desk.edit, "modules": MODULES, "told": told}
        return HTMLResponse(self._page.render(page), headers=_NEVER)

    async def _first_told(self, request: Request) -> str | None:
        """What the page would ask first, as JSON that may stand in HTML; None where an answer may take its time."""
        try:
            state = ViewState.parse(request.query_params)
            if state != ViewState(version=state.version):
                return None
            told = await self._ask(lambda: self._desk.table(state))
        except (ClipdataError, TimeoutError):
            return None  # the page asks, and shows why not
        return json.dumps(told, ensure_ascii=False).replace("<", "\\u003c")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return Response("there is no such file", 404, headers=_NEVER, media_type="text/plain")
        return Response(STATIC[name], media_type=guess_type(name)[0], headers=_A_WHILE)

    def _told(self, answer: Answer) -> Answer:
        """Errors as JSON, in words."""

        async def told(request: Request) -> Response:
            try:
                return await answer(request)
            except ImageRefused as refused:
                return JSONResponse({"error": refused.message, "reason": refused.reason}, 404, headers=_NEVER)
            except TimeoutError:
                message = f"no answer within {self._patience_s:g} s; a narrower filter may be quicker"
                return JSONResponse({"error": message}, 504, headers=_NEVER)
            except ClipdataError as error:
                return JSONResponse({"error": _short(error.message), "hint": error.hint}, 400, headers=_NEVER)

        return told

    async def _ask(self, ask: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(self._asking, ask), self._patience_s)

    async def _picture(self, request: Request) -> Response:
        query = request.query_params
        size = _number(query.get("size", "320"), "size")
        if size not in SIZES:
            raise UsageError(f"size is {size}; expected one of {', '.join(map(str, SIZES))}")
        row = _number(query.get("row"), "row")
        loop = asyncio.get_running_loop()
        drawn = loop.run_in_executor(self._drawing, self._desk.picture, query.get("version") or None, row, size)
        data = await asyncio.wait_for(drawn, self._patience_s)
        return Response(data, media_type="image/webp", headers=_FOREVER)

    async def _points(self, request: Request) -> Response:
        state = ViewState.parse(request.query_params)
        rows, points_P2 = await self._ask(lambda: self._desk.points(state))
        body = rows.astype("<u4").tobytes() + np.ascontiguousarray(points_P2.T, "<f4").tobytes()
        return Response(body, media_type="application/octet-stream", headers=_NEVER)

    async def _table(self, request: Request) -> Any:
        state = ViewState.parse(request.query_params)
        return await self._ask(lambda: self._desk.table(state))

    async def _rows(self, request: Request) -> Any:
        query = request.query_params
        state, at, num = ViewState.parse(query), _number(query.get("at"), "at"), _number(query.get("num"), "num")
        columns = query.getlist("column")
        return await self._ask(lambda: self._desk.rows(state, at, num, columns))

    async def _row(self, request: Request) -> Any:
        query = request.query_params
        row = _number(query.get("row"), "row")
        return await self._ask(lambda: self._desk.row(query.get("version") or None, row))

    async def _facet(self, request: Request) -> Any:
        state, column = ViewState.parse(request.query_params), request.query_params.get("column", "")
        return await self._ask(lambda: self._desk.facet(state, column))

    async def _versions(self, request: Request) -> Any:
        return await self._ask(self._desk.versions)

    async def _diff(self, request: Request) -> Any:
        one, two = request.query_params.get("from", ""), request.query_params.get("to", "")
        where = ViewState.parse(request.query_params).where
        return await self._ask(lambda: self._desk.diff(one, two, where))

    async def _failures(self, request: Request) -> Any:
        version = request.query_params.get("version") or None
        return await self._ask(lambda: self._desk.failures(version))

    async def _commands(self, request: Request) -> Any:
        state, columns = ViewState.parse(request.query_params), request.query_params.getlist("column")
        link = request.query_params.get("link") or None
        return await self._ask(lambda: self._desk.commands(state, columns, link))

    async def _groups(self, request: Request) -> Any:
        query = request.query_params
        state = ViewState.parse(query)
        score, least = query.get("score") or None, _figure(query.get("least"), "least")
        return await self._ask(lambda: self._desk.groups(state, query.get("column", ""), score, least))

    async def _now(self, request: Request) -> Any:
        since = _number(request.query_params.get("since", "0"), "since")
        return await self._ask(lambda: self._live.now(since))

    async def _decisions(self, request: Request) -> Any:
        return self._desk.decider.now(request.query_params.get("page", ""))

    async def _ask_picture(self, request: Request) -> Any:
        data, name = await request.body(), request.query_params.get("name", "")
        asked = self._desk.finder.asked_pictures
        return {"picture": await self._ask(lambda: asked.keep(data, name))}

    async def _asked_picture(self, request: Request) -> Response:
        data = self._desk.finder.asked_pictures.data(request.path_params["digest"])
        return Response(data, media_type="image/webp", headers=_FOREVER)

    async def _edit(self, request: Request) -> Any:
        try:
            asked = parse_json(await request.body())
        except ValueError as error:
            raise UsageError("what was sent is no JSON") from error
        state = ViewState.parse(request.query_params)
        what = request.path_params["what"]
        if what not in BODIES:
            raise UsageError(f"{what!r:.60} is no edit; expected one of {', '.join(BODIES)}")
        return await self._ask(lambda: self._desk.edited(what, state, asked))


def _as_json(answer: Callable[[Request], Awaitable[Any]]) -> Answer:
    async def told(request: Request) -> Response:
        return JSONResponse(await answer(request), headers=_NEVER)

    return told


def _number(text: str | None, name: str) -> int:
    if text is None or not (text.isascii() and text.removeprefix("-").isdigit()):
        raise UsageError(f"{name} is {text!r:.40}; expected a whole number")
    if text.startswith("-") or len(text) > _MOST_DIGITS:
        raise UsageError(f"{name} is {text:.40}; expected a whole number from 0, of at most {_MOST_DIGITS} digits")
    return int(text)


def _figure(text: str | None, name: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UsageError(f"{name} is {text!r:.40}; expected a number") from error


def _short(message: str) -> str:
    """What a person sees beside the box of filters: without the table's location, which stands above it."""
    head, found, rest = message.partition(": ")
    told = rest if found and head.startswith(("reading /", "counting rows of", "reading ")) else message
    return told if len(told) <= _MOST_LETTERS else f"{told[:_MOST_LETTERS]}…"
