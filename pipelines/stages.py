"""What whole pipelines share: their tables, the part that is asked for, columns, training, and the comparison.

    class Contest(Pipeline[ContestSettings]):
        name = "caption-contest"

        def stages(self) -> PipelineResult:
            encoder = self.load()
            self.table = ingest.from_images(…, into=self.at("images.lance")).table
            self.map(step, "scores")
            run = self.train(encoder)
            …

A pipeline puts stages in order, and can be run again at any time: what is done stays. It knows tables, models and
runs, and no particular pipeline.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

import clipdata as cd
from clipdata import hints
from clipdata.answers import judge
from clipdata.errors import LineageMismatchError, TransientError, UsageError
from clipdata.folder_lock import alone_in
from clipdata.progress import Progress, Silent
from clipdata.schema import is_binary
from clipdata.storage import absolute, join, redact
from clipdata.training.portion import Portion
from pipelines import configs, page, parts
from pipelines.recipe import AskedRecipe
from pipelines.results import PipelineResult
from pipelines.settings import PipelineSettings

if TYPE_CHECKING:
    from clipdata.comparison import Comparison
    from clipdata.encoder.model import Encoder
    from clipdata.lance_io.table import Table
    from clipdata.mapped import Mapped
    from clipdata.step_protocol import Step
    from clipdata.training.run import Run

TRAIN, TEST = "split = 'train'", "split = 'test'"
S = TypeVar("S", bound=PipelineSettings)


class Pipeline(ABC, Generic[S]):
    """One pipeline at work.

    Args:
        settings: what it works on.
        progress: watches.

    Attributes:
        name: as it is typed, "caption-contest".
        table: what is trained on and measured; a pipeline sets it when it has one.
        split_column: tells which rows are trained on and which are held out.
        held_out_value: what it says of the latter.
        changed: whether anything was written so far.
    """

    name: ClassVar[str]
    table: Table

    def __init__(self, settings: S, progress: Progress | None = None) -> None:
        self.settings, self.progress = settings, progress or Silent()
        self.split_column, self.held_out_value = "split", "test"
        self.changed = False

    @property
    def train_rows(self) -> str:
        """SQL condition of the rows to train on."""
        return f"`{self.split_column}` = 'train'"

    @property
    def held_out_rows(self) -> str:
        """SQL condition of the rows to measure on."""
        return f"`{self.split_column}` = '{self.held_out_value}'"

    def run(self) -> PipelineResult:
        """Do all of it, or as much as is still to be done.

        Raises:
            UsageError: torchrun started several processes.
            TransientError: another run is at work in the same folder, or wrote to the same tables meanwhile.
        """
        _refuse_several_processes()
        with alone_in(self.settings.home, f"clipdata run {self.name}"):
            return self._reported(self.stages())

    @abstractmethod
    def stages(self) -> PipelineResult:
        """The pipeline itself."""

    @abstractmethod
    def recipe(self, **overrides: Any) -> cd.TrainConfig:
        """How it is trained, where the settings say nothing else."""

    @cached_property
    def config(self) -> cd.TrainConfig:
        """How it is trained: the recipe, the file of `--config` over it, `--set` over both.

        Raises:
            ConfigError: lists every setting that is wrong.
            UsageError: there is no such recipe.
        """
        return self.recipe(**self._said)

    @property
    def _said(self) -> dict[str, Any]:
        typed = cd.TrainConfig.parse_settings(self.settings.training)
        return {**configs.read(self.settings.config, self.name), **typed}

    @cached_property
    def asked(self) -> AskedRecipe:
        """The recipe that is asked for; it makes a config, or else the pipeline's own does."""
        return AskedRecipe(self.settings.recipe)

    def settle(self, encoder: Encoder, table: Table, *, heads_alone: bool = False) -> None:
        """Choose the recipe by the rows and the model, where it is to be chosen; before anything is computed for it.

        Args:
            table: to train on.
            heads_alone: the trunk of pictures stays as it is, whatever is chosen.
        """
        part = Portion(self.settings.limit, self.settings.sample, self.config.seed)
        self.asked.settle(
            table,
            encoder,
            self.config,
            where=self.train_rows,
            portion=part,
            train=self._said.get("train"),
            heads_alone=heads_alone,
            progress=self.progress,
        )
        if self.asked.facts is not None:
            self.config = replace(self.recipe(**self._said), objective=self.config.objective)

    def at(self, name: str) -> str:
        """Location of something that the pipeline makes."""
        return join(self.settings.out, name)

    @property
    def reach(self) -> dict[str, Any]:
        """What every `ingest.from_…` is told beside its source."""
        given = self.settings
        return {"anonymous": given.anonymous, "storage": given.storage, "progress": self.progress}

    def note(self, done: object, changed: bool) -> None:
        """Tell what a stage did, if it did anything."""
        self.changed |= changed
        if changed:
            self.progress.say(str(done))

    def load(self) -> Encoder:
        """The model to begin with."""
        self.progress.say(f"loading {self.settings.model}")
        return cd.load_encoder(self.settings.model, device=self.settings.device)

    def tuned(self, run: Run) -> Encoder:
        """The model that a run ended with."""
        return run.encoder(device=self.settings.device)

    def column(self, name: str) -> str:
        """The name that a column is written under: another one where the table came with a column of that name."""
        found, number = name, 1
        while found in self.table.schema.names and self.table.lineage(found) is None:
            number += 1
            found = f"{name}_{number}"
        if found not in (name, *self.table.schema.names):
            self.progress.say(f"the table has a column {name} of its own: what is computed goes to {found}")
        return found

    def map(self, step: Step, column: str) -> None:
        """Fill a column; one that other weights or settings made is replaced, and its old version named.

        Raises:
            UsageError: the table came with a column of that name, which is nobody's to replace.
            TransientError: another run writes to the table.
        """
        try:
            done: Mapped = cd.map_column(self.table, step, column, progress=self.progress)
        except LineageMismatchError:
            old = self.table.version
            if column in self.table.schema.names and self.table.lineage(column) is None:
                raise UsageError(
                    f"{redact(self.table.uri)} has a column {column!r} of its own, which this would replace",
                    hint=f"take the others into another table: clipdata ingest lance {hints.typed(self.table.uri)}",
                ) from None
            try:
                done = cd.map_column(self.table, step, column, overwrite=True, progress=self.progress)
            except LineageMismatchError as error:  # not the column itself, but what it is to be made from
                raise self._disturbed(error) from error
            self.progress.say(f"{column} was made by something else; version {old} of the table keeps it")
        self.note(done, done.computed > 0)

    def take_part(self, columns: Sequence[str], *, usable: str) -> None:
        """Go on with the part of the rows that is asked for, in a table of its own, so that no other row is computed.

        Args:
            columns: that the part keeps beside the pictures; the split comes along always.
            usable: SQL condition of rows that can be of use.

        Raises:
            UsageError: the table declares no key, by which its rows are chosen.
        """
        if not self.settings.trains_on_a_part and self.settings.most_held_out is None:
            return
        part = parts.take_part(
            self.table,
            self.settings,
            rows=(f"{self.train_rows} AND {usable}", f"{self.held_out_rows} AND {usable}"),
            columns=[*columns, self.split_column],
            seed=self.config.seed,
            progress=self.progress,
        )
        self.note(part, part.written.any)
        self.table = part.table

    def tell_baseline(self, values: str, *, scores: str, answer: str, noun: str) -> None:
        """Say how good the model is before training, against chance.

        Args:
            values: column of the right choice's probability.
            scores: column of lists, one score a choice.
            answer: column of the right choice's place.
            noun: what a row is, in the plural ("questions").
        """
        for split, rows_of in (("train", self.train_rows), (self.held_out_value, self.held_out_rows)):
            where = f"{rows_of} AND `{values}` IS NOT NULL"
            rows = self.table.to_table([scores, answer, values], where=where).combine_chunks()
            if not rows.num_rows:
                continue
            judged = judge(rows[scores].chunk(0), rows[answer].chunk(0))
            right, chance = np.nanmean(judged.right_N), np.nanmean(1 / judged.choices_N)
            self.progress.say(
                f"before training, {split}: {rows.num_rows:,} {noun}, mean probability of the right one "
                f"{np.mean(rows[values].to_numpy()):.3f}, right {right:.1%}; "
                f"guessing gives {chance:.3f} and {chance:.1%}"
            )

    def train(self, encoder: Encoder, *, limit: int | None = None, sample: int | None = None) -> Run:
        """Fine-tune on the training rows. Each set of rows, model and config has a run folder of its own.

        Args:
            encoder: what to begin with.
            limit: as of `clipdata.train`, for a pipeline that takes no part in a table of its own.
            sample: the same.
        """
        from clipdata.training.run import Run

        part = {name: number for name, number in (("limit", limit), ("sample", sample)) if number is not None}
        rows = [self._rows_digest(), self._origins()]
        decisive = [self.config.to_json(), encoder.identity, *rows, *([part] if part else [])]
        out = Path(self.settings.runs or self.at("runs")) / parts.short_digest(decisive)
        table = self.table
        if (out / "config.json").exists():  # later verbs made newer versions of the same rows
            begun_at = Run(out).record["table"]["version"]
            table = cd.open_table(table.uri, version=begun_at, storage=self.settings.storage)
        run = cd.train(
            table,
            encoder,
            self.config,
            out=out,
            where=self.train_rows,
            limit=limit,
            sample=sample,
            progress=self.progress,
        )
        self.progress.say(str(run))
        return run

    def compare(
        self, before: str, after: str, models: tuple[Encoder, Encoder], *, where: str | None = None, **options: Any
    ) -> Comparison:
        """Compare two columns that are of this run's models, on the held-out rows by default.

        Tables in a bucket can be written from two machines at once, and no lock keeps those apart.

        Raises:
            TransientError: another run replaced one of the columns meanwhile.
        """
        behind = (models[0].identity, models[1].identity)
        try:
            options = {"trained_where": self.train_rows, "models": behind, **options}
            return cd.compare(self.table, before, after, where=where or self.held_out_rows, **options)
        except LineageMismatchError as error:
            raise self._disturbed(error) from error

    def _reported(self, result: PipelineResult) -> PipelineResult:
        """The result, told on a page in the folder of the tables."""
        out = absolute(self.at(page.FILE))
        return page.told_on_a_page(result, out, self.train_rows, self.settings.storage, self.progress)

    def _disturbed(self, error: LineageMismatchError) -> TransientError:
        return TransientError(
            f"another run writes to {redact(self.table.uri)} at the same time: {error.message}",
            hint="run the same command again when the other is done, or use another folder: --out DIR",
        )

    def _origins(self) -> list[str]:
        """What made the columns that the objective reads: other prompts, say, are another run."""
        objective = self.config.objective
        read = [*objective.text_columns, *objective.columns, *objective.columns_of_texts]
        made = [self.table.lineage(name) for name in read if name in self.table.schema.names]
        return [one.fingerprint for one in made if one is not None]

    def _rows_digest(self) -> str:
        """A digest of which training rows there are, and of their content."""
        schema = self.table.schema
        own = [one.name for one in schema if not is_binary(one.type) and self.table.lineage(one.name) is None]
        key = self.table.key
        read = self.table.to_table([key, "etag"] if key and "etag" in schema.names else own, where=self.train_rows)
        return parts.short_digest(sorted(map(str, read.to_pylist())))


def require_both_splits(
    table: Table,
    what: str,
    needed: str | None = None,
    *,
    column: str = "split",
    held_out: str = "test",
    hint: str = "call them train and test, or leave the column out: then pictures are held out by --test-share",
) -> None:
    """Check that there are rows to train on and rows to measure, before the work that needs them.

    Args:
        table: with a split.
        what: the split, in words.
        needed: column without which a row is of no use.
        column: of the split.
        held_out: what it says of rows to measure.
        hint: what to do about it, where the split came with the data.

    Raises:
        UsageError: one of the two is empty.
    """
    found = table.to_table([column], where=f"{needed} IS NOT NULL" if needed else None)
    counts = Counter(found.column(column).to_pylist())
    if counts.get("train") and counts.get(held_out):
        return
    listed = ", ".join(f"{rows:,} {split!r}" for split, rows in counts.most_common(5)) or "no row"
    if (made := table.lineage(column)) is not None:
        hint = (
            f"the split was made by {made.describe()}: rows that share a picture or a caption stay together, and of a "
            "single group nothing can be held out; add rows with other pictures"
        )
    raise UsageError(
        f"{what} gives {listed}; expected rows 'train' to train on and rows {held_out!r} to compare on", hint=hint
    )


def first_value(table: Table, column: str) -> Any:
    """The value in the first row, as an example; None where there is no row."""
    found = next(table.scan([column], limit=1), None)
    return found.column(0)[0].as_py() if found is not None and found.num_rows else None


def _refuse_several_processes() -> None:
    num = os.environ.get("WORLD_SIZE", "1")
    if num != "1":
        raise UsageError(
            f"a pipeline runs in one process, and WORLD_SIZE is {num}",
            hint="run it without torchrun; `clipdata train` trains in several processes",
        )
