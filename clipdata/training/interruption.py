"""Interruption: Ctrl-C and SIGTERM end a training between two steps, behind a checkpoint.

The first one is heard and asked about where it is safe to stop; a second one leaves at once. It knows signals and
threads, and nothing of steps.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from clipdata.progress import Progress
from clipdata.training.processes import ALONE, Processes

_HEARD = (signal.SIGINT, signal.SIGTERM)
_ECHO_S = 2.0  # torchrun passes a signal on, also one that the terminal gave to all of them


class Stopped(Exception):  # noqa: N818 - a wish that was granted, not a fault
    """Work ends here because somebody asked for it."""


class Stopping:
    """Hears the wish to stop while it is entered; leaving it grants one, as whoever sent the signal expects.

    In another thread than the main one no signal can be heard, and everything is as it was. What the process ignores
    it goes on ignoring.

    Args:
        progress: is told that the wish was heard.
        processes: that train together. They stop at the same step, whichever of them heard: at the one where they next
            agree.

    Raises:
        KeyboardInterrupt, SystemExit: on leaving, after Ctrl-C and after SIGTERM (with exit code 143).
    """

    def __init__(self, progress: Progress, processes: Processes = ALONE) -> None:
        self._progress, self._processes = progress, processes
        self._signal: signal.Signals | None = None
        self._heard_s = 0.0
        self._agreed = False
        self._before: dict[signal.Signals, Any] = {}

    @property
    def heard(self) -> bool:
        """Whether this process was asked to stop, or has agreed to."""
        return self._signal is not None

    @property
    def asked(self) -> bool:
        """Whether to stop; of several processes all say the same."""
        return self._agreed if self._processes.world > 1 else self.heard

    def agree(self) -> None:
        """Have all processes stop that train together, if one of them is to; each comes here at the same places."""
        if self._agreed or not self._processes.any(self.heard):
            return
        found = [one for one in self._processes.of_all(self._signal) if one is not None]
        self._signal, self._agreed = self._signal or found[0], True

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
        if self.heard and (error is None or isinstance(error, Stopped)):
            self._leave()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            if self._processes.world > 1 and time.monotonic() - self._heard_s < _ECHO_S:
                return
            self._leave()
        self._signal, self._heard_s = signal.Signals(number), time.monotonic()
        again = "Ctrl-C again" if self._signal is signal.SIGINT else "another signal"
        text = f"stopping behind this step, with a checkpoint; {again} leaves at once"
        # Not from here: the thread that was interrupted may be telling something, and hold what telling takes.
        threading.Thread(target=self._progress.say, args=[text], daemon=True).start()

    def _leave(self) -> None:
        assert self._signal is not None
        old = self._before.get(self._signal)
        if callable(old) and old is not signal.default_int_handler:
            old(self._signal, None)  # somebody wants to know it, too
        if self._signal is signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + self._signal) from None
