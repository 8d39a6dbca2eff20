"""Texts that are longer than a model reads, counted before the first step. It knows tables and tokenizers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clipdata.encoder.tokenization import TextTokenizer
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.training.objectives import Objective

ROWS_LOOKED_AT = 5_000


@dataclass(frozen=True)
class CutTexts:
    """How many texts the model does not read to their ends.

    Args:
        num_texts: looked at.
        num_cut: of these.
        context_length: ids that the model reads, start and end marks included.
        is_sample: not all rows were looked at.
    """

    num_texts: int
    num_cut: int
    context_length: int
    is_sample: bool

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        share = self.num_cut / max(self.num_texts, 1)
        looked_at = counted(self.num_texts, "text") + (" looked at" if self.is_sample else "")
        return (
            f"{self.num_cut:,} of {looked_at} ({share:.0%}) are longer than the {self.context_length} tokens that the "
            "model reads, and are cut"
        )


def count_cut(table: Table, offsets: np.ndarray, objective: Objective, tokenize: TextTokenizer) -> CutTexts:
    """Count them among the rows to train on, or evenly spread ones where these are many.

    Args:
        offsets: int64, ascending, of the rows.
    """
    texts = list(objective.prompts)
    is_sample = len(offsets) > ROWS_LOOKED_AT
    if objective.text_columns:
        places = np.linspace(0, len(offsets) - 1, min(len(offsets), ROWS_LOOKED_AT)).astype(np.int64)
        for column in table.take(offsets[np.unique(places)], list(objective.text_columns)).columns:
            for row in column.to_pylist():
                texts += [row] if isinstance(row, str) else row
    return CutTexts(len(texts), tokenize.count_truncated(texts), tokenize.context_length, is_sample)
