"""What is searched for, as vectors: texts and pictures through a model, rows by what their table holds of them.

It knows tables and encoders, and nothing of how the rows near a vector are found.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.errors import ClipdataError, NotFoundError, SchemaError, TooManyRejectsError, UsageError
from clipdata.lance_io.table import Table
from clipdata.named_rows import NamedRow, named_row
from clipdata.plurals import counted
from clipdata.progress import Progress
from clipdata.similarity.found import By
from clipdata.similarity.nearby import Asked
from clipdata.similarity.searched_column import SearchedColumn, searched_column
from clipdata.similarity.vectors import vectors_of
from clipdata.storage import Storage

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Args:
        by: what it is.
        name: the text itself, where the picture is, or the row.
        asked: it as a vector.
    """

    by: By
    name: str
    asked: Asked


def checked_texts(given: Any, name: str) -> list[str]:
    """Hold what was given as texts to be such.

    Raises:
        UsageError: one is something else, or says nothing.
    """
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, (Sequence, np.ndarray)):
        raise UsageError(f"search: {name} is {given!r:.80}; expected a text, or a list of them")
    texts = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in given]
    for one in texts:
        if not isinstance(one, str) or not one.strip():
            raise UsageError(f"search: {name} is {one!r:.80}; expected a text that says something")
    return [str(one) for one in texts]


def text_queries(texts: Sequence[str], encoder: Encoder, notes: list[str]) -> list[Query]:
    """Texts as a model sees them; of one that is longer than it reads, `notes` tells."""
    text_TD = encoder.encode_texts(texts).float().cpu().numpy()
    if not np.isfinite(text_TD).all():
        raise ClipdataError(f"{encoder.name} gave NaN or infinity for a text", hint="precision fp32 may mend it")
    notes += [
        f"the model reads {counted(encoder.context_length, 'token')}, and not the end of the text {text[:40]!r} …"
        for text in texts
        if encoder.count_truncated([text])
    ]
    return [Query("text", text, Asked(text_D)) for text, text_D in zip(texts, text_TD, strict=True)]


def picture_queries(
    places: Sequence[str], encoder: Encoder, storage: Storage, progress: Progress, notes: list[str]
) -> list[Query]:
    """Pictures as a model sees them; of those that cannot be used beside others, `notes` tells.

    Raises:
        NotFoundError: no picture is there.
        TooManyRejectsError: none can be used.
    """
    from clipdata.similarity.pictures import encode_pictures

    found = encode_pictures(encoder, places, storage, progress)
    told = [f"{name}: {why}" for name, why in found.refused.items()]
    if not found.names and all(why.startswith("missing") for why in found.refused.values()):
        raise NotFoundError(f"there is no picture {', '.join(found.refused)}", hint="check the path")
    if not found.names:
        raise TooManyRejectsError(f"none of the pictures to search by can be used: {'; '.join(told)}")
    notes += [f"refused: {one}" for one in told]
    return [Query("image", name, Asked(image_D)) for name, image_D in zip(found.names, found.features_ND, strict=True)]


def row_queries(
    table: Table, names: Sequence[str], searched: SearchedColumn, column: str | None, distinct: str | None
) -> list[Query]:
    """Rows by their own vectors; a row is no answer to itself, nor is one of its value of `distinct`.

    Args:
        column: of the vectors, where it is not the one that is searched.

    Raises:
        NotFoundError: there is no such row.
        UsageError: a name is ambiguous, or the row has no vector.
        SchemaError: its vector is not as long as those that are searched.
    """
    held_in = searched.name if column is None else searched_column(table, column, None).name
    wanted = [held_in, *([distinct] if distinct is not None else [])]
    return [_row_query(table, named_row(table, name, wanted), held_in, searched, distinct) for name in names]


def _row_query(table: Table, row: NamedRow, held_in: str, searched: SearchedColumn, distinct: str | None) -> Query:
    values = row.values[held_in]
    held = pa.array([values], table.schema.field(held_in).type)
    vector_1D, _, reasons = vectors_of(held, len(values) if values else searched.size or 1)
    if not len(vector_1D):
        said = {"not_finite": "holds NaN or infinity", "zero": "holds zeros alone"}
        raise UsageError(
            f"row {row.name!r} {said.get(next(iter(reasons)), 'has no vector')} in column {held_in!r}, "
            "so that nothing can be near it",
            hint="clipdata map fills what is missing; or name another row",
        )
    if searched.size is not None and searched.size != vector_1D.shape[1]:
        raise SchemaError(
            f"column {held_in!r} holds vectors of {vector_1D.shape[1]}, column {searched.name!r} of {searched.size}",
            hint="name two columns that one model made",
        )
    return Query("row", row.name, Asked(vector_1D[0], row.id, row.values[distinct] if distinct is not None else None))
