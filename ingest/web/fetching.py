"""Fetching one URL: redirects, limits, politeness and second tries, on an event loop with aiohttp.

aiohttp, because one loop keeps hundreds of slow servers waiting without a thread each, a deadline cuts a request off at
any point (a blocking client can be held for ever by a server that sends its header byte by byte), and its resolver is a
public seam: what has been checked is what is connected to, and a name that resolves differently the second time changes
nothing. Proxies from the environment are not used, because a proxy would resolve names by itself. This module knows
nothing of lists or images.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from clipdata import retries
from ingest.web.download_rules import DownloadRules, Refused, retry_after_s, says_opt_out, split_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
_CHUNK_BYTES = 1 << 16
_DNS_THREADS = 32
_NUMERIC_HOST = re.compile(r"[0-9.]+")


@dataclass(frozen=True)
class Download:
    """The body of an answer.

    Args:
        data: as sent, without transfer or content encoding.
        mtime: when the server says it changed.
    """

    data: bytes
    mtime: datetime | None


class PrivateAddressError(OSError):
    """A name leads to private addresses only."""


class CheckedResolver(AbstractResolver):
    """Resolves names to addresses that the rules allow; nothing else is ever connected to."""

    def __init__(self, rules: DownloadRules) -> None:
        self._rules = rules
        self._pool = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="clipdata-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises:
            PrivateAddressError: it leads to private addresses only.
            OSError: it does not resolve.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, _look_up, host, port, family)
        allowed = [entry for entry in found if self._rules.allows(str(entry[4][0]), host)]
        if found and not allowed:
            raise PrivateAddressError(f"{host} at {found[0][4][0]}")
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol, flags=numeric
            )
            for kind, _, protocol, _, address in allowed
        ]

    async def close(self) -> None:
        """Let go of the threads; one that still waits for an answer ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))


@dataclass
class _Host:
    """Requests to one host: how many may be under way, and from when on the next may start."""

    slots: asyncio.Semaphore
    next_start_s: float = 0.0
    num_users: int = 0


class Fetcher:
    """Fetches URLs within the rules. Made, used and closed on one event loop.

    Args:
        rules: what a download may cost and where it may lead.
        admit: waited for before each request, once it has its turn.
    """

    def __init__(self, rules: DownloadRules, admit: Callable[[], Awaitable[None]]) -> None:
        self.rules = rules
        self._admit = admit
        self._patience = retries.Policy(
            attempts=rules.num_retries + 1,
            base_delay_s=rules.backoff_s,
            cap_s=rules.max_wait_s,
            jitter=0.2,
            again=lambda error: isinstance(error, Refused) and error.again,
            retry_after=lambda error: error.wait_s if isinstance(error, Refused) else None,
            longest_asked_s=rules.max_wait_s,
        )
        self._hosts: dict[str, _Host] = {}
        self._slots = asyncio.Semaphore(rules.num_in_flight)
        connector = aiohttp.TCPConnector(limit=0, resolver=CheckedResolver(rules), ttl_dns_cache=60)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": rules.user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
            read_bufsize=_CHUNK_BYTES,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=rules.connect_s),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def fetch(self, url: str) -> Download:
        """Fetch one URL.

        Raises:
            Refused: it gives no body within the rules.
        """
        return await retries.call_async(self._patience, lambda: self._follow(url))

    async def _follow(self, url: str) -> Download:
        """Go from hop to hop, each checked like the first, within one deadline."""
        left_s = self.rules.deadline_s
        for _ in range(self.rules.max_redirects + 1):
            target = self._checked(url)
            async with self._turn(str(target.raw_host)):
                started_s = time.monotonic()
                answer = await self._hop(target, left_s)
                left_s -= time.monotonic() - started_s
            if isinstance(answer, Download):
                return answer
            url = answer
        raise Refused("too_many_redirects", f"more than {self.rules.max_redirects}")

    def _checked(self, url: str) -> URL:
        parts = split_url(url)
        try:
            origin = URL.build(scheme=parts.scheme, host=parts.hostname or "", port=parts.port)
            query = f"?{parts.query}" if parts.query else ""
            target = URL(f"{origin.scheme}://{origin.raw_authority}{parts.path}{query}", encoded=True)
            host = target.raw_host or ""
        except ValueError as error:  # a host name that no resolver could look up
            raise Refused("bad_url", str(error)) from None
        # aiohttp takes such hosts for addresses and connects without asking its resolver.
        if ":" in host or _NUMERIC_HOST.fullmatch(host):
            try:
                allowed = self.rules.allows(host)
            except ValueError:
                raise Refused("bad_url", f"{host!r} is no address") from None
            if not allowed:
                raise _private(host)
        return target

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Wait until a request to this host may start."""
        host = self._hosts.setdefault(name, _Host(asyncio.Semaphore(self.rules.num_per_host)))
        host.num_users += 1
        try:
            async with host.slots:
                while (wait_s := host.next_start_s - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                host.next_start_s = time.monotonic() + self.rules.delay_s
                async with self._slots:
                    await self._admit()
                    yield
        finally:
            host.num_users -= 1
            if not host.num_users and host.next_start_s <= time.monotonic():
                self._hosts.pop(name, None)

    async def _hop(self, target: URL, left_s: float) -> Download | str:
        """One request: the body, or the URL that it leads to."""
        try:
            async with asyncio.timeout(max(left_s, 0.0)), self._session.get(target, allow_redirects=False) as response:
                return await self._answer(response, target)
        except TimeoutError as error:
            detail = str(error) or f"no whole answer within {self.rules.deadline_s:g} s"
            raise Refused("timeout", detail, again=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _as_refusal(error) from error

    async def _answer(self, response: aiohttp.ClientResponse, target: URL) -> Download | str:
        status, headers = response.status, response.headers
        if status in _REDIRECTS and "Location" in headers:
            return urljoin(str(target), headers["Location"])
        if status != 200:
            again = status in _WORTH_ANOTHER_TRY or status >= 500
            wait_s = retry_after_s(headers, time.time()) if again else None
            if wait_s is not None and wait_s <= self.rules.max_wait_s:
                host = self._hosts[str(target.raw_host)]
                host.next_start_s = max(host.next_start_s, time.monotonic() + wait_s)
            raise Refused(f"http_{status}", response.reason or "", again=again, wait_s=wait_s)
        tags = headers.getall("X-Robots-Tag", [])
        if not self.rules.ignore_opt_out and says_opt_out(tags, self.rules.user_agent):
            raise Refused("opt_out", f"X-Robots-Tag: {', '.join(tags)}")
        if (response.content_length or 0) > self.rules.max_bytes:
            raise Refused("too_large", f"{response.content_length:,} bytes announced; the limit is {self._limit}")
        return Download(await self._body(response), _moment(headers.get("Last-Modified")))

    @property
    def _limit(self) -> str:
        return f"{self.rules.max_bytes:,}"

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read the body, counting; what the server says of its length does not matter."""
        inflate = _inflater(response.headers.get("Content-Encoding", "identity"))
        body = bytearray()
        num_received = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            num_received += len(chunk)
            room = self.rules.max_bytes + 1 - len(body)
            body += inflate.decompress(chunk, room) if inflate else chunk
            # A packed body may also be endless without ever growing.
            if len(body) > self.rules.max_bytes or num_received > self.rules.max_bytes + _CHUNK_BYTES:
                raise Refused("too_large", f"more than {self._limit} bytes")
            if inflate and inflate.eof:
                break  # what follows is nothing, and would be kept
        if inflate and not inflate.eof:
            raise Refused("truncated", "the compressed body ends early", again=True)
        return bytes(body)


def _inflater(encoding: str) -> zlib._Decompress | None:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(wbits=47)  # finds out by itself which of the two it is
    raise Refused("bad_response", f"Content-Encoding {encoding!r}, which was not asked for")


def _private(found: str) -> Refused:
    return Refused(
        "private_address", f"{found} is inside a private network; --allow-private HOST lets one host be read"
    )


def _moment(value: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(value).astimezone(UTC) if value else None
    except (ValueError, OverflowError):
        return None


def _as_refusal(error: Exception) -> Refused:
    """Say in one word what went wrong below HTTP."""
    if isinstance(error, aiohttp.ClientConnectorDNSError | PrivateAddressError):
        cause = getattr(error, "os_error", error)
        if isinstance(cause, PrivateAddressError) or isinstance(error.__cause__, PrivateAddressError):
            return _private(str(error.__cause__ or cause))
        return Refused("dns", str(cause), again=getattr(cause, "errno", None) == socket.EAI_AGAIN)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Refused("tls", str(error))
    if isinstance(error, aiohttp.ClientPayloadError):
        return Refused("truncated", "the body ends early", again=True)
    if isinstance(error, aiohttp.InvalidURL):
        return Refused("bad_url", str(error))
    if isinstance(error, aiohttp.ClientResponseError | ValueError | zlib.error):
        return Refused("bad_response", f"{type(error).__name__}: {error}"[:300])
    return Refused("connection", f"{type(error).__name__}: {error}"[:300], again=True)
