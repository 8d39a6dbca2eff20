"""export_view(): the first rows of a view as one HTML file that needs no server and asks for nothing."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from clipdata.arguments import check_count
from clipdata.errors import ImageRefused, UsageError
from clipdata.lance_io.table import AnyTable
from clipdata.plurals import counted
from clipdata.storage import Storage
from clipdata.training.state_files import write_bytes
from clipdata.viewer.beginning import begin
from clipdata.viewer.columns import shown_columns, texts_of, title_of
from clipdata.viewer.desk import Desk

ROWS, MOST_ROWS = 200, 5_000
_SIZE = 320
_MOST_LETTERS, _SHOWN_LETTERS, _SHOWN_LINES = 4_000, 200, 4


@dataclass(frozen=True)
class ExportedView:
    """A file that was written.

    Args:
        file: where.
        table: what it shows.
        version: of it.
        num_rows: in the file.
        num_found: that meet the filter.
        num_bytes: of the file.
        notes: what lies there and is not among the rows.
    """

    file: str
    table: str
    version: int | None
    num_rows: int
    num_found: int
    num_bytes: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        rows = f"{self.num_rows:,} of {self.num_found:,} rows of {self.table}"
        return "\n".join([f"{self.file}: {rows}, {self.num_bytes:,} bytes", *(f"  {note}" for note in self.notes)])


def export_view(
    table: AnyTable,
    into: str | os.PathLike[str],
    *,
    rows: int = ROWS,
    version: int | str | None = None,
    where: str | None = None,
    sort: str | None = None,
    descending: bool = False,
    before: str | None = None,
    after: str | None = None,
    link: str | None = None,
    overwrite: bool = False,
    storage: Storage | None = None,
) -> ExportedView:
    """Write the first rows of a view as one HTML file, pictures and all.

    Args:
        table: or its location; what `view` takes.
        into: the file.
        rows: at most.
        version: number or tag.
        where: filter.
        sort: column, or "~change" for `after` minus `before`.
        descending: the highest first.
        before: column of scores to show beside `after`.
        after: column of scores.
        link: address of a state of the page, or its query: the version, filter and order.
        overwrite: replace a file that is there.
        storage: how to reach the location.

    Raises:
        UsageError: a package is missing, the number of rows is none, or the file is there.
        SchemaError: the filter or the order is not valid.
    """
    if find_spec("jinja2") is None:
        raise UsageError("an exported view needs jinja2, not installed", hint="pip install 'clipdata[view]'")
    from clipdata.viewer.pages import templates

    check_count(rows, "view: rows", least=1)
    if rows > MOST_ROWS:
        raise UsageError(f"view: {counted(rows, 'row is', 'rows are')} asked for; a file holds {MOST_ROWS:,} at most")
    file = Path(into)
    if file.exists() and not overwrite:
        raise UsageError(f"{file} is there already", hint="--overwrite (overwrite=True) replaces it")
    desk, state = begin(
        table, version=version, where=where, sort=sort, descending=descending, before=before, after=after, link=link,
        storage=storage,
    )  # fmt: skip
    source, order = desk.order(state)
    columns = shown_columns(source.schema, source.key)
    title, texts = title_of(columns), texts_of(columns)
    scores = [name for name in (state.before, state.after) if name is not None]
    shown = list(dict.fromkeys([*([title] if title else []), *texts, *scores]))
    cards = []
    for start in range(0, min(rows, len(order)), 200):
        page = desk.rows(state, start, min(200, rows - start), shown, _MOST_LETTERS)
        cards += [_card(desk, source.version, row, title, texts, scores) for row in page["rows"]]
    html = templates().get_template("gallery.html").render(
        title=source.location, version=source.version, where=state.where, sort=state.sort,
        descending=state.descending, cards=cards,
        num_found=len(order), style=(Path(__file__).parent / "static" / "gallery_file.css").read_text("utf-8"),
    )  # fmt: skip
    data = html.encode("utf-8", "replace")
    write_bytes(file, data)
    found = int(np.int64(len(order)))
    return ExportedView(str(file), source.location, source.version, len(cards), found, len(data), source.notes)


def _card(
    desk: Desk, version: int | None, row: dict[str, Any], title: str | None, texts: list[str], scores: list[str]
) -> dict[str, Any]:
    told = None if version is None else str(version)
    cells = row["cells"]
    picture = why = None
    if desk.first.picture is not None:
        try:
            picture = base64.b64encode(desk.picture(told, row["row"], _SIZE)).decode()
        except ImageRefused as refused:
            why = refused.message
    values = [cells.get(name) for name in scores]
    change = None
    if len(values) == 2 and all(isinstance(value, int | float) for value in values):
        change = values[1] - values[0]
    return {
        "title": str(cells.get(title) if title else f"row {row['row']}"),
        "texts": [_text(cells[name]) for name in texts if cells.get(name) is not None],
        "scores": [f"{value:.3f}" if isinstance(value, float) else str(value) for value in values],
        "change": change,
        "picture": picture,
        "why": why,
    }


def _text(value: Any) -> dict[str, str]:
    """A text of a card: what stands there at once, and the rest, which a click shows."""
    text = " · ".join(map(str, value)) if isinstance(value, list) else str(value)
    ends = [found.end() for found in re.finditer("\n", text)][_SHOWN_LINES - 1 : _SHOWN_LINES]
    most = min([_SHOWN_LETTERS, *ends])
    return {"shown": text, "rest": ""} if len(text) <= most else {"shown": text[:most], "rest": text[most:]}
