"""Selections: rows of a view that are kept under a name, so that every filter can say `@name`."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipdata.lance_io.selected_rows import selections_of
from clipdata.lance_io.selecting import select
from clipdata.viewer.sources.lance_table import LanceTable
from clipdata.viewer.view_state import ViewState


def selections_in(source: LanceTable, newest: LanceTable) -> list[dict[str, Any]]:
    """Names that a filter of a version can say: its own, and those that were given since."""
    known = {**_of(newest), **_of(source)}
    return [known[name].to_dict() for name in sorted(known)]


def keep(
    source: LanceTable, positions: np.ndarray, name: str, state: ViewState | None, *, overwrite: bool
) -> dict[str, Any]:
    """Give rows a name.

    Args:
        positions: of the rows at the version that is looked at, uint32 [K].
        state: which they are all the rows of; None where somebody chose them one by one.
        overwrite: let a name that means other rows mean these.
    """
    done = select(
        source.table.pinned(), name, offsets=positions.astype(np.int64), overwrite=overwrite,
        chosen_by=state.in_words() if state is not None else None,
    )  # fmt: skip
    return {"name": name, "rows": done.num_rows, "version": done.version, "done": done.done}


def forget(source: LanceTable, name: str) -> dict[str, Any]:
    """Remove a name; its rows stay."""
    return {"name": name, "version": select(source.table.pinned(), name, delete=True).version}


def _of(source: LanceTable) -> dict[str, Any]:
    return selections_of(source.table.dataset.metadata or {})
