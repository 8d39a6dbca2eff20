"""Groups: the comparison of each value of a column, and which of so many differences are no chance.

Two answers to "so many": Holm's, to confirm, and that of Benjamini and Hochberg, to discover. Knows arrays; no table.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from clipdata.comparison.changes import Change
from clipdata.comparison.intervals import Sampling, change
from clipdata.comparison.pairs import Pairs
from clipdata.comparison.records import Group
from clipdata.statistics import AnyFloatArray, IntArray, benjamini_hochberg, dense_codes, holm, two_sided_p

MIN_GROUP_CLUSTERS = 30
MAX_GROUPS = 1000
_GROUP_UNITS = 2048
_ALPHA = 0.05


def groups_of(pairs: Pairs, sampling: Sampling, *, higher_is_better: bool) -> tuple[tuple[Group, ...], int]:
    """The largest groups, most rows first, and how many more there are."""
    if pairs.group_N is None:
        return (), 0
    sampling = dataclasses.replace(sampling, max_units=_GROUP_UNITS)
    size_G = np.bincount(pairs.group_N, minlength=len(pairs.group_values))
    order_N = np.argsort(pairs.group_N, kind="stable")
    end_G = np.cumsum(size_G)
    largest = [g for g in np.lexsort((np.arange(len(size_G)), -size_G)) if size_G[g]]
    groups = []
    for g in largest[:MAX_GROUPS]:
        rows_n = order_N[end_G[g] - size_G[g] : end_G[g]]
        groups.append(_group(pairs, rows_n, pairs.group_values[g], sampling, higher_is_better))
    return tuple(_adjusted(groups)), max(0, len(largest) - MAX_GROUPS)


def _group(pairs: Pairs, rows_n: IntArray, value: str | None, sampling: Sampling, higher_is_better: bool) -> Group:
    cluster_n = dense_codes(pairs.cluster_N[rows_n])
    mean = _few_or_change(cluster_n, pairs.before_N[rows_n], pairs.after_N[rows_n], sampling, higher_is_better)
    if pairs.right_before_N is None or pairs.right_after_N is None:
        return Group(value, mean)
    before_n, after_n = pairs.right_before_N[rows_n], pairs.right_after_N[rows_n]
    known = ~(np.isnan(before_n) | np.isnan(after_n))
    if not known.any():
        return Group(value, mean)
    return Group(value, mean, _few_or_change(cluster_n[known], before_n[known], after_n[known], sampling, True))


def _few_or_change(
    cluster_n: IntArray, before_n: AnyFloatArray, after_n: AnyFloatArray, sampling: Sampling, higher_is_better: bool
) -> Change:
    num_clusters = len(np.unique(cluster_n))
    if num_clusters >= MIN_GROUP_CLUSTERS:
        return change(cluster_n, before_n, after_n, sampling, higher_is_better=higher_is_better)
    before, after = float(before_n.mean(dtype=np.float64)), float(after_n.mean(dtype=np.float64))
    return Change(len(before_n), num_clusters, before, after, after - before, higher_is_better=higher_is_better)


def _adjusted(groups: list[Group]) -> list[Group]:
    """Take back "better" and "worse" where one of so many groups would show as much by chance."""
    told = [i for i, group in enumerate(groups) if group.mean.standard_error is not None]
    means = [groups[i].mean for i in told]
    p_values = [two_sided_p(mean.difference, mean.standard_error or 0.0, mean.num_clusters) for mean in means]
    for i, mean, p_value, q_value in zip(told, means, holm(p_values), benjamini_hochberg(p_values), strict=True):
        if p_value > _ALPHA:
            mean = dataclasses.replace(mean, verdict="unclear")
        groups[i] = dataclasses.replace(
            groups[i], mean=mean, p_value=p_value, q_value=q_value, discovered=q_value <= _ALPHA
        )
    return groups
