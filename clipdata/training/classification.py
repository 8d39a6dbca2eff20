"""Classification: how often the right class scores highest, class by class, and which classes are taken for which.

It knows features and places in a list of classes, and nothing of models or tables.

Shapes: B rows, C classes, D shared space; E kinds of answer, each a right class and the class that was said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.cells import cell_len, set_cell_size

from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.statistics import FloatArray, IntArray

SIZES = (1, 5)
_SCORES_IN_MEMORY = 4_000_000
_GRID_CLASSES = 20
_NARROWEST = 12
_GAP = 2


@dataclass(frozen=True)
class Classification:
    """How rows were classified.

    A tie is no right answer, as in `compare`: the right class is among the first k when fewer than k others score as
    high.

    Args:
        num_classes: C.
        num_rows: rows judged, B.
        num_left_out: rows without a right class, or with a score that is no number.
        num_tied: rows whose right class shares the top score.
        top: k → share of rows whose right class is among the first k; NaN without a row.
        right_E: int64, a right class.
        said_E: int64, a class that was said: the highest, and where the right one ties with others the first of those.
        rows_E: int64, rows of that kind.
        judged_B: int64, places of the rows that were judged, among all that were taken in.
        place_B: int64, their right classes' places, from 1; things that score as high come before it.
    """

    num_classes: int
    num_rows: int
    num_left_out: int
    num_tied: int
    top: Mapping[int, float]
    right_E: IntArray = field(repr=False)
    said_E: IntArray = field(repr=False)
    rows_E: IntArray = field(repr=False)
    judged_B: IntArray = field(repr=False)
    place_B: IntArray = field(repr=False)

    @property
    def chance(self) -> dict[int, float]:
        """k → the share that a random order of the classes would give."""
        return {size: min(size / self.num_classes, 1.0) for size in self.top}

    @property
    def rows_C(self) -> IntArray:
        """Rows of each class."""
        return _sums(self.right_E, self.rows_E, self.num_classes)

    @property
    def recall_C(self) -> FloatArray:
        """Share of each class's rows that was said right; NaN where a class has no row."""
        own_E = self.right_E == self.said_E
        found_C = _sums(self.right_E[own_E], self.rows_E[own_E], self.num_classes)
        rows_C = self.rows_C
        return np.divide(found_C, rows_C, out=np.full(self.num_classes, np.nan), where=rows_C > 0)

    @property
    def mean_recall(self) -> float:
        """Mean of `recall_C` over the classes that have rows, each counting alike; NaN without a row."""
        return float(np.nanmean(self.recall_C)) if self.num_rows else float("nan")

    def confusion(self) -> IntArray:
        """Rows by right class (down) and class that was said (across): int64 [C, C]."""
        table_CC = np.zeros((self.num_classes, self.num_classes), np.int64)
        table_CC[self.right_E, self.said_E] = self.rows_E
        return table_CC

    def most_confused(self, most: int = 10) -> list[tuple[int, int, int]]:
        """(right class, class that was said, rows) of the most frequent wrong answers, the most frequent first."""
        wrong = np.flatnonzero(self.right_E != self.said_E)
        order = wrong[np.lexsort((self.said_E[wrong], self.right_E[wrong], -self.rows_E[wrong]))][:most]
        return [(int(self.right_E[e]), int(self.said_E[e]), int(self.rows_E[e])) for e in order]

    def answers(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The kinds of answer that occurred, the most frequent first, in the names of classes."""
        kinds = sorted(zip(-self.rows_E, self.right_E, self.said_E, strict=True))
        return [{"right": names[r], "said": names[s], "rows": -int(rows)} for rows, r, s in kinds]

    @property
    def telling(self) -> tuple[int, ...]:
        """Each k of top-k that a model can miss: of three classes the right one is always among the first five."""
        return tuple(k for k in self.top if k == 1 or k < self.num_classes)

    def to_json(self) -> dict[str, Any]:
        """Figures as JSON values, without the table."""
        top = {f"top{size}": value for size, value in self.top.items()}
        chance = {f"chance_top{size}": value for size, value in self.chance.items()}
        counts = {"rows": self.num_rows, "left_out": self.num_left_out, "tied": self.num_tied}
        return {**top, **chance, "mean_class_recall": self.mean_recall, "classes": self.num_classes, **counts}

    def __str__(self) -> str:
        top = ", ".join(f"top-{k} {self.top[k]:.1%} (chance {self.chance[k]:.1%})" for k in self.telling)
        tied = f", {self.num_tied:,} ties counted as wrong" if self.num_tied else ""
        left_out = f", {counted(self.num_left_out, 'row')} left out" if self.num_left_out else ""
        rows = f"{counted(self.num_rows, 'row')} of {counted(self.num_classes, 'class', 'classes')}"
        return f"{top}, mean recall per class {self.mean_recall:.1%}; {rows}{tied}{left_out}"


def classification(
    image_BD: torch.Tensor, class_CD: torch.Tensor, label_B: torch.Tensor, *, sizes: Sequence[int] = SIZES
) -> Classification:
    """Judge each row's class by dot product.

    Products are made in double precision and compared in single, so that equal features score alike.

    Args:
        image_BD: float; L2-normalised for cosines.
        class_CD: float, as `losses.class_embeddings` makes them.
        label_B: int64, the right class; what is no place in the list is left out.
        sizes: each k of top-k.

    Source: top-k and mean recall per class as zero-shot classification is reported for CLIP (arXiv 2103.00020).
    """
    assert len(image_BD) == len(label_B)
    tally = ClassTally(len(class_CD), sizes)
    at_once = max(1, _SCORES_IN_MEMORY // max(len(class_CD), 1))
    for start in range(0, len(image_BD), at_once):
        chunk = slice(start, start + at_once)
        tally.add((_doubles(image_BD[chunk]) @ _doubles(class_CD).T).float(), label_B[chunk])
    return tally.result()


class ClassTally:
    """Judges rows by their scores, a batch at a time.

    Args:
        num_classes: C.
        sizes: each k of top-k.
    """

    def __init__(self, num_classes: int, sizes: Sequence[int] = SIZES) -> None:
        self._num_classes, self._sizes = num_classes, sizes
        self._kinds = [np.zeros((0, 2), np.int64)]
        self._judged, self._places = ([np.zeros(0, np.int64)] for _ in range(2))
        self._num_tied = self._num_seen = 0

    def add(self, score_BC: torch.Tensor, label_B: torch.Tensor) -> None:
        """Take in rows.

        Args:
            score_BC: float, higher where a class fits better; a row with one that is no number is left out.
            label_B: int64, the right class; what is no place in the list is left out.
        """
        label_B = label_B.detach().to(score_BC.device)
        kept_B = torch.isfinite(score_BC).all(1) & (label_B >= 0) & (label_B < self._num_classes)
        self._judged.append(self._num_seen + np.flatnonzero(kept_B.cpu().numpy()))
        self._num_seen += len(label_B)
        label_B, score_BC = label_B[kept_B], score_BC[kept_B]
        right_B1 = score_BC.gather(1, label_B[:, None])
        as_high_B = (score_BC >= right_B1).sum(1)
        self._places.append(as_high_B.cpu().numpy())
        self._num_tied += int(((score_BC > right_B1).sum(1).eq(0) & (as_high_B > 1)).sum())
        others_B = score_BC.scatter(1, label_B[:, None], -torch.inf).argmax(1)
        said_B = torch.where(as_high_B == 1, label_B, others_B)
        self._kinds.append(torch.stack([label_B, said_B], 1).cpu().numpy())

    def result(self) -> Classification:
        """All that was taken in."""
        answers_B2 = np.concatenate(self._kinds)
        kinds_E2, rows_E = np.unique(answers_B2, axis=0, return_counts=True)
        num_rows = len(answers_B2)
        place_B = np.concatenate(self._places)
        shares = [float((place_B <= size).mean()) if num_rows else float("nan") for size in self._sizes]
        return Classification(
            self._num_classes,
            num_rows,
            self._num_seen - num_rows,
            self._num_tied,
            dict(zip(self._sizes, shares, strict=True)),
            kinds_E2[:, 0],
            kinds_E2[:, 1],
            rows_E,
            np.concatenate(self._judged),
            place_B,
        )


def confusion_table(found: Classification, names: Sequence[str], *, width: int = 80, most: int = 10) -> str:
    """What was taken for what, as text: the whole table where it fits, or the most confused pairs of classes.

    Args:
        found: what `classification` returned.
        names: of the classes.
        width: of a line, in the cells of a terminal.
        most: pairs to tell of.
    """
    assert len(names) == found.num_classes
    grid = _grid(found, names, width) if found.num_classes <= _GRID_CLASSES else None
    return grid if grid is not None else _pairs(found, names, width, most)


def _grid(found: Classification, names: Sequence[str], width: int) -> str | None:
    """Every class in a line, with a column for each class by its number; None where a line is too narrow."""
    counts = [[f"{count:,}" for count in row] for row in found.confusion()]
    cells = max(len(count) for row in counts for count in row)
    right = width - (cells + _GAP) * len(names) - (len("recall") + _GAP)
    if right < _NARROWEST:
        return None
    lines = [("right \\ said", [str(place) for place in range(1, len(names) + 1)], "recall")]
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        recall = found.recall_C[place]
        lines.append((f"{place + 1} {printable(name)}", row, "" if np.isnan(recall) else f"{recall:.1%}"))
    right = min(right, max(cell_len(name) for name, _, _ in lines))
    gap = " " * _GAP
    return "\n".join(
        _cell(name, right) + "".join(gap + count.rjust(cells) for count in row) + gap + recall.rjust(len("recall"))
        for name, row, recall in lines
    )


def _pairs(found: Classification, names: Sequence[str], width: int, most: int) -> str:
    """The most confused pairs, a line each."""
    rows_C = found.rows_C
    lines = [("right class", "taken for", "rows", "of the class")]
    for right, said, rows in found.most_confused(most):
        share = f"{rows / rows_C[right]:.1%}"
        lines.append((printable(names[right]), printable(names[said]), f"{rows:,}", share))
    if len(lines) == 1:
        return "no class was taken for another"
    counts = max(len(rows) for _, _, rows, _ in lines)
    room = max((width - counts - len("of the class") - 3 * _GAP) // 2, 1)
    right, said = (min(room, max(cell_len(line[place]) for line in lines)) for place in (0, 1))
    gap = " " * _GAP
    return "\n".join(
        gap.join(
            (_cell(line[0], right), _cell(line[1], said), line[2].rjust(counts), line[3].rjust(len("of the class")))
        )
        for line in lines
    )


def _cell(text: str, width: int) -> str:
    return set_cell_size(text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…", width)


def _sums(class_E: IntArray, rows_E: IntArray, num_classes: int) -> IntArray:
    sums: IntArray = np.bincount(class_E, weights=rows_E, minlength=num_classes).astype(np.int64)
    return sums


def _doubles(features: torch.Tensor) -> torch.Tensor:
    """In double precision, on the CPU where the device knows none."""
    features = features.detach()
    return (features.cpu() if features.device.type == "mps" else features).double()
