"""Objections: what a merge would take away that nobody asked it to. It compares and says; it writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipdata.errors import UsageError
from clipdata.lance_io.table import Table
from clipdata.storage import redact
from ingest.merging.changes import EXAMPLES, Changes, num_without_successor
from ingest.merging.column_names import KEY
from ingest.merging.pair import Pair
from ingest.merging.plan import Plan
from ingest.updating.sampling import Sampling


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Args:
        copy_images: rows hold their pictures, or refer to them; None leaves a table as it is.
        follows: the sides were given by location, so that their newest versions are meant.
        sampling: which of the rows are merged.
    """

    location: str
    on: str
    metadata_on: str
    group: bool
    copy_images: bool | None
    yes: bool
    dry_run: bool
    follows: bool
    sampling: Sampling = field(default_factory=Sampling)


def check_grouping(asked: Asked, present: Table | None, before: Pair | None) -> None:
    """See to it that lists do not come into a table of values, nor values into one of lists, as long as it has rows.

    Raises:
        UsageError: they would.
    """
    if present is None or before is None or before.group == asked.group or asked.yes:
        return
    if num_rows := present.num_rows:
        now = "one row an image" if asked.group else "one row a metadata row"
        raise UsageError(
            f"{redact(present.uri)}: {num_rows:,} of {num_rows:,} rows would be removed: "
            f"it was merged in another way, and is now to have {now}",
            hint="merge into another table: --into",
        )


def check_part(asked: Asked, present: Table | None, pair: Pair, before: Pair | None) -> None:
    """See to it that a part of a pair comes only beside rows of that pair: of another pair nothing would go for it.

    Raises:
        UsageError: the table holds rows of another pair, or rows that are merged in another way.
    """
    if asked.sampling.is_whole or present is None or not present.num_rows:
        return
    other = pair.difference_from(before) if before is not None else "no merge wrote it"
    if other is not None:
        raise UsageError(
            f"{redact(present.uri)}: a part is to be merged into {present.num_rows:,} rows that stay: {other}",
            hint="merge the part into another table (--into), or all of it: leave out --limit and --sample",
        )


def objection_to(plan: Plan, changes: Changes, pair: Pair, before: Pair | None, present: Table) -> str | None:
    """Why a merge is not done unasked, or None.

    Args:
        plan: of the rows that the table is to have.
        changes: what that would change.
        pair: that is merged.
        before: the pair that was merged last.
        present: the table as it is.
    """
    if changes.num_present == 0:
        return None
    reason = _of_pair(changes, pair, before) or _of_age(plan, pair, before) or _of_loss(plan, changes, present)
    if reason is None:
        return None
    gone, num_present = len(changes.gone), changes.num_present
    named = _examples(plan, changes, present)
    return f"{redact(present.uri)}: {gone:,} of {num_present:,} rows would be removed{named}: {reason}"


def _of_pair(changes: Changes, pair: Pair, before: Pair | None) -> str | None:
    """Another pair, or another way to join it; tables that were moved and give the same rows are no other pair."""
    if before is None:
        return "no merge wrote it" if len(changes.gone) else None
    if not len(changes.gone) and pair.is_joined_as(before):
        return None
    return pair.difference_from(before)


def _of_age(plan: Plan, pair: Pair, before: Pair | None) -> str | None:
    """A table given at a version before the one that was merged, though newer ones are there."""
    if before is None:
        return None
    for word, table, new, old in (
        ("images", plan.images.table, pair.images, before.images),
        ("metadata", plan.metadata.table, pair.metadata, before.metadata),
    ):
        if new.is_same_table(old) and new.version < old.version <= table.latest().version:
            return f"the {word} are given at version {new.version}, and version {old.version} was merged before"
    return None


def _of_loss(plan: Plan, changes: Changes, present: Table) -> str | None:
    """Most rows would go, and no new row of the same image come for them."""
    images = plan.matches.images[changes.is_new]
    identity = plan.names.images.get(plan.images.identity, plan.images.identity)
    lost = num_without_successor(present, changes, identity, plan.images.identities[images])
    return f"{lost:,} of its rows have no image or no metadata any more" if 2 * lost > changes.num_present else None


def _examples(plan: Plan, changes: Changes, present: Table) -> str:
    """Some of the rows that would go, by the names of their images."""
    column = plan.names.images.get(plan.images.identity, KEY)
    if not len(changes.gone) or column not in present.schema.names:
        return ""
    names = present.take(changes.gone[:EXAMPLES], [column]).column(0).to_pylist()
    more = " …" if len(changes.gone) > EXAMPLES else ""
    return f" ({', '.join(str(name) for name in names)}{more})"
