"""evaluate(): how well a model does on rows of a table, by what an objective measures.

The same pass measures held-out rows while a model trains. It knows features, batches and objectives, and nothing of
optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from clipdata.arguments import PROGRESS, check_able, check_condition, check_count, check_kind
from clipdata.encoder import Encoder
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.storage import redact
from clipdata.stream import Stream
from clipdata.training.config import TrainConfig
from clipdata.training.features import BatchFacts, Features
from clipdata.training.figures import Evaluation
from clipdata.training.forward import Forward, PictureIds, require_bias
from clipdata.training.image_side import check_images
from clipdata.training.left_out import LeftOut, left_out_of
from clipdata.training.objectives import Objective, objective_for, objective_of
from clipdata.training.overlap import Overlap, overlap_of
from clipdata.training.portion import Portion
from clipdata.training.processes import ALONE, Processes
from clipdata.training.usable_rows import choose_rows


@dataclass(frozen=True)
class Evaluated:
    """What evaluate() found.

    Args:
        evaluation: the figures.
        objective: what they are about.
        model: name and identity of the encoder.
        table: location, version and condition of the rows.
        refused: rows that could not be measured, by reason.
        overlap: how many of the measured rows and pictures the model was trained on, as far as clipdata trained it.
    """

    evaluation: Evaluation
    objective: Objective
    model: Mapping[str, str]
    table: Mapping[str, Any]
    refused: Mapping[str, int]
    overlap: Overlap

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "objective": self.objective.to_json(),
            "model": dict(self.model),
            "table": dict(self.table),
            "rows": self.evaluation.num_rows,
            "metrics": dict(self.evaluation.metrics),
            "more": dict(self.evaluation.more),
            "refused": dict(self.refused),
            "rows_trained_on": self.overlap.rows_seen_earlier,
        }

    def __str__(self) -> str:
        where = f" where {self.table['where']}" if self.table["where"] else ""
        lines = [
            f"{self.model['name']} on {self.table['uri']}, version {self.table['version']}{where}",
            f"  {self.objective.kind}: {self.evaluation}",
        ]
        lines += [f"  not measured: {count:,} with {reason}" for reason, count in self.refused.items()]
        lines += [f"  {self.overlap}"] if self.overlap.any else []
        lines += ["", self.evaluation.table] if self.evaluation.table else []
        return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def evaluate(
    table: AnyTable,
    encoder: Encoder,
    objective: Objective | str | None = None,
    *,
    where: str | None = None,
    sample: int | None = None,
    image: str = "image",
    image_trunk: str | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluated:
    """Measure a model on rows of a table; nothing is written.

    Args:
        table: read at the version it is pinned to.
        encoder: the model.
        objective: what to measure: choices, classes, or captions and pictures that find each other; chosen by the
            table's columns by default.
        where: SQL condition on the rows, such as "split = 'test'".
        sample: so many rows only, the same ones every time.
        image: column of pictures.
        image_trunk: column of the image trunk's features, made by this encoder; read instead of the pictures.
        batch_size: rows that are read at a time.
        seed: another seed samples others.
        progress: watches.

    Raises:
        SchemaError: the table lacks a column, or it has another type.
        UsageError: no row can be measured, or nothing tells what to measure.
        TooManyRejectsError: more than a tenth of the pictures cannot be decoded.
    """
    check_kind(encoder, Encoder, "evaluate: encoder", 'clipdata.load_encoder("starter")')
    check_able(progress, "evaluate: progress", ("task", "say"), PROGRESS)
    check_condition(where)
    check_count(batch_size, "evaluate: batch_size", least=1)
    progress = progress or Silent()
    pinned = as_table(table).pinned()
    with in_words_of_evaluating():
        return _evaluated(pinned, encoder, objective, where, sample, image, image_trunk, batch_size, seed, progress)


@contextmanager
def in_words_of_evaluating() -> Iterator[None]:
    """Rows are chosen and columns are checked as for a training, and what is wrong with them is said in its words."""
    try:
        yield
    except (SchemaError, UsageError, LineageMismatchError) as error:
        error.message = error.message.replace("train: ", "evaluate: ", 1).replace("to train on", "to measure")
        raise


def _evaluated(
    pinned: Table,
    encoder: Encoder,
    objective: Objective | str | None,
    where: str | None,
    sample: int | None,
    image: str,
    image_trunk: str | None,
    batch_size: int,
    seed: int,
    progress: Progress,
) -> Evaluated:
    chosen_by = objective_of(objective) if objective is not None else objective_for(pinned)
    config = TrainConfig(
        objective=chosen_by.resolved(pinned), image=image, image_trunk=image_trunk, fidelity="exact", seed=seed
    )
    rows = choose_rows(
        pinned,
        config.objective,
        image=image,
        where=where,
        features=image_trunk,
        portion=Portion(sample=sample, seed=seed) if sample is not None else None,
    )
    check_images(pinned, encoder, config)
    require_bias(encoder, config.objective)
    left_out = LeftOut("rows to measure", len(rows.offsets), config.max_bad_share)
    forward = Forward(encoder.model, encoder, config, PictureIds(rows.offsets, rows.pictures_N))
    stream = Stream(
        pinned,
        rows=rows.offsets,
        batch_size=batch_size,
        shuffle=False,
        drop_last=False,
        rank=0,
        world_size=1,
        **forward.request(),
    )
    with progress.task("evaluate", len(rows.offsets), "rows") as counter, encoder.autocast():
        batches = _counted(stream, left_out, counter.advance)
        found = figures_of(batches, partial(forward, every_text=True), config.objective)
    return Evaluated(
        found,
        config.objective,
        {"name": encoder.name, "identity": encoder.identity},
        {"uri": redact(pinned.uri), "version": pinned.version, "where": where},
        {**rows.refused, **left_out.counts},
        overlap_of(rows, rows.none(), encoder.trained_on),
    )


def _counted(stream: Stream, left_out: LeftOut, advance: Callable[[int], None]) -> Iterator[Mapping[str, Any]]:
    for batch in stream:
        left_out.add(left_out_of(batch))
        if len(batch["offsets"]):
            yield batch
        advance(len(batch["offsets"]) + len(left_out_of(batch)))


def figures_of(
    batches: Iterable[Mapping[str, Any]],
    features_of: Callable[[Mapping[str, Any]], tuple[Features, BatchFacts]],
    objective: Objective,
    processes: Processes = ALONE,
) -> Evaluation:
    """Measure batches of rows: the loss, in batches as they come, and what else the objective measures.

    Args:
        batches: each of one row at least.
        features_of: a `Forward` that gives all texts of a row; of several processes each gets the rows of all.
        objective: gives loss and measure.
        processes: that measure together; the first does the sums, and all have what it finds.
    """
    measure = objective.measure()
    num_rows, loss = 0, 0.0
    with torch.no_grad():
        for batch in batches:
            features, facts = features_of(batch)
            if not processes.writes:
                continue
            measure.add(features, facts)
            seen = facts if objective.picks == "all" else facts.one_text_each()
            loss += float(objective.loss(features, seen)) * facts.num_rows
            num_rows += facts.num_rows
    found = measure.result()
    if num_rows:
        found = replace(found, metrics={**found.metrics, "held_out_loss": loss / num_rows})
    return processes.of_first(found)
