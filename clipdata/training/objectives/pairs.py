"""What the objectives over pairs of a batch share: their columns, their unusable rows, and which pairs belong together.

It knows columns and facts of batches, and no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.schema import IMAGE_FIELDS, is_of
from clipdata.training.objectives.protocol import (
    Captions,
    Objective,
    first_reason,
    holds_null,
    require_texts,
    text_faults,
)

if TYPE_CHECKING:
    import torch

    from clipdata.lance_io.table import Table
    from clipdata.training.features import BatchFacts, Features
    from clipdata.training.figures import Measure


@dataclass(frozen=True)
class Pairs(Objective):
    """An objective over pictures and their captions; see `Contrastive` for the fields."""

    shares: ClassVar[bool] = True

    text: str = "caption"
    captions: Captions = "random"
    group: str | None = None
    negatives: str | None = None
    normalise: bool = True

    @property
    def texts(self) -> str:
        """The captions."""
        return self.text

    @property
    def wrong_texts(self) -> str | None:
        """The captions of other pictures, if there are any."""
        return self.negatives

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
        own = {table.key, *(field.name for field in IMAGE_FIELDS)}  # say what the picture is, and not what it shows
        there = [field.name for field in table.schema if is_of("text", field.type) and field.name not in own]
        others = [name for name in table.schema.names if is_of("texts", table.schema.field(name).type)]
        hint = f"--set text=COLUMN; columns of texts are {', '.join([*others, *there][:8]) or 'none'}"
        require_texts(table, self.text, hint=hint)
        if self.negatives is not None:
            require_texts(table, self.negatives, lists=True, hint="--set negatives=COLUMN names one, none takes none")
        table.require([*self.columns], verb="train")

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Rows without a caption, without the group's value, or of whose negatives nothing is known."""
        faults = text_faults(batch.column(self.text), nothing="no caption", null="a null among its captions")
        if self.group is not None:
            faults.append((f"no {self.group}", pc.is_null(batch.column(self.group))))
        if self.negatives is not None:
            wrong = batch.column(self.negatives)
            faults += [(f"no {self.negatives}", pc.is_null(wrong)), ("a null among its negatives", holds_null(wrong))]
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
        from clipdata.training.belonging import owners, same_pairs

        owner_K = owners(facts.text_counts_B, len(facts.text_index_K))
        same_BK = same_pairs(facts.picture_B, facts.text_id_K, owner_K)
        if self.group is None:
            return same_BK
        group_B = facts.columns[self.group]
        return same_BK | (group_B[:, None] == group_B.index_select(0, owner_K)[None, :])

    def wrong_logits(self, features: Features, facts: BatchFacts) -> torch.Tensor | None:
        """Scores of each image and the negatives of all rows, each of these once: float [B, M].

        -inf stands where a negative is a caption of the image's row or of a row that belongs to it, and where it is
        one of the texts of the batch anyway.
        """
        import torch

        from clipdata.training import belonging
        from clipdata.training.losses import pair_logits

        if facts.wrong is None:
            return None
        id_M = facts.text_id_T.index_select(0, facts.wrong.index_M)
        caption_J, counts_B = facts.wrong.caption_id_J, facts.wrong.caption_counts_B
        owner_J = belonging.owners(counts_B, len(caption_J))
        belongs_BM = belonging.belonging_texts(facts.picture_B, caption_J, owner_J, id_M)
        if self.group is not None:
            group_B = facts.columns[self.group].unique(return_inverse=True)[1] + 1  # 0 is unknown
            belongs_BM = belongs_BM | belonging.belonging_texts(group_B, caption_J, owner_J, id_M)
        wrong_MD, bias = features.text_TD.index_select(0, facts.wrong.index_M), features.logit_bias
        logits_BM = pair_logits(features.image_BD, wrong_MD, features.logit_scale, bias if self.needs_bias else None)
        negative_BM = belonging.first_of_each(facts.text_id_K, id_M) & ~belongs_BM
        return logits_BM.masked_fill(~negative_BM, -torch.inf)

    def measure(self) -> Measure:
        """How often the right caption or picture is found among all held-out ones."""
        from clipdata.training.measures import RetrievalMeasure

        return RetrievalMeasure()
