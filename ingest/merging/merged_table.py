"""Merge: join a table of images with a table of metadata into one that is trained and scored on.

One output row for each metadata row, sorted so that the rows of one image are neighbours; `group=True` makes one row
an image instead, with lists. The key of a merged row is a digest of the image's path and the metadata row; so merging
again after either side changed writes the new and changed rows only, and what was derived from the others stays.

The table remembers its pair. Rows go only when the same two tables no longer give them; what would remove more than
that is refused until it is asked for. Of two merges at once, the one of the newer sides decides what the table holds.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from clipdata.errors import NotFoundError, SchemaError, TransientError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import AnyTable, Table, as_table, open_table
from clipdata.progress import Progress, Silent
from clipdata.storage import Storage, absolute, redact
from ingest.merging.changes import EXAMPLES, Changes, changes_of, num_without_successor
from ingest.merging.column_names import KEY, ColumnNames
from ingest.merging.outcome import Merged
from ingest.merging.pair import Pair, Side, remembered
from ingest.merging.plan import Plan
from ingest.merging.unmatched import settle_unmatched

# How often a merge begins anew because its sides moved on while it ran.
ROUNDS = 4
_DELETED_AT_ONCE = 65_536


def merge(
    images: AnyTable,
    metadata: AnyTable,
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    yes: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Table:
    """Join images and metadata; see `merge_report` for the counts as well.

    Returns:
        The merged table, at the version that holds the rows.
    """
    return merge_report(
        images,
        metadata,
        into=into,
        on=on,
        metadata_on=metadata_on,
        group=group,
        yes=yes,
        storage=storage,
        progress=progress,
    ).table


def merge_report(
    images: AnyTable,
    metadata: AnyTable,
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Join images and metadata, and say what matched.

    Names join where they are equal, or differ in nothing but their spelling and one image alone is left (see
    `ingest.merging.join_keys.RULES`).

    Args:
        images: table of image rows, of any maker.
        metadata: table of metadata rows, of any maker.
        into: location of the merged table; made when it is not there.
        on: column of the images to join on ("filename", "path", …).
        metadata_on: column of the metadata; by default the same name.
        group: one row an image, with lists of the metadata's values, instead of one row a metadata row.
        yes: merge also when the table was made of another pair or in another way, when most of its rows would go, and
            when a table given is older than the one that was merged before.
        dry_run: say what would be done, and write nothing.
        storage: how to reach the tables.
        progress: watches the rows go by.

    Raises:
        UsageError: a key that the metadata names belongs to several images, or the merge needs `yes`.
        SchemaError: a column to join on does not exist, or no column holds images.
        TransientError: the sides moved on again and again while they were merged.
    """
    left, right = as_table(images, storage=storage), as_table(metadata, storage=storage)
    asked = _Asked(
        location=absolute(into),
        on=on,
        metadata_on=metadata_on or on,
        group=group,
        yes=yes,
        dry_run=dry_run,
        follows=not isinstance(images, Table) and not isinstance(metadata, Table),
    )
    return _Merge(asked, left, right, storage or left.storage, progress or Silent()).run()


@dataclass(frozen=True)
class _Asked:
    """What was asked for.

    Args:
        follows: the sides were given by location, so that their newest versions are meant.
    """

    location: str
    on: str
    metadata_on: str
    group: bool
    yes: bool
    dry_run: bool
    follows: bool


class _SupersededError(Exception):
    """A merge of newer sides writes to the table, or has."""


@dataclass(frozen=True)
class _Claim:
    """By what a merge knows that the table is its own to write: what it wrote down, and what was there before."""

    pair: Pair
    before: Pair | None


class _Merge:
    """One merge: plan, compare, write; and again when the sides moved on meanwhile."""

    def __init__(self, asked: _Asked, images: Table, metadata: Table, storage: Storage, progress: Progress) -> None:
        self.asked, self.storage, self.progress = asked, storage, progress
        self.images, self.metadata = images.pinned(), metadata.pinned()
        self.started_s = time.monotonic()
        self.written = Written()
        self.notes: list[str] = []
        self.first_version: int | None = None

    def run(self) -> Merged:
        for _ in range(ROUNDS):
            present = self._present()
            done = self._round(present)
            if done is not None:
                return done
        raise TransientError(
            f"the tables merged into {redact(self.asked.location)} moved on {ROUNDS} times while they were merged",
            hint="merge again when they are at rest",
        )

    def _round(self, present: Table | None) -> Merged | None:
        """Plan and write; None when it is to be done again."""
        before = remembered(present) if present is not None else None
        if present is not None and before is not None and before.group != self.asked.group and not self.asked.yes:
            self._refuse_other_grouping(present)
        plan = Plan(
            self.images,
            self.metadata,
            on=self.asked.on,
            metadata_on=self.asked.metadata_on,
            group=self.asked.group,
            present=present,
            before=before.names if before else ColumnNames(),
        )
        pair = self._pair(plan, before)
        unmatched = plan.match()
        changes, is_new = changes_of(present, plan.keys, plan.etags)
        objection = None
        if present is not None and not self.asked.yes:
            objection = self._objection(plan, pair, before, present, changes, is_new)
        if self.asked.dry_run:
            nowhere = Table(self.asked.location, 0, self.storage)
            return self._done(plan, present or nowhere, _planned(changes), objection)
        if objection is not None:
            raise UsageError(objection, hint="--dry-run says what would change, and --yes does it")
        table = present or rows.create_table(self.asked.location, plan.schema, storage=self.storage)
        try:
            self._write(table, plan, _Claim(pair, before), changes)
        except _SupersededError:
            self._move_on()
            self.notes = ["a merge of newer versions ran meanwhile; the newest were merged"]
            return None
        if self.written.any and self.asked.follows and self._move_on():
            return None
        settle_unmatched(table, unmatched, on=self.asked.on)
        self._close(table)
        return self._done(plan, table, self.written, None)

    def _present(self) -> Table | None:
        """The merged table as it is.

        Raises:
            SchemaError: what is there is no merged table.
        """
        try:
            table = open_table(self.asked.location, storage=self.storage)
        except NotFoundError:
            return None
        if table.key != KEY:
            found = f"its key is {table.key!r}" if table.key else "it declares no key"
            raise SchemaError(f"{redact(table.uri)} exists and {found}; merged rows are keyed by {KEY!r}")
        self.first_version = self.first_version or table.version
        return table

    def _refuse_other_grouping(self, present: Table) -> None:
        """Refuse lists in a table of values, or values in one of lists, as long as it has rows."""
        if num_rows := present.num_rows:
            now = "one row an image" if self.asked.group else "one row a metadata row"
            raise UsageError(
                f"{redact(present.uri)}: {num_rows:,} of {num_rows:,} rows would be removed: "
                f"it was merged in another way, and is now to have {now}",
                hint="merge into another table: --into",
            )

    def _pair(self, plan: Plan, before: Pair | None) -> Pair:
        """What the table is to remember; names that an earlier merge gave stay given."""
        given = before.names if before else ColumnNames()
        names = ColumnNames({**given.images, **plan.names.images}, {**given.metadata, **plan.names.metadata})
        sides = Side.of(self.images, self.asked.location), Side.of(self.metadata, self.asked.location)
        return Pair(*sides, self.asked.on, self.asked.metadata_on, self.asked.group, names)

    def _objection(
        self, plan: Plan, pair: Pair, before: Pair | None, present: Table, changes: Changes, is_new: np.ndarray
    ) -> str | None:
        """Why this merge is not done unasked, or None."""
        if changes.num_present == 0:
            return None
        if before is None:
            reason = "no merge wrote it" if len(changes.gone) else None
        else:
            reason = pair.difference_from(before)
            if reason and not len(changes.gone) and pair.is_joined_as(before):
                reason = None  # tables that were moved or copied, and give the same rows
        if reason is None and before is not None:
            reason = self._older(pair, before)
        if reason is None:
            images = plan.matches.images[is_new]
            identity = plan.names.images.get(plan.images.identity, plan.images.identity)
            lost = num_without_successor(present, changes, identity, plan.images.identities[images])
            if 2 * lost > changes.num_present:
                reason = f"{lost:,} of its rows have no image or no metadata any more"
        if reason is None:
            return None
        gone, num_present = len(changes.gone), changes.num_present
        where = redact(self.asked.location)
        return f"{where}: {gone:,} of {num_present:,} rows would be removed{_named(plan, present, changes)}: {reason}"

    def _older(self, pair: Pair, before: Pair) -> str | None:
        """Whether a table was given at a version before the one that was merged, though newer ones are there."""
        for word, table, new, old in (
            ("images", self.images, pair.images, before.images),
            ("metadata", self.metadata, pair.metadata, before.metadata),
        ):
            if new.is_same_table(old) and new.version < old.version <= table.latest().version:
                return f"the {word} are given at version {new.version}, and version {old.version} was merged before"
        return None

    def _write(self, table: Table, plan: Plan, claim: _Claim, changes: Changes) -> None:
        """Write new and changed rows by key, then remove the rows that the two sides no longer give.

        Raises:
            _SupersededError: a merge of newer sides writes to the table.
        """
        snapshot = table.pinned()
        self.first_version = self.first_version or table.version
        missing = [column for column in plan.schema if column.name not in table.schema.names]
        if missing:
            table.move_to(rows.add_columns(table, missing))
        if not changes.any:
            return
        self._check(table, claim)
        if claim.pair.remember(table) is not None and not self.asked.yes:
            raise _SupersededError
        with self.progress.task("merge", len(changes.wanted)) as counter:
            for unit in plan.units(changes.wanted):
                built = plan.build(unit)
                self._check(table, claim)
                self.written += rows.upsert(table, built, changed="etag")
                counter.advance(len(unit))
        for start in range(0, len(changes.gone), _DELETED_AT_ONCE):
            places = changes.gone[start : start + _DELETED_AT_ONCE]
            keys = snapshot.take(places, [KEY]).column(0).to_pylist()
            self._check(table, claim)
            self.written += rows.delete_keys(table, keys)
        self._check(table, claim)

    def _check(self, table: Table, claim: _Claim) -> None:
        """See to it that the table is still this merge's to write.

        Raises:
            _SupersededError: a merge of newer sides of the same pair has begun.
            UsageError: another pair is merged into it.
        """
        now = remembered(table.latest())
        if now is None or now in (claim.pair, claim.before):
            return
        if claim.pair.difference_from(now) is not None:
            raise UsageError(
                f"{redact(table.uri)}: meanwhile {now.images.uri} and {now.metadata.uri} are merged into it; "
                "nothing more is written",
                hint="merge one pair into one table",
            )
        if claim.pair.is_older_than(now) and not self.asked.yes:
            raise _SupersededError
        if now.is_older_than(claim.pair):  # it wrote down its name after this one had, and must not go on
            claim.pair.remember(table)

    def _move_on(self) -> bool:
        """Go to the newest version of the sides; tell whether there is one."""
        images, metadata = self.images.latest(), self.metadata.latest()
        moved = (images.version, metadata.version) != (self.images.version, self.metadata.version)
        self.images, self.metadata = images, metadata
        return moved

    def _close(self, table: Table) -> None:
        """Mark the end of the merge in the history, if it did anything."""
        table.move_to(table.latest())
        if not self.written.any:
            return
        counts = {"inserted": self.written.inserted, "updated": self.written.updated, "deleted": self.written.deleted}
        images, metadata = self.images, self.metadata
        origin = {"images": f"{images.uri}@{images.version}", "metadata": f"{metadata.uri}@{metadata.version}"}
        how = {"on": self.asked.on, "metadata_on": self.asked.metadata_on, "group": self.asked.group}
        properties = Properties("merge", {**origin, **how}, counts, first_version=self.first_version)
        table.move_to(rows.close_verb(table, properties))

    def _done(self, plan: Plan, table: Table, written: Written, objection: str | None) -> Merged:
        notes = [*plan.images.notes, *self.notes]
        for word, side in (("images", self.images), ("metadata", self.metadata)):
            newest = side.latest().version
            if newest != side.version:
                notes.append(f"the {word} are at version {newest}; version {side.version} was merged")
        return Merged(
            table=table,
            num_rows=len(plan.keys) if self.asked.dry_run else table.num_rows,
            written=written,
            joined=plan.joined,
            renamed=plan.names.renamed,
            renamed_images=plan.names.renamed_images,
            notes=notes,
            needs_yes=objection,
            dry_run=self.asked.dry_run,
            seconds=time.monotonic() - self.started_s,
        )


def _planned(changes: Changes) -> Written:
    return Written(changes.num_new, len(changes.wanted) - changes.num_new, len(changes.gone))


def _named(plan: Plan, present: Table, changes: Changes) -> str:
    """Examples of the rows that would go."""
    column = plan.names.images.get(plan.images.identity, KEY)
    if not len(changes.gone) or column not in present.schema.names:
        return ""
    names = present.take(changes.gone[:EXAMPLES], [column]).column(0).to_pylist()
    more = " …" if len(changes.gone) > EXAMPLES else ""
    return f" ({', '.join(str(name) for name in names)}{more})"
