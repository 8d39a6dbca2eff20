"""Progress that remembers what it is told, and one that ends a training like whoever stops a machine."""

import signal
from contextlib import contextmanager


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps = 0

    @contextmanager
    def task(self, label, total, unit="rows"):
        yield self

    def advance(self, num=1):
        self.steps += num

    def refuse(self, reason, num=1):
        raise AssertionError(reason)

    def say(self, text):
        self.said.append(text)


class Stopping(Told):
    """Sends this process SIGTERM when so many steps are done."""

    def __init__(self, step):
        super().__init__()
        self._step = step

    @contextmanager
    def task(self, label, total, unit="rows"):
        self._counts = label == "train"
        yield self

    def advance(self, num=1):
        super().advance(num * self._counts)
        if self._counts and self.steps == self._step:
            signal.raise_signal(signal.SIGTERM)
