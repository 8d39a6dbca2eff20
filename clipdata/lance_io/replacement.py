"""Replacement: the commit that puts finished column files in place, all at once and only where nothing moved.

What was computed is committed only while the column is the very one it was computed for, its inputs are the very
columns that were read, and the fragment still has the rows and files of then. So no version holds values under a
lineage that did not make them, whoever else writes, compacts or removes columns meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clipdata.errors import ConcurrentChangeError, NotFoundError
from clipdata.lance_io.columns import ensure_reasons, mark_of, reasons_of
from clipdata.lance_io.faults import translated
from clipdata.lance_io.filling import Filling, Finished, signature_of
from clipdata.lance_io.history import Properties, commit, properties_of
from clipdata.lance_io.table import Table
from clipdata.storage import redact

if TYPE_CHECKING:
    import lance


def commit_finished(
    filling: Filling, finished: Sequence[Finished], properties: Callable[[Sequence[Finished]], Properties]
) -> tuple[Table, list[Finished]]:
    """Put files in place: reasons of failed rows first, then the values.

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
    written = [entry for entry in finished if entry.file]
    if with_reasons := [entry for entry in written if entry.reasons_file]:
        ensure_reasons(filling.table, filling.column)

        def say(chosen: Sequence[Finished]) -> Properties:
            said = properties(chosen)
            return Properties(f"{said.verb}-errors", said.parameters, {"failed": said.rows["failed"]})

        _commit(filling, with_reasons, say, reasons=True)
    return _commit(filling, written, properties, reasons=False)


def _commit(
    filling: Filling,
    finished: Sequence[Finished],
    properties: Callable[[Sequence[Finished]], Properties],
    *,
    reasons: bool,
) -> tuple[Table, list[Finished]]:
    from lance import LanceOperation

    attempts: dict[str, list[Finished]] = {}
    first = properties(finished)

    def operation(dataset: lance.LanceDataset) -> Any:
        name = _still_there(filling, dataset.schema, reasons=reasons)
        files = _unmoved(filling, dataset, {entry.fragment_id: entry for entry in finished}, reasons=reasons)
        chosen = [entry for entry in finished if entry.fragment_id in files]
        # Another attempt has another id: one that seemed to fail may have landed, with what was in it then.
        said = replace(properties(chosen), id=f"{first.id}-{len(attempts)}")
        attempts[said.id] = chosen
        assert name in dataset.schema.names
        groups = [LanceOperation.DataReplacementGroup(fragment_id, file) for fragment_id, file in files.items()]
        return (LanceOperation.DataReplacement(groups), said) if groups else None

    table = commit(filling.table, operation, first)
    landed = properties_of(table)
    return table, attempts.get(landed.id, []) if landed is not None else []


def _still_there(filling: Filling, schema: Any, *, reasons: bool) -> str:
    """Name of the column to be replaced.

    Raises:
        ConcurrentChangeError: it, or an input, is another one than that of the start.
    """
    before = filling.table.schema
    for name in (filling.column, *filling.inputs):
        if name in schema.names and mark_of(schema.field(name)) == mark_of(before.field(name)):
            continue
        what = "made anew" if name in schema.names else "dropped"
        role = "" if name == filling.column else f", an input of {filling.column!r},"
        raise ConcurrentChangeError(
            f"column {name!r}{role} of {redact(filling.table.uri)} was {what} by another writer meanwhile; "
            "what this run computed since was not written",
            hint=f"see what did it: clipdata log {redact(filling.table.uri)}; then run the same command again",
        )
    found = reasons_of(schema, filling.column) if reasons else filling.column
    if found is None:
        raise ConcurrentChangeError(
            f"the reasons of {filling.column!r} were dropped by another writer meanwhile",
            hint="run the same command again",
        )
    return found


def _unmoved(
    filling: Filling, dataset: lance.LanceDataset, finished: Mapping[int, Finished], *, reasons: bool
) -> dict[int, Any]:
    """Files of those fragments that still are what they were computed from."""
    from lance.fragment import DataFile

    files = {}
    for fragment in dataset.get_fragments():
        entry = finished.get(fragment.fragment_id)
        if entry is None or signature_of(dataset, fragment, filling.column, filling.inputs) != entry.signature:
            continue
        name = entry.reasons_file if reasons else entry.file
        with suppress(NotFoundError), translated(filling.table.uri, "committing to"):  # a clean-up may have removed it
            files[fragment.fragment_id] = DataFile.create(dataset, str(name))
    return files
