"""A part of a table in a table of its own, so that no other row is computed: some rows to train on, some to measure.

The same part has the same name and is there the next time. It knows tables, and no pipeline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ingest
from clipdata import hints
from clipdata.errors import UsageError
from clipdata.progress import Progress
from clipdata.storage import join, redact
from pipelines.settings import PipelineSettings

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table
    from clipdata.training.portion import Portion
    from ingest import Ingested


def take_part(
    table: Table,
    settings: PipelineSettings,
    *,
    rows: tuple[str, str],
    columns: Sequence[str],
    seed: int,
    progress: Progress,
) -> Ingested:
    """Copy the rows that are asked for.

    Args:
        table: with a key, by which its rows are chosen.
        settings: how many, and where the part goes.
        rows: SQL conditions of rows to train on, and of rows to measure.
        columns: that the part keeps beside the pictures.
        seed: another one chooses others.
        progress: watches.

    Raises:
        UsageError: the table declares no key.
    """
    from clipdata.training.portion import Portion

    if table.key is None:
        raise UsageError(
            f"{redact(table.uri)} declares no key by which a part of its rows could be chosen",
            hint=f"name a table that has one, made by: clipdata ingest lance {hints.typed(table.uri)} --into TABLE",
        )
    portions = (Portion(settings.limit, settings.sample, seed), Portion(sample=settings.most_held_out, seed=seed))
    (train, of_train), (test, of_test) = (_chosen(table, *one) for one in zip(rows, portions, strict=True))
    progress.say(
        f"training on {len(train):,} of {of_train:,} rows, measuring on {len(test):,} of {of_test:,} held-out rows"
    )
    keys = sorted([*train, *test])
    return ingest.from_lance(
        table,
        into=join(settings.out, f"part-{short_digest(keys)}.lance"),
        columns=list(columns),
        where=f"`{table.key}` IN ({', '.join(map(_literal, keys))})",
        storage=settings.storage,
        progress=progress,
    )


def short_digest(value: Any) -> str:
    """Eight letters that tell one JSON value from others, for the name of a folder."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _chosen(table: Table, where: str, portion: Portion) -> tuple[list[Any], int]:
    """Keys of the rows of a portion, and how many rows there are to choose from."""
    from clipdata.trained_rows import digests

    assert table.key is not None, "checked by the caller"
    keys = table.to_table([table.key], where=where).column(0).combine_chunks()
    return keys.take(portion.of(np.arange(len(keys)), digests(keys))).to_pylist(), len(keys)


def _literal(key: Any) -> str:
    """A key in SQL."""
    return str(key) if isinstance(key, int) else "'{}'".format(str(key).replace("'", "''"))
