"""Admission: under which names and types a source's columns go into a table that may have columns of its own.

A column that a step made is the step's alone, and SQL does not tell names apart that differ in case alone: a source
column of such a name is carried under another one. A column that was dropped by hand is left out. Nothing is added to a
table before the first rows are there that need it.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.schema import is_text, key_of
from clipdata.storage import redact

DROPPED_NOTE = "columns dropped by hand, and left out"
BROUGHT_BACK = "clipdata restore brings back a version that has them"


class Admission:
    """The way of a source's rows into a table.

    Args:
        schema: of the source's rows.
        present: schema of the table, or None for one that is yet to be made.
        where: the table's location, for errors.
        dropped: names of columns that were dropped from the table by hand.

    Attributes:
        left_out: columns of the source that were dropped.
        renamed: columns of the source that bear another name in the table.

    Raises:
        SchemaError: the table has another key, or a column of a type that does not hold the source's values.
    """

    def __init__(self, schema: pa.Schema, present: pa.Schema | None, where: str, dropped: Collection[str] = ()) -> None:
        self.renamed: dict[str, str] = {}
        self.left_out: list[str] = []
        self._made: list[str] = []  # of the renamed, for a step's column in the table
        self._is_done = False
        if present is None:
            self.schema = schema
            return
        _check_key(schema, present, where)
        fields = []
        taken = {*schema.names, *present.names}
        folded = {name.casefold() for name in present.names}
        for column in schema:
            if column.name in dropped:
                self.left_out.append(column.name)
                continue
            at = present.get_field_index(column.name)
            is_made = at >= 0 and Lineage.of(present.field(at)) is not None
            if is_made or (at < 0 and column.name.casefold() in folded):
                name = _other_name(column.name, present, taken)
                taken.add(name)
                if name in dropped:
                    self.left_out.append(column.name)
                    continue
                self.renamed[column.name] = name
                self._made += [column.name] if is_made else []
                column = column.with_name(name)
                at = present.get_field_index(name)
            if at >= 0:
                column = column.with_type(_fitting(column, present.field(at), where))
            fields.append(column)
        self.schema = pa.schema(fields)

    def add_columns(self, table: Table) -> None:
        """Add to the table what it lacks, once; to be called when there are rows to write."""
        if not self._is_done:
            present = set(table.schema.names)
            if any(column.name not in present for column in self.schema):
                table.move_to(rows.add_columns(table, list(self.schema)[1:]))
            self._is_done = True

    def notes(self) -> dict[str, str]:
        """What came in otherwise than the source has it: what is said → of which columns."""
        said = {DROPPED_NOTE: f"{', '.join(self.left_out)} ({BROUGHT_BACK})"} if self.left_out else {}
        for name, other in self.renamed.items():
            why = "is made by a step here" if name in self._made else "differs only in case from one that is here"
            said[f"column {name!r} {why}; the source's is called"] = other
        return said

    def named(self, unit: pa.Table) -> pa.Table:
        """Rows of the source under the names of the table."""
        there = [name for name in self.left_out if name in unit.schema.names]
        unit = unit.drop_columns(there) if there else unit
        if not self.renamed:
            return unit
        return unit.rename_columns([self.renamed.get(name, name) for name in unit.schema.names])


def _check_key(schema: pa.Schema, present: pa.Schema, where: str) -> None:
    if key_of(present) != key_of(schema):
        found = f"its key is {key_of(present)!r}" if key_of(present) else "it declares no key"
        raise SchemaError(
            f"{redact(where)} exists and {found}; these rows are keyed by {key_of(schema)!r}",
            hint="take them into a table of their own (--into), and merge the two",
        )


def _other_name(name: str, present: pa.Schema, taken: set[str]) -> str:
    """`meta_NAME`, which an earlier run may have made, or the first numbered one that is free."""
    candidate, number = f"meta_{name}", 1
    while candidate in taken:
        at = present.get_field_index(candidate)
        if number == 1 and at >= 0 and Lineage.of(present.field(at)) is None:
            return candidate
        number += 1
        candidate = f"meta_{name}_{number}"
    return candidate


def _fitting(column: pa.Field, present: pa.Field, where: str) -> pa.DataType:
    """The table's type, when it holds every value of the source's.

    Raises:
        SchemaError: it does not.
    """
    if column.type == present.type or (is_text(column.type) and is_text(present.type)):
        return present.type
    if _wider(column.type, present.type) == present.type:
        return present.type
    raise SchemaError(
        f"column {column.name!r} of {redact(where)} is {present.type}, and {column.type} here",
        hint="take these rows into another table (--into), or write the column as the table has it",
    )


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both without loss, or None."""
    try:
        return pa.unify_schemas([pa.schema([("", one)]), pa.schema([("", other)])], promote_options="permissive")[
            0
        ].type
    except pa.ArrowTypeError:
        return None
