"""What a merged table remembers of its merge: which two tables, how they were joined, and what columns are called.

It is an entry of the table's own metadata, and travels with the table. So a merge of another pair is told from the same
merge again, and an older merge that ends late from a newer one.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clipdata.json_parsing import parse_json
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table
from clipdata.storage import redact, scheme
from ingest.merging.column_names import ColumnNames

ENTRY = "clipdata.merge"


@dataclass(frozen=True)
class Side:
    """One of the two tables.

    Args:
        uri: where it is, without secrets.
        beside: where it is seen from the merged table, so that a folder can move with all that is in it.
        version: that was merged.
    """

    uri: str
    beside: str
    version: int

    @classmethod
    def of(cls, table: Table, into: str) -> Side:
        """The side that a table is, seen from the merged table's location."""
        uri = redact(table.uri)
        near = scheme(uri) == scheme(into)
        return cls(uri, posixpath.relpath(uri, posixpath.dirname(into)) if near else uri, table.version)

    def is_same_table(self, other: Side) -> bool:
        """Whether both are the table at one place, or at one place beside the merged table."""
        return self.uri == other.uri or self.beside == other.beside


@dataclass(frozen=True)
class Pair:
    """Two tables and how they are joined.

    Args:
        on: column of the images.
        metadata_on: column of the metadata.
        group: one row an image.
        names: what the columns are called in the merged table.
        copies: whether its rows were to hold their pictures, or to refer to them; either may follow the other.
    """

    images: Side
    metadata: Side
    on: str
    metadata_on: str
    group: bool
    names: ColumnNames
    copies: bool

    def difference_from(self, before: Pair) -> str | None:
        """In what another merge differs that the table was made by; None for the same one."""
        changed = [
            f"{word} was {old!r} and is {new!r}"
            for word, old, new in (
                ("--on", before.on, self.on),
                ("--metadata-on", before.metadata_on, self.metadata_on),
                ("--group", before.group, self.group),
            )
            if old != new
        ]
        if changed:
            return "it was merged in another way: " + ", ".join(changed)
        for word, old, new in (("images", before.images, self.images), ("metadata", before.metadata, self.metadata)):
            if not new.is_same_table(old):
                changed.append(f"the {word} were {old.uri} and are {new.uri}")
        return "it was merged of another pair: " + ", ".join(changed) if changed else None

    def is_joined_as(self, before: Pair) -> bool:
        """Whether both join on the same columns, in rows of the same kind."""
        return (self.on, self.metadata_on, self.group) == (before.on, before.metadata_on, before.group)

    def is_older_than(self, other: Pair) -> bool:
        """Whether one of the sides has moved on for the other merge."""
        return self.images.version < other.images.version or self.metadata.version < other.metadata.version

    def remember(self, table: Table) -> Pair | None:
        """Write it into the merged table's metadata, unless it says so already.

        Returns:
            What another merge wrote there in the same moment, if that is of newer sides; it is there again.
        """
        seen = table.latest()
        if remembered(seen) == self:
            return None
        rows.set_table_metadata(table, {ENTRY: json.dumps(asdict(self))})
        for version in range(seen.version + 1, table.latest().version):
            other = remembered(table.pinned(version))
            if other is not None and other != remembered(seen) and self.is_older_than(other):
                rows.set_table_metadata(table, {ENTRY: json.dumps(asdict(other))})
                return other
        return None


def remembered(table: Table) -> Pair | None:
    """The merge that a table remembers, or None for one that no merge wrote to."""
    entry = rows.table_metadata(table).get(ENTRY)
    return _pair(parse_json(entry)) if entry else None


def _pair(stored: Mapping[str, Any]) -> Pair:
    names = ColumnNames(**stored["names"])
    images, metadata = Side(**stored["images"]), Side(**stored["metadata"])
    return Pair(images, metadata, stored["on"], stored["metadata_on"], stored["group"], names, stored["copies"])
