"""The job of a merge: plan, compare with what is there, write; and again when the sides moved on meanwhile.

A merge writes down its pair before its first row. Before each write it looks whether a merge of newer sides has written
down its own since: then it begins anew with the newest sides, so that whatever it wrote last is put right.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from clipdata import hints
from clipdata.errors import NotFoundError, SchemaError, TransientError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties
from clipdata.lance_io.inserting import Inserter, read_back, write_new
from clipdata.lance_io.referring import point_anew, release
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table, open_table
from clipdata.plurals import counted
from clipdata.progress import Progress
from clipdata.storage import Storage, redact
from ingest.merging.changes import Changes, changes_of
from ingest.merging.column_names import KEY, ColumnNames
from ingest.merging.objections import Asked, check_grouping, check_part, objection_to
from ingest.merging.outcome import Merged
from ingest.merging.pair import Pair, Side, remembered
from ingest.merging.picture_rows import COPY_IMAGES
from ingest.merging.plan import Plan
from ingest.merging.unmatched import settle_unmatched
from ingest.updating.admission import BROUGHT_BACK, DROPPED_NOTE
from ingest.updating.batches import unit_rows
from ingest.updating.deleted import NOTE

# How often a merge begins anew because its sides moved on while it ran.
ROUNDS = 4
_DELETED_AT_ONCE = 65_536


class _SupersededError(Exception):
    """A merge of newer sides writes to the table, or has."""


@dataclass(frozen=True)
class _Claim:
    """By what a merge knows that the table is its own to write: what it wrote down, and what was there before."""

    pair: Pair
    before: Pair | None


class MergeJob:
    """One merge: plan, compare, write; and again when the sides moved on meanwhile."""

    def __init__(self, asked: Asked, images: Table, metadata: Table, storage: Storage, progress: Progress) -> None:
        self.asked, self.storage, self.progress = asked, storage, progress
        self.images, self.metadata = images.pinned(), metadata.pinned()
        self.started_s = time.monotonic()
        self.written = Written()
        self.num_deleted = 0  # rows deleted by hand that are left out
        self.num_doubled = 0  # rows that share their key with another
        self.num_foreseen = 0  # rows that the table would hold
        self.changed = 0
        self.notes: list[str] = []
        self.first_version: int | None = None

    def run(self) -> Merged:
        for number in range(ROUNDS):
            done = self._round(self._present(), is_last=number == ROUNDS - 1)
            if done is not None:
                return done
        raise TransientError(
            f"merges of newer versions into {redact(self.asked.location)} came between {ROUNDS} times",
            hint="merge again when the others have ended",
        )

    def _round(self, present: Table | None, *, is_last: bool) -> Merged | None:
        """Plan and write; None when it is to be done again."""
        asked, before = self.asked, remembered(present) if present is not None else None
        check_grouping(asked, present, before)
        plan = Plan(
            self.images,
            self.metadata,
            on=asked.on,
            metadata_on=asked.metadata_on,
            group=asked.group,
            copies=self._copies(before),
            present=present,
            before=before.names if before else ColumnNames(),
            sampling=asked.sampling,
        )
        pair = self._pair(plan, before)
        check_part(asked, present, pair, before)
        unmatched = plan.match()
        changes = changes_of(present, plan.keys, plan.etags_of)
        self.num_deleted, self.num_doubled = changes.num_deleted, changes.num_doubled
        if not asked.sampling.is_whole:
            changes = changes.without_removals()
        otherwise = plan.pictures.num_otherwise(present, plan.outputs) if present is not None else 0
        objection = None
        if present is not None and not asked.yes:
            objection = objection_to(plan, changes, pair, before, present)
        if asked.dry_run:
            self.num_foreseen = changes.num_present + changes.num_new - len(changes.gone)
            return self._done(
                plan, present or Table(asked.location, 0, self.storage), _planned(changes), otherwise, objection
            )
        if objection is not None:
            raise UsageError(objection, hint="--dry-run says what would change, and --yes does it")
        table = present or rows.create_table(asked.location, plan.schema, storage=self.storage)
        try:
            if changes.any or otherwise:
                self._write(table, present and present.pinned(), plan, _Claim(pair, before), changes)
        except _SupersededError:
            self._move_on()
            self.notes = ["a merge of newer versions ran meanwhile; the newest were merged"]
            return None
        if self.written.any and asked.follows and not is_last and self._move_on():
            return None
        settle_unmatched(table, unmatched, on=asked.on)
        self._close(table)
        return self._done(plan, table, self.written, self.changed, None)

    def _copies(self, before: Pair | None) -> bool:
        """Whether rows are to hold their pictures: as was asked, or as the table does, or as a new one does."""
        if self.asked.copy_images is not None:
            return self.asked.copy_images
        return before.copies if before is not None else COPY_IMAGES

    def _present(self) -> Table | None:
        """The merged table as it is.

        Raises:
            SchemaError: what is there is no merged table.
            UsageError: it is one of the two that are merged.
        """
        if self.asked.location in (self.images.uri, self.metadata.uri):
            raise UsageError(
                f"{redact(self.asked.location)} would be merged into itself", hint="name another table: --into"
            )
        try:
            table = open_table(self.asked.location, storage=self.storage)
        except NotFoundError:
            return None
        if table.key != KEY:
            found = f"its key is {table.key!r}" if table.key else "it declares no key"
            raise SchemaError(f"{redact(table.uri)} exists and {found}; merged rows are keyed by {KEY!r}")
        self.first_version = self.first_version or table.version
        return table

    def _pair(self, plan: Plan, before: Pair | None) -> Pair:
        """What the table is to remember; names that an earlier merge gave stay given."""
        given = before.names if before else ColumnNames()
        names = ColumnNames({**given.images, **plan.names.images}, {**given.metadata, **plan.names.metadata})
        sides = Side.of(self.images, self.asked.location), Side.of(self.metadata, self.asked.location)
        return Pair(*sides, self.asked.on, self.asked.metadata_on, self.asked.group, names, self._copies(before))

    def _write(self, table: Table, start: Table | None, plan: Plan, claim: _Claim, changes: Changes) -> None:
        """Write changed rows by key and new ones as files, and remove the rows that the two sides no longer give.

        Rows that stay are last given their pictures in the way of the others.

        Args:
            start: the table as the plan knew it; None where it knew none, though another merge may have made it since.

        Raises:
            _SupersededError: a merge of newer sides writes to the table.
        """
        self.first_version = self.first_version or table.version
        missing = [column for column in plan.schema if column.name not in table.schema.names]
        if missing:
            table.move_to(rows.add_columns(table, missing))
        self._check(table, claim)
        if claim.pair.remember(table) is not None and not self.asked.yes:
            raise _SupersededError
        plan.pictures.begin(table)
        inserter = Inserter(table.pinned(), start)
        with self.progress.task("merge", len(changes.wanted)) as counter:
            for outputs, unit in plan.units(changes.wanted, changes.num_present):
                inserter.table.move_to(self._check(table, claim))
                self._write_unit(table, inserter, unit, changes.is_new[outputs])
                counter.advance(unit.num_rows)
        at_once = max(_DELETED_AT_ONCE, unit_rows(changes.num_present))
        for first in range(0, len(changes.gone), at_once):
            assert start is not None, "rows that go are in a table"
            keys = start.take(changes.gone[first : first + at_once], [KEY]).column(0).to_pylist()
            newest = self._check(table, claim)
            self.written += rows.delete_keys(table, keys, onto=newest)
        for found in plan.pictures.anew(table.latest(), plan.outputs):
            self._check(table, claim)
            self.changed += point_anew(table, found)
        self._check(table, claim)

    def _write_unit(self, table: Table, inserter: Inserter, unit: pa.Table, is_new: np.ndarray) -> None:
        """Write rows: new ones in their order, which a join by key would not leave them in."""
        others = unit.filter(pa.array(~is_new))
        self.written += rows.upsert(table, others, changed="etag", onto=inserter.table)
        if not is_new.any():
            return
        new = write_new(inserter.table, unit.filter(pa.array(is_new)))
        left = inserter.insert([new], are_fresh=True)
        self.written += Written(inserted=0 if left else len(new.keys))
        for one in left:
            self.written += rows.upsert(table, read_back(inserter.table, one), changed="etag")

    def _check(self, table: Table, claim: _Claim) -> Table:
        """See to it that the table is still this merge's to write; returns it at its newest version.

        Raises:
            _SupersededError: a merge of newer sides of the same pair has begun.
            UsageError: another pair is merged into it.
        """
        newest = table.latest()
        now = remembered(newest)
        if now is None or now in (claim.pair, claim.before):
            return newest
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
        return newest

    def _move_on(self) -> bool:
        """Go to the newest version of the sides; tell whether there is one."""
        images, metadata = self.images.latest(), self.metadata.latest()
        moved = (images.version, metadata.version) != (self.images.version, self.metadata.version)
        self.images, self.metadata = images, metadata
        return moved

    def _close(self, table: Table) -> None:
        """Mark the end of the merge in the history, if it did anything."""
        table.move_to(table.latest())
        release(table, self.images)
        if not self.written.any and not self.changed:
            return
        counts = {**asdict(self.written), "pictures": self.changed}
        images, metadata = self.images, self.metadata
        origin = {"images": f"{images.uri}@{images.version}", "metadata": f"{metadata.uri}@{metadata.version}"}
        how = {"on": self.asked.on, "metadata_on": self.asked.metadata_on, "group": self.asked.group}
        how["copy_images"] = self.asked.copy_images
        properties = Properties("merge", {**origin, **how}, counts, first_version=self.first_version)
        table.move_to(rows.close_verb(table, properties))

    def _done(self, plan: Plan, table: Table, written: Written, changed: int, objection: str | None) -> Merged:
        notes = [*plan.images.notes, *self.notes]
        if not self.asked.sampling.is_whole:
            notes.append(f"{len(plan.keys):,} of {plan.num_whole:,} rows are merged; nothing is removed")
        if self.num_deleted:
            notes.append(f"{NOTE}: {self.num_deleted:,} (clipdata delete --forget lets them come back)")
        if self.num_doubled:
            rows_ = counted(self.num_doubled, "row shares its key", "rows share their keys")
            notes.append(f"{rows_} with another: {hints.check(table.uri)} --repair keeps one of each")
        if plan.left_out:
            notes.append(f"{DROPPED_NOTE}: {', '.join(plan.left_out)} ({BROUGHT_BACK})")
        for word, side in (("images", self.images), ("metadata", self.metadata)):
            newest = side.latest().version
            if newest != side.version:
                notes.append(f"the {word} are at version {newest}; version {side.version} was merged")
        return Merged(
            table=table,
            num_rows=self.num_foreseen if self.asked.dry_run else table.num_rows,
            written=written,
            joined=plan.joined,
            renamed=plan.names.renamed,
            renamed_images=plan.names.renamed_images,
            pictures=plan.pictures.words,
            changed=changed,
            notes=notes,
            needs_yes=objection,
            dry_run=self.asked.dry_run,
            seconds=time.monotonic() - self.started_s,
        )


def _planned(changes: Changes) -> Written:
    return Written(changes.num_new, len(changes.wanted) - changes.num_new, len(changes.gone))
