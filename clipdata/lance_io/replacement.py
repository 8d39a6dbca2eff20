"""Replacement: the commit that puts finished column files in place, all at once and only where nothing moved.

What was computed is committed only while the column is the very one it was computed for, its inputs are the very
columns that were read, and the fragment still has the rows and files of then. The commit is one that Lance refuses
where anybody else changed one of its fragments meanwhile, whatever they changed; then all this is looked at anew. So no
version that it makes holds values under a lineage that did not make them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clipdata.errors import ConcurrentChangeError, NotFoundError
from clipdata.lance_io.asking import at_once
from clipdata.lance_io.columns import ensure_reasons, identity_of, reasons_of, require_same
from clipdata.lance_io.faults import translated
from clipdata.lance_io.filling import Filling
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.parts import Finished
from clipdata.lance_io.presence import field_ids
from clipdata.lance_io.table import Table

if TYPE_CHECKING:
    import lance

_REPLACED = -2  # Lance's number for a field of a data file that a later file of the fragment holds


def commit_finished(
    filling: Filling, finished: Sequence[Finished], properties: Callable[[Sequence[Finished]], Properties]
) -> tuple[Table, list[Finished]]:
    """Put files in place: the values, and the reasons of rows without one.

    Args:
        filling: what the files were computed from.
        finished: fragments whose files are written.
        properties: of the commit, given what is in it.

    Returns:
        The table with what was committed, and what that was. Fragments that another writer changed meanwhile are left
        out; their rows stay to be computed.

    Raises:
        ConcurrentChangeError: the column or one of its inputs was replaced or removed meanwhile.
    """
    from lance import LanceOperation

    written = [entry for entry in finished if entry.file]
    if any(entry.reasons_file for entry in written):
        ensure_reasons(filling.table, filling.column)
    attempts: dict[str, list[Finished]] = {}
    first = properties(written)
    identities = {name: identity_of(filling.table.dataset, name) for name in (filling.column, *filling.inputs)}

    def operation(dataset: lance.LanceDataset) -> Any:
        require_same(filling.table, dataset, filling.column, identities)
        reasons = reasons_of(dataset.schema, filling.column)
        fragments = _replaced(filling, dataset, {entry.fragment_id: entry for entry in written}, reasons)
        if not fragments:
            return None
        chosen = [entry for entry in written if entry.fragment_id in fragments]
        # Another attempt has another id: one that seemed to fail may have landed, with what was in it then.
        said = dataclasses.replace(properties(chosen), id=f"{first.id}-{len(attempts)}")
        attempts[said.id] = chosen
        names = (filling.column, reasons) if reasons else (filling.column,)
        update = LanceOperation.Update(
            updated_fragments=list(fragments.values()),
            fields_modified=sorted(field_ids(dataset, names)),
            update_mode="rewrite_columns",
        )
        return update, said

    table, landed = commit(filling.table, operation, first)
    return table, attempts[landed.id] if landed is not None else []


def _replaced(
    filling: Filling, dataset: lance.LanceDataset, finished: Mapping[int, Finished], reasons: str | None
) -> dict[int, Any]:
    """Fragments with their finished files, of those that still are what the files were computed from.

    Raises:
        ConcurrentChangeError: the column of reasons was dropped.
    """
    from lance.fragment import DataFile

    signatures = filling.signatures_in(dataset)
    unmoved = [
        (fragment, entry)
        for fragment in dataset.get_fragments()
        if (entry := finished.get(fragment.fragment_id)) is not None and signatures.of(fragment) == entry.signature
    ]
    if reasons is None and any(entry.reasons_file for _, entry in unmoved):
        raise ConcurrentChangeError(
            f"the reasons of {filling.column!r} were dropped by another writer meanwhile",
            hint="run the same command again",
        )

    def replaced(one: tuple[Any, Finished]) -> Any | None:
        fragment, entry = one
        files = {filling.column: entry.file}
        if reasons is not None and entry.reasons_file:
            files[reasons] = entry.reasons_file
        with suppress(NotFoundError), translated(filling.table.uri, "committing to"):  # a clean-up may have removed it
            opened = [DataFile.create(dataset, str(file)) for file in files.values()]
            return _with_files(fragment.metadata, field_ids(dataset, tuple(files)), opened)
        return None

    made = zip(unmoved, at_once(replaced, unmoved), strict=True)
    return {fragment.fragment_id: metadata for (fragment, _), metadata in made if metadata is not None}


def _with_files(fragment: Any, replaced_ids: set[int], files: Sequence[Any]) -> Any:
    """A fragment's metadata in which some fields are read from other files."""
    kept = []
    for file in map(copy.copy, fragment.files):
        file.fields = [_REPLACED if number in replaced_ids else number for number in file.fields]
        if any(number != _REPLACED for number in file.fields):
            kept.append(file)
    return dataclasses.replace(fragment, files=[*kept, *files])
