"""Changes: what two versions of a table do not have in common, with the places of the rows."""

from __future__ import annotations

from typing import Any

from clipdata.lance_io.differences import diff
from clipdata.viewer.cells import cell
from clipdata.viewer.finding import positions_of_keys
from clipdata.viewer.sources.lance_table import LanceTable

MOST_ROWS = 120


def changes_between(before: LanceTable, after: LanceTable, where: str | None = None) -> dict[str, Any]:
    """Rows added, removed and changed, each kind up to `MOST_ROWS`, and counts of all.

    Args:
        where: condition of the rows to tell of; see `diff`.

    Returns:
        JSON values; of a row its key, and its position at the version that has it.
    """
    found = diff(before.table, before.version, after.version, where=where, examples=MOST_ROWS)
    changed: dict[Any, list[dict[str, Any]]] = {}
    for one in found.changed:
        told = {"column": one.column, "before": cell(one.before), "after": cell(one.after)}
        changed.setdefault(one.key, []).append(told)
    is_keyed = found.key in after.schema.names
    placed = {
        "added": _placed(after, found.key, found.added, is_keyed=is_keyed),
        "removed": _placed(before, found.key, found.removed, is_keyed=is_keyed),
        "changed": _placed(after, found.key, list(changed), is_keyed=is_keyed),
    }
    for row in placed["changed"]:
        row["values"] = changed[row.pop("raw")]
    for row in [*placed["added"], *placed["removed"]]:
        del row["raw"]
    return {
        "before": before.version,
        "after": after.version,
        "key": found.key,
        "counts": {"added": found.rows_added, "removed": found.rows_removed, "changed": found.rows_changed},
        "columns": [str(column) for column in found.columns],
        "values": found.values,
        "not_compared": found.not_compared,
        "lacking": [str(one) for one in found.lacking],
        **placed,
    }


def _placed(source: LanceTable, key: str, keys: Any, *, is_keyed: bool) -> list[dict[str, Any]]:
    names = list(keys)
    if not is_keyed:
        return [{"key": str(name), "row": None, "raw": name} for name in names]
    found = {}
    positions = positions_of_keys(source, key, names)
    if len(positions):
        told = source.take(positions.astype("int64"), [key]).column(0).to_pylist()
        found = dict(zip(map(str, told), positions.tolist(), strict=True))
    return [{"key": str(name), "row": found.get(str(name)), "raw": name} for name in names]
