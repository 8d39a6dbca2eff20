"""The process behind `fault_proxy.py`: relays HTTP/1.1, decides which requests break, and keeps the log.

Orders come as JSON lines on standard input, answers go to standard output; it ends when standard input closes.
Requests and answers are read whole before they are passed on. It knows no storage service
beyond `classify`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.cloud.fault_proxy import Fault, FaultKind, Request, RequestKind, classify
from tests.cloud.http_message import Message, read_body, read_head

_REFUSALS = {
    "403": "403 Forbidden",
    "404": "404 Not Found",
    "429": "429 Too Many Requests",
    "503": "503 Service Unavailable",
    "503_after": "503 Service Unavailable",
}
_CODES = {"403": "AccessDenied", "404": "NoSuchKey"}  # of stores themselves; clients try again what is a SlowDown
_NEVER_CARRIED_OUT = ("403", "404", "429", "503", "reset_before")
_NO_ANSWER = ("reset_before", "reset_after", "late")
_LIMIT = 1 << 20


class Faults:
    """Which faults are on, and the seeded choice of whom they hit."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.inject([])
        self._random = random.Random(seed)

    def inject(self, faults: list[dict[str, Any]]) -> None:
        """Replace all faults."""
        self._rules = [Fault(**fault) for fault in faults]
        self._seen = [0] * len(self._rules)
        self._hit = [0] * len(self._rules)

    def reset(self) -> None:
        """Take all faults away and start the random sequence again."""
        self.inject([])
        self._random = random.Random(self._seed)

    def choose(self, kind: RequestKind, target: str) -> tuple[float, FaultKind | None, float]:
        """Latency of a request in seconds, the fault that hits it, and that fault's delay in seconds."""
        latency_s, delay_s = 0.0, 0.0
        struck: FaultKind | None = None
        for number, rule in enumerate(self._rules):
            if (rule.requests and kind not in rule.requests) or not re.search(rule.match, target):
                continue
            self._seen[number] += 1
            spent = rule.times is not None and self._hit[number] >= rule.times
            if self._seen[number] <= rule.skip or spent or self._random.random() >= rule.rate:
                continue
            if rule.kind == "latency":
                latency_s += self._random.uniform(*rule.delay_s)
            elif struck is None:
                struck, delay_s = rule.kind, self._random.uniform(*rule.delay_s)
            else:
                continue
            self._hit[number] += 1
        return latency_s, struck, delay_s


class Link:
    """A connection to the server, opened when first needed and opened again when the server has closed it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: Message, method: str) -> Message | None:
        """Send a request and read the answer; None when the server closed without one."""
        reused = self._ends is not None
        answer = await self._attempt(request, method)
        if answer is None and reused:  # the server closed a connection that had been idle
            answer = await self._attempt(request, method)
        return answer

    async def _attempt(self, request: Message, method: str) -> Message | None:
        if self._ends is None:
            self._ends = await asyncio.open_connection(*self._address, limit=_LIMIT)
        reader, writer = self._ends
        try:
            writer.write(request.encode())
            await writer.drain()
            answer = await read_head(reader)
            while answer is not None and answer.status < 200:
                answer = await read_head(reader)
        except ConnectionError:
            answer = None
        if answer is not None and method != "HEAD" and not answer.is_bodiless():
            await read_body(reader, answer, until_end=True)
        if answer is None or answer.header("connection").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None


@dataclass(frozen=True)
class Reply:
    """What the client gets to see."""

    status: int
    raw: bytes
    body_bytes: int
    resets: bool


def shape(answer: Message | None, fault: str | None, method: str) -> Reply:
    """What a fault leaves of the server's answer."""
    if fault in _REFUSALS:
        body = f"<Error><Code>{_CODES.get(fault, 'SlowDown')}</Code><Message>injected</Message></Error>".encode()
        answer = Message(f"HTTP/1.1 {_REFUSALS[fault]}", [("content-type", "application/xml")], body)
    if answer is None or fault in _NO_ANSWER or (fault == "truncate" and not answer.body):
        return Reply(0, b"", 0, resets=True)
    raw = answer.encode(without_body=method == "HEAD" or answer.is_bodiless())
    if fault == "truncate":
        cut = len(answer.body) - len(answer.body) // 2
        return Reply(answer.status, raw[:-cut], len(answer.body) - cut, resets=True)
    return Reply(answer.status, raw, len(answer.body), resets=False)


class Relay:
    """Carries requests from clients to the server."""

    def __init__(self, address: tuple[str, int], seed: int) -> None:
        self._address = address
        self.faults = Faults(seed)
        self.log: list[Request] = []
        self.passing = ""
        self._tasks: set[asyncio.Task[None] | None] = set()  # the loop itself holds a task by a weak reference only

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one client connection until either side ends it."""
        self._keep(asyncio.current_task())
        link = Link(self._address)
        try:
            while (request := await read_head(reader)) is not None:
                if request.header("expect"):  # botocore sends the body only after this line
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await read_body(reader, request, until_end=False)
                if not await self._exchange(request, writer, link):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the tests are over: so does the other side
        finally:
            link.close()
            writer.close()

    async def _exchange(self, request: Message, writer: asyncio.StreamWriter, link: Link) -> bool:
        """Carry out one request as the faults allow; tell whether the connection goes on."""
        method, target, _ = request.first.split(" ", 2)
        kind = _kind_of(request, method, target)
        latency_s, fault, delay_s = 0.0, None, 0.0
        if not self._passes(target):
            latency_s, fault, delay_s = self.faults.choose(kind, unquote(target))
        await asyncio.sleep(latency_s)
        answer = None
        if fault == "late":
            self._keep(asyncio.create_task(self._carry_out_late(request, method, delay_s)))
        elif fault not in _NEVER_CARRIED_OUT:
            answer = await link.exchange(request, method)
        reply = shape(answer, fault, method)
        sizes = (len(request.body), reply.body_bytes)
        entry = Request(kind, method, unquote(target), reply.status, fault, *sizes, latency_s)
        if not self._passes(target):  # a request can last until another test
            self.log.append(entry)  # before the client can know of it and ask
        writer.write(reply.raw)
        await writer.drain()
        if reply.resets:
            await _reset(writer)
        return not reply.resets and request.header("connection").lower() != "close"

    def _passes(self, target: str) -> bool:
        return bool(self.passing and re.search(self.passing, unquote(target)))

    async def _carry_out_late(self, request: Message, method: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        link = Link(self._address)
        await link.exchange(request, method)
        link.close()

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _kind_of(request: Message, method: str, target: str) -> RequestKind:
    url = urlsplit(target)
    kind = classify(method, url.path, dict(parse_qsl(url.query, keep_blank_values=True)))
    copies = request.header("x-goog-copy-source") or request.header("x-amz-copy-source")
    return "copy" if kind == "put" and copies else kind


async def _reset(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)  # a reset discards what the client has not read yet
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def carry_out(order: dict[str, Any], relay: Relay) -> dict[str, Any]:
    """Obey one line from the tests."""
    if order["do"] == "inject":
        relay.faults.inject(order["faults"])
    elif order["do"] == "reset":
        relay.faults.reset()
        relay.log.clear()
        relay.passing = order["passing"]
    elif order["do"] == "length":
        return {"length": len(relay.log)}
    elif order["do"] == "log":
        return {"log": [asdict(request) for request in relay.log[order["since"] :]]}
    return {}


async def main(server_url: str, seed: int) -> None:
    """Relay until standard input closes."""
    url = urlsplit(server_url)
    assert url.hostname
    assert url.port
    relay = Relay((url.hostname, url.port), seed)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0, limit=_LIMIT, backlog=256)
    port = server.sockets[0].getsockname()[1]
    orders = asyncio.StreamReader(limit=_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    reply: dict[str, Any] = {"url": f"http://127.0.0.1:{port}"}
    while True:
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
        line = await orders.readline()
        if not line:
            return
        reply = carry_out(json.loads(line), relay)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
