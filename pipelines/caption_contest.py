"""The caption contest, from pictures and questions to a tuned model and the difference it made.

The flow of the New Yorker caption contest: merge images with questions on the file name, score each question's
captions with CLIP, fine-tune on the right ones, score again, and compare on pictures the model never saw. Every stage
is a verb of the library; this module only puts them in order, and can be run again at any time: what is done stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import clipdata as cd
import ingest
from clipdata.answers import judge
from clipdata.errors import LineageMismatchError, TransientError, UsageError
from clipdata.folder_lock import alone_in
from clipdata.progress import Progress, Silent
from clipdata.schema import require_columns
from clipdata.storage import Storage, absolute, is_remote, join, redact
from ingest.metadata.metadata_files import MetadataFiles
from ingest.updating.source import source_storage
from pipelines.stages import first_value, require_both_splits

if TYPE_CHECKING:
    from clipdata.comparison import Comparison
    from clipdata.encoder.model import Encoder
    from clipdata.lance_io.table import Table
    from clipdata.mapped import Mapped
    from clipdata.step_protocol import Step
    from clipdata.training.run import Run

TRUNK = "image_trunk"


@dataclass(frozen=True)
class ContestSettings:
    """What the pipeline works on.

    Args:
        images: folder or URL; the built-in sample by default.
        metadata: parquet file with the questions; the built-in sample's by default.
        model: anything `clipdata.load_encoder` takes.
        out: folder or URL for the tables.
        runs: local folder for the training runs; `<out>/runs` by default.
        filename: column of the parquet that names the picture.
        choices: column with the captions to choose from.
        label: column that says which one is right.
        test_share: of the rows, when the metadata has no `split` column.
        training: settings of the training config, as `key=value` text.
        reference: leave the pictures where they are, and read them whenever they are needed.
        anonymous: the sources are public.
        storage: how to reach the sources and the tables.
        device: of the model.
    """

    images: str | None = None
    metadata: str | None = None
    model: str = "starter"
    out: str = "work"
    runs: str | None = None
    filename: str = "filename"
    choices: str = "caption_choices"
    label: str = "label"
    test_share: float = 0.2
    training: Mapping[str, str] = field(default_factory=dict)
    reference: bool = False
    anonymous: bool = False
    storage: Storage = field(default_factory=Storage)
    device: str | None = None

    def __post_init__(self) -> None:
        if (self.images is None) != (self.metadata is None):
            given, lacking = ("--images", "--metadata") if self.images is not None else ("--metadata", "--images")
            raise UsageError(
                f"{given} is given without {lacking}", hint="give both, or neither for the built-in sample"
            )
        if is_remote(self.out) and self.runs is None:
            raise UsageError(
                f"the tables go to {redact(self.out)}", hint="name a local folder for the training runs: --runs DIR"
            )
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share is {self.test_share}; expected a share between 0 and 1")

    @property
    def home(self) -> Path:
        """The folder on this machine that one run at a time works in: that of the tables, or of the runs."""
        if not is_remote(self.out):
            return Path(absolute(self.out))
        assert self.runs is not None, "checked above"
        return Path(self.runs)


@dataclass(frozen=True)
class ContestResult:
    """What the pipeline found.

    Args:
        table: the contest, with all its columns.
        run: the training run.
        comparison: before and after on the held-out rows.
        changed: whether anything was written this time.
    """

    table: Table
    run: Run
    comparison: Comparison
    changed: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table.uri,
            "version": self.table.version,
            "run": self.run.to_dict(),
            "comparison": self.comparison.to_dict(),
            "changed": self.changed,
        }


def run_caption_contest(settings: ContestSettings, progress: Progress | None = None) -> ContestResult:
    """Do all of it, or as much as is still to be done.

    Raises:
        TransientError: another run is at work in the same folder, or wrote to the same tables meanwhile.
    """
    with alone_in(settings.home, "clipdata run caption-contest"):
        return _run(_Pipeline(settings, progress or Silent()))


def _run(pipeline: _Pipeline) -> ContestResult:
    pipeline.check()
    encoder = pipeline.load()
    pipeline.ingest()
    pipeline.split()
    pipeline.score(encoder, "")
    pipeline.tell_baseline()
    run = pipeline.train(encoder)
    tuned = run.encoder(device=pipeline.settings.device)
    pipeline.score(tuned, "_fine_tune")
    pipeline.check_models({"": encoder, "_fine_tune": tuned})
    comparison = cd.compare(
        pipeline.table, "label_prob", "label_prob_fine_tune", where="split = 'test'", trained_where="split = 'train'"
    )
    return ContestResult(pipeline.table, run, comparison, pipeline.changed)


class _Pipeline:
    """The stages, in order."""

    def __init__(self, settings: ContestSettings, progress: Progress) -> None:
        self.settings, self.progress = settings, progress
        self.changed = False
        self.table: Table

    def at(self, name: str) -> str:
        """Location of something the pipeline makes."""
        return join(self.settings.out, name)

    def check(self) -> None:
        """Hold the config and the columns of the metadata to what will be needed, before anything is written.

        Raises:
            ConfigError: lists every setting that is wrong.
            SchemaError: the metadata lack a column.
        """
        self.config()
        given = self.settings
        metadata = _sources(given)[1]
        reached = source_storage(given.storage, anonymous=given.anonymous)
        columns = MetadataFiles(metadata, required=None, storage=reached).schema()
        hint = "name the columns: --filename, --choices, --label"
        needed = [given.filename, given.choices, given.label]
        require_columns(columns, needed, verb="caption-contest", where=redact(metadata), hint=hint)

    def ingest(self) -> None:
        """Questions and pictures into tables, and merged; the questions first, for they are quickly looked through."""
        given = self.settings
        images, metadata = _sources(given)
        options: dict[str, Any] = {"anonymous": given.anonymous, "storage": given.storage, "progress": self.progress}
        questions = ingest.from_parquet(metadata, into=self.at("meta.lance"), required=given.filename, **options)
        self._note(questions, questions.written.any)
        if "split" in questions.table.schema.names:
            require_both_splits(questions.table, "the metadata's split column")
        pictures = ingest.from_images(images, into=self.at("images.lance"), reference=given.reference, **options)
        self._note(pictures, pictures.written.any)
        merged = ingest.merge_report(
            pictures.table,
            questions.table,
            into=self.at("contest.lance"),
            on="filename",
            metadata_on=given.filename,
            storage=given.storage,
            progress=self.progress,
        )
        self._note(merged, merged.written.any or merged.changed > 0)
        if not merged.num_rows:
            raise UsageError(
                f"no metadata row names one of the {pictures.table.num_rows:,} pictures; "
                f"a picture is called {first_value(pictures.table, 'filename')!r}, "
                f"the metadata says {first_value(questions.table, given.filename)!r}",
                hint="name the column that holds the file's name: --filename COLUMN",
            )
        self.table = merged.table

    def split(self) -> None:
        """Places of the right captions, and which rows are held out, unless the metadata says which."""
        own = "split" in self.table.schema.names and self.table.lineage("split") is None
        self._map(cd.steps.LabelIndex(self.settings.label, choices=self.settings.choices), "label_ind")
        if not own:
            self._make_split()
        require_both_splits(self.table, "the split of the rows with a picture and a usable label", "label_ind")

    def _make_split(self) -> None:
        """Hold out pictures and right captions, whole groups of them."""
        groups = cd.steps.GroupSplit(
            self.table,
            choices=self.settings.choices,
            label_index="label_ind",
            test_share=self.settings.test_share,
        )
        self._map(groups, "split")
        counts = self.table.query(
            "SELECT split, count(*) AS rows FROM dataset GROUP BY split ORDER BY split"
        ).to_pylist()
        listed = ", ".join(f"{row['rows']:,} {row['split']}" for row in counts)
        self.progress.say(
            f"the metadata has no split: rows of one picture or one right caption stay together: {listed}"
        )

    def load(self) -> Encoder:
        """The model to begin with."""
        self.progress.say(f"loading {self.settings.model}")
        return cd.load_encoder(self.settings.model, device=self.settings.device)

    def score(self, encoder: Encoder, suffix: str) -> None:
        """Scores and the right caption's probability, under names that end in `suffix`."""
        trunk = TRUNK if self.config().train == "projections" else None
        if trunk and not suffix:
            self._map(cd.steps.ImageTrunk(encoder), TRUNK)
        scores = f"scores{suffix}"
        self._map(cd.steps.ChoiceScores(encoder, self.settings.choices, trunk=trunk), scores)
        self._map(cd.steps.Pick(scores, "label_ind"), f"label_prob{suffix}")

    def check_models(self, encoders: Mapping[str, Encoder]) -> None:
        """Hold the columns that are to be compared to the encoders of this run; suffix → encoder.

        Tables in a bucket can be written from two machines at once, and no lock keeps those apart.

        Raises:
            TransientError: another run replaced one of them meanwhile.
        """
        for suffix, encoder in encoders.items():
            scores, picked = self.table.lineage(f"scores{suffix}"), self.table.lineage(f"label_prob{suffix}")
            made_from = picked.upstream.get(f"scores{suffix}") if picked is not None else None
            if scores is None or scores.model != encoder.identity or made_from != scores.fingerprint:
                found = scores.describe() if scores is not None else "something without lineage"
                raise self._disturbed(
                    f"column scores{suffix} was made by {found}, and not with {encoder.name} ({encoder.identity[:12]})"
                )

    def _disturbed(self, found: str) -> TransientError:
        return TransientError(
            f"another run writes to {redact(self.table.uri)} at the same time: {found}",
            hint="run the same command again when the other is done, or use another folder: --out DIR",
        )

    def config(self) -> cd.TrainConfig:
        """Training config: the recipe's, with the user's settings."""
        given = cd.TrainConfig.parse_settings(self.settings.training)
        config = cd.recipes.caption_contest(**{"choices": self.settings.choices, **given})
        return replace(config, image_trunk=TRUNK) if config.train == "projections" else config

    def tell_baseline(self) -> None:
        """How good the model is before training, against chance."""
        columns = ["split", "scores", "label_ind", "label_prob"]
        for split in ("train", "test"):
            rows = self.table.to_table(columns, where=f"split = '{split}' AND label_prob IS NOT NULL").combine_chunks()
            if not rows.num_rows:
                continue
            judged = judge(rows["scores"].chunk(0), rows["label_ind"].chunk(0))
            right, chance = np.nanmean(judged.right_N), np.nanmean(1 / judged.choices_N)
            mean = np.mean(rows["label_prob"].to_numpy())
            self.progress.say(
                f"before training, {split}: {rows.num_rows:,} questions, mean probability of the right caption "
                f"{mean:.3f}, right {right:.1%}; guessing gives {chance:.3f} and {chance:.1%}"
            )

    def train(self, encoder: Encoder) -> Run:
        """Fine-tune on the training rows. Each set of rows, model and config has a run folder of its own."""
        from clipdata.training.run import Run

        config = self.config()
        decisive = [config.to_json(), encoder.identity, self._rows_digest("split = 'train'")]
        name = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:8]
        out = Path(self.settings.runs or self.at("runs")) / name
        table = self.table
        if (out / "config.json").exists():  # later verbs made newer versions of the same rows
            begun_at = Run(out).record["table"]["version"]
            table = cd.open_table(table.uri, version=begun_at, storage=self.settings.storage)
        run = cd.train(table, encoder, config, out=out, where="split = 'train'", progress=self.progress)
        self.progress.say(str(run))
        return run

    def _rows_digest(self, where: str) -> str:
        """A digest of which rows there are, and of their content."""
        read = self.table.to_table(["id", "etag"], where=where)
        pairs = sorted(zip(read["id"].to_pylist(), read["etag"].to_pylist(), strict=True))
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()

    def _map(self, step: Step, column: str) -> None:
        """Fill a column; one that other weights or settings made is replaced, and its old version named."""
        try:
            done: Mapped = cd.map_column(self.table, step, column, progress=self.progress)
        except LineageMismatchError:
            old = self.table.version
            try:
                done = cd.map_column(self.table, step, column, overwrite=True, progress=self.progress)
            except LineageMismatchError as error:  # not the column itself, but what it is to be made from
                raise self._disturbed(error.message) from error
            self.progress.say(f"{column} was made by something else; version {old} of the table keeps it")
        self._note(done, done.computed > 0)

    def _note(self, done: object, changed: bool) -> None:
        self.changed |= changed
        if changed:
            self.progress.say(str(done))


def _sources(settings: ContestSettings) -> tuple[str, str]:
    """Pictures and questions: the user's, or the built-in sample's."""
    if settings.images is not None and settings.metadata is not None:
        return settings.images, settings.metadata
    from pipelines import sample

    return str(sample.images_path()), str(sample.questions_path())
