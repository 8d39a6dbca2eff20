"""The verb `compare`: from paired rows to figures. Reading is left to `pairs`, showing to the views."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipdata.comparison.changes import Change
from clipdata.comparison.extremes import extreme_rows, tie_of
from clipdata.comparison.groups import MIN_GROUP_CLUSTERS, groups_of
from clipdata.comparison.intervals import Sampling, change
from clipdata.comparison.margins import hold_margins, read_margins
from clipdata.comparison.notes import notes_of
from clipdata.comparison.pairs import Pairs, read
from clipdata.comparison.probabilities import compare_probabilities
from clipdata.comparison.ranks import compare_ranks, require_ranks
from clipdata.comparison.records import Answers, Side
from clipdata.comparison.request import Request, require_texts, resolve
from clipdata.comparison.result import Comparison
from clipdata.comparison.scales import require_one_scale
from clipdata.comparison.score_records import Probabilities, Ranks
from clipdata.comparison.sides import open_sides
from clipdata.errors import LineageMismatchError, UsageError
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.statistics import FloatArray, IntArray, dense_codes, mcnemar_exact

_NAMED = ("on", "where", "by", "cluster", "scores_before", "scores_after", "label_index", "trained_where")


def compare(
    table: AnyTable,
    before: str,
    after: str,
    *,
    where: str | None = None,
    table_before: AnyTable | None = None,
    on: str | None = None,
    by: str | None = None,
    cluster: str | None = None,
    scores_before: str | None = None,
    scores_after: str | None = None,
    label_index: str | None = None,
    trained_where: str | None = None,
    models: tuple[str | None, str | None] = (None, None),
    lower_is_better: bool = False,
    no_worse_than: str | float | Sequence[str | float] = (),
    calibration: bool = False,
    ranks: bool = False,
    anytime: bool = False,
    any_scale: bool = False,
    num_rows_shown: int = 5,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two columns over the rows that have both.

    Args:
        table: where `after` lies, and everything else that is named here.
        before: baseline column: a number a row, or a list of scores of which the one at `label_index` counts. A version
            or a tag of its table may follow: "scores@12", "scores@best".
        after: column to compare with it, of the same kind; its version is that of the clauses, clusters and groups.
        where: clause that selects the rows of `table`.
        table_before: where `before` lies, when that is another table or another version of this one; rows pair by key.
        on: column that pairs the two tables; their key column by default.
        by: column whose values make groups.
        cluster: column whose equal values are resampled together; by default the image (`sha256`, else `path`).
        scores_before: column of score lists of the before side; by default the one that `before` was picked from
            (step Pick), as its lineage says. No other list counts as scores, and without scores no answer is judged.
        scores_after: the same for `after`.
        label_index: column with the index of the right choice: whole numbers, of which a null or a NaN is none. By
            default the one that the values were picked by, else `label_ind`.
        trained_where: clause that selects rows trained on, beside those that the models' own records name. Where there
            is no record, `split = 'train'` is taken as a hint.
        models: identities of the encoders that must be behind `before` and `after`; None checks nothing.
        lower_is_better: whether a fall is a gain, as of losses and ranks.
        no_worse_than: the most that the mean may get worse by: 0.005, or in words "0.5pt" (points of a share), or of
            another figure "accuracy=0.5pt"; one or several. `Comparison.gate` fails where that is not shown.
        calibration: also tell log loss, Brier score and calibration of the score lists, which must be probabilities.
        ranks: also tell R@k, MRR and median rank: of the right choice in the score lists, else of columns of ranks,
            from 1 (of which lower is better).
        anytime: intervals that stand however often one looks while rows are added; they are half as wide again.
        any_scale: compare also what cannot be on one scale, such as a probability and a cosine.
        num_rows_shown: how many worst and best rows to keep.
        resamples: bootstrap draws.
        seed: the same seed gives the same intervals.

    Raises:
        NotFoundError: there is no such version or tag.
        LineageMismatchError: another model than `models` names is behind a column; or a column was made from values
            that have been made anew since.
        SchemaError: a column does not exist or does not hold numbers; the two are on different scales; or what is to be
            calibrated is no probability.
        UsageError: no row has both values, or the two tables cannot be paired.
    """
    return measure(
        table,
        before,
        after,
        models=models,
        lower_is_better=lower_is_better,
        no_worse_than=no_worse_than,
        any_scale=any_scale,
        num_rows_shown=num_rows_shown,
        sampling=Sampling(resamples=resamples, seed=seed, anytime=anytime),
        table_before=table_before,
        on=on,
        where=where,
        by=by,
        cluster=cluster,
        scores_before=scores_before,
        scores_after=scores_after,
        label_index=label_index,
        trained_where=trained_where,
        calibration=calibration,
        ranks=ranks,
    ).comparison


@dataclass(frozen=True)
class Measured:
    """A comparison, and the rows behind it for whoever shows more of them.

    Args:
        comparison: what `compare` returns.
        request: what was asked, resolved.
        pairs: the compared rows.
    """

    comparison: Comparison
    request: Request
    pairs: Pairs

    @property
    def gained_N(self) -> FloatArray:
        """By how much each row got better."""
        moved_N = self.pairs.after_N - self.pairs.before_N
        return moved_N if self.comparison.mean.higher_is_better else -moved_N


def measure(
    table: AnyTable,
    before: str,
    after: str,
    *,
    models: tuple[str | None, str | None] = (None, None),
    lower_is_better: bool = False,
    no_worse_than: str | float | Sequence[str | float] = (),
    any_scale: bool = False,
    num_rows_shown: int = 5,
    sampling: Sampling | None = None,
    table_before: AnyTable | None = None,
    calibration: bool = False,
    ranks: bool = False,
    **columns: str | None,
) -> Measured:
    """What `compare` does, with the rows that it was done on; `columns` are its arguments that name columns."""
    sampling = sampling or Sampling()
    if sampling.resamples < 200 or num_rows_shown < 0:
        raise UsageError(
            f"compare: resamples={sampling.resamples}, num_rows_shown={num_rows_shown}; expected at least 200, and at "
            "least 0"
        )
    _require_pair(models)
    margins = read_margins(no_worse_than)
    require_texts(before=before, after=after)
    other = as_table(table_before) if table_before is not None else None
    opened, other, before, after = open_sides(as_table(table), other, before, after)
    asked = {name: columns.get(name) for name in _NAMED}
    request = resolve(opened, before, after, table_before=other, calibration=calibration, ranks=ranks, **asked)
    for side, model in zip(request.sides(), models, strict=True):
        _require_model(side, model)
    pairs = read(request)
    if not any_scale:
        require_one_scale(
            (before, after), (request.origin_before, request.origin_after), (pairs.before_N, pairs.after_N)
        )
    holds_ranks = ranks and not request.judged
    if holds_ranks:
        require_ranks(before, pairs.before_N)
        require_ranks(after, pairs.after_N)
    comparison = _compared(request, pairs, sampling, num_rows_shown, upwards=not (lower_is_better or holds_ranks))
    comparison = dataclasses.replace(comparison, margins=hold_margins(margins, changes_of(comparison)))
    return Measured(dataclasses.replace(comparison, notes=notes_of(comparison)), request, pairs)


def _compared(request: Request, pairs: Pairs, sampling: Sampling, num_rows_shown: int, *, upwards: bool) -> Comparison:
    """Every figure; `upwards` says that a rise is a gain."""
    before, after = request.sides()
    moved_N, tie = pairs.after_N - pairs.before_N, tie_of(pairs)
    gained_N = moved_N if upwards else -moved_N
    groups, num_left_out = groups_of(pairs, sampling, higher_is_better=upwards)
    judged = _Judged.of(pairs)
    return Comparison(
        before=before,
        after=after,
        where=request.where,
        cluster=", ".join(request.cluster) or None,
        mean=change(pairs.cluster_N, pairs.before_N, pairs.after_N, sampling, higher_is_better=upwards),
        num_wins=int((moved_N > tie).sum()),
        num_losses=int((moved_N < -tie).sum()),
        num_ties=int((np.abs(moved_N) <= tie).sum()),
        coverage=pairs.coverage,
        accuracy=judged.answers(pairs.num_tied, sampling) if judged else None,
        by=request.by,
        groups=groups,
        num_groups_left_out=num_left_out,
        min_group_clusters=MIN_GROUP_CLUSTERS,
        worst=extreme_rows(request, pairs, gained_N, num_rows_shown),
        best=extreme_rows(request, pairs, -gained_N, num_rows_shown),
        ranks=_ranks(request, pairs, judged, sampling),
        probabilities=_probabilities(request, pairs, judged, sampling),
        trained=pairs.trained,
        seen_before=pairs.seen.before if pairs.seen else None,
        seen_after=pairs.seen.after if pairs.seen else None,
        resamples=sampling.resamples,
        seed=sampling.seed,
    )


def _require_pair(models: object) -> None:
    named = list(models) if isinstance(models, (tuple, list)) else []
    if len(named) != 2 or not all(model is None or isinstance(model, str) for model in named):
        raise UsageError(
            f"compare: models={models!r}; expected two identities, of which None checks nothing",
            hint="for example: models=(encoder.identity, None)",
        )


def _require_model(side: Side, model: str | None) -> None:
    if model is None or side.model == model:
        return
    raise LineageMismatchError(
        f"compare: the model behind {side.column!r} in {side.uri} is {side.model or 'not recorded'}, expected {model}",
        hint="another run may have written the column: map it again with overwrite, or name another column or table",
    )


@dataclass(frozen=True)
class _Judged:
    """The M rows in which both sides' answers are known."""

    before_M: np.ndarray
    after_M: np.ndarray
    choices_M: np.ndarray
    cluster_M: IntArray

    @classmethod
    def of(cls, pairs: Pairs) -> _Judged | None:
        if pairs.right_before_N is None or pairs.right_after_N is None or pairs.choices_N is None:
            return None
        known_N = ~(np.isnan(pairs.right_before_N) | np.isnan(pairs.right_after_N))
        if not known_N.any():
            return None
        kept = slice(None) if known_N.all() else known_N  # a slice copies nothing
        cluster_M = pairs.cluster_N if known_N.all() else dense_codes(pairs.cluster_N[known_N])
        return cls(pairs.right_before_N[kept], pairs.right_after_N[kept], pairs.choices_N[kept], cluster_M)

    def answers(self, num_tied: int, sampling: Sampling) -> Answers:
        count = {(a, b): int(((self.before_M == a) & (self.after_M == b)).sum()) for a in (0, 1) for b in (0, 1)}
        return Answers(
            change=change(self.cluster_M, self.before_M, self.after_M, sampling),
            chance=float((1.0 / self.choices_M).mean(dtype=np.float64)),
            num_both_right=count[1, 1],
            num_mended=count[0, 1],
            num_broken=count[1, 0],
            num_both_wrong=count[0, 0],
            p_value=mcnemar_exact(count[0, 1], count[1, 0]),
            num_tied=num_tied,
        )


def _ranks(request: Request, pairs: Pairs, judged: _Judged | None, sampling: Sampling) -> Ranks | None:
    if not request.ranks:
        return None
    if not request.judged:
        return compare_ranks("rank columns", pairs.before_N, pairs.after_N, pairs.cluster_N, None, sampling)
    if judged is None or pairs.scores is None:
        return None
    both = pairs.scores.before.rank_M, pairs.scores.after.rank_M
    return compare_ranks("score lists", *both, judged.cluster_M, int(judged.choices_M.max()), sampling)


def _probabilities(request: Request, pairs: Pairs, judged: _Judged | None, sampling: Sampling) -> Probabilities | None:
    if not request.calibration or judged is None or pairs.scores is None:
        return None
    return compare_probabilities(pairs.scores, judged.before_M, judged.after_M, judged.cluster_M, sampling)


def changes_of(comparison: Comparison) -> dict[str, Change | None]:
    """The changes that a margin can name."""
    answers, probabilities, ranks = comparison.accuracy, comparison.probabilities, comparison.ranks
    recalls = {f"recall@{k}": found for k, found in ranks.recall.items()} if ranks else {}
    return {
        "mean": comparison.mean,
        "accuracy": answers.change if answers else None,
        **recalls,
        "reciprocal_rank": ranks.reciprocal if ranks else None,
        "median_rank": ranks.median if ranks else None,
        "log_loss": probabilities.log_loss if probabilities else None,
        "brier": probabilities.brier if probabilities else None,
        "calibration_error": probabilities.calibration_error if probabilities else None,
    }
