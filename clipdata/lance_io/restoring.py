"""Restoring: a new version of a table that equals an old one; the versions between stay readable.

Everything that a version holds comes back with it: rows, columns, what made them, the indices, and the table's own
metadata, in which merges and deletes note what they did. What lies beside a table and only saves work is held to the
rows that are there by whoever reads it, so nothing beside the table is to be restored. It must not know what made rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from clipdata.errors import ConcurrentChangeError, NotFoundError, StorageError, UsageError
from clipdata.lance_io.data_files import digest_of_files
from clipdata.lance_io.differences import ColumnDifference, column_differences, diff
from clipdata.lance_io.history import Properties, commit, made_since
from clipdata.lance_io.referring import referred_by
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.printable import printable
from clipdata.storage import Storage, redact


@dataclass(frozen=True)
class Undone:
    """What made a version that is newer than the restored one.

    Args:
        version: its number.
        verb: that made it, or what Lance calls the commit of another tool.
    """

    version: int
    verb: str


@dataclass(frozen=True)
class Restored:
    """What a restore changed, or with `dry_run` would change.

    Args:
        table: location.
        restored: number of the version that came back.
        before: newest version until then, which stays readable as all others do.
        version: that holds it now; None for a dry run. It is `before` where that equals the restored one already.
        rows_before: rows until then.
        rows_after: rows now.
        rows_back: rows that are there again; None where the table has no key to tell.
        rows_gone: rows that are not there any more; None where the table has no key to tell.
        columns: that differ, from before to now.
        undone: what was done since the restored version.
        problems: what of the restored version cannot be read, such as pictures of a table that is gone.
        dry_run: nothing was written.
    """

    table: str
    restored: int
    before: int
    version: int | None
    rows_before: int
    rows_after: int
    rows_back: int | None
    rows_gone: int | None
    columns: tuple[ColumnDifference, ...]
    undone: tuple[Undone, ...]
    problems: tuple[str, ...]
    dry_run: bool

    @property
    def changes(self) -> bool:
        """Whether the restored version is another one than the newest."""
        return self.before != self.version

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "changes": self.changes}

    def __str__(self) -> str:
        if not self.changes:
            return printable(f"{self.table} is as at version {self.restored} already (version {self.before})")
        done = "would become" if self.dry_run else f"is at version {self.version}, which equals"
        lines = [f"{self.table} {done} version {self.restored}; version {self.before} stays readable"]
        counts = f"  rows: {self.rows_before:,} → {self.rows_after:,}"
        if self.rows_back is not None:
            counts += f" ({self.rows_back:,} come back, {self.rows_gone:,} go)"
        lines += [counts, *(f"  column {column}" for column in self.columns)]
        verbs = ", ".join(f"{one.verb} ({one.version})" for one in self.undone)
        lines += [f"  undone: {verbs}"] if verbs else []
        return "\n".join(map(printable, [*lines, *(f"  {problem}" for problem in self.problems)]))


def restore(table: AnyTable, version: int | str, *, dry_run: bool = False, storage: Storage | None = None) -> Restored:
    """Make a new version of a table that equals an old one. Nothing is lost: every version stays as it is.

    Rows that a source gave since come back when it is ingested again, and so do those that a merge gave; a map fills
    what is null again.

    Args:
        table: or its location; a handle is moved to the new version.
        version: number or tag.
        dry_run: say what would change, and write nothing.
        storage: how to reach the location.

    Raises:
        NotFoundError: there is no such version; it was cleaned up, or never was.
        UsageError: it is neither a number nor a tag.
    """
    from lance import LanceOperation

    if isinstance(version, bool) or not isinstance(version, int | str):
        raise UsageError(f"restore: {version!r} is no version; expected a number or a tag")
    handle = as_table(table, storage=storage)
    newest, old = handle.latest(), handle.pinned(version)  # type: ignore[arg-type]
    if _are_equal(newest, old):
        if not dry_run:
            handle.move_to(newest)
        return _told(newest, old, newest.version, dry_run=dry_run)
    if dry_run:
        return _told(newest, old, None, dry_run=True)
    before = _counts(newest, old)
    parameters = {"to": old.version, **({"tag": version} if isinstance(version, str) else {})}
    properties = Properties("restore", parameters, before, first_version=newest.version)
    made, _ = commit(newest, lambda _: LanceOperation.Restore(old.version), properties)
    replaced = newest if made.version == newest.version + 1 else newest.pinned(made.version - 1)
    handle.move_to(made)
    return _told(replaced, old, made.version, dry_run=False)


def _are_equal(one: Table, other: Table) -> bool:
    """Whether two versions of a table hold the same in every respect."""
    schemas = one.schema.equals(other.schema, check_metadata=True)
    metadata = dict(one.dataset.metadata or {}) == dict(other.dataset.metadata or {})
    return schemas and metadata and digest_of_files(one) == digest_of_files(other)


def _told(newest: Table, old: Table, version: int | None, *, dry_run: bool) -> Restored:
    counts = _counts(newest, old)
    return Restored(
        table=redact(newest.uri),
        restored=old.version,
        before=newest.version,
        version=version,
        rows_before=newest.num_rows,
        rows_after=old.num_rows,
        rows_back=counts.get("back"),
        rows_gone=counts.get("gone"),
        columns=column_differences(newest, old),
        undone=_undone(newest, old.version),
        problems=tuple(str(one) for one in referred_by(old) if one.problem),
        dry_run=dry_run,
    )


def _counts(newest: Table, old: Table) -> dict[str, int]:
    """Rows that come back and that go, where a key tells."""
    try:
        found = diff(newest, newest.version, old.version, columns=(), examples=0)
    except (UsageError, NotFoundError, StorageError, ConcurrentChangeError):  # no key of its own, or unreadable
        return {}
    return {"back": found.rows_added, "gone": found.rows_removed}


def _undone(newest: Table, version: int) -> tuple[Undone, ...]:
    return tuple(
        Undone(made.version, made.properties.verb if made.properties else made.operation)
        for made in made_since(newest, version)
    )
