"""A progress that remembers what it is told."""

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
