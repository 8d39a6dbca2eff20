"""Class shares: how classes lie on the sides of a split. It knows Arrow and numbers, and no table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clipdata.split_check.records import ClassShare
from clipdata.split_check.sharing import sides_of
from clipdata.statistics import wilson_interval

_MOST = 1000


@dataclass(frozen=True)
class ClassShares:
    """How classes lie on the sides.

    Args:
        most_frequent: 1,000 at most.
        num: classes in all.
        num_untrained: classes that are on another side and not on the one that is trained on.
        num_unmeasured: classes that are trained on, and on no other side.
    """

    most_frequent: Sequence[ClassShare] = ()
    num: int = 0
    num_untrained: int = 0
    num_unmeasured: int = 0


def class_shares(values: pa.ChunkedArray, names: Sequence[str], side_N: np.ndarray, trained_side: int) -> ClassShares:
    """Count classes on the sides.

    Args:
        values: the class of each row [N].
        names: of the sides.
        side_N: int64, -1 for a row without one.
        trained_side: place of the side that is trained on.
    """
    classes, class_N = sides_of(values)
    has_both_N = (class_N >= 0) & (side_N >= 0)
    cells = np.bincount(class_N[has_both_N] * len(names) + side_N[has_both_N], minlength=len(classes) * len(names))
    rows_CS = cells.reshape(len(classes), len(names))
    total_S = rows_CS.sum(axis=0).tolist()
    told = []
    for name, rows_S in zip(classes[:_MOST], rows_CS.tolist(), strict=False):
        of_sides = list(zip(names, rows_S, total_S, strict=True))
        told.append(
            ClassShare(
                name=name,
                num_rows={side: rows for side, rows, _ in of_sides},
                share={side: rows / max(total, 1) for side, rows, total in of_sides},
                interval={side: wilson_interval(rows, total) for side, rows, total in of_sides},
            )
        )
    on_trained_C = rows_CS[:, trained_side] > 0
    on_others_C = rows_CS.sum(axis=1) > rows_CS[:, trained_side]
    num_untrained, num_unmeasured = (on_others_C & ~on_trained_C).sum(), (on_trained_C & ~on_others_C).sum()
    return ClassShares(told, len(classes), int(num_untrained), int(num_unmeasured))
