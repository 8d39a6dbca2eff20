"""Labels: the place of the right answer among the choices, and what another column holds at that place."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from clipdata.lineage import Lineage
from clipdata.step_protocol import INTEGER, LABEL, NUMBERS, TEXTS, BaseStep, columns_in_order, require_names
from clipdata.steps.class_prompts import Classes, ClassPlaces, class_names
from clipdata.steps.conversion import to_array

MAX_PLACE = 2**31 - 1
_MOST_DIGITS = 4000  # of a number; of many more Python reads none


class LabelIndex(BaseStep):
    """Index of a label: a letter ('A' is 0), a number, one of a list of classes, or the text of one of the choices.

    Args:
        label: column of labels.
        classes: list of names, or a file with one a line; by default labels are letters or numbers. A label may differ
            from its class in capitals, and have spaces for underscores.
        choices: column of lists; the index must lie in the row's own list, and a label may be the text of a choice.

    Raises:
        UsageError: the classes are no list of names, empty, or hold a name twice; or a name of a column is no text.
        NotFoundError: there is no file of classes.
    """

    name = "LabelIndex"
    version = "2"
    returns = pa.int32()

    def __init__(self, label: str = "label", *, classes: Classes | None = None, choices: str | None = None) -> None:
        require_names(self.name, label=label, choices=choices)
        names = class_names(classes, asker=self.name) if classes is not None else None
        self.label, self.choices = label, choices
        self._places = ClassPlaces(names) if names is not None else None
        self.reads: tuple[str, ...] = (label,) if choices is None else (label, choices)
        self.takes = {label: LABEL} | ({choices: TEXTS} if choices is not None else {})
        self.parameters = {"classes": list(names)} if names is not None else {}

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - it need not ask
        """As of every step; there need be no classes."""
        return {**lineage.parameters, **columns_in_order(cls, lineage.inputs, but=("classes",))}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Find the place of each label: int32 [B]."""
        labels = batch.column(self.label).to_pylist()
        lists = batch.column(self.choices).to_pylist() if self.choices else [None] * len(labels)
        found = [self._place(label, texts) for label, texts in zip(labels, lists, strict=True)]
        places = [place if isinstance(place, int) else None for place in found]
        return pa.array(places, pa.int32()), [place if isinstance(place, str) else None for place in found]

    def _place(self, label: str | int | None, texts: list[str] | None) -> int | str:
        """The index, or the reason why there is none."""
        if label is None:
            return "no label"
        if self.choices is not None and not texts:
            return "no choices"
        place = self._read(label, texts)
        if place is None:
            return f"label not understood: {label!r}"
        if place > MAX_PLACE:
            return f"label too large: {label!s:.20}"
        if texts is not None and not 0 <= place < len(texts):
            return f"label outside the choices: {label!r} among {len(texts)}"
        return place

    def _read(self, label: str | int, texts: list[str] | None) -> int | None:
        if self._places is not None:
            return self._places.of(label)
        if isinstance(label, int):
            return label if label >= 0 else None
        if texts is not None and label in texts:
            return texts.index(label)
        text = label.strip()
        capital = text.upper()  # of one letter there may be two: SS of ß
        if len(text) == len(capital) == 1 and "A" <= capital <= "Z":
            return ord(capital) - ord("A")
        if not text.isdecimal():
            return None
        return int(text) if len(text) <= _MOST_DIGITS else MAX_PLACE + 1


class Pick(BaseStep):
    """The element of a list column at the place that another column names.

    Args:
        values: column of lists of floats.
        index: column of integers.

    Raises:
        UsageError: a name of a column is no text.
    """

    name = "Pick"
    version = "1"
    returns = pa.float32()

    def __init__(self, values: str, index: str) -> None:
        require_names(self.name, values=values, index=index)
        self.values, self.index = values, index
        self.reads: tuple[str, ...] = (values, index)
        self.takes = {values: NUMBERS, index: INTEGER}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Pick one element a row: float32 [B]."""
        picked: list[float | None] = []
        reasons: list[str | None] = []
        pairs = zip(batch.column(self.values).to_pylist(), batch.column(self.index).to_pylist(), strict=True)
        for values, place in pairs:
            reason = f"no {self.values}" if values is None else f"no {self.index}" if place is None else None
            if reason is None and not 0 <= place < len(values):
                reason = f"index outside the list: {place} of {len(values)}"
            picked.append(values[place] if reason is None else None)
            reasons.append(reason)
        found, unfit = to_array(picked, self.returns)
        return found, [reason or other for reason, other in zip(reasons, unfit, strict=True)]
