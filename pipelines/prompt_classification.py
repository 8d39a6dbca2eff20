"""Image classification by prompts, from class folders to a tuned model and what it gained on the held-out list.

The flow of fine-tuning CLIP on a data set of one's own: every picture is paired with "a photo of {class}", all weights
are trained on which prompt of the batch is a picture's own, and the list that was held out is classified, before and
after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from clipdata.hints import merge_pictures
from clipdata.plurals import counted
from clipdata.progress import Progress
from clipdata.schema import is_of
from clipdata.steps.class_prompts import TEMPLATE, class_names, prompt_templates
from clipdata.storage import redact
from clipdata.training.config_checks import AUTO
from clipdata.training.objectives.class_prompts import ClassPrompts, classes_in
from pipelines.results import PipelineResult
from pipelines.settings import PipelineSettings
from pipelines.stages import Pipeline, require_both_splits

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

TRUNK, LABEL_INDEX, PROMPT, MADE_SPLIT = "image_trunk", "label_ind", "prompt", "class_split"
SCORES, PROBABILITY, TUNED = "class_scores", "class_prob", "_fine_tune"
OWN_COLUMNS = (TRUNK, LABEL_INDEX, PROMPT, MADE_SPLIT, *(f"{n}{s}" for n in (SCORES, PROBABILITY) for s in ("", TUNED)))

ObjectiveName = Literal["in-batch", "as-written", "class-softmax"]
_KINDS = {"in-batch": "multi_positive", "as-written": "contrastive", "class-softmax": "class_prompts"}


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(PipelineSettings):
    """What is classified.

    Args:
        images: folder or URL of `class/name.jpg`, or `split/class/name.jpg`; the built-in sample by default.
        lists: folder of `train.txt` and `test.txt`, whose lines are `class/name`.
        encoding: of the lists.
        table: a table that is there already, instead of pictures; the columns are added to it.
        label: its column of classes.
        classes: file of the names to be prompted, in order; by default those of the label column.
        templates: prompts, with braces for the class; the features of several are averaged to classify.
        objective: "in-batch": which prompt of the batch is a picture's own, where equal prompts all are; "as-written":
            the same with equal prompts as negatives; "class-softmax": which of all classes. "in-batch" by default.
        test_share: of the pictures of each class, when nothing says which are held out.

    Raises:
        UsageError: two of them exclude each other, or one is none of its choices.
    """

    images: str | None = None
    lists: str | None = None
    encoding: str = "utf-8"
    table: str | None = None
    label: str = "label"
    classes: str | None = None
    templates: tuple[str, ...] = (TEMPLATE,)
    objective: ObjectiveName | None = None
    test_share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table is not None and self.images is not None:
            raise UsageError("--table and --images are both given; expected one of them")
        if self.lists is not None and self.images is None:
            raise UsageError("--lists is given without --images", hint="name the folder that the lines start from")
        if self.objective is not None and self.objective not in get_args(ObjectiveName):
            raise UsageError(
                f"--objective is {self.objective!r}; expected one of {', '.join(get_args(ObjectiveName))}",
                hint="any other objective: --set objective=…",
            )
        if self.objective is not None and "objective" in self.training:
            raise UsageError("--objective and --set objective=… are both given; expected one of them")
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share is {self.test_share}; expected a share between 0 and 1")


def run_prompt_classification(settings: ClassificationSettings, progress: Progress | None = None) -> PipelineResult:
    """Do all of it, or as much as is still to be done; see `Pipeline.run`."""
    return PromptClassification(settings, progress).run()


class PromptClassification(Pipeline[ClassificationSettings]):
    """The classification, stage by stage."""

    name = "prompt-classification"

    def stages(self) -> PipelineResult:
        """Scores of every class, training, scores again, and what of the difference holds on pictures held out."""
        _ = self.config, self.templates, self.given_classes
        encoder = self.load()
        self.take_in()
        self.name_classes()
        self.split()
        self.take_part([self.settings.label, LABEL_INDEX, PROMPT], usable=self.usable)
        self.settle(encoder, self.table)
        self.score(encoder, "", scale=self.config.init_logit_scale or encoder.logit_scale)
        self.tell_baseline(PROBABILITY, scores=SCORES, answer=LABEL_INDEX, noun="pictures")
        run = self.train(encoder)
        tuned = self.tuned(run)
        self.score(tuned, TUNED, scale=tuned.logit_scale)
        columns, models = (PROBABILITY, f"{PROBABILITY}{TUNED}"), (encoder, tuned)
        held_out = self.compare(*columns, models)
        learned = self.compare(*columns, models, where=self.train_rows) if self.settings.trains_on_a_part else None
        return PipelineResult(self.table, run, held_out, learned, self.changed, {"classification": self.figures()})

    def recipe(self, **overrides: Any) -> cd.TrainConfig:
        """The recipe of the same name, on image features that are computed once where no trunk is trained."""
        asked = self.settings.objective
        kind = _KINDS[asked] if asked is not None else overrides.get("objective", "multi_positive")
        mine: dict[str, Any] = {
            "multi_positive": {"text": PROMPT, "group": LABEL_INDEX},
            "contrastive": {"text": PROMPT, "same": "negatives" if asked == "as-written" else "left_out"},
            "siglip": {"text": PROMPT, "group": LABEL_INDEX},
            "soft_target": {"text": PROMPT},
            "class_prompts": {"label": LABEL_INDEX, "classes": self.given_classes or (), "templates": self.templates},
        }
        fields = mine.get(kind, {}) if isinstance(kind, str) else {}
        config = self.asked.or_else(cd.recipes.prompt_classification, **{**fields, **overrides, "objective": kind})
        return config if config.image_trunk_trains else replace(config, image_trunk=TRUNK)

    def load(self) -> Encoder:
        """The model to begin with, and what of the config a CPU or its towers cannot do."""
        encoder = super().load()
        config, say = self.config, self.progress.say
        if config.precision == "fp16" and encoder.device.type == "cpu" and "precision" not in self.settings.training:
            say("precision is fp16, which is for a GPU: computing in fp32 on this CPU (--set precision=bf16, fp16)")
            self.config = replace(config, precision="fp32")
        if config.train == "projections" and not encoder.towers.image_head_names:
            say(
                f"the image tower of {encoder.name} has no projection that trains by itself (it ends in a pool); "
                "only the text side trains with train=projections: --set train=all trains both"
            )
        return encoder

    @cached_property
    def templates(self) -> tuple[str, ...]:
        """Templates of the prompts."""
        return prompt_templates(list(self.settings.templates), asker=self.name)

    @cached_property
    def given_classes(self) -> tuple[str, ...] | None:
        """Names of the classes, from the file; None without one."""
        given = self.settings.classes
        return tuple(map(str, class_names(given, asker=self.name))) if given is not None else None

    def take_in(self) -> None:
        """The pictures with their classes, into a table; or the table that is there."""
        given = self.settings
        if given.table is not None:
            self.table = cd.open_table(given.table, storage=given.storage)
            self._check_table()
            return
        images, lists = given.images, given.lists
        if images is None:
            from pipelines.sample import layouts

            laid_out = layouts.class_lists(given.home / "sample")
            images, lists = str(laid_out / "images"), str(laid_out / "meta")
        done = ingest.from_class_list(
            images, lists, into=self.at("images.lance"), encoding=given.encoding, **self.reach
        )
        self.note(done, done.written.any)
        if not done.table.num_rows:
            raise UsageError(
                f"no picture under {redact(images)} can be used; expected class/name.jpg, or split/class/name.jpg",
                hint=f"clipdata rejects {redact(self.at('images.lance'))} lists the reasons",
            )
        self.table = done.table

    def name_classes(self) -> None:
        """The classes, the place of each row's own among them, and its prompt where the objective reads one."""
        label = self.settings.label
        by_name = not is_of("integer", self.table.schema.field(label).type)
        self.classes = self.given_classes or classes_in(self.table, label)
        if len(self.classes) < 2:
            raise UsageError(
                f"there is one class alone, {''.join(self.classes)!r}; expected two or more to tell apart",
                hint="folders are classes: images/cat/1.jpg, images/dog/1.jpg; or name the column: --label COLUMN",
            )
        objective = self.config.objective
        if isinstance(objective, ClassPrompts) and not objective.classes:
            self.config = replace(self.config, objective=replace(objective, classes=self.classes))
        self.map(cd.steps.LabelIndex(label, classes=self.classes if by_name else None), LABEL_INDEX)
        self._require_known(label)
        self._tell_classes_without_pictures()
        self.map(cd.steps.ClassPrompt(LABEL_INDEX, self.classes, self.templates), PROMPT)

    def _tell_classes_without_pictures(self) -> None:
        places = set(self.table.to_table([LABEL_INDEX], where=f"{LABEL_INDEX} IS NOT NULL").column(0).to_pylist())
        empty = [name for place, name in enumerate(self.classes) if place not in places]
        if empty:
            listed = ", ".join(empty[:5]) + (", …" if len(empty) > 5 else "")
            self.progress.say(f"{len(empty):,} of the {len(self.classes):,} classes have no picture: {listed}")

    def split(self) -> None:
        """Which rows are held out: as the table says, or a share of every class."""
        table = self.table
        said = table.count_rows("split IS NOT NULL") if "split" in table.schema.names else 0
        if not said:
            self.split_column = MADE_SPLIT
            known_by = "sha256" if self._is_filled("sha256") else table.key or "sha256"
            share = self.settings.test_share
            self.map(
                cd.steps.ClassSplit(
                    table, picture=known_by, label_index=LABEL_INDEX, column=MADE_SPLIT, test_share=share
                ),
                MADE_SPLIT,
            )
            self.progress.say(
                "nothing says which pictures are held out: a share of every class is, equal ones together"
            )
        elif not table.count_rows(self.held_out_rows) and table.count_rows("split = 'val'"):
            self.held_out_value = "val"
            self.progress.say("no row is of the split test: measuring on val")
        require_both_splits(
            table,
            "the split of the rows with a picture and a known class",
            self.usable,
            column=self.split_column,
            held_out=self.held_out_value,
        )
        if self.config.evaluate_where == AUTO:
            has_other = self.config.best is not None and table.count_rows("split = 'val'") if said else 0
            self.config = replace(self.config, evaluate_where="split = 'val'" if has_other else self.held_out_rows)
        self._tell_untrained()

    @property
    def usable(self) -> str:
        """SQL condition of the rows that have a class of the list."""
        return f"{LABEL_INDEX} IS NOT NULL AND {LABEL_INDEX} < {len(self.classes)}"

    def score(self, encoder: Encoder, suffix: str, *, scale: float) -> None:
        """Probability of every class and of the right one, under names that end in `suffix`."""
        trunk, scores = self.config.image_trunk, f"{SCORES}{suffix}"
        if trunk and not suffix:
            self.map(cd.steps.ImageTrunk(encoder), trunk)
        self.map(cd.steps.ClassScores(encoder, self.classes, self.templates, trunk=trunk, scale=scale), scores)
        self.map(cd.steps.Pick(scores, LABEL_INDEX), f"{PROBABILITY}{suffix}")

    def _check_table(self) -> None:
        """Hold a table of the user's to what is needed, and see that nothing of it is replaced.

        Raises:
            SchemaError: it has no column of classes.
            UsageError: it has a column of its own under a name that is written here.
        """
        given, table = self.settings, self.table
        table.require([given.label], verb=self.name, hint="name the column of classes: --label COLUMN")
        joined = merge_pictures(table.uri, table.schema.names)
        table.require([self.config.image], verb=self.name, hint=f"{joined} joins pictures to it")
        own = [name for name in OWN_COLUMNS if name in table.schema.names and table.lineage(name) is None]
        if own:
            raise UsageError(
                f"{redact(table.uri)} has columns of its own called {', '.join(own)}, which this run would write",
                hint="rename them, or take the pictures into another table: clipdata ingest lance TABLE --into NEW "
                "--columns …",
            )

    def _require_known(self, label: str) -> None:
        """Check that rows are of the classes that are prompted, and tell of those that are not.

        Raises:
            UsageError: none is.
        """
        unknown = self.table.count_rows(f"`{label}` IS NOT NULL AND NOT ({self.usable})")
        if not unknown:
            return
        found = self.table.to_table([label], where=f"`{label}` IS NOT NULL AND NOT ({self.usable})").column(0)
        names = sorted(map(str, found.unique().to_pylist()))
        listed = ", ".join(map(repr, names[:5])) + (" …" if len(names) > 5 else "")
        if not self.table.count_rows(self.usable):
            raise UsageError(
                f"no row is of a class in the list: rows are of {listed}, the list has "
                f"{', '.join(map(repr, self.classes[:5]))}",
                hint="--classes FILE holds the names that the folders or --label have, one a line",
            )
        self.progress.say(f"left out: {unknown:,} rows of {len(names):,} classes that the list has not: {listed}")

    def _tell_untrained(self) -> None:
        """Say how many classes are measured and never trained on."""
        places = {
            side: set(self.table.to_table([LABEL_INDEX], where=f"{where} AND {self.usable}").column(0).to_pylist())
            for side, where in (("train", self.train_rows), ("test", self.held_out_rows))
        }
        missing = [self.classes[place] for place in sorted(places["test"] - places["train"])]
        if missing:
            listed = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            self.progress.say(
                f"{counted(len(missing), 'class is', 'classes are')} measured without a picture to train on: {listed}"
            )

    def _is_filled(self, column: str) -> bool:
        names = self.table.schema.names
        return column in names and not self.table.count_rows(f"`{column}` IS NULL")

    def figures(self) -> Any:
        """Top-1, top-5, mean recall per class and the confusion of the held-out rows, before and after."""
        from pipelines.class_figures import class_figures

        columns = (SCORES, f"{SCORES}{TUNED}")
        return class_figures(self.table, columns, LABEL_INDEX, self.classes, where=self.held_out_rows)
