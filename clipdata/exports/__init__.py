"""Exports: rows of a table as files that other tools read, each format in a module of its own."""

from __future__ import annotations

from clipdata.exports.answer import export_query
from clipdata.exports.job import export
from clipdata.exports.outcome import Exported
from clipdata.exports.publication import Pushed, push

__all__ = ["Exported", "Pushed", "export", "export_query", "push"]
