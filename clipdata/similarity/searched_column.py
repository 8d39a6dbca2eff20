"""Which column of vectors a search is in, and the model whose features can be held against it.

Both follow from lineage where it tells them, and are named otherwise. It knows tables and encoders, and no query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from clipdata import hints
from clipdata import schema as schemas
from clipdata.errors import LineageMismatchError, NotFoundError, SchemaError, UsageError
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.printable import shell_word
from clipdata.storage import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipdata.encoder.model import Encoder

PICTURES, TEXTS = "ImageEmbedding", "TextEmbedding"
"""Steps whose features texts and pictures can be held against; where a table has both, pictures are searched."""


@dataclass(frozen=True)
class SearchedColumn:
    """A column of vectors.

    Args:
        name: of the column.
        lineage: what made it; None where nobody recorded it.
        size: of its vectors; None where the type does not tell.
        others: columns that could have been searched as well.
    """

    name: str
    lineage: Lineage | None
    size: int | None
    others: tuple[str, ...] = ()


def searched_column(table: Table, named: str | None, model: Encoder | str | None) -> SearchedColumn:
    """The column to search: the one that is named, or the one that a known model made.

    Args:
        named: by the person; None looks for it.
        model: that was named, which tells several columns apart.

    Raises:
        SchemaError: there is none, or it holds no vectors.
        UsageError: several may be meant.
    """
    if named is not None:
        table.require([named], verb="search")
        return _described(table, named)
    known = {column.name: Lineage.of(column) for column in table.schema}
    made = {name: one for name, one in known.items() if one is not None and one.step in (PICTURES, TEXTS)}
    if not made:
        raise _none(table)
    fitting = {name: one for name, one in made.items() if _is_of(one, model)} or made
    pictures = [name for name, one in fitting.items() if one.step == PICTURES]
    chosen = pictures or list(fitting)
    if len(chosen) > 1:
        listed = "; ".join(f"{name}: {known_as(fitting[name])}" for name in chosen)
        raise UsageError(f"several columns can be searched: {listed}", hint=f"name one: --column {chosen[0]}")
    return _described(table, chosen[0], tuple(name for name in made if name != chosen[0]))


def _described(table: Table, name: str, others: tuple[str, ...] = ()) -> SearchedColumn:
    field = table.schema.field(name)
    if not schemas.is_list(field.type) or not pa.types.is_floating(field.type.value_type):
        raise SchemaError(
            f"search: column {name!r} of {redact(table.uri)} is {field.type}; expected vectors: lists of floats",
            hint="--words searches columns of texts" if schemas.is_of("captions", field.type) else _hint(table),
        )
    size = field.type.list_size if pa.types.is_fixed_size_list(field.type) else None
    return SearchedColumn(name, Lineage.of(field), size, others)


def _none(table: Table) -> SchemaError:
    return SchemaError(f"{redact(table.uri)} has no column of embeddings that a known model made", hint=_hint(table))


def _hint(table: Table) -> str:
    own = next((column.name for column in table.schema if _may_be_embeddings(column)), None)
    there = f"; or search what is there: --column {shell_word(own)} --model MODEL" if own is not None else ""
    return f"make one: {hints.embed(table.uri)}{there}"


def _may_be_embeddings(column: pa.Field) -> bool:
    """Whether a text or picture may be held against a column: vectors that nothing says to be something else."""
    return (
        schemas.is_list(column.type)
        and pa.types.is_floating(column.type.value_type)
        and _is_searchable(Lineage.of(column))
    )


def _is_searchable(lineage: Lineage | None) -> bool:
    """Whether a column's lineage says that texts and pictures can be held against it, or does not say of what it is."""
    return lineage is None or lineage.model is None or lineage.step in (PICTURES, TEXTS)


def _is_of(lineage: Lineage, model: Encoder | str | None) -> bool:
    if model is None or isinstance(model, str):
        return model is None or lineage.model_name == model
    return lineage.model == getattr(model, "identity", None)


def known_as(lineage: Lineage) -> str:
    """What made a column, with the model as the person named it."""
    name = f"{lineage.model_name}, " if lineage.model_name else ""
    return f"{name}{lineage.describe()}"


def model_of(column: SearchedColumn, model: Encoder | str | None, device: str | None) -> Encoder:
    """The model whose features a column holds, loaded, and checked to be the one that made it.

    Raises:
        LineageMismatchError: its weights are others than those that made the column.
        NotFoundError: it is no longer where it was.
        SchemaError: its vectors have another size.
        UsageError: nothing tells which model it was.
    """
    lineage = column.lineage if column.lineage is not None and column.lineage.model is not None else None
    if lineage is not None and not _is_searchable(lineage):
        raise UsageError(
            f"column {column.name!r} was made by {known_as(lineage)}; no text or picture can be held against that",
            hint="--like ROW searches by a row of the table itself; --column names another column",
        )
    encoder = _loaded(column, model, device) if model is None or isinstance(model, str) else model
    if not isinstance(getattr(encoder, "identity", None), str) or isinstance(encoder, type):
        raise UsageError(
            f"search: model is {model!r:.80}; expected a model's name, or a loaded model",
            hint='model="starter", or model=clipdata.load_encoder("starter")',
        )
    if lineage is not None and lineage.model != encoder.identity:
        raise LineageMismatchError(
            f"column {column.name!r} was made by {lineage.model_name or 'a model'} ({lineage.model}); "
            f"{encoder.name} is {encoder.identity} now, and its features cannot be held against those",
            hint="name the model that made the column (--model), or map this one's own embedding under another name",
        )
    if column.size is not None and column.size != encoder.embed_dim:
        raise SchemaError(
            f"column {column.name!r} holds vectors of {column.size} numbers; {encoder.name} makes {encoder.embed_dim}",
            hint="name the model that made them: --model",
        )
    return encoder


def _loaded(column: SearchedColumn, model: str | None, device: str | None) -> Encoder:
    from clipdata.encoder.loading import load_encoder

    recorded = column.lineage.model_name if column.lineage is not None else None
    name = model if model is not None else recorded
    if name is None:
        raise UsageError(
            f"nobody recorded which model made column {column.name!r}; a text or picture needs the same one",
            hint="name it: --model ViT-B-32/openai; --like ROW needs none",
        )
    try:
        return load_encoder(name, device=device)
    except NotFoundError as error:
        if model is not None:
            raise
        raise NotFoundError(
            f"column {column.name!r} was made by {name}, which is not there: {error.message}",
            hint="say where that model is now: --model PATH",
        ) from error


def texts_column(table: Table, named: str | None, indexed: Sequence[str]) -> str:
    """The column of texts to search for words: the one that is named, indexed, called after captions, or alone.

    Args:
        indexed: columns with a full-text index.

    Raises:
        SchemaError: there is none, or it holds no texts.
        UsageError: several may be meant.
    """
    texts = [column.name for column in table.schema if schemas.is_of("captions", column.type)]
    if named is not None:
        table.require([named], verb="search")
        if named not in texts:
            raise SchemaError(
                f"search: column {named!r} is {table.schema.field(named).type}; expected texts or lists of texts",
                hint=f"columns of texts: {', '.join(texts)}" if texts else None,
            )
        return named
    usual = [name for name in ("caption", "captions", "text", "texts", "description", "title") if name in texts]
    chosen = list(indexed) or usual[:1] or texts
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise SchemaError(f"{redact(table.uri)} has no column of texts to search for words")
    raise UsageError(
        f"words may be meant in several columns: {', '.join(chosen)}", hint=f"name one: --words-column {chosen[0]}"
    )
