"""Finding: rows that answer a text, words, a picture or a row, as positions. It searches a table as `search` does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from clipdata.column_names import quoted
from clipdata.errors import ClipdataError, UsageError
from clipdata.named_rows import NAMES
from clipdata.similarity.searched_column import model_of, searched_column, texts_column
from clipdata.similarity.table_search import search
from clipdata.viewer.asked_pictures import AskedPictures
from clipdata.viewer.columns import family_of, shown_columns, texts_of
from clipdata.viewer.sources.lance_table import LanceTable
from clipdata.viewer.view_state import ViewState

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

TOP = 500
_LOOKED_AT = 32


class Finder:
    """Searches of one table, with its model kept."""

    def __init__(self) -> None:
        self.asked_pictures = AskedPictures()
        self._lock = threading.Lock()
        self._models: dict[str, Encoder] = {}

    def abilities(self, source: LanceTable) -> dict[str, Any]:
        """What can be searched: by text, by words, by a row; each with the column, or None."""
        able: dict[str, Any] = {"text": None, "words": None, "like": None}
        try:
            found = searched_column(source.table, None, None)
            able["like"] = found.name
            if found.lineage is not None and found.lineage.model_name:
                able["text"] = {"column": found.name, "model": found.lineage.model_name}
        except ClipdataError:
            pass  # no column, or several, hold what meaning could be searched by; words are left
        able["words"] = words_column(source)
        return able

    def positions(self, source: LanceTable, state: ViewState) -> np.ndarray:
        """Rows that answer a state's search, the best first, uint32 [K]."""
        given: dict[str, Any] = {"where": state.where, "top": TOP}
        if state.text:
            given |= {"text": state.text, "model": self._model(source)}
        if state.like is not None:
            given["like"] = f"#{state.like}" if source.key is None else self._name(source, state.like)
        if state.words:
            given |= {"words": state.words, "words_column": words_column(source)}
        with ExitStack() as stack:
            if state.picture:
                file = stack.enter_context(self.asked_pictures.file(state.picture))
                given |= {"image": file, "model": self._model(source)}
            found = search(source.table, columns=[], **given)
        rows = [hit.row for answer in found.answers for hit in answer.hits]
        return _positions_of(source, rows)

    def _model(self, source: LanceTable) -> Encoder:
        with self._lock:
            found = searched_column(source.table, None, None)
            name = found.lineage.fingerprint if found.lineage else found.name
            if name not in self._models:
                self._models = {name: model_of(found, None, None)}
            return self._models[name]

    def _name(self, source: LanceTable, position: int) -> str:
        assert source.key is not None, "asked by the caller"
        if position >= source.num_rows:
            raise UsageError(f"like is row {position}; there are {source.num_rows:,}, which count from 0")
        return str(source.take(np.array([position], np.int64), [source.key]).column(0)[0].as_py())


def words_column(source: LanceTable) -> str | None:
    """The column of texts that words are searched in."""
    try:
        return texts_column(source.table, None, [])
    except ClipdataError:  # none, or several: then of those that a card would show the one of the longest texts
        shown = texts_of(shown_columns(source.schema, source.key))
        if len(shown) < 2:
            return next(iter(shown), None)
        rows = source.table.to_table(shown, limit=_LOOKED_AT)
        return max(shown, key=lambda name: sum(len(str(text or "")) for text in rows.column(name).to_pylist()))


def _positions_of(source: LanceTable, rows: list[str]) -> np.ndarray:
    """Positions of rows by the names that `search` gives them: their key, what their picture is called, or "#12"."""
    named = source.key or next((name for name in (*NAMES, "id") if name in source.table.schema.names), None)
    if named is None:
        return np.array([int(row.removeprefix("#")) for row in rows], np.uint32)
    return positions_of_keys(source, named, rows)


def positions_of_keys(source: LanceTable, key: str, names: Sequence[Any]) -> np.ndarray:
    """Positions of rows in the order of a list of their keys, uint32 [K]; keys that are not there are left out."""
    if not len(names):
        return np.empty(0, np.uint32)
    is_number = family_of(source.table.schema.field(key).type) == "number"
    values = [int(name) if is_number else str(name) for name in names]
    found = source.table.to_table(["_rowoffset", key], where=is_one_of(key, values))
    places: dict[Any, int] = {}
    for value, offset in zip(found.column(key).to_pylist(), found.column("_rowoffset").to_pylist(), strict=True):
        places.setdefault(value, offset)
    return np.array([places[value] for value in values if value in places], np.uint32)


def is_one_of(column: str, values: Sequence[str | int]) -> str:
    """The condition that a column holds one of some texts or whole numbers."""
    told = ["'{}'".format(value.replace("'", "''")) if isinstance(value, str) else str(value) for value in values]
    return f"{quoted(column)} IN ({', '.join(told)})"
