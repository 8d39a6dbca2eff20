"""Layout: how a version of a table lies in files, and whether that makes all work on it slow.

It is read from metadata alone; rows are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipdata import hints
from clipdata.plurals import counted

if TYPE_CHECKING:
    import lance

MANY_FRAGMENTS = 200
"""Fewer cost nothing that anybody notices, however small they are."""
FEW_ROWS = 4_096
"""In a fragment: of fewer, opening it takes longer than a narrow column of it takes to read."""
MUCH_DELETED = 0.2
"""Share of the rows in the files."""


@dataclass(frozen=True)
class Layout:
    """How a version lies in files.

    Args:
        num_fragments: pieces of rows.
        num_files: data files, of all fragments.
        num_bytes: of these files.
        num_rows: live rows.
        num_deleted: rows that the files hold and the version does not.
    """

    num_fragments: int
    num_files: int
    num_bytes: int
    num_rows: int
    num_deleted: int

    @classmethod
    def of(cls, dataset: lance.LanceDataset) -> Layout:
        """That of a version, from its metadata alone."""
        fragments = [fragment.metadata for fragment in dataset.get_fragments()]
        files = [file for fragment in fragments for file in fragment.files]
        deleted = sum(fragment.num_deletions for fragment in fragments)
        rows = sum(fragment.physical_rows for fragment in fragments) - deleted
        return cls(len(fragments), len(files), sum(file.file_size_bytes or 0 for file in files), rows, deleted)

    def __str__(self) -> str:
        gone = f", {self.num_deleted:,} deleted rows in them" if self.num_deleted else ""
        files = counted(self.num_files, "file")
        return f"{counted(self.num_fragments, 'fragment')}, {files}, {self.num_bytes:,} bytes{gone}"

    @property
    def fault(self) -> str | None:
        """What of it makes work slow; None when nothing does."""
        rows = self.num_rows + self.num_deleted
        if self.num_fragments >= MANY_FRAGMENTS and rows < FEW_ROWS * self.num_fragments:
            each = rows // self.num_fragments
            return f"{self.num_fragments:,} fragments of {each:,} rows, each of which costs requests"
        if rows >= FEW_ROWS and self.num_deleted > MUCH_DELETED * rows:
            return f"{self.num_deleted:,} of {rows:,} rows in the files are deleted, and read over by every scan"
        return None


def advice(dataset: lance.LanceDataset, location: str) -> str | None:
    """One line on a version that is badly laid out, with the command that mends it; None where it is not."""
    fault = Layout.of(dataset).fault
    return f"{fault}; {hints.compact(location)} mends it" if fault else None
