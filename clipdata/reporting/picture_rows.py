"""Rows to look at: those that lost and gained most, and those whose answer changed, with pictures, texts and scores.

Shapes: N compared rows, n rows that are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from clipdata.comparison.extremes import described_rows, extreme_places
from clipdata.comparison.measurement import Measured
from clipdata.comparison.pairs import Pairs
from clipdata.comparison.provenance import Provenance
from clipdata.comparison.request import Request
from clipdata.lineage import Lineage
from clipdata.reporting.picture_records import Choice, Gallery, Picture, PictureRow
from clipdata.reporting.rendering import cut
from clipdata.reporting.row_columns import RowColumns, captioned
from clipdata.reporting.thumbnails import Thumbnails
from clipdata.schema import is_list, is_text
from clipdata.statistics import IntArray

_MOST_CHOICES, _CHOICE_CHARS = 5, 160


def galleries(measured: Measured, num_pictures: int, shown: RowColumns) -> tuple[Gallery, ...]:
    """The rows to look at, by kind; kinds without a row are left out.

    Args:
        measured: the comparison with its rows.
        num_pictures: rows of each kind, at most.
        shown: columns that were asked for.
    """
    kinds = [kind for kind in _kinds(measured, num_pictures) if len(kind[2])]
    offset_N = measured.pairs.offset_N
    in_turn = chain.from_iterable(zip_longest(*(offset_N[places].tolist() for *_, places in kinds)))
    pictures = Thumbnails(measured.request.table, shown.image).of([offset for offset in in_turn if offset is not None])
    told = _Told(measured.request, measured.pairs, shown)
    found = []
    for title, about, places in kinds:
        rows = zip(offset_N[places].tolist(), told.rows(places), strict=True)
        found.append(Gallery(title, about, tuple(_with_picture(row, pictures[offset]) for offset, row in rows)))
    return tuple(found)


def _with_picture(row: dict[str, Any], picture: Picture) -> PictureRow:
    return PictureRow(picture=picture, **row)


def _kinds(measured: Measured, most: int) -> list[tuple[str, str, IntArray]]:
    """Title, how they were chosen, and places among the compared rows."""
    pairs, gained_N = measured.pairs, measured.gained_N
    worst, best = extreme_places(pairs, gained_N, most), extreme_places(pairs, -gained_N, most)
    kinds = [
        ("Lost most", "the rows whose value got worse by most", worst),
        ("Gained most", "the rows whose value got better by most", best),
    ]
    if pairs.right_before_N is None or pairs.right_after_N is None:
        return kinds
    seen = np.zeros(len(gained_N), bool)
    seen[worst] = seen[best] = True
    before_N, after_N = pairs.right_before_N, pairs.right_after_N
    for title, words, changed_N in (
        ("Answers broken", "right before, wrong after", (before_N == 1) & (after_N == 0)),
        ("Answers mended", "wrong before, right after", (before_N == 0) & (after_N == 1)),
    ):
        others = np.flatnonzero(changed_N & ~seen)
        drawn = np.random.default_rng(0).choice(others, min(most, len(others)), replace=False)
        about = f"{words}: {int(changed_N.sum()):,} rows; {len(drawn)} of those not shown above, drawn by chance"
        kinds.append((title, about, np.sort(drawn)))
    return kinds


class _Told:
    """What is told of a row: its name, its text or its choices with their scores, and further columns."""

    def __init__(self, request: Request, pairs: Pairs, shown: RowColumns) -> None:
        self._request, self._pairs = request, pairs
        schema = request.table.schema
        lineage = _maker(request.origin_after, is_list_compared=is_list(schema.field(request.after).type))
        self._classes = _classes(lineage)
        inputs = [name for name in (lineage.inputs if lineage else ()) if name in schema.names]
        kinds = {name: schema.field(name).type for name in inputs}
        choices = next((n for n, kind in kinds.items() if is_list(kind) and is_text(kind.value_type)), None)
        self._choices = choices if shown.text is None else None
        texts = [name for name, kind in kinds.items() if is_text(kind)]
        self._caption = shown.text_of(schema, request.key, texts)
        self._has_lists = bool(request.scores_after) and not request.of_label

    def rows(self, places: IntArray) -> list[dict[str, Any]]:
        """Arguments of `PictureRow`, in the order of the places."""
        described = described_rows(self._request, self._pairs, places)
        return [
            self._row(row, record, before)
            for row, record, before in zip(described, self._records(places), self._before(places), strict=True)
        ]

    def _records(self, places: IntArray) -> list[dict[str, Any]]:
        own = [self._caption, self._choices]
        own += [self._request.label_index, self._request.scores_after] if self._has_lists else []
        names = [name for name in dict.fromkeys(own) if name]
        return (
            self._request.table.take(self._pairs.offset_N[places], names).to_pylist() if names else [{} for _ in places]
        )

    def _before(self, places: IntArray) -> list[Sequence[Any]]:
        """Score lists of the before side, of the rows' partners where they lie in another table."""
        column, partner_N = self._request.scores_before, self._pairs.partner_N
        if not self._has_lists or column is None:
            return [()] * len(places)
        table = self._request.table_before or self._request.table
        offset_N = partner_N if partner_N is not None else self._pairs.offset_N
        return [scores or () for scores in table.take(offset_N[places], [column]).column(column).to_pylist()]

    def _row(self, row: Any, record: dict[str, Any], before: Sequence[Any]) -> dict[str, Any]:
        choices, left_out = self._choices_of(record, before)
        shown = dict(row.shown)
        name = shown.pop("filename", None) or row.key
        caption, chars = None, None
        if not choices and self._caption:
            kind = self._request.table.schema.field(self._caption).type
            value = record[self._caption]
            caption, chars = captioned(value, kind)
        facts = {word: text for word, text in shown.items() if word != self._caption}
        return {
            "name": cut(name, 200),
            "caption": caption,
            "choices": choices,
            "num_choices_left_out": left_out,
            "row": row,
            "facts": facts,
            "caption_chars": chars,
        }

    def _choices_of(self, record: dict[str, Any], before: Sequence[Any]) -> tuple[tuple[Choice, ...], int]:
        """Choices of a row; of many the right one and those that score highest."""
        texts = record[self._choices] if self._choices else self._classes
        if not self._has_lists or not texts:
            return (), 0
        right = record[self._request.label_index] if self._request.label_index else None
        after = record[self._request.scores_after or ""] or []
        every = [
            Choice(cut(str(text), _CHOICE_CHARS), _entry(before, place), _entry(after, place), place == right)
            for place, text in enumerate(texts)
        ]
        if len(every) <= _MOST_CHOICES:
            return tuple(every), 0
        return _foremost(every), len(every) - _MOST_CHOICES


def _foremost(every: Sequence[Choice]) -> tuple[Choice, ...]:
    """The right one, the highest before, and the highest after, in their order."""
    by_after = sorted(range(len(every)), key=lambda place: -(every[place].after or 0.0))
    by_before = sorted(range(len(every)), key=lambda place: -(every[place].before or 0.0))
    right = [place for place, choice in enumerate(every) if choice.is_right]
    kept = list(dict.fromkeys([*right, *by_before[:1], *by_after]))[:_MOST_CHOICES]
    return tuple(every[place] for place in sorted(kept))


def _entry(scores: Sequence[Any], place: int) -> float | None:
    return float(scores[place]) if place < len(scores) and scores[place] is not None else None


def _maker(origin: Provenance, *, is_list_compared: bool) -> Lineage | None:
    """Lineage of what scored the rows: of a picked column that of the lists."""
    return origin.lineage if is_list_compared else origin.maker or origin.lineage


def _classes(lineage: Lineage | None) -> list[str]:
    """Names of the classes that all rows are scored by."""
    named = lineage.parameters.get("classes") if lineage is not None else None
    return [str(name) for name in named] if isinstance(named, list | tuple) else []
