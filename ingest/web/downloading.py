"""Many downloads at once beside a caller that does something else with the results. Knows nothing of lists or rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

from clipdata.cores import num_cores
from clipdata.errors import ImageRefused
from ingest.web.download_rules import DownloadRules, Refused
from ingest.web.fetching import Download, Fetcher

_HELD_BYTES = 128 << 20
# Decoding is what costs most. Each may hold one decoded image, so there are not more on a large machine.
_FINISHING_THREADS = min(8, max(4, num_cores()))
_CLOSE_S = 30.0
T = TypeVar("T")
R = TypeVar("R")


def download_all(
    requests: Iterable[tuple[T, str]], rules: DownloadRules, finish: Callable[[T, Download], R]
) -> Iterator[tuple[T, R | Refused]]:
    """Download URLs, many at a time; what is ready first comes first.

    Memory is bounded by 128 MiB of results that nobody has taken yet, plus `max_bytes` for each request in flight.

    Args:
        requests: anything that names the request, and its URL; taken as room is made.
        rules: what a download may cost and where it may lead.
        finish: makes a result of a body, in a thread of its own; may raise ImageRefused.

    Returns:
        Each name with its result, or with the reason for which there is none.
    """
    with _Downloads(rules, finish) as downloads:
        yield from downloads.run(requests)


class _Room:
    """Bytes of results that wait to be taken. While there are too many, no request starts."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._open = asyncio.Event()
        self._open.set()

    async def wait(self) -> None:
        await self._open.wait()

    def change(self, num_bytes: int) -> None:
        self._left += num_bytes
        if self._left > 0:
            self._open.set()
        else:
            self._open.clear()


class _Downloads(Generic[T, R]):
    """An event loop in a thread, and the window of requests that it works on."""

    def __init__(self, rules: DownloadRules, finish: Callable[[T, Download], R]) -> None:
        self._rules, self._finish = rules, finish
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clipdata-download", daemon=True)
        self._pool = ThreadPoolExecutor(_FINISHING_THREADS, thread_name_prefix="clipdata-check")
        self._room = _Room(_HELD_BYTES)
        self._done: SimpleQueue[tuple[T, Future[tuple[R, int]]]] = SimpleQueue()

    def __enter__(self) -> _Downloads[T, R]:
        self._thread.start()
        self._fetcher = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, requests: Iterable[tuple[T, str]]) -> Iterator[tuple[T, R | Refused]]:
        # Wider than what is in flight: requests that wait for their turn at a busy host must not hold up the others.
        window = 8 * self._rules.num_in_flight
        coming = iter(requests)
        num_waiting = 0
        while True:
            while num_waiting < window and (request := next(coming, None)) is not None:
                self._submit(*request)
                num_waiting += 1
            if not num_waiting:
                return
            name, future = self._done.get()
            num_waiting -= 1
            try:
                result, num_bytes = future.result()
            except Refused as refusal:
                yield name, refusal
                continue
            yield name, result
            self._loop.call_soon_threadsafe(self._room.change, num_bytes)

    def _submit(self, name: T, url: str) -> None:
        future = asyncio.run_coroutine_threadsafe(self._one(name, url), self._loop)
        future.add_done_callback(lambda done: self._done.put((name, done)))

    async def _one(self, name: T, url: str) -> tuple[R, int]:
        download = await self._fetcher.fetch(url)
        num_bytes = len(download.data)
        self._room.change(-num_bytes)
        try:
            result = await self._loop.run_in_executor(self._pool, self._finish, name, download)
        except ImageRefused as refusal:
            self._room.change(num_bytes)
            raise Refused(refusal.reason, refusal.detail) from None
        return result, num_bytes

    async def _start(self) -> Fetcher:
        return Fetcher(self._rules, self._room.wait)

    async def _stop(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._fetcher.close()
