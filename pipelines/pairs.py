"""What the pipelines over pictures with captions share: captions made clean, a split, questions drawn, and the figures.

    captions → choices drawn → scores → recall

Everything it makes is a column of the table that holds the pictures, whoever wrote that: no picture is copied. It knows
tables, steps and models, and no particular pipeline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import clipdata as cd
import ingest
from clipdata.errors import UsageError
from clipdata.storage import redact
from pipelines.cut_captions import CutCaptions
from pipelines.pair_columns import (
    CHOICES,
    CLEAN,
    PICTURE,
    PLACE,
    TRUNK,
    TUNED,
    UNSEEN,
    captions_of,
    image_of,
    refuse_own_columns,
)
from pipelines.pair_settings import PairsSettings
from pipelines.recalls import RecallRow, Recalls, kept
from pipelines.results import Evaluation, PipelineResult
from pipelines.search import Search, search_pictures
from pipelines.stages import Pipeline, require_both_splits

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.lance_io.table import Table
    from clipdata.step_protocol import Step
    from clipdata.training.run import Run

_EXAMPLES = 3
_HELD_OUT = ("test", "val", "validation", "valid", "dev")
P = TypeVar("P", bound="PairsSettings")


def _values(table: Table, column: str) -> list[str]:
    return sorted(str(value) for value in set(table.to_table([column]).column(0).to_pylist()) if value is not None)[:5]


class PairsPipeline(Pipeline[P]):
    """A pipeline over pictures with captions, at work.

    Attributes:
        training: the table whose training rows are trained on.
        measured: the table whose held-out rows are measured; often the same.
        trunk: column of the image trunk's features to read instead of the pictures, or None.
    """

    training: Table
    measured: Table
    trunk: str | None = None

    def finish(self, encoder: Encoder) -> PipelineResult:
        """All that follows once there are tables with `captions_clean` and a split, and a model to begin with."""
        cut = self.count_cut(encoder)
        self.ask()
        self.score(encoder, "")
        self.tell_baseline("choice_prob", scores="choice_scores", answer=PLACE, noun="questions")
        recalls = self.recalls(encoder, "before")
        self.table = self.training
        run = self.train(encoder, limit=self.settings.limit, sample=self.settings.sample)
        self.table = self.measured
        tuned = self.tuned(run)
        self.score(tuned, TUNED)
        shown = self.shown(tuned)
        found = self.compare("choice_prob", f"choice_prob{TUNED}", (encoder, tuned), label_index=PLACE)
        recalls = _in_turn(recalls, self.recalls(tuned, "after"))
        recall = Recalls(recalls, self.notes(run))
        evaluations: dict[str, Evaluation] = {"captions": cut, "recall": recall, **shown}
        return PipelineResult(self.table, run, found, None, self.changed, evaluations)

    def image_in(self, table: Table) -> str:
        """The column of pictures."""
        named = self.settings.image_column
        return image_of(table, named if table is self.training or named in table.schema.names else None)

    def captions_in(self, table: Table) -> str:
        """The column of captions."""
        return captions_of(table, self.settings.captions_column)

    def tidy(self) -> None:
        """Tell pictures apart, clean the captions, and hold pictures out, unless the tables say which.

        Raises:
            UsageError: there is nothing to train on, or nothing to measure.
        """
        for table in self._tables:
            refuse_own_columns(table)
        for table in self._tables:
            self.table = table
            if PICTURE not in table.schema.names or table.lineage(PICTURE) is not None:
                self.map(cd.steps.PictureDigest(self.image_in(table)), PICTURE)
            self.map(cd.steps.CleanCaptions(self.captions_in(table)), CLEAN)
        if self.measured is self.training:
            self._split()
        else:
            for table, side in ((self.training, "train"), (self.measured, "test")):
                self.table = table
                if "split" not in table.schema.names or table.lineage("split") is not None:
                    self.map(_all_of(side), "split")
                elif side == "test":
                    self._name_held_out()
        self._require_rows()
        self._take_held_out_part()
        self.table = self.measured

    def _split(self) -> None:
        schema = self.table.schema
        if "split" in schema.names and self.table.lineage("split") is None:
            self._name_held_out()
            return
        self.map(cd.steps.PairSplit(self.table, CLEAN, picture=PICTURE, test_share=self.settings.test_share), "split")
        counts = self.table.query("SELECT split, count(*) AS rows FROM dataset GROUP BY split ORDER BY split")
        listed = ", ".join(f"{row['rows']:,} {row['split']}" for row in counts.to_pylist() if row["split"])
        self.progress.say(f"nothing says which pictures are held out; equal pictures stay together: {listed}")

    def _name_held_out(self) -> None:
        """Measure the rows that the table's own split calls test, or else validation."""
        found = set(self.table.to_table(["split"]).column(0).to_pylist())
        self.held_out_value = next((name for name in _HELD_OUT if name in found), self.held_out_value)

    def _require_rows(self) -> None:
        if self.measured is self.training:
            require_both_splits(
                self.table,
                "the split of the pictures with a caption",
                CLEAN,
                held_out=self.held_out_value,
                hint="take the table in without its split, and pictures are held out: clipdata ingest lance "
                f"{redact(self.table.uri)} --into TABLE --columns …",
            )
            return
        for table, where, use in (
            (self.training, self.train_rows, "train on"),
            (self.measured, self.held_out_rows, "measure"),
        ):
            if not table.count_rows(f"{where} AND {CLEAN} IS NOT NULL"):
                raise UsageError(
                    f"{redact(table.uri)} has no row to {use}: none of its {table.num_rows:,} rows with {where} "
                    "has a caption",
                    hint=f"its split says {', '.join(map(repr, _values(table, 'split')))}; take it in without: "
                    f"clipdata ingest lance {redact(table.uri)} --into TABLE --columns …",
                )

    def _take_held_out_part(self) -> None:
        """Go on with some of the held-out rows, in a small table of their own, if so many are asked for."""
        most = self.settings.most_held_out
        if most is None or most >= self.measured.count_rows(f"{self.held_out_rows} AND {CLEAN} IS NOT NULL"):
            return
        found = self.measured.to_table([PICTURE], where=f"{self.held_out_rows} AND {CLEAN} IS NOT NULL").column(0)
        chosen = sorted(set(found.to_pylist()), key=lambda one: _digest([self.config.seed, one]))[:most]
        listed = ", ".join(f"'{digest}'" for digest in chosen)
        captions = self.captions_in(self.measured)
        part = ingest.from_lance(
            self.measured,
            into=self.at(f"held-out-{_digest(chosen)}.lance"),
            columns=[captions, "split"],
            where=f"{self.held_out_rows} AND {PICTURE} IN ({listed})",
            storage=self.settings.storage,
            progress=self.progress,
        )
        self.note(part, part.written.any)
        self.measured = self.table = part.table
        self.map(cd.steps.CleanCaptions(captions), CLEAN)

    @property
    def _tables(self) -> list[Table]:
        return [self.training] if self.measured is self.training else [self.training, self.measured]

    def lock(self, encoder: Encoder) -> None:
        """What a trunk that does not train makes of every picture, once, in a column."""
        self.trunk = self.config.image_trunk
        for table in self._tables if self.trunk is not None else ():
            self.table = table
            self.map(cd.steps.ImageTrunk(encoder, image=self.image_in(table)), TRUNK)
        self.table = self.measured

    def count_cut(self, encoder: Encoder) -> CutCaptions:
        """Count the captions whose ends the model does not read, among those that training may take."""
        texts: set[str] = set()
        objective = self.config.objective
        for batch in self.training.scan([CLEAN], where=f"{self.train_rows} AND {CLEAN} IS NOT NULL"):
            for captions in batch.column(0).to_pylist():
                texts.update([max(captions, key=len)] if objective.picks == "longest" else captions)
        found = CutCaptions(len(texts), encoder.count_truncated(sorted(texts)), encoder.context_length)
        self.progress.say(str(found))
        return found

    def ask(self) -> None:
        """Draw a question of each held-out row: one of its captions that nobody trained on, among others' of the kind.

        Raises:
            UsageError: there are too few captions for one.
        """
        self.map(cd.steps.UnseenCaptions(self.training, CLEAN, trained_where=self.train_rows), UNSEEN)
        text = UNSEEN
        if not self.measured.count_rows(f"{self.held_out_rows} AND {UNSEEN} IS NOT NULL"):
            self.progress.say("every caption of the held-out pictures is trained on, too; questions are made of these")
            text = CLEAN
        where = self.held_out_rows if text == CLEAN else None
        drawn = cd.steps.DrawnChoices(
            self.table, text, num_choices=self.settings.choices, where=where, picture=PICTURE, seed=self.config.seed
        )
        self.map(drawn, CHOICES)
        self.map(cd.steps.DrawnPlace(CHOICES, text), PLACE)
        if not self.measured.count_rows(f"{self.held_out_rows} AND {PLACE} IS NOT NULL"):
            raise UsageError(
                f"no held-out picture can be asked about: {drawn.notes()['captions to draw from']:,} captions are "
                f"unseen, a question takes {self.settings.choices} of different pictures",
                hint="--choices 2 asks with fewer; or give more held-out pictures",
            )

    def score(self, encoder: Encoder, suffix: str) -> None:
        """Scores of the questions and the right caption's probability, under names that end in `suffix`."""
        scores = f"choice_scores{suffix}"
        self.map(cd.steps.ChoiceScores(encoder, CHOICES, image=self.image_in(self.table), trunk=self.trunk), scores)
        self.map(cd.steps.Pick(scores, PLACE), f"choice_prob{suffix}")

    def recalls(self, encoder: Encoder, when: str) -> list[RecallRow]:
        """Recall on held-out rows, and on as many training rows, for it falls as there is more to choose from."""
        held_out = self._recall(encoder, self.measured, CLEAN, self.held_out_rows, None)
        sets = {"held out": held_out}
        num_unseen = self._num_captions(UNSEEN)
        if 0 < num_unseen < self._num_captions(CLEAN):
            sets["held out, captions that nobody trained on"] = self._recall(
                encoder, self.measured, UNSEEN, self.held_out_rows, None
            )
        sets["trained on"] = self._recall(encoder, self.training, CLEAN, self.train_rows, held_out["rows"])
        return [RecallRow(rows, when, found) for rows, found in sets.items()]

    def _recall(self, encoder: Encoder, table: Table, text: str, where: str, sample: int | None) -> Mapping[str, Any]:
        condition = f"{where} AND {text} IS NOT NULL"
        objective = replace(self.config.objective, text=text)  # type: ignore[call-arg]
        rows = sorted(map(str, table.to_table([PICTURE, text], where=condition).to_pylist()))
        decisive = [encoder.identity, objective.to_json(), rows, sample, self.config.batch_size, self.config.seed]

        def measure() -> Mapping[str, Any]:
            return cd.evaluate(
                table,
                encoder,
                objective,
                where=condition,
                sample=sample,
                image=self.image_in(table),
                image_trunk=self.trunk,
                batch_size=self.config.batch_size,
                seed=self.config.seed,
                progress=self.progress,
            ).to_dict()

        return kept(self.settings.home / "figures" / f"{_digest(decisive)}.json", measure)

    def notes(self, run: Run) -> list[str]:
        """What a reader must know of the figures."""
        unseen, all_ = self._num_captions(UNSEEN), self._num_captions(CLEAN)
        told = "no" if unseen == all_ else f"{all_ - unseen:,} of {all_:,}"
        first, last = run.metrics[0]["loss"], run.epochs[-1]["loss"]
        fell = f"went from {first:.3f} (first step) to {last:.3f} (mean of the last epoch)"
        kind = self.config.objective.kind
        seen = [f"{told} captions of held-out pictures are trained on, too"]
        shared, pictures = self._num_shared_pictures()
        if shared:
            seen.append(
                f"{shared:,} of {pictures:,} held-out pictures are trained on, too: their figures are no evidence"
            )
        return [*seen, f"the {kind} loss {fell}"]

    def _num_shared_pictures(self) -> tuple[int, int]:
        """Held-out pictures that are trained on, and all held-out ones."""
        trained, held_out = (
            set(table.to_table([PICTURE], where=f"{where} AND {CLEAN} IS NOT NULL").column(0).to_pylist())
            for table, where in ((self.training, self.train_rows), (self.measured, self.held_out_rows))
        )
        return len(trained & held_out), len(held_out)

    def shown(self, encoder: Encoder) -> Mapping[str, Evaluation]:
        """What the tuned model is shown to do at the end, by name."""
        return {"search": self.look_for(encoder)}

    def _num_captions(self, column: str) -> int:
        """Captions of the held-out pictures."""
        found = self.measured.to_table([column], where=f"{self.held_out_rows} AND {column} IS NOT NULL").column(0)
        return sum(map(len, found.to_pylist()))

    def look_for(self, encoder: Encoder) -> Search:
        """Search all pictures by text, with the tuned model's features in a column."""
        column = f"image_embedding{TUNED}"
        tables = self._tables
        for table in tables:
            self.table = table
            self.map(cd.steps.ImageEmbedding(encoder, image=self.image_in(table)), column)
        self.table = self.measured
        texts = list(self.settings.search) or self._examples()
        return search_pictures(tables, encoder, texts, column, captions=CLEAN, top=self.settings.top)

    def _examples(self) -> list[str]:
        """Captions of some held-out pictures, the same every time."""
        rows = self.measured.to_table(
            [PICTURE, CLEAN], where=f"{self.held_out_rows} AND {CLEAN} IS NOT NULL"
        ).to_pylist()
        chosen = sorted(rows, key=lambda row: str(row[PICTURE]))
        return list(dict.fromkeys(row[CLEAN][0] for row in chosen))[:_EXAMPLES]


def _all_of(side: str) -> Step:
    """A column that says of all pictures on which side they are."""

    @cd.step(reads=PICTURE, returns="string", version="1", side=side)
    def all_of_the_table(_: str, side: str) -> str:
        return side

    return all_of_the_table


def _in_turn(before: Sequence[RecallRow], after: Sequence[RecallRow]) -> list[RecallRow]:
    return [row for pair in zip(before, after, strict=True) for row in pair]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
