"""Overlap: how many of the rows to measure a model has seen, by key and by picture. It knows digests, and no tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from clipdata.plurals import counted
from clipdata.trained_rows import TrainedRows
from clipdata.training.usable_rows import ChosenRows


@dataclass(frozen=True)
class Overlap:
    """What held-out rows share with rows that are, or were, trained on.

    Args:
        num_rows: held-out rows.
        num_pictures: distinct pictures among them, as far as anything tells pictures apart.
        rows_trained_on: rows that this training trains on.
        rows_of_trained_pictures: other rows that show a picture which it trains on.
        pictures_trained_on: distinct pictures that it trains on.
        rows_seen_earlier: rows that an earlier training of the same model trained on, or that show a picture of it;
            none of those above.
        rows_alike: other rows whose picture looks like one that is trained on, by the table's columns of duplicates.
        rows_of_equal_captions: rows that share a caption with a row that is trained on, where captions tell rows apart.
    """

    num_rows: int
    num_pictures: int
    rows_trained_on: int
    rows_of_trained_pictures: int
    pictures_trained_on: int
    rows_seen_earlier: int
    rows_alike: int = 0
    rows_of_equal_captions: int = 0

    @property
    def any(self) -> bool:
        """Whether anything was seen."""
        seen = self.rows_trained_on + self.rows_of_trained_pictures + self.rows_seen_earlier
        return bool(seen + self.rows_alike + self.rows_of_equal_captions)

    def to_json(self) -> dict[str, int]:
        """Fields as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        of = f"of the {counted(self.num_rows, 'row')} to measure"
        parts = [f"{self.rows_trained_on:,} {of} are trained on"] if self.rows_trained_on else []
        if self.rows_of_trained_pictures:
            pictures = f"{self.pictures_trained_on:,} of {self.num_pictures:,} pictures"
            parts.append(f"{self.rows_of_trained_pictures:,} {of} show pictures that are trained on ({pictures})")
        if self.rows_seen_earlier:
            parts.append(f"{self.rows_seen_earlier:,} {of} were seen in an earlier training of this model")
        if self.rows_alike:
            parts.append(f"{self.rows_alike:,} {of} show pictures that look like some that are trained on")
        said = [f"{'; '.join(parts)}: these are no evidence"] if parts else []
        if self.rows_of_equal_captions:
            said.append(f"{self.rows_of_equal_captions:,} {of} have a caption that is trained on too")
        return "; ".join(said)


def overlap_of(held_out: ChosenRows, rows: ChosenRows, earlier: Sequence[TrainedRows]) -> Overlap:
    """Count what held-out rows share with the rows of a training and of those before it.

    Args:
        held_out: of the same version of a table as `rows`.
        earlier: what the encoder that training begins with was trained on.
    """
    keyed = bool(len(held_out.keys_N))
    known_H = held_out.pictures_N != 0
    same_H = np.isin(held_out.offsets, rows.offsets)
    shown_H = known_H & np.isin(held_out.pictures_N, rows.pictures_N)
    before_H = np.zeros(len(same_H), bool)
    if keyed:
        same_H |= np.isin(held_out.keys_N, rows.keys_N)
    for past in earlier:
        before_H |= known_H & np.isin(held_out.pictures_N, past.pictures)
        if keyed:
            before_H |= np.isin(held_out.keys_N, past.keys)
    return Overlap(
        num_rows=len(same_H),
        num_pictures=len(np.unique(held_out.pictures_N[known_H])),
        rows_trained_on=int(same_H.sum()),
        rows_of_trained_pictures=int((shown_H & ~same_H).sum()),
        pictures_trained_on=len(np.unique(held_out.pictures_N[shown_H])),
        rows_seen_earlier=int((before_H & ~same_H & ~shown_H).sum()),
    )
