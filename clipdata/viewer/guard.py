"""Guard: who may ask the viewer anything, and what its answers tell a browser to hold to. Knows ASGI, and no answer.

A request is let through when its `Host` is the loopback and the port (so that no name of somebody else's that leads
here is taken for it), no page of another origin sent it, and it brings the cookie that the token in the first address
was exchanged for. What writes must come from the page's own origin.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from clipdata.plurals import counted

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)
MOST_BODY_BYTES, MOST_PICTURE_BYTES = 2 << 20, 32 << 20
_READS = ("GET", "HEAD")


class Guard:
    """Stands before an app.

    Args:
        app: answers what is let through.
        token: that the first address holds.
        port: that the server listens on.
        start: query of the view to begin with.
    """

    def __init__(self, app: App, *, token: str, port: int, start: str = "") -> None:
        self._app, self._token, self._port = app, token, port
        self._start = f"/?{start}" if start else "/"
        self._session = secrets.token_urlsafe(32)
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())

    @property
    def cookie(self) -> str:
        """The cookie's name; cookies are shared by all ports of a host."""
        return f"clipdata-view-{self._port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        refused = self._refusal(scope, headers, given)
        if refused is not None:
            await _answer(send, *refused)
        elif given and scope["method"] == "GET" and scope["path"] == "/":
            cookie = f"{self.cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"
            await _answer(send, 303, "", ("location", self._start), ("set-cookie", cookie))
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[str, str], given: str) -> tuple[int, str] | None:
        """Why a request is not let through."""
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return 421, "this viewer answers at 127.0.0.1 and localhost alone"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "another page asked; this viewer answers its own page alone"
        origin = headers.get("origin")
        if (origin is not None or scope["method"] not in _READS) and origin != f"http://{host}":
            return 403, "another page asked; this viewer answers its own page alone"
        most = MOST_PICTURE_BYTES if scope["path"] == "/api/picture" else MOST_BODY_BYTES
        if not headers.get("content-length", "0").isdigit() or int(headers.get("content-length", 0)) > most:
            return 413, f"a request may have {counted(most, 'byte')}"
        if scope["method"] not in _READS and "content-length" not in headers:
            return 411, "a request that writes says how long it is"
        if given and scope["path"] == "/" and _alike(given, self._token):
            return None
        if not _alike(_cookie_in(headers.get("cookie", ""), self.cookie), self._session):
            return 403, "open the address that `clipdata view` printed, with its token"
        return None


def _alike(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _cookie_in(header: str, name: str) -> str:
    for part in header.split(";"):
        found, _, value = part.strip().partition("=")
        if found == name:
            return value
    return ""


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_encoded(HEADERS)]
        await send(message)

    return sent


def _encoded(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


async def _answer(send: Send, status: int, text: str, *more: tuple[str, str]) -> None:
    own = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))
    headers = _encoded((*own, *more, *HEADERS))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
