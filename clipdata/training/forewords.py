"""Forewords: what a person wants to hear of a run before its first step. It knows configs and lengths, and no steps."""

from __future__ import annotations

from collections.abc import Iterator

from clipdata.encoder import Encoder
from clipdata.errors import ConfigError
from clipdata.plurals import counted
from clipdata.training.few_rows import warning_of_few_rows
from clipdata.training.learner import Learner
from clipdata.training.length import Length
from clipdata.training.resumption import Beginning
from clipdata.training.schedules import rate_factor


def forewords(begun: Beginning, encoder: Encoder, learner: Learner, length: Length) -> Iterator[str]:
    """Say in what a run is other than its config reads, and what that may cost.

    Args:
        begun: its rows.
        encoder: what it begins with.
        learner: before its first step.
        length: of the run.

    Raises:
        ConfigError: the best report is asked for, and no row is measured.
    """
    config, num_rows, batch_size = learner.config, len(begun.rows.offsets), length.batch_size
    if learner.adapted is not None:
        yield str(learner.adapted)
    if batch_size < config.batch_size:
        yield f"{batch_size:,} rows make one batch: batch_size is {batch_size}, not {config.batch_size}"
    if length.num_epochs != config.epochs:
        least = f": min_steps is {config.min_steps:,}" if length.num_steps == config.min_steps else ""
        epochs = f"{counted(length.num_epochs, 'epoch')} of this table, not {config.epochs:,}"
        yield f"{counted(length.num_steps, 'step is', 'steps are')} {epochs}{least}"
    if learner.needs_two_rows and num_rows % batch_size == 1 and not config.drop_last:
        yield "the last batch of every epoch has one row, of which no batch statistics are made: it moves nothing"
    if (warning := warning_of_few_rows(encoder, config, num_rows)) is not None:
        yield warning
    if config.warmup_steps > length.num_steps:
        highest = rate_factor(length.num_steps - 1, length.num_steps, length.per_epoch, config)
        yield (
            f"the warm-up takes {config.warmup_steps:,} steps and the run {length.num_steps:,}: the rate rises to "
            f"{highest:.0%} of lr and no further; lower warmup_steps"
        )
    if config.best is None:
        return
    if begun.held_out is None:
        raise ConfigError([f"best is {config.best!r} and no row is measured"], what="training config")
    yield (
        f"the step with the best {config.best} on the {len(begun.held_out.offsets):,} measured rows is "
        "exported: what it reaches on these rows afterwards is a little lucky; compare on others"
    )
