"""Desk: answers of the viewer about one source, at whatever version is asked for. Knows no HTTP."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipdata.errors import ImageRefused, UsageError
from clipdata.hints import typed
from clipdata.lance_io.history import log
from clipdata.lance_io.refused import read_refused
from clipdata.lance_io.version_numbers import version_named
from clipdata.row_errors import list_errors
from clipdata.schema import ERROR_SUFFIX
from clipdata.storage import redact
from clipdata.viewer import bodies, edits, selections
from clipdata.viewer.cells import LONG, SHORT, cell
from clipdata.viewer.changes import changes_between
from clipdata.viewer.columns import family_of, map_axes, score_pairs, shown_columns, texts_of, title_of
from clipdata.viewer.commands import SharedView, as_command, as_python
from clipdata.viewer.deciding import Decider
from clipdata.viewer.facets import facet_of
from clipdata.viewer.finding import Finder, words_column
from clipdata.viewer.groups import groups_of, spare_rows
from clipdata.viewer.orders import Orders, sorted_positions
from clipdata.viewer.plane import inside, points_of
from clipdata.viewer.sources import LanceTable, Source
from clipdata.viewer.thumbnails import Thumbnails
from clipdata.viewer.view_state import ViewState

MOST_ROWS, MOST_COLUMNS, MOST_POINTS = 240, 16, 200_000
_KEPT_VERSIONS, _KEPT_PLANES, _LISTED_VERSIONS, _LISTED_REJECTS = 6, 3, 200, 500
_VECTOR_ENTRIES = 8


class Desk:
    """Everything that a page asks about a source.

    Args:
        source: as it was opened; other versions of a table are opened when they are asked for.
        edit: whether rows may be written.
    """

    def __init__(self, source: Source, *, edit: bool = False) -> None:
        if edit and not isinstance(source, LanceTable):
            raise UsageError(f"{source.location} is no Lance table, so nothing can be written", hint="leave --edit out")
        self.first, self.edit = source, edit
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._planes: OrderedDict[object, np.ndarray] = OrderedDict()
        self.orders, self.thumbnails, self.finder, self.decider = Orders(), Thumbnails(), Finder(), Decider()

    def source(self, version: str | None) -> Source:
        """The source at a version: a number, a tag, or None for the newest.

        Raises:
            UsageError: it has no versions.
            NotFoundError: there is no such version.
        """
        if not isinstance(self.first, LanceTable):
            if version is not None:
                raise UsageError(f"{self.first.location} has no versions")
            return self.first
        if version is None:
            newest = self.first.table.latest()
            return self._kept(str(newest.version), lambda: LanceTable(newest))
        table = self.first.table
        number = version_named(version)
        if isinstance(number, str):
            return LanceTable(table.pinned(number))  # type: ignore[arg-type] # a tag may be moved
        return self._kept(str(number), lambda: LanceTable(table.pinned(number)))

    def order(self, state: ViewState) -> tuple[Source, np.ndarray]:
        """The rows of a state in their order, uint32 [K]."""
        source = self.source(state.version)
        names_at = self.source(None).version if state.where and "@" in state.where else None
        key = source.version, names_at, state.of(version=None)

        def make() -> np.ndarray:
            if state.sort is not None:
                return sorted_positions(source, self.order(state.of(sort=None, descending=False))[1], state)
            if state.lasso is not None:
                _, rows = self.order(state.of(lasso=None))
                return rows[inside(self._plane(source, state)[rows], state.corners)]
            if state.is_search:
                return self.finder.positions(self._table(source), state)
            return source.positions(state.where)

        return source, self.orders.get(key, make)

    def table(self, state: ViewState) -> dict[str, Any]:
        """What is looked at: its columns, how many rows a state has, and what can be done."""
        source, rows = self.order(state)
        columns = shown_columns(source.schema, source.key)
        is_table = isinstance(source, LanceTable)
        return {
            "kind": source.kind,
            "location": source.location,
            "typed": typed(source.location),
            "version": source.version,
            "num_rows": source.num_rows,
            "num_found": len(rows),
            "notes": list(source.notes),
            "key": source.key,
            "picture": source.picture,
            "columns": [column.to_dict() for column in columns],
            "title": title_of(columns),
            "texts": texts_of(columns),
            "pairs": score_pairs(columns),
            "axes": map_axes(columns),
            "selections": selections.selections_in(source, self._table(self.source(None)))
            if isinstance(source, LanceTable)
            else [],
            "asked": self.finder.asked_pictures.name(state.picture) if state.picture else None,
            "failures": [column.name for column in columns if column.name.endswith(ERROR_SUFFIX)],
            "can": {"versions": is_table, "edit": self.edit}
            | (self.finder.abilities(source) if isinstance(source, LanceTable) else {}),
        }

    def rows(
        self, state: ViewState, at: int, num: int, columns: Sequence[str], most_letters: int = SHORT
    ) -> dict[str, Any]:
        """Rows of a state from a place in its order on."""
        source, order = self.order(state)
        if not 0 < num <= MOST_ROWS or at < 0:
            raise UsageError(f"{num} rows from {at} are asked for; expected 1 to {MOST_ROWS} from 0 on")
        if len(columns) > MOST_COLUMNS:
            raise UsageError(f"{len(columns)} columns are asked for; expected at most {MOST_COLUMNS}")
        chosen = order[at : at + num].astype(np.int64)
        known = [name for name in columns if name in source.schema.names]
        told = self._told(source, chosen, known, most_letters)
        rows = [{"row": int(row), "cells": cells} for row, cells in zip(chosen, told, strict=True)]
        return {"at": at, "num_found": len(order), "rows": rows}

    def row(self, version: str | None, position: int) -> dict[str, Any]:
        """All of a row but its bytes; of vectors the first entries."""
        source = self.source(version)
        if not 0 <= position < source.num_rows:
            raise UsageError(f"there is no row {position}; there are {source.num_rows:,}, which count from 0")
        names = [column.name for column in source.schema if family_of(column.type) != "bytes"]
        cells = source.take(np.array([position], np.int64), names).to_pylist()[0]
        told = {name: _whole(value, family_of(source.schema.field(name).type)) for name, value in cells.items()}
        return {"row": position, "cells": told}

    def facet(self, state: ViewState, column: str) -> dict[str, Any]:
        """How a column's values are spread over the rows of a state."""
        source, rows = self.order(state.of(sort=None, descending=False))
        return facet_of(source, rows, column).to_dict()

    def picture(self, version: str | None, position: int, size: int) -> bytes:
        """A row's picture as WebP.

        Raises:
            ImageRefused: there is none, or it cannot be decoded.
        """
        source = self.source(version)
        if not 0 <= position < source.num_rows:
            raise UsageError(f"there is no row {position}; there are {source.num_rows:,}, which count from 0")
        key = source.version, position, size
        kept = self.thumbnails.kept(key)
        if kept is not None:
            return kept
        data = source.picture_of(position)
        if data is None:
            raise ImageRefused("missing", "the row holds no picture")
        return self.thumbnails.make(key, data, size)

    def versions(self) -> dict[str, Any]:
        """The last versions with what made them, the newest first, and all tags."""
        table = self._table(self.first).table
        entries = [entry.to_dict() for entry in log(table)][::-1][:_LISTED_VERSIONS]
        tags = {name: about["version"] for name, about in table.latest().dataset.tags.list().items()}
        return {"versions": [cell(entry) | {"parameters": None} for entry in entries], "tags": tags}

    def diff(self, before: str, after: str, where: str | None = None) -> dict[str, Any]:
        """What two versions do not have in common, of the rows that meet a filter."""
        return changes_between(self._table(self.source(before)), self._table(self.source(after)), where)

    def failures(self, version: str | None) -> dict[str, Any]:
        """Rows on which steps failed, by column and reason; and what ingest and merge refused."""
        table = self._table(self.source(version)).table
        found = list_errors(table).to_dict()
        refused = read_refused(table, limit=_LISTED_REJECTS)
        return found | {
            "num_rejects": refused.num_rejects,
            "rejects": [{name: cell(value) for name, value in one.items()} for one in refused.rejects],
        }

    def commands(self, state: ViewState, columns: list[str], link: str | None = None) -> dict[str, str]:
        """The same as a command and as Python.

        Args:
            columns: to show of each row.
            link: query of the page's address, where a tab of it shows more than rows.
        """
        source = self.source(state.version)
        columns = [name for name in columns if name in source.schema.names]
        texts = words_column(source) if isinstance(source, LanceTable) and state.words else None
        picture = self.finder.asked_pictures.name(state.picture) if state.picture else None
        by_address = isinstance(source, LanceTable) and source.is_in_address_order
        view = SharedView(source, state, columns, texts, picture, link, by_address)
        return {"command": as_command(view), "python": as_python(view)}

    def points(self, state: ViewState) -> tuple[np.ndarray, np.ndarray]:
        """Positions uint32 [P] of rows of a state, and where they lie, float32 [P, 2]; a sample of very many."""
        source, rows = self.order(state.of(sort=None, descending=False, lasso=None))
        points_K2 = self._plane(source, state)[rows]
        rows, points_K2 = rows[ok := np.isfinite(points_K2).all(axis=1)], points_K2[ok]
        if len(rows) > MOST_POINTS:
            chosen = np.sort(np.random.default_rng(0).choice(len(rows), MOST_POINTS, replace=False))
            rows, points_K2 = rows[chosen], points_K2[chosen]
        return rows, points_K2

    def groups(self, state: ViewState, column: str, score: str | None, least: float | None) -> dict[str, Any]:
        """Rows of a state that a column puts together."""
        source, rows = self.order(state.of(sort=None, descending=False))
        return groups_of(source, rows, column, score=score, least=least)

    def edited(self, what: str, state: ViewState, body: Any) -> dict[str, Any]:
        """Tag, decide, keep or forget a name of rows, or delete; settle; or find chosen rows again at another version.

        Args:
            what: one of `bodies.BODIES`.
            state: whose rows are meant where the body lists none.
            body: a JSON value that a page sent.

        Raises:
            UsageError: the viewer only reads, or the body is not one of this edit.
        """
        if not self.edit:
            raise UsageError("this viewer only reads", hint="start it with --edit")
        asked = bodies.checked(what, body)
        source = self._table(self.source(state.version))
        if what == "tag":
            return edits.tag_version(source, asked["name"])
        if what == "settle":
            return self.decider.settle(asked["column"], asked.get("page", ""), over=asked["over"])
        if what == "forget":
            return selections.forget(source, asked["name"])
        rows = self._meant(source, state, asked)
        if what == "places":
            to = self._table(self.source(asked.get("to") or None))
            return {"rows": edits.places_at(source, rows, to)}
        if what == "decide":
            return self.decider.take(source, rows, asked["column"], asked["value"], asked.get("page", ""))
        if what == "keep":
            whole = state if asked.get("all") else None
            return selections.keep(source, rows, asked["name"], whole, overwrite=asked.get("overwrite", False))
        return edits.delete_rows(source, rows, asked["confirmed"])

    def _meant(self, source: Source, state: ViewState, asked: dict[str, Any]) -> np.ndarray:
        """Rows that an edit is about."""
        if "rows" in asked:
            return edits.chosen_positions(asked["rows"], source.num_rows)
        order = self.order(state.of(sort=None, descending=False))[1]
        if "groups" in asked:
            given = asked["groups"]
            return spare_rows(source, order, given["column"], score=given.get("score"), least=given.get("least"))
        return order

    def _told(self, source: Source, chosen: np.ndarray, columns: list[str], most_letters: int) -> list[dict[str, Any]]:
        shown = [name for name in columns if family_of(source.schema.field(name).type) not in ("bytes", "vector")]
        if not shown or not len(chosen):
            return [{} for _ in chosen]
        rows = source.take(chosen, shown).to_pylist()
        return [{name: cell(value, most_letters) for name, value in row.items()} for row in rows]

    def _plane(self, source: Source, state: ViewState) -> np.ndarray:
        if state.x is None:
            raise UsageError("no columns are chosen to draw a map of")
        key = source.version, state.x, state.y
        with self._lock:
            if key in self._planes:
                return self._planes[key]
        points_N2 = points_of(source, state.x, state.y)
        with self._lock:
            self._planes[key] = points_N2
            while len(self._planes) > _KEPT_PLANES:
                self._planes.popitem(last=False)
        return points_N2

    def _kept(self, version: str, opened: Any) -> Source:
        with self._lock:
            if version not in self._sources:
                self._sources[version] = opened()
            self._sources.move_to_end(version)
            while len(self._sources) > _KEPT_VERSIONS:
                self._sources.popitem(last=False)
            return self._sources[version]

    def _table(self, source: Source) -> LanceTable:
        if not isinstance(source, LanceTable):
            raise UsageError(f"{redact(source.location)} is no Lance table, which this needs")
        return source


def _whole(value: Any, family: str) -> Any:
    """A value for the panel of one row."""
    if family in ("vector", "numbers") and value is not None and len(value) > _VECTOR_ENTRIES:
        head = ", ".join(f"{entry:.4g}" if entry is not None else "null" for entry in value[:_VECTOR_ENTRIES])
        return f"[{head}, … {len(value):,} in all]"
    return cell(value, LONG)
