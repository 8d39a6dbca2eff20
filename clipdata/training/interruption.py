"""Interruption: Ctrl-C and SIGTERM end a training between two steps, behind a checkpoint.

The first one is heard and asked about where it is safe to stop; a second one leaves at once. It knows signals and
threads, and nothing of steps.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from clipdata.progress import Progress

_HEARD = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 - a wish that was granted, not a fault
    """Work ends here because somebody asked for it."""


class Stopping:
    """Hears the wish to stop while it is entered; leaving it grants one, as whoever sent the signal expects.

    In another thread than the main one no signal can be heard, and everything is as it was. What the process ignores
    it goes on ignoring.

    Args:
        progress: is told that the wish was heard.

    Raises:
        KeyboardInterrupt, SystemExit: on leaving, after Ctrl-C and after SIGTERM (with exit code 143).
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._signal is not None

    def check(self) -> None:
        """End the work here if that is asked for.

        Raises:
            Stopped: it is.
        """
        if self.asked:
            raise Stopped

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            found = {one: signal.getsignal(one) for one in _HEARD}
            # None is a handler that was not installed from Python, which cannot be put back.
            self._before = {one: old for one, old in found.items() if old not in (signal.SIG_IGN, None)}
            for one in self._before:
                signal.signal(one, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, old in self._before.items():
            signal.signal(one, old)
        if self.asked and (error is None or isinstance(error, Stopped)):
            self._leave()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self._leave()
        self._signal = signal.Signals(number)
        again = "Ctrl-C again" if self._signal is signal.SIGINT else "another signal"
        text = f"stopping behind this step, with a checkpoint; {again} leaves at once"
        # Not from here: the thread that was interrupted may be telling something, and hold what telling takes.
        threading.Thread(target=self._progress.say, args=[text], daemon=True).start()

    def _leave(self) -> None:
        assert self._signal is not None
        old = self._before[self._signal]
        if callable(old) and old is not signal.default_int_handler:
            old(self._signal, None)  # somebody wants to know it, too
        if self._signal is signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + self._signal) from None
