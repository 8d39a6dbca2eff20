"""Choice: each image among its own captions, of which one is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError
from clipdata.storage import redact
from clipdata.training.objectives.protocol import Objective, first_reason, require_texts, text_faults

if TYPE_CHECKING:
    import torch

    from clipdata.lance_io.table import Table
    from clipdata.training.features import BatchFacts, Features
    from clipdata.training.figures import Measure


@dataclass(frozen=True)
class Choice(Objective):
    """Cross-entropy on the right caption among each row's own, any number of them.

    Args:
        choices: column of captions to choose from, a list a row.
        label: column of the right caption's place, from 0.
    """

    kind: ClassVar[str] = "choice"

    choices: str = "caption_choices"
    label: str = "label_ind"

    @property
    def texts(self) -> str:
        """The captions."""
        return self.choices

    @property
    def columns(self) -> tuple[str, ...]:
        """The right one's place."""
        return (self.label,)

    def check(self, table: Table) -> None:
        """Check the two columns."""
        table.require([self.choices], verb="train")
        command = f"clipdata map {redact(table.uri)} label-index"
        table.require([self.label], verb="train", hint=f"{command} {self.label} -p label=COLUMN_OF_THE_ANSWERS")
        require_texts(table, self.choices, lists=True)
        found = table.schema.field(self.label).type
        if not pa.types.is_integer(found):
            into = "label_ind" if self.label != "label_ind" else "label_place"
            raise SchemaError(
                f"train: column {self.label!r} holds {found}; expected the place of the right choice, from 0",
                hint=f"{command} {into} -p label={self.label}; then --set label={into}",
            )

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Rows without choices or without a label among them."""
        choices, labels = batch.column(self.choices), batch.column(self.label)
        num_choices = pc.fill_null(pc.list_value_length(choices), 0).cast(pa.int64())
        place = labels.cast(pa.int64(), safe=False)  # what lies beyond becomes negative, and is outside all the same
        return first_reason(
            *text_faults(choices, nothing="no choices", null="a null among its choices"),
            ("no label", pc.is_null(labels)),
            ("a label outside its choices", pc.or_(pc.less(place, 0), pc.greater_equal(place, num_choices))),
        )

    def tensor_of(self, name: str, values: Any) -> torch.Tensor:
        """The right one's place, whatever integer holds it."""
        placed: torch.Tensor = values.long()
        return placed

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.choice_loss`."""
        from clipdata.training.losses import choice_loss

        return choice_loss(
            features.image_BD,
            features.text_TD,
            features.logit_scale,
            text_index_K=facts.text_index_K,
            text_counts_B=facts.text_counts_B,
            label_B=facts.columns[self.label],
        )

    def measure(self) -> Measure:
        """How often the right one wins."""
        from clipdata.training.measures import ChoiceMeasure

        return ChoiceMeasure(self.label)
