"""interpolate() and sweep(): a finished run's model mixed with the one it began with, and how good each mixture is.

A run mixes by itself where `TrainConfig.wise_ft` says so; these do it afterwards. They know runs, encoders and tables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipdata.arguments import PROGRESS, check_able, check_condition
from clipdata.encoder import Encoder, export, load_encoder
from clipdata.errors import UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.training.canary import check_canary
from clipdata.training.config_checks import AUTO
from clipdata.training.evaluation import evaluate
from clipdata.training.mixing import ALPHAS, LOSS, mixed
from clipdata.training.rows_read import TEST, called, has_split, held_out_by_split
from clipdata.training.run import Run, open_run


@dataclass(frozen=True)
class Sweep:
    """Figures of the mixtures of a run's model with the one it began with.

    Args:
        run: folder of the run.
        table: location of the rows.
        where: condition of the rows.
        rows: that were measured.
        rows_of_test: of these, rows that the table's split holds out to judge by; an alpha chosen on them is not judged
            by them any more.
        curve: for each alpha, its figures, and what the canary says of it where that was asked.
    """

    run: str
    table: str
    where: str
    rows: int
    rows_of_test: int
    curve: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.__dict__, "curve": [dict(point) for point in self.curve]}

    def __str__(self) -> str:
        names = [name for name in self.curve[0] if name != "alpha"]
        widths = [max(len(name), 9) for name in names]
        best = min(self.curve, key=lambda point: point[LOSS])["alpha"]
        lines = [f"{self.run} on {counted(self.rows, 'row')} of {self.table} where {self.where}"]
        lines.append("  ".join(["  alpha", *(name.rjust(width) for name, width in zip(names, widths, strict=True))]))
        for point in self.curve:
            cells = (_cell(point[name]).rjust(width) for name, width in zip(names, widths, strict=True))
            mark = "  least loss" if point["alpha"] == best else ""
            lines.append("  ".join([f"{point['alpha']:7.1f}", *cells]) + mark)
        if self.rows_of_test:
            lines.append(
                f"{self.rows_of_test:,} of these rows are of the split test: judge an alpha that they choose by others"
            )
        return "\n".join(map(printable, lines))


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def interpolate(
    run: Run | str | os.PathLike[str],
    alpha: float,
    *,
    out: str | os.PathLike[str] | None = None,
    before: Encoder | None = None,
    device: str | None = None,
) -> Path:
    """Export (1 - alpha) * the model a run began with + alpha * the one it made; returns the folder.

    Args:
        run: a finished one, or its folder.
        alpha: from 0 to 1.
        out: folder of the model; `interpolated-ALPHA` in the run's own by default.
        before: the model that the run began with, where it cannot be loaded by its name any more.
        device: as in `load_encoder`.

    Raises:
        UsageError: alpha is out of its range; `before` is another model; the folder holds something else.
        NotFoundError: there is no such run, or it is not finished.
    """
    _check_alpha(alpha)
    run = run if isinstance(run, Run) else open_run(run)
    start, tuned = _ends(run, before, device)
    model = mixed(start.model, tuned.model.state_dict(), alpha)
    # The rows of the run, and those before it, are in the tuned encoder's own past, which is carried along.
    return export(model, tuned, Path(out) if out is not None else run.path / f"interpolated-{alpha:g}")


def sweep(
    run: Run | str | os.PathLike[str],
    *,
    where: str | None = None,
    alphas: Sequence[float] = ALPHAS,
    canary: bool = True,
    before: Encoder | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Measure the mixtures of a run's model with the one it began with, on rows that it was not trained on.

    Args:
        run: a finished one, or its folder.
        where: SQL condition of rows in the run's table; those that it measured by default.
        alphas: shares of the weights after.
        canary: ask the canary of each, too.
        before: the model that the run began with, where it cannot be loaded by its name any more.
        device: as in `load_encoder`.
        progress: watches.

    Raises:
        UsageError: the model was trained on some of the rows; nothing says which rows to measure.
        NotFoundError: there is no such run, or it is not finished.
    """
    check_condition(where)
    check_able(progress, "sweep: progress", ("task", "say"), PROGRESS)
    for alpha in alphas:
        _check_alpha(alpha)
    run = run if isinstance(run, Run) else open_run(run)
    table = open_table(run.record["table"]["uri"])
    where = where or _measured(run, table)
    start, tuned = _ends(run, before, device)
    after, config, curve, rows = tuned.model.state_dict(), run.config, [], 0
    for alpha in alphas:
        encoder = _encoder(tuned, mixed(start.model, after, alpha))
        found = evaluate(
            table, encoder, config.objective, where=where, image=config.image, image_trunk=config.image_trunk,
            progress=progress or Silent(),
        )  # fmt: skip
        _refuse_seen(found.overlap.rows_seen_earlier, where)
        point: dict[str, Any] = {"alpha": float(alpha), **found.evaluation.metrics}
        if canary:
            known = check_canary(start, encoder)
            point |= {"canary": known.verdict}
            point |= {"canary_probability": known.probability.after} if known.probability is not None else {}
        curve.append(point)
        rows = found.evaluation.num_rows
    of_test = table.count_rows(f"({where}) AND {called(TEST)}") if has_split(table) else 0
    return Sweep(str(run.path), table.uri, where, rows, of_test, tuple(curve))


def _check_alpha(alpha: float) -> None:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise UsageError(f"alpha is {alpha!r}; expected a number from 0 to 1", hint="--alpha 0.5")


def _measured(run: Run, table: Table) -> str:
    asked = run.config.evaluate_where
    where = held_out_by_split(table, run.record["table"].get("where")) if asked == AUTO else asked
    if where is None:
        raise UsageError(
            f"{run.path} measured no rows; expected the rows to choose by", hint="--where \"split = 'validation'\""
        )
    return where


def _refuse_seen(num_rows: int, where: str) -> None:
    if num_rows:
        raise UsageError(
            f"{num_rows:,} of the rows where {where} were trained on, or show a picture that was; expected others",
            hint="--where \"split = 'validation'\"",
        )


def _ends(run: Run, before: Encoder | None, device: str | None) -> tuple[Encoder, Encoder]:
    """The encoder that a run began with, and the one that it made."""
    told, tuned = run.record["encoder"], run.encoder(device=device)
    precision = str(told.get("precision", "fp32"))
    start = before if before is not None else load_encoder(told["name"], device=device, precision=precision)
    if start.identity != told["identity"]:
        raise UsageError(
            f"{run.path} began with {told['name']} ({told['identity'][:12]}), and {start.name} is another model "
            f"({start.identity[:12]})",
            hint="name the one it began with: --before MODEL",
        )
    return start, tuned


def _encoder(tuned: Encoder, model: Any) -> Encoder:
    return Encoder(
        model,
        name=tuned.name,
        model_cfg=tuned.model_cfg,
        prepare=tuned.prepare,
        tokenize=tuned.tokenize,
        device=tuned.device,
        precision=tuned.precision,
        trained_on=tuned.trained_on,
    )
