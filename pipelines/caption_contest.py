"""The caption contest, from pictures and questions to a tuned model and the difference it made.

The flow of the New Yorker caption contest: merge images with questions on the file name, score each question's
captions with CLIP, fine-tune on the right ones, score again, and compare on pictures the model never saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from clipdata.plurals import counted
from clipdata.progress import Progress
from clipdata.schema import is_of, require_columns
from clipdata.storage import redact
from ingest.metadata.metadata_files import MetadataFiles
from ingest.updating.source import source_storage
from pipelines.results import PipelineResult
from pipelines.settings import PipelineSettings
from pipelines.stages import TRAIN, Pipeline, first_value, require_both_splits

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

TRUNK = "image_trunk"


@dataclass(frozen=True, kw_only=True)
class ContestSettings(PipelineSettings):
    """What the contest works on.

    Args:
        images: folder or URL; the built-in sample by default.
        metadata: parquet file with the questions; the built-in sample's by default.
        table: a table that holds pictures and questions already, such as one that `ingest.from_chain` made; the new
            columns are its own.
        filename: column of the parquet that names the picture.
        choices: column with the captions to choose from.
        label: column that says which one is right.
        test_share: of the rows, when the metadata has no `split` column.
        reference: leave the pictures where they are, and read them whenever they are needed.
    """

    images: str | None = None
    metadata: str | None = None
    table: str | None = None
    filename: str = "filename"
    choices: str = "caption_choices"
    label: str = "label"
    test_share: float = 0.2
    reference: bool = False

    def __post_init__(self) -> None:
        if (self.images is None) != (self.metadata is None):
            given, lacking = ("--images", "--metadata") if self.images is not None else ("--metadata", "--images")
            raise UsageError(
                f"{given} is given without {lacking}", hint="give both, or neither for the built-in sample"
            )
        if self.table is not None and self.images is not None:
            raise UsageError("--table and --images are both given; expected a table, or what makes one")
        super().__post_init__()
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share is {self.test_share}; expected a share between 0 and 1")

    @property
    def sources(self) -> tuple[str, str]:
        """Pictures and questions: the user's, or the built-in sample's."""
        if self.images is not None and self.metadata is not None:
            return self.images, self.metadata
        from pipelines import sample

        return str(sample.images_path()), str(sample.questions_path())


def run_caption_contest(settings: ContestSettings, progress: Progress | None = None) -> PipelineResult:
    """Do all of it, or as much as is still to be done; see `Pipeline.run`."""
    return CaptionContest(settings, progress).run()


class CaptionContest(Pipeline[ContestSettings]):
    """The contest, stage by stage.

    Attributes:
        answer: column of the right caption's place.
    """

    name = "caption-contest"
    answer: str

    def stages(self) -> PipelineResult:
        """Baseline scores, training, scores again, and what of the difference holds on pictures held out."""
        self.check()
        encoder = self.load()
        self.ingest()
        self.split()
        self.take_part([self.settings.choices, self.settings.label, self.answer], usable=f"`{self.answer}` IS NOT NULL")
        self.settle(encoder, self.table)
        scores, before = self.score(encoder, "", scale=self.config.init_logit_scale or encoder.logit_scale)
        self.tell_baseline(before, scores=scores, answer=self.answer, noun="questions")
        run = self.train(encoder)
        tuned = self.tuned(run)
        _, after = self.score(tuned, "_fine_tune", scale=tuned.logit_scale)
        held_out = self.compare(before, after, (encoder, tuned))
        learned = self.compare(before, after, (encoder, tuned), where=TRAIN) if self.settings.trains_on_a_part else None
        return PipelineResult(self.table, run, held_out, learned, self.changed)

    def recipe(self, **overrides: Any) -> cd.TrainConfig:
        """The recipe of the same name, on image features that are computed once where no trunk is trained."""
        config = self.asked.or_else(cd.recipes.caption_contest, **{"choices": self.settings.choices, **overrides})
        return config if config.image_trunk_trains else replace(config, image_trunk=TRUNK)

    def check(self) -> None:
        """Hold the config and the columns of the metadata to what will be needed, before anything is written.

        Raises:
            ConfigError: lists every setting that is wrong.
            SchemaError: the metadata lack a column.
        """
        _ = self.config
        given, (_, metadata) = self.settings, self.settings.sources
        if given.table is not None:
            table = cd.open_table(given.table, storage=given.storage)
            table.require([given.choices, given.label], verb=self.name, hint="name the columns: --choices, --label")
            return
        reached = source_storage(given.storage, anonymous=given.anonymous)
        columns = MetadataFiles(metadata, required=None, storage=reached).schema()
        hint = "name the columns: --filename, --choices, --label"
        needed = [given.filename, given.choices, given.label]
        require_columns(columns, needed, verb=self.name, where=redact(metadata), hint=hint)

    def ingest(self) -> None:
        """Questions and pictures into tables, and merged; the questions first, for they are quickly looked through."""
        given, (images, metadata) = self.settings, self.settings.sources
        if given.table is not None:
            self.table = cd.open_table(given.table, storage=given.storage)
            return
        questions = ingest.from_parquet(metadata, into=self.at("meta.lance"), required=given.filename, **self.reach)
        self.note(questions, questions.written.any)
        if "split" in questions.table.schema.names:
            require_both_splits(questions.table, "the metadata's split column")
        pictures = ingest.from_images(images, into=self.at("images.lance"), reference=given.reference, **self.reach)
        self.note(pictures, pictures.written.any)
        merged = ingest.merge_report(
            pictures.table,
            questions.table,
            into=self.at("contest.lance"),
            on="filename",
            metadata_on=given.filename,
            storage=given.storage,
            progress=self.progress,
        )
        self.note(merged, merged.written.any or merged.changed > 0)
        if not merged.num_rows:
            raise UsageError(
                f"no metadata row names one of the {counted(pictures.table.num_rows, 'picture')}; "
                f"a picture is called {first_value(pictures.table, 'filename')!r}, "
                f"the metadata says {first_value(questions.table, given.filename)!r}",
                hint="name the column that holds the file's name: --filename COLUMN",
            )
        self.table = merged.table

    def split(self) -> None:
        """Places of the right captions, and which rows are held out, unless the metadata says which."""
        own = "split" in self.table.schema.names and self.table.lineage("split") is None
        self.answer = self.column("label_ind")
        if self.answer != "label_ind":
            self.config = self.config.with_settings({"label": self.answer})
        self._refuse_labels_from_one()
        self.map(cd.steps.LabelIndex(self.settings.label, choices=self.settings.choices), self.answer)
        if not own:
            self._make_split()
        require_both_splits(self.table, "the split of the rows with a picture and a usable label", self.answer)

    def _refuse_labels_from_one(self) -> None:
        """Refuse places that are counted from 1, for each would name the caption after the right one.

        Raises:
            UsageError: no place is 0, and one is the number of its row's captions.
        """
        label, choices = self.settings.label, self.settings.choices
        if not is_of("integer", self.table.schema.field(label).type):
            return
        least, beyond = None, 0
        for batch in self.table.scan([label, choices]):
            places, sizes = batch.column(label), pc.list_value_length(batch.column(choices))
            found = pc.min(places).as_py()
            least = found if least is None else min(least, found if found is not None else least)
            beyond += pc.sum(pc.equal(places, pc.cast(sizes, places.type))).as_py() or 0
        if least == 1 and beyond:
            raise UsageError(
                f"column {label!r} seems to count from 1: no place is 0, and {beyond:,} rows name one behind their "
                "last caption",
                hint="count from 0, or write letters (A, B, …)",
            )

    def _make_split(self) -> None:
        """Hold out pictures and right captions, whole groups of them."""
        given = self.settings
        step = cd.steps.GroupSplit(
            self.table,
            picture="sha256" if "sha256" in self.table.schema.names else self.table.key or "image",
            choices=given.choices,
            label_index=self.answer,
            test_share=given.test_share,
        )
        self.map(step, "split")
        counts = self.table.query(
            "SELECT split, count(*) AS rows FROM dataset WHERE split IS NOT NULL GROUP BY split ORDER BY split"
        )
        listed = ", ".join(f"{row['rows']:,} {row['split']}" for row in counts.to_pylist())
        self.progress.say(f"nothing says what to hold out: rows of one picture or one caption stay together: {listed}")

    def score(self, encoder: Encoder, suffix: str, *, scale: float) -> tuple[str, str]:
        """Scores and the right caption's probability; returns the names of the two columns, which end in `suffix`."""
        trunk, choices = self.config.image_trunk, self.settings.choices
        scores, values = self.column(f"scores{suffix}"), self.column(f"label_prob{suffix}")
        if trunk and not suffix:
            self.map(cd.steps.ImageTrunk(encoder), trunk)
        self.map(cd.steps.ChoiceScores(encoder, choices, trunk=trunk, scale=scale), scores)
        self.map(cd.steps.Pick(scores, self.answer), values)
        return scores, values
