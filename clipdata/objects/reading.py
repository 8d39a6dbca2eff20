"""Reading: the bytes of many objects, in the order they were asked for, with many requests in flight.

The requests run on fsspec's event loop, in a thread of its own, while the caller works on what came before. What is in
flight or waits to be taken is bounded in bytes. An object that fails is tried again by itself, while the others go on.
It knows fsspec and stamps; it must not know what the bytes are.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from clipdata import hints, retries
from clipdata.errors import TransientError
from clipdata.objects.faults import PATIENCE, as_clipdata_error, verdict_on, words_of
from clipdata.objects.stamps import UNKNOWN, Stamp, stamp_of
from clipdata.plurals import counted
from clipdata.storage import Storage, is_remote, redact

NUM_IN_FLIGHT = 64
HELD_BYTES = 64 << 20
REQUEST_S = 120.0  # the client's own second tries included
WINDOW = 1024  # objects that may wait for the one before them
_UNKNOWN_BYTES = 1 << 20  # what an object of unknown size counts for
N = TypeVar("N")


@dataclass(frozen=True, slots=True)
class Wanted(Generic[N]):
    """One object to read.

    Args:
        name: whatever tells the caller which one it is.
        uri: local path or URL.
        stamp: what the listing said of it; what comes must agree with it.
        stop: read no more than the first so many bytes.
        newer: take what the object has become when it changed since it was listed; refuse it otherwise.
    """

    name: N
    uri: str
    stamp: Stamp = UNKNOWN
    stop: int | None = None
    newer: bool = True

    @property
    def cost_bytes(self) -> int:
        """What it may take of the memory."""
        sizes = [size for size in (self.stamp.size, self.stop) if size is not None]
        return min(sizes) if sizes else _UNKNOWN_BYTES


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an object, and the stamp they agree with: a newer one when it changed since it was listed."""

    data: bytes
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Unread:
    """Why an object could not be read.

    Args:
        reason: "missing" or "unreadable".
        detail: what the store said.
        again: a later run may have more luck.
    """

    reason: str
    detail: str
    again: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """All attempts failed for reasons that pass."""

    error: BaseException
    attempts: int
    store_is_well: bool


Pending = Future[Body | Unread | _Exhausted]
"""An object that is being read."""


class _CutError(ConnectionError):
    """Fewer or other bytes came than were to come, of an object that has not changed."""


class _ChangedError(ConnectionError):
    """The object became another one while it was read."""


class ObjectReader:
    """Reads objects.

    Args:
        storage: how to reach them.
        num_in_flight: requests at the same time.
        held_bytes: most bytes in flight, or read and not yet taken (a single object may be larger).
        patience: with each object.
        request_s: limit of one try, the client's own second tries included.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        num_in_flight: int = NUM_IN_FLIGHT,
        held_bytes: int = HELD_BYTES,
        patience: retries.Policy | None = None,
        request_s: float = REQUEST_S,
    ) -> None:
        self._storage, self._held_bytes = storage, held_bytes
        self._patience, self._request_s = patience or PATIENCE, request_s
        self._slots = asyncio.Semaphore(num_in_flight)
        self._filesystems: dict[str, Any] = {}
        self._last_read: tuple[Any, str] | None = None  # what was read well, to ask for when something is not
        self._etag_is_md5 = True

    def read(self, wanted: Iterable[Wanted[N]]) -> Generator[tuple[Wanted[N], Body | Unread], None, None]:
        """Yield every object with its bytes, or with why there are none, in order; `wanted` is taken as room is made.

        Raises:
            TransientError: the store is down: an object failed to the last attempt, and one that was read before
                fails as well.
            CredentialsError: the store refuses access to an object, and has given none so far, or gives none any more.
        """
        waiting: deque[tuple[Wanted[N], Pending]] = deque()
        held = 0
        try:
            for one in wanted:
                while waiting and (len(waiting) >= WINDOW or held + one.cost_bytes > self._held_bytes):
                    held -= waiting[0][0].cost_bytes
                    name, pending = waiting.popleft()
                    yield name, self.take(name, pending)
                waiting.append((one, self.submit(one)))
                held += one.cost_bytes
            while waiting:
                name, pending = waiting.popleft()
                yield name, self.take(name, pending)
        except TransientError:
            for name, pending in waiting:
                if pending.done() and isinstance(body := pending.result(), Body):
                    yield name, body  # came before the store went down
            raise
        finally:
            for _, pending in waiting:
                pending.cancel()

    def submit(self, one: Wanted[Any]) -> Pending:
        """Begin to read one object; the caller bounds how many wait."""
        from fsspec.asyn import get_loop

        fs, path = self._place(one.uri)
        return asyncio.run_coroutine_threadsafe(self._read(fs, path, one), get_loop())

    def get(self, one: Wanted[Any]) -> Body | Unread:
        """Read one object; see `read` for what it raises."""
        return self.take(one, self.submit(one))

    def take(self, one: Wanted[Any], pending: Pending) -> Body | Unread:
        """Wait for an object; see `read` for what it raises."""
        outcome = pending.result()
        if not isinstance(outcome, _Exhausted):
            return outcome
        said = f"{words_of(outcome.error, self._storage)} (after {outcome.attempts} attempts)"
        if outcome.store_is_well:
            return Unread("unreadable", said, again=True)
        raise TransientError(
            f"reading {redact(one.uri)}: {said}; nothing else can be read either",
            hint=hints.AGAIN,
        ) from outcome.error

    def _place(self, uri: str) -> tuple[Any, str]:
        """The filesystem of a location, and the path in it."""
        root = "/".join(uri.split("/", 3)[:3]) if is_remote(uri) else ""
        if root not in self._filesystems:
            self._filesystems[root] = self._storage.filesystem(uri)[0]
        fs = self._filesystems[root]
        return fs, str(fs._strip_protocol(uri))

    async def _read(self, fs: Any, path: str, one: Wanted[N]) -> Body | Unread | _Exhausted:
        """Try until it works, it is hopeless, or patience ends."""
        stamp, attempts = one.stamp, 0

        async def attempt() -> Body | Unread:
            nonlocal stamp, attempts
            attempts += 1
            async with self._slots:
                body = await asyncio.wait_for(self._attempt(fs, path, one, stamp), self._request_s)
            if isinstance(body, Stamp):
                stamp = body
                raise _ChangedError(f"it changed while it was read, {attempts} times")
            if isinstance(body, Body):
                self._last_read = (fs, path) if stamp.size else self._last_read
            return body

        patience = self._patience if is_remote(one.uri) else replace(self._patience, attempts=1)
        try:
            return await retries.call_async(patience, attempt)
        except Exception as error:
            verdict, said = verdict_on(error), words_of(error, self._storage)
            if verdict == "denied" and is_remote(one.uri) and await self._is_denied():
                raise as_clipdata_error(error, f"reading {redact(one.uri)}", self._storage) from error
            if verdict != "again" or not (is_remote(one.uri) or isinstance(error, _ChangedError)):
                return Unread("missing" if verdict == "missing" else "unreadable", said)
            return _Exhausted(error, attempts, await self._is_well(fs, path))

    async def _is_denied(self) -> bool:
        """Tell whether the store gives nothing, or not any more, to these credentials."""
        if self._last_read is None:
            return True
        try:
            await asyncio.wait_for(_cat(*self._last_read, stop=1, size=None), self._request_s)
        except Exception as error:
            return verdict_on(error) == "denied"
        return False

    async def _is_well(self, fs: Any, path: str) -> bool:
        """Tell whether the store answers at all: for what it gave before, or else for what is known of this object."""
        try:
            if self._last_read is not None:
                await asyncio.wait_for(_cat(*self._last_read, stop=1, size=None), self._request_s)
            else:
                await asyncio.wait_for(_look(fs, path), self._request_s)
        except Exception as error:
            return verdict_on(error) != "again"
        return True

    async def _attempt(self, fs: Any, path: str, one: Wanted[Any], stamp: Stamp) -> Body | Unread | Stamp:
        """Read once; a stamp is what the object has become meanwhile, to be read again.

        Raises:
            _CutError: fewer bytes came than the object has.
        """
        data = await _cat(fs, path, one.stop, stamp.size)
        short = stamp.short_of(data, one.stop)
        doubtful = not stamp.md5_is_sure and not self._etag_is_md5
        if short is None and (one.stop is not None or doubtful or stamp.is_of(data)):
            return Body(data, stamp)
        now = stamp_of(await _look(fs, path))
        if now.etag != stamp.etag if stamp.etag else now.size != stamp.size:
            sizes = f"{counted(now.size or 0, 'byte')}, {stamp.size or 0:,} when it was listed"
            return now if one.newer else Unread("changed", f"{sizes}; ingest it again")
        if short is None and not stamp.md5_is_sure:
            self._etag_is_md5 = False  # a store that encrypts: its etags are digests of something else
            return Body(data, stamp)
        raise _CutError(short or "other bytes came than the store has")


async def _cat(fs: Any, path: str, stop: int | None, size: int | None) -> bytes:
    if stop is not None and size is not None:
        stop = min(stop, size)
    if stop == 0:
        return b""
    span = {} if stop is None else {"start": 0, "end": stop}
    if not fs.async_impl:
        return bytes(await asyncio.to_thread(fs.cat_file, path, **span))
    # One request an object: s3fs would ask for the size first, to read large ones in parts.
    one = {"max_concurrency": 1} if "max_concurrency" in inspect.signature(fs._cat_file).parameters else {}
    return bytes(await fs._cat_file(path, **span, **one))


async def _look(fs: Any, path: str) -> dict[str, Any]:
    return dict(await fs._info(path)) if fs.async_impl else dict(await asyncio.to_thread(fs.info, path))
