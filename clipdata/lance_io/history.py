"""History: commits that carry the verb that made them, found again by their own id, and listed for `log`."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from clipdata.json_parsing import parse_json
from clipdata.lance_io.calls import by_call
from clipdata.lance_io.faults import is_transient, translated, with_retries
from clipdata.lance_io.settling import settle
from clipdata.lance_io.table import Table, open_table
from clipdata.lance_io.version_numbers import version_numbers
from clipdata.storage import Storage, redact

PREFIX = "clipdata."
INSERT = "Insert"


@dataclass(frozen=True)
class Properties:
    """What a verb says of itself in its commit.

    Args:
        verb: "ingest", "merge", "map", …
        parameters: JSON values, without secrets.
        rows: rows touched, by what was done to them.
        first_version: newest version before the verb began; its own commits come after it.
        id: of this commit alone, so that it can be recognised after a fault.
    """

    verb: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    first_version: int | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def call(self) -> Hashable:
        """What is the same for all commits of one call of a verb, such as a map of several rounds."""
        told = {name: value for name, value in self.parameters.items() if name != "notes"}
        first = self.first_version if self.first_version is not None else self.id
        return self.verb, first, json.dumps(told, sort_keys=True, default=str)

    def to_strings(self) -> dict[str, str]:
        """As Lance's transaction properties."""
        return {
            f"{PREFIX}id": self.id,
            f"{PREFIX}verb": self.verb,
            f"{PREFIX}parameters": redact(json.dumps(dict(self.parameters), default=str)),
            f"{PREFIX}rows": json.dumps(dict(self.rows)),
            **({f"{PREFIX}first_version": str(self.first_version)} if self.first_version is not None else {}),
            "lance.commit.message": f"clipdata {self.verb}",
        }

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> Properties | None:
        """Read what `to_strings` wrote, or None for a commit of someone else."""
        if f"{PREFIX}verb" not in strings:
            return None
        first = strings.get(f"{PREFIX}first_version")
        return cls(
            verb=strings[f"{PREFIX}verb"],
            parameters=parse_json(strings.get(f"{PREFIX}parameters", "{}")),
            rows=parse_json(strings.get(f"{PREFIX}rows", "{}")),
            first_version=int(first) if first is not None else None,
            id=strings.get(f"{PREFIX}id", ""),
        )


@dataclass(frozen=True)
class Version:
    """One version of a table, or all that one call of a verb made, as `log` shows it.

    Args:
        version: its number; the last one's where a verb made several.
        when: it was committed, UTC.
        operation: of Lance; `INSERT` where rows went in without a join, which Lance calls as it does a new column.
        num_rows: in the table afterwards.
        properties: what the verb said of itself; None for a commit of another tool, or of a verb that did not finish.
        tags: that name this version, or one of `commits`.
        commits: the versions that are told as one, ascending.
    """

    version: int
    when: datetime
    operation: str
    num_rows: int
    properties: Properties | None
    tags: tuple[str, ...] = ()
    commits: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        known = self.properties
        verb = {"verb": known.verb, "parameters": dict(known.parameters), "touched": dict(known.rows)} if known else {}
        when = self.when.isoformat(timespec="seconds")
        return {"version": self.version, "when": when, "operation": self.operation, "rows": self.num_rows, **verb} | {
            "tags": list(self.tags),
            "commits": list(self.commits or (self.version,)),
        }


@dataclass(frozen=True)
class Made:
    """What made one version.

    Args:
        version: its number.
        operation: of Lance.
        properties: what the verb said of itself; None for a commit of another tool, or of a verb that did not finish.
    """

    version: int
    operation: str
    properties: Properties | None


def commit(
    table: Table, operation: Callable[[Any], Any], properties: Properties, *, is_newest: bool = False
) -> tuple[Table, Properties | None]:
    """Commit an operation against the newest version, again and again until it is in the history exactly once.

    Args:
        operation: builds the Lance operation from the newest dataset; it is called anew after a conflict, and may
            return None when nothing is left to commit, or an operation with properties of its own.
        properties: carried by the commit, unless the operation brings its own.
        is_newest: begin with the version of `table` instead of looking for a newer one; for what no other commit is in
            the way of.

    Returns:
        The table at the version that holds the commit, and the properties with which it landed; or the newest version
        and None, when there was nothing to commit.
    """
    import lance

    first = table if is_newest else open_table(table.uri, storage=table.storage)
    tried: dict[str, Properties] = {}

    def attempt() -> tuple[Table, Properties | None]:
        newest = open_table(table.uri, storage=table.storage) if tried else first
        landed = _version_of(newest, tried, after=first.version)
        if landed is not None:
            version, commit_id = landed
            return open_table(table.uri, version=version, storage=table.storage), tried[commit_id]
        built = operation(newest.dataset)
        if built is None:
            return newest, None
        built, said = built if isinstance(built, tuple) else (built, properties)
        tried[said.id] = said
        transaction = lance.Transaction(
            read_version=newest.version,
            uuid=str(uuid.uuid4()),
            operation=built,
            transaction_properties=said.to_strings(),
        )
        options = table.storage.lance_options(table.uri) or None
        # Given the dataset and not its location, it is not opened another time.
        dataset = lance.LanceDataset.commit(newest.dataset, transaction, storage_options=options)
        return Table(table.uri, dataset.version, table.storage, dataset), said

    with translated(table.uri, "committing to"):
        made, landed = with_retries(attempt, attempts=12)
    settle(made)
    return made, landed


def _version_of(table: Table, commit_ids: Collection[str], *, after: int) -> tuple[int, str] | None:
    """Version whose commit carries one of some ids, and that id, among those after a version."""
    for version in range(table.version, after, -1):
        properties = _properties_at(table, version)
        if properties is not None and properties.id in commit_ids:
            return version, properties.id
    return None


def _properties_at(table: Table, version: int) -> Properties | None:
    transaction, _ = transaction_at(table, version)
    return Properties.from_strings(transaction.transaction_properties or {}) if transaction is not None else None


def transaction_at(table: Table, version: int) -> tuple[Any, str]:
    """What made a version, and what Lance calls it; None where nothing can be read of it."""
    try:
        transaction = table.own_dataset().read_transaction(version)
    except TypeError as error:  # Lance cannot show a compaction of a table that has an index
        return None, "Rewrite" if "RewrittenIndex" in str(error) else "unknown"
    except (OSError, ValueError) as error:
        if is_transient(error):
            raise
        return None, "unknown"  # transaction files go with old versions when those are cleaned up
    return transaction, type(transaction.operation).__name__ if transaction is not None else "unknown"


def log(
    table: Table | str | os.PathLike[str],
    *,
    all: bool = False,  # noqa: A002 - the command line's word
    storage: Storage | None = None,
) -> list[Version]:
    """What was done to a table, oldest first: an entry for each call of a verb, and for each commit of other tools.

    Args:
        table: or its location; a handle that is pinned to an older version shows the later ones too.
        all: an entry for each version instead, also where a verb made several.
        storage: how to reach the location.
    """
    table = table.latest() if isinstance(table, Table) else open_table(table, storage=storage)
    with translated(table.uri, "reading the history of"):
        tags: dict[int, list[str]] = {}
        for name, tag in table.dataset.tags.list().items():
            tags.setdefault(tag["version"], []).append(name)
        listed = table.dataset.versions()
        versions = [_describe(table, entry, tuple(tags.get(entry["version"], ()))) for entry in listed]
    return versions if all else [_as_one(commits) for commits in by_call(versions)]


def made_since(table: Table, after: int) -> list[Made]:
    """What made the versions since one, an entry for each call of a verb; no earlier version is looked at.

    Args:
        table: at the last of them.
        after: number of the version before the first.
    """
    with translated(table.uri, "reading the history of"):
        numbers = [one for one in version_numbers(table.uri, table.storage) if after < one <= table.version]
        found = [_made(table, number) for number in reversed(numbers)]
    return [commits[-1] for commits in by_call(found)]


def _as_one(commits: Sequence[Version]) -> Version:
    last, said = commits[-1], [entry.properties for entry in commits if entry.properties is not None]
    rows: Counter[str] = Counter()
    for properties in said:
        rows.update(properties.rows)
    return replace(
        last,
        properties=replace(said[-1], rows=dict(rows)) if said else None,
        tags=tuple(tag for entry in commits for tag in entry.tags),
        commits=tuple(entry.version for entry in commits),
    )


def properties_of(table: Table) -> Properties | None:
    """What the commit of a table's version says of itself; None for a commit that no verb closed."""
    with translated(table.uri, "reading the history of"):
        return _properties_at(table, table.version)


def last_map_of(table: Table, column: str, *, after: int) -> Properties | None:
    """What the last map of a column said of itself; None where no version after a number tells.

    Args:
        table: versions up to its own are looked at, the newest first.
        column: that was mapped.
        after: version before which the column was not there.
    """
    with translated(table.uri, "reading the history of"):
        for version in range(table.version, after, -1):
            said = _properties_at(table, version)
            if said is not None and said.verb == "map" and said.parameters.get("column") == column:
                return said
    return None


def _made(table: Table, number: int) -> Made:
    transaction, operation = transaction_at(table, number)
    said = (transaction.transaction_properties or {}) if transaction is not None else {}
    if operation == "Merge" and f"{PREFIX}id" in said and f"{PREFIX}verb" not in said:
        operation = INSERT
    return Made(number, operation, Properties.from_strings(said))


def _describe(table: Table, entry: Mapping[str, Any], tags: tuple[str, ...]) -> Version:
    made = _made(table, entry["version"])
    return Version(
        version=made.version,
        when=_utc(entry["timestamp"]),
        operation=made.operation,
        num_rows=int(entry["metadata"].get("total_rows", 0)),
        properties=made.properties,
        tags=tags,
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)  # Lance gives local time without a zone
