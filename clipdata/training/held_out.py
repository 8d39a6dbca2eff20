"""The held-out rows of a run, measured as often as it reports. It knows learners and streams, and nothing of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from clipdata.stream import load
from clipdata.stream.assembly import Batch
from clipdata.training.evaluation import figures_of
from clipdata.training.features import BatchFacts, Features
from clipdata.training.figures import Evaluation
from clipdata.training.forward import Forward
from clipdata.training.interruption import Stopping
from clipdata.training.learner import Learner
from clipdata.training.left_out import LeftOut, left_out_of
from clipdata.training.memory_watch import out_of_memory_told
from clipdata.training.processes import Processes
from clipdata.training.run_streams import RunStreams


class HeldOut:
    """Rows that are measured while a model trains; each process takes its share of them.

    Args:
        offsets: int64; None where nothing is measured.
        learner: holds the model and the config.
        streams: of the run.
        processes: that measure together.
        stopping: is asked behind every batch.

    `left_out` counts those whose pictures cannot be used.
    """

    def __init__(
        self,
        offsets: np.ndarray | None,
        learner: Learner,
        streams: RunStreams,
        processes: Processes,
        stopping: Stopping,
    ) -> None:
        self._offsets, self._learner, self._streams = offsets, learner, streams
        self._processes, self._stopping = processes, stopping
        num_rows = 0 if offsets is None else len(offsets)
        self.left_out = LeftOut("rows to measure", num_rows, learner.config.max_bad_share)

    def measure(self, forward: Forward | None = None) -> Evaluation | None:
        """Figures of all rows; None where nothing is measured.

        Args:
            forward: of another model than the learner's, which is measured by default.

        Raises:
            Stopped: somebody asked for it meanwhile.
            ClipdataError: there was too little memory.
        """
        if self._offsets is None:
            return None
        learner = self._learner
        standing = learner.measuring() if forward is None else nullcontext()
        forward = forward or learner.forward
        stream, features = self._streams.to_measure(forward, self._offsets), partial(self._features, forward)
        with standing, learner.autocast(), out_of_memory_told(lambda: "--set evaluation_batch=16"):
            return figures_of(self._usable(load(stream)), features, learner.config.objective, self._processes)

    def _usable(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._stopping.agree()
            self._stopping.check()
            self.left_out.add(self._processes.joined(left_out_of(batch)))
            if self._processes.total(len(batch["offsets"])):
                yield batch

    def _features(self, forward: Forward, batch: Mapping[str, Any]) -> tuple[Features, BatchFacts]:
        """Features of all texts of a batch's rows, those of other processes among them."""
        return self._processes.gather(*forward(batch, every_text=True))
