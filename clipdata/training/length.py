"""Length: how many steps a run has, in batches of what size and over how many epochs. It knows numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.errors import UsageError
from clipdata.training.config import TrainConfig


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Args:
        batch_size: rows of a batch; a table smaller than the config's is one batch.
        per_epoch: steps of an epoch, each of `TrainConfig.accumulate` batches; the last may have fewer.
        num_steps: in all.
        num_epochs: begun.
    """

    batch_size: int
    per_epoch: int
    num_steps: int
    num_epochs: int

    @classmethod
    def of(cls, config: TrainConfig, num_rows: int) -> Length:
        """The length of a run on so many rows, at least one.

        Raises:
            UsageError: a batch of one row has nothing to learn from.
        """
        batch_size = min(config.batch_size, num_rows)
        if batch_size == 1 and config.objective.shares:
            raise UsageError(
                f"a batch has one row, and objective {config.objective.kind} compares the rows of a batch",
                hint="train on more rows, or --set batch_size=64",
            )
        num_batches = num_rows // batch_size if config.drop_last else -(-num_rows // batch_size)
        per_epoch = -(-num_batches // config.accumulate)
        num_steps = config.num_steps(per_epoch)
        return cls(batch_size, per_epoch, num_steps, -(-num_steps // per_epoch))
