"""curate(): the rows that a list of filters keeps, as a condition on one version of a table. It trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from clipdata.arguments import check_condition
from clipdata.errors import UsageError
from clipdata.filters import Filter, Funnel, funnel, read_filters
from clipdata.lance_io.table import AnyTable, Table, as_table


@dataclass(frozen=True)
class Curated:
    """Rows that are kept.

    Args:
        table: pinned to the version that was judged.
        funnel: what each filter keeps of it.
    """

    table: Table = field(repr=False)
    funnel: Funnel

    @property
    def where(self) -> str:
        """The condition that stands for all filters, for any `where=` and `--where`."""
        return self.funnel.condition

    @property
    def begins_with(self) -> str | None:
        """The condition of the rows that the filters choose from."""
        return self.funnel.where

    @property
    def num_kept(self) -> int:
        """Rows that all filters keep."""
        return self.funnel.kept

    def to_dict(self) -> dict[str, object]:
        """JSON values."""
        return self.funnel.to_dict()

    def _repr_html_(self) -> str:
        return self.funnel._repr_html_()

    def __str__(self) -> str:
        return f"{self.funnel}\n--where {_in_shell(self.where)}"


def curate(table: AnyTable, filters: Sequence[Filter | str], *, where: str | None = None) -> Curated:
    """Find which rows a list of filters keeps, and how many each of them leaves.

    Args:
        table: judged at the version it is pinned to; or the location of one, at its newest.
        filters: applied in this order. A text is an SQL condition ("quality.sharpness >= 100"), a threshold
            ("top_share(clip_score, 0.3)") or the name of a published recipe ("laion-2b-en").
        where: SQL condition of the rows to choose from; shares are shares of these.

    Raises:
        UsageError: there is no filter, or one is none.
        SchemaError: the table lacks a column that a filter judges.
    """
    check_condition(where)
    pinned = as_table(table).pinned()
    given = [filters] if isinstance(filters, Filter | str) else list(filters)
    if not given:
        raise UsageError(
            "curate: no filter was given", hint='--keep "clip_score >= 0.28", or --keep "top_share(clip_score, 0.3)"'
        )
    read: list[Filter] = []
    for one in given:
        read += [one] if isinstance(one, Filter) else read_filters(pinned, one, where=where)
    return Curated(pinned, funnel(pinned, read, where=where))


def _in_shell(condition: str) -> str:
    """A condition as it is typed, quoted so that a shell leaves it alone."""
    if not set(condition) & set('"$`\\!'):
        return f'"{condition}"'
    return "'" + condition.replace("'", "'\\''") + "'"
