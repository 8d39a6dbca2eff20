"""Deleting: rows that meet a condition go by one commit, and no source brings them back while they say the same.

What decides is the content, as everywhere: a row whose file or text has changed since is a new one. The rows stay
readable at the versions before, and a restore of one brings them back together with the chance to take them in again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from clipdata.arguments import check_condition
from clipdata.errors import UsageError
from clipdata.lance_io.conditions import asked
from clipdata.lance_io.deleted_notes import forget, notes_of
from clipdata.lance_io.deleted_rows import remember
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.rows import close_verb
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import Storage, redact

if TYPE_CHECKING:
    import lance

EXAMPLES = 5


@dataclass(frozen=True)
class Deleted:
    """Rows that are gone, or with `dry_run` would be.

    Args:
        table: location.
        where: condition of the rows; None where they were only forgotten.
        num_rows: that meet it.
        num_unknown: rows for which the condition is neither true nor false, since it tests a null; they stay.
        rows_before: rows of the table until then.
        examples: keys of a few of the rows.
        num_remembered: rows that no ingest or merge brings back while they say the same, those of earlier deletes too.
        before: version that still has the rows.
        version: without them; None for a dry run.
        dry_run: nothing was written.
    """

    table: str
    where: str | None
    num_rows: int
    num_unknown: int
    rows_before: int
    examples: tuple[str, ...]
    num_remembered: int
    before: int
    version: int | None
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.where is None:
            done = "would come" if self.dry_run else "come"
            return printable(f"{self.num_remembered:,} deleted rows of {self.table} {done} back when they are ingested")
        done = "would delete" if self.dry_run else "deleted"
        such = f" (such as {', '.join(self.examples)})" if self.examples else ""
        lines = [f"{done} {self.num_rows:,} of {self.rows_before:,} rows of {self.table}{such}"]
        if self.num_unknown:
            lines.append(f"  kept {counted(self.num_unknown, 'row')} for which the condition tests a null")
        if self.num_rows:
            lines.append(f"  version {self.before} keeps them; {self._fate}")
        return "\n".join(map(printable, lines))

    @property
    def _fate(self) -> str:
        if not self.num_remembered:
            return "the table has no key, so a source that still gives them brings them back"
        return "no ingest or merge brings them back, unless their content changes (--forget lets it)"


def delete(
    table: AnyTable,
    where: str | None = None,
    *,
    forget_deleted: bool = False,
    dry_run: bool = False,
    storage: Storage | None = None,
) -> Deleted:
    """Delete the rows that meet a condition, by one commit; the versions before keep them.

    An ingest or merge does not bring them back as long as their content is the same; a restore of a version from before
    does. Rows for which the condition is null stay. Rows that another writer adds meanwhile stay as well.

    Args:
        table: or its location; a handle is moved to the new version.
        where: SQL condition of the rows.
        forget_deleted: instead of a condition: let sources bring back all that was deleted.
        dry_run: say what would go, and write nothing.
        storage: how to reach the location.

    Raises:
        UsageError: there is no condition, or one beside `forget_deleted`.
        SchemaError: the condition names a column that does not exist, or is not SQL.
    """
    handle = as_table(table, storage=storage)
    if (where is None) is not forget_deleted:
        raise UsageError(
            "delete: expected a condition on the rows, or to forget those that were deleted, and not both",
            hint="clipdata delete TABLE --where \"split = 'test'\"",
        )
    newest = handle.latest()
    if where is None:
        return _forgotten(handle, newest, dry_run=dry_run)
    check_condition(where)
    told = _foretold(newest, where)
    if dry_run:
        return told
    properties = Properties("delete", {"where": redact(where)}, {}, first_version=newest.version)
    made = newest
    if told.num_rows:
        deletion = _Deletion(newest, where, properties)
        made, landed = commit(newest, deletion, properties)
        told = replace(told, num_rows=landed.rows["deleted"] if landed is not None else 0)
    handle.move_to(made)
    return replace(told, num_remembered=_num_remembered(made), version=made.version, dry_run=False)


class _Deletion:
    """Builds the commit, anew after a conflict; the rows are noted before each."""

    def __init__(self, table: Table, where: str, properties: Properties) -> None:
        self._table, self._where, self._properties = table, where, properties
        self._attempts = 0

    def __call__(self, dataset: lance.LanceDataset) -> Any:
        from lance import LanceOperation

        table = Table(self._table.uri, dataset.version, self._table.storage, dataset)
        remember(table, self._properties.id, self._where)
        updated, gone, num_rows = [], [], 0
        with asked(table, self._where, "deleting rows of") as where:
            assert where is not None, "a delete has a condition"
            for fragment in dataset.get_fragments():
                left = fragment.delete(where)
                if left is None:
                    gone.append(fragment.fragment_id)
                    num_rows += fragment.count_rows()
                elif (num := left.num_deletions - fragment.metadata.num_deletions) > 0:
                    updated.append(left)
                    num_rows += num
        if not num_rows:
            return None
        self._attempts += 1
        # Another attempt has another id: one that seemed to fail may have landed, with what was in it then.
        said = replace(self._properties, rows={"deleted": num_rows}, id=f"{self._properties.id}-{self._attempts}")
        return LanceOperation.Delete(updated, gone, self._where), said


def _foretold(table: Table, where: str) -> Deleted:
    num_rows, key = table.count_rows(where), table.key
    examples: list[str] = []
    if key is not None and num_rows:
        examples = [str(name) for name in table.to_table([key], where=where, limit=EXAMPLES).column(0).to_pylist()]
    return Deleted(
        table=redact(table.uri),
        where=where,
        num_rows=num_rows,
        num_unknown=table.count_rows(f"({where}) IS NULL"),
        rows_before=table.num_rows,
        examples=tuple(examples),
        num_remembered=_num_remembered(table) + (num_rows if key is not None else 0),
        before=table.version,
        version=None,
        dry_run=True,
    )


def _forgotten(handle: Table, newest: Table, *, dry_run: bool) -> Deleted:
    num = _num_remembered(newest)
    if not dry_run:
        forget(newest)
        properties = Properties("delete", {"forget": True}, {"forgotten": num}, first_version=newest.version)
        handle.move_to(close_verb(newest, properties) if num else newest)
    version = None if dry_run else handle.version
    return Deleted(redact(newest.uri), None, 0, 0, newest.num_rows, (), num, newest.version, version, dry_run)


def _num_remembered(table: Table) -> int:
    return sum(note.num_rows for note in notes_of(table).values())
