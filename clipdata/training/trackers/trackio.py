"""trackio: a database of this machine that `trackio show` draws, or a Space where TRACKIO_SPACE_ID names one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from clipdata.training.trackers.protocol import flat


class Trackio:
    """Tells trackio of a run.

    Args:
        record: the run's config.json.
        identity: name of the run in trackio.
        is_known: trackio was told of it before.
    """

    def __init__(self, record: Mapping[str, Any], identity: str, *, is_known: bool) -> None:
        import trackio

        self.has_past = is_known
        project = os.environ.get("TRACKIO_PROJECT", "clipdata")
        with _quiet():
            self._run = trackio.init(
                project=project,
                name=identity,
                config=flat(record),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.place = f"trackio show --project {project}"

    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Take in figures of a step."""
        self._run.log(dict(figures), step=step)

    def close(self, *, failed: bool) -> None:
        """Have it hold what was told."""
        import trackio

        with _quiet():
            trackio.finish()  # not the run's own, or it is finished once more, and says so, when the process ends


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep stdout for results: trackio prints there."""
    with redirect_stdout(io.StringIO()):
        yield
