"""The verb `compare`: from paired rows to figures. Reading is left to `pairs`, showing to the views."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from clipdata.comparison.extremes import TIE, extreme_rows
from clipdata.comparison.pairs import Pairs, read
from clipdata.comparison.records import Answers, Change, Group, Side, Verdict
from clipdata.comparison.request import is_picture, resolve
from clipdata.comparison.result import Comparison
from clipdata.errors import LineageMismatchError, UsageError
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.statistics import (
    AnyFloatArray,
    IntArray,
    bootstrap_means,
    dense_codes,
    holm,
    mcnemar_exact,
    percentile_interval,
    smallest_detectable,
    standard_error,
    sum_clusters,
    two_sided_p,
)

MIN_GROUP_CLUSTERS = 30
MIN_CLUSTERS = 2
MAX_GROUPS = 1000
_GROUP_UNITS = 2048


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
    num_rows_shown: int = 5,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two columns over the rows that have both.

    Args:
        table: where `after` lies, and everything else that is named here.
        before: baseline column: a number a row, or a list of scores of which the one at `label_index` counts.
        after: column to compare with it, of the same kind.
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
        num_rows_shown: how many worst and best rows to keep.
        resamples: bootstrap draws.
        seed: the same seed gives the same intervals.

    Raises:
        LineageMismatchError: another model than `models` names is behind a column; or a column was made from values
            that have been made anew since.
        SchemaError: a column does not exist or does not hold numbers.
        UsageError: no row has both values, or the two tables cannot be paired.
    """
    if resamples < 200 or num_rows_shown < 0:
        raise UsageError(
            f"compare: resamples={resamples}, num_rows_shown={num_rows_shown}; expected at least 200, and at least 0"
        )
    _require_pair(models)
    table, table_before = as_table(table), as_table(table_before) if table_before is not None else None
    request = resolve(
        table,
        before,
        after,
        table_before=table_before,
        on=on,
        where=where,
        by=by,
        cluster=cluster,
        scores_before=scores_before,
        scores_after=scores_after,
        label_index=label_index,
        trained_where=trained_where,
    )
    side_before, side_after = request.sides()
    for side, model in zip((side_before, side_after), models, strict=True):
        _require_model(side, model)
    pairs = read(request)
    moved_N = pairs.after_N - pairs.before_N
    groups, num_left_out = _groups(pairs, resamples, seed)
    mean = _change(pairs.cluster_N, pairs.before_N, pairs.after_N, resamples, seed)
    comparison = Comparison(
        before=side_before,
        after=side_after,
        where=request.where,
        cluster=", ".join(request.cluster) or None,
        mean=mean,
        num_wins=int((moved_N > TIE).sum()),
        num_losses=int((moved_N < -TIE).sum()),
        num_ties=int((np.abs(moved_N) <= TIE).sum()),
        coverage=pairs.coverage,
        accuracy=_answers(pairs, resamples, seed),
        by=by,
        groups=groups,
        num_groups_left_out=num_left_out,
        worst=extreme_rows(request, pairs, moved_N, num_rows_shown),
        best=extreme_rows(request, pairs, -moved_N, num_rows_shown),
        trained=pairs.trained,
        seen_before=pairs.seen.before if pairs.seen else None,
        seen_after=pairs.seen.after if pairs.seen else None,
        resamples=resamples,
        seed=seed,
    )
    return dataclasses.replace(comparison, notes=_notes(comparison))


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


def _change(
    cluster_N: IntArray,
    before_N: AnyFloatArray,
    after_N: AnyFloatArray,
    resamples: int,
    seed: int,
    max_units: int | None = None,
) -> Change:
    sums = sum_clusters(cluster_N, before_N, after_N)
    before, after = (float(mean) for mean in sums.means())
    plain = Change(len(before_N), len(sums), before, after, after - before)
    if len(sums) < MIN_CLUSTERS:
        return plain
    units = {"max_units": max_units} if max_units else {}
    means_RK = bootstrap_means(sums, resamples=resamples, seed=seed, **units)
    draws_R = means_RK[:, 1] - means_RK[:, 0]
    low, high = percentile_interval(draws_R, len(sums))
    error = standard_error(draws_R, len(sums))
    return dataclasses.replace(
        plain,
        low=low,
        high=high,
        standard_error=error,
        smallest_detectable=smallest_detectable(error),
        verdict=_verdict(low, high),
    )


def _verdict(low: float, high: float) -> Verdict:
    if low > 0.0:
        return "better"
    return "worse" if high < 0.0 else "unclear"


def _answers(pairs: Pairs, resamples: int, seed: int) -> Answers | None:
    if pairs.right_before_N is None or pairs.right_after_N is None or pairs.choices_N is None:
        return None
    known_N = ~(np.isnan(pairs.right_before_N) | np.isnan(pairs.right_after_N))
    if not known_N.any():
        return None
    before_K, after_K = pairs.right_before_N[known_N], pairs.right_after_N[known_N]
    mended, broken = int(((before_K == 0) & (after_K == 1)).sum()), int(((before_K == 1) & (after_K == 0)).sum())
    return Answers(
        change=_change(pairs.cluster_N[known_N], before_K, after_K, resamples, seed),
        chance=float((1.0 / pairs.choices_N[known_N]).mean(dtype=np.float64)),
        num_both_right=int(((before_K == 1) & (after_K == 1)).sum()),
        num_mended=mended,
        num_broken=broken,
        num_both_wrong=int(((before_K == 0) & (after_K == 0)).sum()),
        p_value=mcnemar_exact(mended, broken),
        num_tied=pairs.num_tied,
    )


def _groups(pairs: Pairs, resamples: int, seed: int) -> tuple[tuple[Group, ...], int]:
    if pairs.group_N is None:
        return (), 0
    size_G = np.bincount(pairs.group_N, minlength=len(pairs.group_values))
    order_N = np.argsort(pairs.group_N, kind="stable")
    end_G = np.cumsum(size_G)
    largest = [g for g in np.lexsort((np.arange(len(size_G)), -size_G)) if size_G[g]]
    groups = [
        _group(pairs, order_N[end_G[g] - size_G[g] : end_G[g]], pairs.group_values[g], resamples, seed)
        for g in largest[:MAX_GROUPS]
    ]
    return tuple(_adjusted(groups)), max(0, len(largest) - MAX_GROUPS)


def _group(pairs: Pairs, rows: IntArray, value: str | None, resamples: int, seed: int) -> Group:
    cluster_n = dense_codes(pairs.cluster_N[rows])
    draws = {"resamples": resamples, "seed": seed, "max_units": _GROUP_UNITS}
    mean = _few_or_change(cluster_n, pairs.before_N[rows], pairs.after_N[rows], draws)
    if pairs.right_before_N is None or pairs.right_after_N is None:
        return Group(value, mean)
    before_n, after_n = pairs.right_before_N[rows], pairs.right_after_N[rows]
    known = ~(np.isnan(before_n) | np.isnan(after_n))
    if not known.any():
        return Group(value, mean)
    return Group(value, mean, _few_or_change(cluster_n[known], before_n[known], after_n[known], draws))


def _few_or_change(
    cluster_n: IntArray, before_n: AnyFloatArray, after_n: AnyFloatArray, draws: dict[str, Any]
) -> Change:
    num_clusters = len(np.unique(cluster_n))
    if num_clusters >= MIN_GROUP_CLUSTERS:
        return _change(cluster_n, before_n, after_n, **draws)
    before, after = float(before_n.mean(dtype=np.float64)), float(after_n.mean(dtype=np.float64))
    return Change(len(before_n), num_clusters, before, after, after - before)


def _adjusted(groups: list[Group]) -> list[Group]:
    """Take back "better" and "worse" where one of so many groups would show as much by chance."""
    told = [i for i, group in enumerate(groups) if group.mean.standard_error is not None]
    p_values = [
        two_sided_p(groups[i].mean.difference, groups[i].mean.standard_error or 0.0, groups[i].mean.num_clusters)
        for i in told
    ]
    for i, p_value in zip(told, holm(p_values), strict=True):
        mean = groups[i].mean
        if p_value > 0.05:
            mean = dataclasses.replace(mean, verdict="unclear")
        groups[i] = dataclasses.replace(groups[i], mean=mean, p_value=p_value)
    return groups


def _notes(comparison: Comparison) -> tuple[str, ...]:
    mean, answers, trained, notes = comparison.mean, comparison.accuracy, comparison.trained, []
    what = "images" if is_picture(comparison.cluster) else "clusters"
    if mean.num_clusters < MIN_CLUSTERS:
        notes.append(f"all {mean.num_rows:,} rows belong to one of the {what}: no interval can be given")
    elif mean.num_clusters < MIN_GROUP_CLUSTERS:
        notes.append(f"only {mean.num_clusters} {what}: the interval is a rough guide")
    if comparison.cluster is None:
        notes.append("no image column: rows are resampled one by one, which is too sure if rows share images")
    if trained and trained.num_rows:
        share = trained.num_rows / mean.num_rows
        notes.append(
            f"{trained.num_rows:,} of these rows ({share:.0%}) were trained on: their gain says nothing of new data"
        )
    elif trained and trained.num_rows_of_seen_clusters:
        notes.append(
            f"{trained.num_rows_of_seen_clusters:,} compared rows share an image with a row that was trained on"
        )
    if answers and answers.change.num_rows < mean.num_rows:
        notes.append(f"answers are known for {answers.change.num_rows:,} of {mean.num_rows:,} rows")
    if answers and answers.num_tied:
        notes.append(f"in {answers.num_tied:,} rows the right choice shares the top score; they count as wrong")
    if answers and answers.p_value < 0.05 and answers.change.verdict == "unclear":
        notes.append(f"McNemar's test takes rows as independent, and here they share {what}: believe the interval")
    return tuple(notes)
