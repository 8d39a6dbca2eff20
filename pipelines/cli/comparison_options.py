"""The options of verbs that compare two columns, with the same words as the arguments of `compare`.

It knows the words of the command line, and no verb.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pipelines.cli.options import ReadOptions, Where, version_of


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """What is compared, and how, beside the two columns; each is an argument of the same name of `compare`."""

    where: Where = None
    by: Annotated[str | None, typer.Option(help="Column of groups to show apart.")] = None
    table_before: Annotated[str | None, typer.Option(help="Another table that holds the values before.")] = None
    version_before: Annotated[str | None, typer.Option(help="Version of the table that holds them.")] = None
    on: Annotated[str | None, typer.Option(help="Column that pairs two tables; their key by default.")] = None
    cluster: Annotated[
        str | None, typer.Option(help="Column whose equal values are resampled together; the image by default.")
    ] = None
    scores_before: Annotated[
        str | None, typer.Option(help="Score lists behind BEFORE; by default those that it was picked from.")
    ] = None
    scores_after: Annotated[
        str | None, typer.Option(help="Score lists behind AFTER; by default those that it was picked from.")
    ] = None
    label_index: Annotated[
        str | None, typer.Option(help="Column with the place of the right choice; by default the one picked by.")
    ] = None
    trained_where: Annotated[
        str | None, typer.Option(help="SQL condition of rows trained on, beside those in the models' own records.")
    ] = None
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="A fall is a gain: losses, ranks.")] = False
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Also R@k, MRR, median rank: of score lists, or of columns of ranks.")
    ] = False
    any_scale: Annotated[
        bool, typer.Option("--any-scale", help="Compare a probability with a cosine all the same.")
    ] = False
    resamples: Annotated[int, typer.Option(min=200, max=1_000_000, help="Bootstrap draws.")] = 2000
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same intervals.")] = 0

    def arguments(self, store: ReadOptions, table: str | None) -> dict[str, Any]:
        """As `compare` takes them.

        Args:
            store: how to reach the table with the values before.
            table: with the values after; of which `--version-before` is a version where no other table is named.
        """
        given = {name: value for name, value in vars(self).items() if name != "version_before"}
        if self.table_before is not None or self.version_before is not None:
            version = version_of(self.version_before) if self.version_before else None
            where = self.table_before or table
            # Not store.open: a --version there is is that of the values after.
            given["table_before"] = ReadOptions.open(store, where, version=version) if where is not None else None
        return given
