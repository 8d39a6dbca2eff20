"""The streams of a run: of the rows it trains on and of those it measures, with what the forward asks for.

It knows tables, configs and processes, and nothing of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clipdata.lance_io.table import Table
from clipdata.stream import Stream
from clipdata.training.config import TrainConfig
from clipdata.training.forward import Forward
from clipdata.training.processes import Processes


@dataclass(frozen=True)
class RunStreams:
    """Makes streams for one process's part of a run.

    Args:
        table: in the version that the run reads.
        config: how.
        processes: that share the rows of every batch.
    """

    table: Table
    config: TrainConfig
    processes: Processes

    def to_train_on(self, forward: Forward, offsets: np.ndarray, batch_size: int, *, num_epochs: int) -> Stream:
        """The rows to train on, in the order of the config, augmented as it says.

        Args:
            forward: says what a batch is to hold.
            offsets: int64.
            batch_size: over all processes.
            num_epochs: how many there are.
        """
        return self._of(
            offsets,
            batch_size,
            until_epoch=num_epochs,
            shuffle=self.config.shuffle,
            drop_last=self.config.drop_last,
            **forward.request(augmented=True),
        )

    def to_measure(self, forward: Forward, offsets: np.ndarray) -> Stream:
        """Rows to measure, each once and as they lie; the arguments are those of `to_train_on`."""
        return self._of(offsets, self.config.evaluation_batch, shuffle=False, drop_last=False, **forward.request())

    def _of(self, offsets: np.ndarray, batch_size: int, **options: Any) -> Stream:
        return Stream(
            self.table,
            rows=offsets,
            batch_size=batch_size,
            seed=self.config.seed,
            num_threads=self.config.num_threads,
            rank=self.processes.rank,
            world_size=self.processes.world,
            even=False,
            **options,
        )
