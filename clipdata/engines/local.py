"""The local engine: one fragment after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clipdata.engines.fill import fill
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.progress import Counter


class LocalEngine:
    """Fills fragments where it is called."""

    def run(self, tasks: Iterable[FragmentTask], counter: Counter) -> Iterator[FragmentDone]:
        """Yield each fragment as soon as it is filled."""
        for task in tasks:
            yield fill(task, counter)
