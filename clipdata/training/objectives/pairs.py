"""What the objectives over pairs of a batch share: their columns, their unusable rows, and which pairs belong together.

It knows columns and facts of batches, and no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.schema import is_of
from clipdata.training.objectives.protocol import Captions, Objective, first_reason, require_texts, text_faults

if TYPE_CHECKING:
    import torch

    from clipdata.lance_io.table import Table
    from clipdata.training.features import BatchFacts
    from clipdata.training.figures import Measure


@dataclass(frozen=True)
class Pairs(Objective):
    """An objective over pictures and their captions; see `Contrastive` for the fields."""

    shares: ClassVar[bool] = True

    text: str = "caption"
    captions: Captions = "random"
    group: str | None = None
    normalise: bool = True

    @property
    def texts(self) -> str:
        """The captions."""
        return self.text

    @property
    def columns(self) -> tuple[str, ...]:
        """What tells which rows belong together."""
        return (self.group,) if self.group is not None else ()

    @property
    def picks(self) -> Captions:
        """As the field says."""
        return self.captions

    @property
    def normalises(self) -> bool:
        """As the field says."""
        return self.normalise

    def check(self, table: Table) -> None:
        """Check the captions, and the group if there is one."""
        there = [name for name in table.schema.names if is_of("text", table.schema.field(name).type)]
        others = [name for name in table.schema.names if is_of("texts", table.schema.field(name).type)]
        hint = f"--set text=COLUMN; columns of texts are {', '.join([*others, *there][:8]) or 'none'}"
        require_texts(table, self.text, hint=hint)
        table.require([*self.columns], verb="train")

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Rows without a caption, or without the group's value."""
        faults = text_faults(batch.column(self.text), nothing="no caption", null="a null among its captions")
        if self.group is not None:
            faults.append((f"no {self.group}", pc.is_null(batch.column(self.group))))
        return first_reason(*faults)

    def tensor_of(self, name: str, values: Any) -> torch.Tensor:
        """Numbers as they are, and a digest of anything else."""
        import torch

        from clipdata.trained_rows import digests

        if isinstance(values, torch.Tensor):
            return values
        return torch.from_numpy(digests(pa.array(values).cast(pa.string())).view("int64"))

    def same_pairs(self, facts: BatchFacts) -> torch.Tensor:
        """Which text belongs to which row: bool [B, K]: its own, and what shares its picture, a text or its group."""
        from clipdata.training.losses import owners, same_pairs

        owner_K = owners(facts.text_counts_B, len(facts.text_index_K))
        same_BK = same_pairs(facts.picture_B, facts.text_id_K, owner_K)
        if self.group is None:
            return same_BK
        group_B = facts.columns[self.group]
        return same_BK | (group_B[:, None] == group_B.index_select(0, owner_K)[None, :])

    def measure(self) -> Measure:
        """How often the right caption or picture is found among all held-out ones."""
        from clipdata.training.measures import RetrievalMeasure

        return RetrievalMeasure()
