"""Columns of a table of pictures with captions: those that are found there, and those that a pipeline fills.

It knows tables, and no pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipdata.errors import SchemaError, UsageError
from clipdata.hints import merge_pictures, typed
from clipdata.schema import image_column, is_binary, is_of
from clipdata.storage import redact
from clipdata.training.objectives.fitting import CAPTIONS

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

PICTURE, CLEAN, UNSEEN = "sha256", "captions_clean", "captions_unseen"
CHOICES, PLACE = "choices", "choice_ind"
TRUNK = "image_trunk"
TUNED = "_fine_tune"
_IMAGES = ("image", "image_bytes", "img", "picture", "jpg", "png", "bytes")


def refuse_own_columns(table: Table) -> None:
    """Check that a table has no column of its own under a name that the pipeline fills, before anything is written.

    Raises:
        UsageError: it has; all of them are named.
    """
    scores = [f"{name}{suffix}" for name in ("choice_scores", "choice_prob") for suffix in ("", TUNED)]
    names = (CLEAN, UNSEEN, CHOICES, PLACE, *scores, f"image_embedding{TUNED}")
    taken = [name for name in names if name in table.schema.names and table.lineage(name) is None]
    if taken:
        raise UsageError(
            f"{redact(table.uri)} has a column {' and a column '.join(map(repr, taken))} of its own, which this would "
            "replace; nothing was written",
            hint=f"take what is needed into another table: clipdata ingest lance {redact(table.uri)} --into TABLE "
            "--columns …",
        )


def image_of(table: Table, named: str | None) -> str:
    """The column of pictures: one that is named, the one that the table declares, or the one with a usual name.

    Raises:
        SchemaError: there is none, or it holds something else.
    """
    held = [column.name for column in table.schema if is_binary(column.type)]
    usual = [name for name in _IMAGES if name in held]
    found = named or image_column(table.schema) or next(iter([*usual, *held]), None)
    if found in held and found is not None:
        return found
    listed = ", ".join(f"{column.name} ({column.type})" for column in table.schema)
    said = f"its column {named!r} holds no bytes of pictures" if named else "it has no column of bytes of pictures"
    merge = merge_pictures(table.uri, table.schema.names)
    raise SchemaError(
        f"{redact(table.uri)} cannot be trained on as it lies: {said}; it has {listed}",
        hint=f"{merge} joins pictures to it; clipdata ingest lance {typed(table.uri)} --into TABLE reads pictures that "
        "are kept otherwise",
    )


def captions_of(table: Table, named: str | None) -> str:
    """The column of captions: one that is named, or the one with a usual name.

    Raises:
        SchemaError: there is none, or it holds no texts.
    """
    kinds = {column.name: column.type for column in table.schema}
    fitting = [name for name, kind in kinds.items() if is_of("captions", kind)]
    found = named or next((name for name in ("captions", *CAPTIONS) if name in fitting), None)
    if found in fitting and found is not None:
        return found
    listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    said = f"its column {named!r} is not there or holds no texts" if named else "no column has a usual name of captions"
    raise SchemaError(
        f"{redact(table.uri)} has no captions: {said}; it has {listed}", hint="name it: --captions-column COLUMN"
    )
