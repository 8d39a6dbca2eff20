"""Outcome: what a merge did, or would do, as a value with text and JSON views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.storage import redact

# Rows without a partner are listed up to this number, and counted all.
LISTED = 1000


@dataclass(frozen=True)
class Joined:
    """How many metadata rows have an image, and how they came to it.

    Args:
        num_matched: metadata rows with an image.
        unmatched_metadata: keys of metadata rows without an image, the first thousand.
        num_unmatched_metadata: how many such rows there are.
        unmatched_images: what images without metadata are called, the first thousand.
        num_unmatched_images: how many there are.
        alike: metadata rows whose key is not equal to that of their image, by what they differ in.
        alike_examples: a few of them: key of the metadata, key of the image, and the difference.
    """

    num_matched: int
    unmatched_metadata: Sequence[str] = ()
    num_unmatched_metadata: int = 0
    unmatched_images: Sequence[str] = ()
    num_unmatched_images: int = 0
    alike: Mapping[str, int] = field(default_factory=dict)
    alike_examples: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Merged:
    """What a merge did, or with `dry_run` would do.

    Args:
        table: at the version that holds the rows; at version 0 in a dry run where there is none yet.
        num_rows: rows of the merged table.
        written: rows inserted, updated and deleted.
        joined: which rows found each other.
        renamed: metadata columns that are called otherwise here, and what they are called.
        renamed_images: the same of the images' columns.
        pictures: the version of the images that rows refer to, such as "images.lance@7"; None where they hold copies.
        changed: rows that were there and hold their picture otherwise now: referred to, copied, or of that version.
        notes: what else whoever reads the table should know.
        needs_yes: why the merge is not done without `yes`; only a dry run says it, else it is an error.
        dry_run: nothing was written.
        seconds: wall time.
    """

    table: Table
    num_rows: int
    written: Written
    joined: Joined
    renamed: Mapping[str, str]
    seconds: float
    renamed_images: Mapping[str, str] = field(default_factory=dict)
    pictures: str | None = None
    changed: int = 0
    notes: Sequence[str] = ()
    needs_yes: str | None = None
    dry_run: bool = False

    @property
    def usable(self) -> bool:
        """Whether the table has a row to work with."""
        return self.num_rows > 0

    @property
    def unmatched_metadata(self) -> Sequence[str]:
        """Keys of metadata rows without an image, the first thousand."""
        return self.joined.unmatched_metadata

    @property
    def unmatched_images(self) -> Sequence[str]:
        """What images without metadata are called, the first thousand."""
        return self.joined.unmatched_images

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        joined = self.joined
        return {
            "table": self.table.uri,
            "version": self.table.version,
            "rows": self.num_rows,
            **asdict(self.written),
            "matched": joined.num_matched,
            "unmatched_metadata": list(joined.unmatched_metadata),
            "num_unmatched_metadata": joined.num_unmatched_metadata,
            "unmatched_images": list(joined.unmatched_images),
            "num_unmatched_images": joined.num_unmatched_images,
            "joined_though_not_equal": dict(joined.alike),
            "joined_examples": [list(example) for example in joined.alike_examples],
            "renamed": dict(self.renamed),
            "renamed_images": dict(self.renamed_images),
            "pictures": self.pictures,
            "changed": self.changed,
            "notes": list(self.notes),
            "needs_yes": self.needs_yes,
            "dry_run": self.dry_run,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._lines()])

    def _headline(self) -> str:
        counts = f"{self.written.inserted:,} new, {self.written.updated:,} replaced, {self.written.deleted:,} removed"
        where = redact(self.table.uri)
        if self.dry_run:
            return f"{where}: would hold {counted(self.num_rows, 'row')}; {counts}; nothing was written"
        return f"{where}: {counted(self.num_rows, 'row')} merged (version {self.table.version}); {counts}"

    def _lines(self) -> list[str]:
        joined, lines = self.joined, []
        if joined.num_unmatched_metadata:
            told = f"{joined.num_unmatched_metadata:,} ({_examples(joined.unmatched_metadata)})"
            listed = "" if self.dry_run else "; all are listed in the rejects table"
            lines.append(f"  metadata rows without an image: {told}{listed}")
        if joined.num_unmatched_images:
            told = f"{joined.num_unmatched_images:,} ({_examples(joined.unmatched_images)})"
            lines.append(f"  images without metadata: {told}")
        if joined.alike:
            ways = ", ".join(f"{count:,} by {word}" for word, count in joined.alike.items())
            pairs = ", ".join(f"{name!a} is {image!a}" for name, image, _ in joined.alike_examples[:3])
            lines.append(f"  joined although not equal: {sum(joined.alike.values()):,} ({ways}): {pairs}")
        lines += [f"  metadata column {old!r} is {new!r} here" for old, new in self.renamed.items()]
        lines += [f"  image column {old!r} is {new!r} here" for old, new in self.renamed_images.items()]
        lines += self._of_pictures()
        lines += [f"  {note}" for note in self.notes]
        if self.needs_yes:
            lines.append(f"  without --yes it is refused: {self.needs_yes}")
        return lines

    def _of_pictures(self) -> list[str]:
        lines = []
        if self.pictures:
            lines.append(
                f"  pictures stay in {self.pictures}, where a tag keeps them; --copy-images writes them here too"
            )
        if self.changed:
            what = "refer to their picture there" if self.pictures else "have a copy of their picture"
            when = "would" if self.dry_run else "now"
            lines.append(f"  {counted(self.changed, 'row')} that were here before {when} {what}")
        return lines


def _examples(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
