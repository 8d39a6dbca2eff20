"""HTTP/1.1 messages on asyncio streams, read whole. Knows neither faults nor storage."""

from __future__ import annotations

import asyncio


class Message:
    """One HTTP request or answer, read whole."""

    def __init__(self, first: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.first, self.headers, self.body = first, headers, body

    def header(self, name: str) -> str:
        """The value of a header, or an empty string."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def encode(self, *, without_body: bool = False) -> bytes:
        """The bytes to send; a body is always sent with its length."""
        dropped = {"transfer-encoding", "connection", "expect", "keep-alive"}
        lines = [f"{key}: {value}" for key, value in self.headers if key.lower() not in dropped | {"content-length"}]
        if without_body and self.header("content-length"):
            lines.append(f"content-length: {self.header('content-length')}")
        elif not without_body:
            lines.append(f"content-length: {len(self.body)}")
        head = "\r\n".join([self.first, *lines, "", ""]).encode("latin-1")
        return head if without_body else head + self.body

    @property
    def status(self) -> int:
        """Status code of an answer."""
        return int(self.first.split()[1])

    def is_bodiless(self) -> bool:
        """Tell whether an answer's status allows no body."""
        return self.status in (204, 304)


async def read_head(reader: asyncio.StreamReader) -> Message | None:
    """Read the first line and the headers, or None when the connection ended."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Message(first, [(key.strip(), value.strip()) for key, _, value in pairs], b"")


async def read_body(reader: asyncio.StreamReader, message: Message, *, until_end: bool) -> None:
    """Read the body that follows a head; `until_end` where a body without a length ends with the connection."""
    if "chunked" in message.header("transfer-encoding").lower():
        message.body = await _read_chunks(reader)
    elif message.header("content-length"):
        message.body = await reader.readexactly(int(message.header("content-length")))
    elif until_end:
        message.body = await reader.read()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass  # trailers
    return b"".join(chunks)
