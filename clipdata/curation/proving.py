"""prove(): the same recipe on all rows and on those that filters keep, with several seeds, on the same held-out rows.

It knows trainings and measures, and no particular filter or objective.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipdata.arguments import PROGRESS, check_able, check_condition, check_kind
from clipdata.comparison.seeds import SeedComparison, compare_seeds
from clipdata.curation.arms import ALL, KEPT, RANDOM, Arm, arms_of
from clipdata.curation.proof import Proof, TrainedArm
from clipdata.curation.selection import Curated
from clipdata.encoder import Encoder
from clipdata.errors import UsageError
from clipdata.progress import Progress, Silent
from clipdata.storage import redact
from clipdata.training.config import TrainConfig
from clipdata.training.figures import Evaluation
from clipdata.training.likeness import overlap_in
from clipdata.training.portion import Portion
from clipdata.training.rows_read import RowsRead
from clipdata.training.run import Run, run_folder
from clipdata.training.shared_pass import shared_pass
from clipdata.training.trials import Trial, Trials, checked_seeds


def prove(
    curated: Curated,
    encoder: Encoder,
    config: TrainConfig,
    *,
    held_out: str,
    out: str | os.PathLike[str],
    seeds: Sequence[int] = (0, 1, 2),
    control: bool = True,
    figure: str | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Train on all rows and on those that are kept, and compare the models on rows that neither trained on.

    Fewer rows are fewer steps at the same number of epochs, and any subset is less varied: so a third side trains on as
    many rows drawn at random, others for every seed. Asked for the same again, finished trainings are not repeated, and
    an unfinished one goes on.

    Args:
        curated: see `curate`.
        encoder: what every training begins with.
        config: how each is trained; its seed is that of `seeds`.
        held_out: SQL condition of the rows to measure on; none of them may be trained on.
        out: folder for the runs, `all-seed0` and so on.
        seeds: each a training of every side: of the order of rows and of dropout.
        control: train on rows at random, too.
        figure: what the verdict is about; the objective's first one by default.
        progress: watches.

    Raises:
        UsageError: the filters keep all rows or none; a held-out row is trained on; the objective has no such figure.
        SchemaError: the table lacks a column, or has another type.
    """
    check_kind(curated, Curated, "prove: curated", 'clipdata.curate(table, ["clip_score >= 0.28"])')
    check_kind(encoder, Encoder, "prove: encoder", 'clipdata.load_encoder("starter")')
    check_kind(config, TrainConfig, "prove: config", "clipdata.recipes.caption_contest()")
    check_able(progress, "prove: progress", ("task", "say"), PROGRESS)
    check_condition(held_out)
    chosen = checked_seeds(seeds, "prove")
    return _Proving(curated, encoder, config, held_out, chosen, run_folder(out), progress or Silent()).done(
        arms_of(curated, control=control), figure
    )


@dataclass(frozen=True)
class _Proving:
    """One proof at work."""

    curated: Curated
    encoder: Encoder
    config: TrainConfig
    held_out: str
    seeds: tuple[int, ...]
    folder: Path
    progress: Progress

    def done(self, arms: Sequence[Arm], figure: str | None) -> Proof:
        """Train and measure all sides."""
        self._refuse_overlap()
        rows = shared_pass(
            self.curated.table.pinned(), self.config.objective, self.held_out, [self.config], self.progress
        )
        before = rows.measure(self.encoder)
        units = before.units
        chosen = _figure(units, figure, self.config)
        overlap = self._overlap()
        trained: dict[str, TrainedArm] = {}
        found: dict[str, list[Evaluation]] = {arm.name: [] for arm in arms}
        trials = Trials(self.curated.table, self.encoder, self.folder, self.progress)
        with trials.telling([self._trial(arm, seed).folder_name for seed in self.seeds for arm in arms]):
            for seed in self.seeds:  # so that an interrupted proof has a whole answer of fewer seeds
                for arm in arms:
                    run = self._trained(trials, arm if arm.sample is None else _as_large(arm, trained[KEPT]), seed)
                    found[arm.name].append(rows.measure(run.encoder(device=str(self.encoder.device))))
                    trained[arm.name] = _told(arm.name, run, trained.get(arm.name))
        return Proof(
            table=redact(self.curated.table.uri),
            version=self.curated.table.version,
            where=self.curated.begins_with,
            kept=self.curated.where,
            held_out=self.held_out,
            objective=self.config.objective.kind,
            seeds=self.seeds,
            arms=tuple(trained.values()),
            figure=chosen,
            start={name: before.metrics[name] for name in units},
            against_all=_compared(found[ALL], found[KEPT]),
            against_random=_compared(found[RANDOM], found[KEPT]) if RANDOM in found else {},
            overlap=overlap,
        )

    def _refuse_overlap(self) -> None:
        """Refuse held-out rows that the trainings would see.

        Raises:
            UsageError: there are some.
        """
        base = self.curated.begins_with
        both = f"({self.held_out})" + (f" AND ({base})" if base is not None else "")
        if shared := self.curated.table.count_rows(both):
            raise UsageError(
                f"prove: {shared:,} rows are both held out ({self.held_out}) and trained on ({base or 'all rows'})",
                hint="--where \"split = 'train'\" --held-out \"split = 'test'\"",
            )

    def _overlap(self) -> str:
        """What the held-out rows share with all rows to train on, told as every training tells it; "" for nothing."""
        table = self.curated.table
        objective = self.config.objective.resolved(table)
        config = replace(self.config, objective=objective, evaluate_where=self.held_out)
        found = overlap_in(RowsRead(table, config, self.curated.begins_with, Portion()), self.encoder.trained_on)
        if found is None or not found.any:
            return ""
        self.progress.say(str(found))
        return str(found)

    def _trained(self, trials: Trials, arm: Arm, seed: int) -> Run:
        self.progress.say(f"seed {seed}: {arm}")
        return trials.run(self._trial(arm, seed))

    def _trial(self, arm: Arm, seed: int) -> Trial:
        measured = self.config.evaluate_where if self.config.best is not None else None
        return Trial(arm.name, replace(self.config, seed=seed, evaluate_where=measured), arm.where, sample=arm.sample)


def _as_large(arm: Arm, kept: TrainedArm) -> Arm:
    """An arm of rows at random, as many as those kept are that can be trained on."""
    return replace(arm, sample=kept.rows, num_rows=kept.rows)


def _figure(units: Mapping[str, object], figure: str | None, config: TrainConfig) -> str:
    """The figure that is asked for, or the objective's first.

    Raises:
        UsageError: the objective has no such figure.
    """
    if figure is not None and figure not in units:
        raise UsageError(
            f"prove: objective {config.objective.kind} has no figure {figure!r}; it has {', '.join(units)}"
        )
    return figure or next(iter(units))


def _told(name: str, run: Run, earlier: TrainedArm | None) -> TrainedArm:
    runs = (*(earlier.runs if earlier is not None else ()), str(run.path))
    return TrainedArm(name, int(run.record["table"]["num_rows"]), int(run.to_dict()["steps"]), runs)


def _compared(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> dict[str, SeedComparison]:
    """Every figure, thing by thing, over the seeds of both sides."""
    return {
        name: compare_seeds(
            [found.units[name].value_N for found in before],
            [found.units[name].value_N for found in after],
            units.cluster_N,
        )
        for name, units in after[0].units.items()
    }
