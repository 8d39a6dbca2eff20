"""Incoming columns: the Arrow types and names that people bring, made into those that a table holds.

One place for every source. Types become plain ones, without a value lost: a dictionary is a way of storing texts, a map
a list of pairs. Names become such as Lance reads back and SQL tells apart. Schemas that belong together (the files of a
folder) get one name and one type a column. It knows Arrow, and nothing of files or tables.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from clipdata.column_names import MAX_NAME_BYTES, problem_of
from clipdata.plain_types import one_nan, plain_array, plain_type, settled, wider
from clipdata.schema import ERROR_SUFFIX

Column = tuple[str, int]  # a name, and how many columns of that name come before it in its schema


@dataclass(frozen=True)
class Incoming:
    """How batches of one schema become batches of plain types and names.

    Args:
        own: the schema's columns under their new names, each of its own plain type.
        schema: what `apply` gives: the columns of all schemas that belong together.
        renamed: new name → the name it had.
        converted: new name → "type it had → type it has".
    """

    own: pa.Schema
    schema: pa.Schema
    renamed: Mapping[str, str]
    converted: Mapping[str, str]

    def plain(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch's own columns, renamed and plain.

        Raises:
            pa.ArrowInvalid: a value is not of its type, such as a text that is not UTF-8.
        """
        batch.validate(full=True)
        arrays = [plain_array(array, column.type) for array, column in zip(batch.columns, self.own, strict=True)]
        return _batch(arrays, self.own, batch.num_rows)

    def widened(self, plain: pa.RecordBatch) -> pa.RecordBatch:
        """What `plain` gave, with the columns of `schema`; those that it lacks are null.

        Raises:
            pa.ArrowInvalid: a value does not fit the wider type exactly.
        """
        arrays = []
        for column in self.schema:
            place = self.own.get_field_index(column.name)
            missing = place < 0
            arrays.append(
                pa.nulls(len(plain), column.type) if missing else one_nan(plain_array(plain[place], column.type))
            )
        return _batch(arrays, self.schema, plain.num_rows)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the columns of `schema`.

        Raises:
            pa.ArrowInvalid: a value is not of its type, or does not fit the wider one exactly.
        """
        return self.widened(self.plain(batch))


@dataclass(frozen=True)
class Together:
    """Schemas that became one.

    Args:
        schema: all columns, nullable, in the order in which they came.
        parts: one for each schema; None for one that has a column which no type of the others can hold.
        misfits: for each such schema, its place and what does not fit.
        lacking: column → how many schemas do not have it.
        widened: column → the types that were made one, for those that differed.
    """

    schema: pa.Schema
    parts: Sequence[Incoming | None]
    misfits: Mapping[int, str]
    lacking: Mapping[str, int]
    widened: Mapping[str, str]


def normalised(schema: pa.Schema, *, taken: Collection[str] = ()) -> Incoming:
    """How batches of a schema become batches of plain types and names.

    Args:
        schema: as a file or another tool has it.
        taken: names that the rows keep for themselves; a column of such a name becomes `meta_NAME`.
    """
    part = together([schema], taken=taken).parts[0]
    assert part is not None, "a schema fits itself"
    return part


def together(schemas: Sequence[pa.Schema], *, taken: Collection[str] = ()) -> Together:
    """Make one schema of several: a name means one column in all of them, of the narrowest type that holds every value.

    Args:
        schemas: in the order in which their columns are to come.
        taken: as of `normalised`.
    """
    schemas = [pa.schema(list(zip(schema.names, schema.types, strict=True))) for schema in schemas]  # no metadata
    names = plain_names((column for schema in schemas for column in _columns(schema)), taken=taken)
    owns = [_named(schema, names) for schema in schemas]
    types: dict[str, pa.DataType] = {}
    seen: dict[str, dict[str, None]] = {}
    misfits: dict[int, str] = {}
    for place, own in enumerate(owns):
        found = {column.name: wider(types.get(column.name, pa.null()), column.type) for column in own}
        bad = next((name for name, kind in found.items() if kind is None), None)
        if bad is not None:
            misfits[place] = f"column {bad!r} is {own.field(bad).type}, and {types[bad]} in the files before it"
            continue
        types |= {name: kind for name, kind in found.items() if kind is not None}
        for column in own:
            seen.setdefault(column.name, {})[str(column.type)] = None
    whole = pa.schema([pa.field(name, settled(kind)) for name, kind in types.items()])
    fitting = [own for place, own in enumerate(owns) if place not in misfits]
    present = Tally(column.name for own in fitting for column in own)
    parts: dict[pa.Schema, Incoming] = {}
    for place, (schema, own) in enumerate(zip(schemas, owns, strict=True)):
        if place not in misfits and schema not in parts:
            parts[schema] = _part(schema, own, whole)
    return Together(
        whole,
        [None if place in misfits else parts[schema] for place, schema in enumerate(schemas)],
        misfits,
        {name: len(fitting) - present[name] for name in types if present[name] < len(fitting)},
        {
            name: " and ".join(kinds) + f" → {whole.field(name).type}"
            for name, kinds in seen.items()
            if len([kind for kind in kinds if kind != "null"]) > 1
        },
    )


def plain_names(columns: Iterable[Column], *, taken: Collection[str] = ()) -> dict[Column, str]:
    """The name that each column gets: its own where that will do, and else the nearest that is free.

    Args:
        columns: those of several schemas may follow each other; one that comes again is the same column.
        taken: names that the rows keep for themselves.
    """
    wanted = list(dict.fromkeys(columns))
    kept = {name.casefold() for name in taken}
    names: dict[Column, str] = {}
    used = set(kept)
    for column in wanted:  # first those that can stay as they are, so that no other gets their name
        name, _ = column
        if problem_of(name) is None and name.casefold() not in used:
            names[column] = name
            used.add(name.casefold())
    for column in wanted:
        if column not in names:
            base = _usable(column[0])
            base = f"meta_{base}" if base.casefold() in kept else base
            numbers = (f"{base}_{number}" for number in range(2, len(wanted) + 3))
            names[column] = next(name for name in (base, *numbers) if name.casefold() not in used)
            used.add(names[column].casefold())
    return names


def _usable(name: str) -> str:
    """A name like it that Lance reads back."""
    letters = ("_" if letter in "`.*" or unicodedata.category(letter) in _UNWRITTEN else letter for letter in name)
    text = "".join(letters).strip() or "column"
    while text.endswith(ERROR_SUFFIX):
        text = text.removesuffix(ERROR_SUFFIX) + "_error"
    text = text.encode()[: MAX_NAME_BYTES - 10].decode(errors="ignore")  # room for a number
    return text if problem_of(text) is None else re.sub(r"^_*", "column_", text)


_UNWRITTEN = ("Cc", "Cs", "Zl", "Zp")


def _columns(schema: pa.Schema) -> list[Column]:
    counts: Tally[str] = Tally()
    columns = []
    for name in schema.names:
        columns.append((name, counts[name]))
        counts[name] += 1
    return columns


def _named(schema: pa.Schema, names: Mapping[Column, str]) -> pa.Schema:
    """The schema's columns under their new names, plain; a type that is not known yet is null."""
    found = zip(_columns(schema), schema, strict=True)
    return pa.schema([pa.field(names[column], plain_type(field.type)) for column, field in found])


def _part(schema: pa.Schema, own: pa.Schema, whole: pa.Schema) -> Incoming:
    settled_own = pa.schema([pa.field(column.name, settled(column.type)) for column in own])
    renamed = {new: old for new, old in zip(own.names, schema.names, strict=True) if new != old}
    pairs = zip(own.names, schema.types, settled_own.types, strict=True)
    converted = {name: f"{before} → {after}" for name, before, after in pairs if not _is_same(before, after)}
    return Incoming(settled_own, whole, renamed, converted)


def _is_same(before: pa.DataType, after: pa.DataType) -> bool:
    """Whether only the layout differs: views, and offsets of 64 bits."""
    if pa.types.is_large_list(before) or pa.types.is_list(before):
        return bool(pa.types.is_list(after)) and _is_same(before.value_type, after.value_type)
    texts = (pa.string(), pa.large_string(), pa.string_view())
    return bool(before == after or (before in texts and after == pa.string()) or before == pa.binary_view())


def _batch(arrays: list[pa.Array], schema: pa.Schema, num_rows: int) -> pa.RecordBatch:
    if not arrays:
        return pa.record_batch([pa.nulls(num_rows)], names=["_"]).select([])
    return pa.record_batch(arrays, schema=schema)
