"""The arms of a proof: the rows that each side trains on. It knows conditions and counts, and trains nothing."""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.curation.selection import Curated
from clipdata.errors import UsageError
from clipdata.plurals import counted

ALL, KEPT, RANDOM = "all", "kept", "random"


@dataclass(frozen=True)
class Arm:
    """One side of a proof.

    Args:
        name: of `ALL`, `KEPT` and `RANDOM`.
        where: SQL condition of its rows.
        num_rows: that it has, those among them that cannot be trained on included.
        sample: draw so many of the rows that can be trained on, others for every seed; None takes them all.
    """

    name: str
    where: str | None
    num_rows: int
    sample: int | None = None

    def __str__(self) -> str:
        told = {
            ALL: "all {:,} rows",
            KEPT: "the {:,} rows that the filters keep",
            RANDOM: "{:,} rows drawn at random, as many as are kept",
        }
        return told[self.name].format(self.num_rows)


def arms_of(curated: Curated, *, control: bool) -> list[Arm]:
    """All rows, the rows that are kept, and with `control` as many drawn at random.

    Raises:
        UsageError: the filters keep all rows, or none.
    """
    num_rows, num_kept = curated.funnel.rows, curated.num_kept
    if not 0 < num_kept < num_rows:
        found = "keep none of the" if not num_kept else "keep all"
        raise UsageError(
            f"prove: the filters {found} {counted(num_rows, 'row')}, so that there is nothing to compare",
            hint="clipdata curate TABLE --keep … shows what each filter leaves",
        )
    arms = [Arm(ALL, curated.begins_with, num_rows), Arm(KEPT, curated.where, num_kept)]
    return [*arms, Arm(RANDOM, curated.begins_with, num_kept, sample=num_kept)] if control else arms
