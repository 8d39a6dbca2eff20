"""Inserting rows that a plan knows to be new: written as files by many, put into the table by few commits, no join.

    written = write_new(table, rows)            # in any process; nobody sees it yet
    inserter = Inserter(table, start)           # in one
    left = inserter.insert([written, …])        # rows of keys that another writer was faster with are left

No key may become two rows, whoever else writes. So the commit is one that Lance refuses where anybody else changed rows
since the version that it is made of (a `Merge` of old and new fragments). Before it, the keys are looked for in all
that is new since the plan, and after a refusal again. An insert by key that is under way when it lands is refused in
its turn, and finds the rows when it tries again.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clipdata import hints
from clipdata.errors import SchemaError, TransientError
from clipdata.lance_io.columns import identity_of
from clipdata.lance_io.data_files import gone_of
from clipdata.lance_io.faults import is_conflict, translated, with_retries
from clipdata.lance_io.fragment_numbers import highest_number
from clipdata.lance_io.history import PREFIX, transaction_at
from clipdata.lance_io.pinned import readable
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import align, columns_listed
from clipdata.storage import join, redact

if TYPE_CHECKING:
    import lance

_ID = f"{PREFIX}id"
_GIVES_WAY_AFTER = 6  # refused commits, a second or two: an insert by key is not refused, but moved behind the others
_READS_ALONE = 2  # of the format of files: the first that can be read without a data set


@dataclass(frozen=True)
class NewRows:
    """Rows that are written, and that no version has yet. It pickles.

    Args:
        fragments: of Lance, without numbers.
        keys: string array [n].
        columns: name → what tells whether it still means the same column.
        version: of the table that they were written for.
    """

    fragments: tuple[Any, ...]
    keys: pa.Array
    columns: dict[str, str | None]
    version: int


def write_new(table: Table, rows: pa.Table) -> NewRows:
    """Write rows as files of a table, at the version that the handle has.

    Args:
        rows: of the table's columns, or some of them.
    """
    from lance.fragment import write_fragments

    dataset = table.dataset
    assert table.key is not None, "create_table saw to the key"

    def attempt() -> list[Any]:
        options = table.storage.lance_options(table.uri) or None
        return list(write_fragments(align(rows, dataset.schema), dataset, mode="append", storage_options=options))

    with translated(table.uri, "writing"):
        fragments = with_retries(attempt)
    keys = rows.column(table.key).combine_chunks()
    columns = {name: identity_of(dataset, name) for name in dataset.schema.names}
    return NewRows(tuple(fragments), keys.cast(pa.string()), columns, table.version)


def read_back(table: Table, new: NewRows) -> pa.Table:
    """The rows again, from their files: of the columns that the table still has, as they are called now."""
    newest = table.latest()
    with translated(table.uri, "reading"):
        rows = pa.concat_tables([_read_file(newest, new.version, fragment) for fragment in new.fragments])
    called = {identity_of(newest.dataset, name): name for name in newest.schema.names}
    now = {name: called.get(new.columns.get(name), name) for name in rows.column_names}
    kept = [name for name in now if now[name] in newest.schema.names and (now[name] == name or now[name] not in now)]
    return rows.select(kept).rename_columns([now[name] for name in kept])


def _read_file(newest: Table, version: int, fragment: Any) -> pa.Table:
    """Rows of a fragment that no version has."""
    from lance.file import LanceFileReader

    (file,) = fragment.files
    where = join(newest.uri, "data", file.path)
    if file.file_major_version >= _READS_ALONE:
        options = newest.storage.lance_options(newest.uri) or None
        rows: pa.Table = LanceFileReader(where, storage_options=options).read_all().to_table()
        return rows
    return _read_as_dataset(newest.pinned(version), fragment, where)


def _read_as_dataset(table: Table, fragment: Any, where: str) -> pa.Table:
    """Rows of a file of the format that Lance had first, which it reads as a part of a data set alone."""
    import lance

    (file,) = fragment.files
    filesystem, path = table.storage.filesystem(where)
    with tempfile.TemporaryDirectory(prefix="clipdata-") as folder:
        (Path(folder) / "data").mkdir()
        filesystem.get_file(path, str(Path(folder) / "data" / file.path))
        whole = lance.LanceOperation.Overwrite(table.dataset.lance_schema, [fragment])
        rows: pa.Table = lance.LanceDataset.commit(folder, whole).to_table()
    return rows


class Inserter:
    """Puts new rows into a table, as one of many writers.

    Args:
        table: at the newest version that the caller knows; moved to each that this makes.
        start: the table as the plan knew it; None where it knew none. None of the keys was in it.
    """

    def __init__(self, table: Table, start: Table | None) -> None:
        self.table, self._key = table, table.key
        self._gives_way_after = _GIVES_WAY_AFTER
        self._known = set(map(_said_of, start.dataset.get_fragments())) if start is not None else set[Any]()
        self._others: dict[tuple[Any, ...], pa.Array] = {}  # keys of the fragments that others wrote or changed since

    def insert(self, new: Sequence[NewRows], *, are_fresh: bool = False) -> list[NewRows]:
        """Put rows into the table, in one commit. What is newest is looked for where somebody else wrote meanwhile.

        Args:
            new: no key of which another of them has, or an earlier call had.
            are_fresh: their files were written a moment ago, and are not looked for.

        Returns:
            those that must be written by key: another writer has a key of theirs now, or replaced a column; or all,
            where others commit so often that none of these commits is taken.

        Raises:
            SchemaError: another table was written in the place of this one.
            TransientError: a clean-up took files of theirs; nothing is committed.
        """
        if not are_fresh:
            _require_files(self.table, new)
        tried: dict[str, list[int]] = {}
        seen, num_refused = self.table.version, 0

        def attempt() -> tuple[Table, list[int]]:
            nonlocal seen, num_refused
            newest = self._newest()
            landed = _version_of(newest, tried, after=seen)
            if landed is not None:
                version, commit_id = landed
                return open_table(newest.uri, version=version, storage=newest.storage), tried[commit_id]
            seen = newest.version
            left = self._left(newest, new)
            chosen = [place for place in range(len(new)) if place not in left]
            if not chosen or num_refused >= self._gives_way_after:
                return newest, []
            commit_id = uuid.uuid4().hex
            tried[commit_id] = chosen
            try:
                return _merged(newest, [new[place] for place in chosen], commit_id), chosen
            except Exception as error:
                num_refused += is_conflict(error)
                raise

        with translated(self.table.uri, "committing to"):
            made, inserted = with_retries(attempt, attempts=30, base_delay_s=0.02)
        self._gives_way_after = _GIVES_WAY_AFTER if num_refused < self._gives_way_after else 1  # they are still there
        files = {file.path for place in inserted for fragment in new[place].fragments for file in fragment.files}
        self._known |= {_said_of(one) for one in made.dataset.get_fragments() if one.metadata.files[0].path in files}
        self.table.move_to(made)
        return [one for place, one in enumerate(new) if place not in inserted]

    def _newest(self) -> Table:
        """The newest version: the one at hand where none is behind it, as one request tells.

        A commit onto an older one is not always refused: where a clean-up took the versions in between, Lance cannot
        see what they changed, and would bring back rows that were deleted and lose columns that were added.
        """
        at_hand = self.table.pinned()
        newest = at_hand if at_hand.dataset.latest_version == at_hand.version else self.table.latest()
        if newest.key != self._key:
            raise SchemaError(
                f"{redact(newest.uri)} has columns {columns_listed(newest.schema.names)} now and the key "
                f"{newest.key!r}, not {self._key!r}: another table was written in its place",
                hint=f"look who writes there, and restore the version before: {hints.log(newest.uri)}",
            )
        return newest

    def _left(self, newest: Table, new: Sequence[NewRows]) -> set[int]:
        """Places of rows that cannot go in without being compared."""
        columns = {name: identity_of(newest.dataset, name) for name in newest.schema.names}
        left = {
            place
            for place, one in enumerate(new)
            if any(columns.get(name) != known for name, known in one.columns.items())
        }
        held, self._others = self._others, {}
        for fragment in newest.dataset.get_fragments():
            if (said := _said_of(fragment)) not in self._known:
                self._others[said] = held[said] if said in held else _keys_of(newest, fragment)
        asked = pa.chunked_array([one.keys for one in new], pa.string()).combine_chunks()
        met = [keys.filter(pc.is_in(keys, value_set=asked)) for keys in self._others.values()]
        taken = pa.chunked_array(met, pa.string()).combine_chunks()
        if len(taken):
            left |= {place for place, one in enumerate(new) if pc.any(pc.is_in(one.keys, value_set=taken)).as_py()}
        return left


def _require_files(table: Table, new: Sequence[NewRows]) -> None:
    """Check that the files of rows are still there: for a clean-up they are files that no version names."""
    names = [file.path for one in new for fragment in one.fragments for file in fragment.files]
    if gone := gone_of(table, names):
        raise TransientError(
            f"{len(gone)} of {len(names)} files with new rows of {redact(table.uri)} went before they were committed, "
            f"such as {gone[0]}; a clean-up takes files that are older than its abandoned_for",
            hint="type the command again: it reads these rows anew; and let clean-ups spare younger files",
        )


def _keys_of(table: Table, fragment: Any) -> pa.Array:
    """Keys of the rows of a fragment."""
    with readable(table):
        return fragment.to_table(columns=[table.key]).column(0).combine_chunks().cast(pa.string())


def _merged(newest: Table, new: Sequence[NewRows], commit_id: str) -> Table:
    """Commit rows onto exactly this version."""
    import lance

    old = [fragment.metadata for fragment in newest.dataset.get_fragments()]
    number = highest_number(newest.dataset)
    added = []
    for one in new:
        for fragment in one.fragments:
            number += 1
            fragment.id = number
            added.append(fragment)
    transaction = lance.Transaction(
        read_version=newest.version,
        uuid=str(uuid.uuid4()),
        operation=lance.LanceOperation.Merge([*old, *added], newest.dataset.lance_schema),
        transaction_properties={_ID: commit_id},
    )
    options = newest.storage.lance_options(newest.uri) or None
    made = lance.LanceDataset.commit(newest.dataset, transaction, storage_options=options, max_retries=0)
    return Table(newest.uri, made.version, newest.storage, made)


def _version_of(table: Table, tried: dict[str, list[int]], *, after: int) -> tuple[int, str] | None:
    """Version whose commit carries one of some ids, and that id."""
    for version in range(table.version, after, -1) if tried else ():
        transaction, _ = transaction_at(table, version)
        found = (transaction.transaction_properties or {}).get(_ID) if transaction is not None else None
        if found in tried:
            return version, str(found)
    return None


def _said_of(fragment: lance.LanceFragment) -> tuple[Any, ...]:
    """What rows of a fragment depend on: its number, its first file, and which of them are deleted."""
    about = fragment.metadata
    return about.id, about.files[0].path if about.files else None, repr(about.deletion_file)
