"""Which column of a list is what: the URLs, the captions, the file names, and what the others are called in the table.

Pure decisions about names and types; nothing here reads a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.redaction import redact
from clipdata.schema import IMAGE_FIELDS, columns_listed, is_text, require_columns

CAPTION = "text"
_TAKEN = frozenset({*(field.name for field in IMAGE_FIELDS), "source"})
_URL = re.compile(r"(?i)\s*https?://\S+\s*")


@dataclass(frozen=True)
class ListColumns:
    """The columns of a list of URLs.

    Args:
        url: column of the URLs.
        caption: column of the captions, if there is one.
        filename: column of the file names, if there is one.
        names: each of the other columns, and of the captions → what it is called in the table.
        extra: these as columns of the table.
    """

    url: str
    caption: str | None
    filename: str | None
    names: Mapping[str, str]
    extra: tuple[pa.Field, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """Columns whose names the table keeps for itself → what they are called there."""
        return {name: column for name, column in self.names.items() if name != column and name != self.caption}


def choose_columns(
    fields: Iterable[pa.Field], url: str | None, caption: str | None, filename: str | None, *, where: str
) -> ListColumns:
    """Find the columns, where they are not named, by their names.

    Args:
        fields: of the list.
        url: column of the URLs; "url" in any case where None.
        caption: column of the captions; "text" or "caption" where None, if there.
        filename: column of the file names; "filename" where None, if there.
        where: the list's location, for errors.

    Raises:
        SchemaError: a column is not there or not of text, or the list has no header.
    """
    schema = pa.schema(fields)
    _check_header(schema.names, where)
    require_columns(schema, [name for name in (url, caption, filename) if name], verb="ingest urls", where=where)
    found = url or _find(schema.names, "url")
    if found is None:
        raise SchemaError(
            f"{where} has no column of URLs; its columns are {columns_listed(schema.names, repr)}",
            hint="name it: --url COLUMN (url=…); a file that shows one column only has another delimiter than its "
            "suffix says",
        )
    for column in filter(None, (found, filename)):
        if not is_text(schema.field(column).type):
            raise SchemaError(f"{where}: column {column!r} holds {schema.field(column).type}; expected text")
    caption = caption or _find(schema.names, CAPTION, "caption")
    filename = filename or _find(schema.names, "filename")
    names = _name_columns([name for name in schema.names if name not in (found, filename)], caption, where)
    extra = tuple(pa.field(column, schema.field(name).type) for name, column in names.items())
    return ListColumns(found, caption, filename, names, extra)


def _check_header(names: Sequence[str], where: str) -> None:
    """A list without a header loses its first row, and finds no column of URLs."""
    places = [place for place, name in enumerate(names) if _URL.fullmatch(name)]
    if not places:
        return
    guess = [f"column_{place}" for place in range(len(names))]
    guess[places[0]] = "url"
    if len(names) > 1:
        guess[1 if places[0] == 0 else 0] = "caption"
    shown = ", ".join(repr(redact(name)[:60]) for name in names[:4])
    raise SchemaError(
        f"{where} has no header: its first line is a row ({shown}); expected names of columns",
        hint=f"name the columns in their order: --columns {','.join(guess)} (columns={tuple(guess)!r})",
    )


def _name_columns(names: Sequence[str], caption: str | None, where: str) -> dict[str, str]:
    """What each column of the list is called in the table; the row contract's names are not to be had."""
    columns = {name: CAPTION if name == caption else name for name in names}
    for name in names:
        if name in _TAKEN and name != caption:
            columns[name] = _free_name(f"meta_{name}", {*names, *columns.values()})
    double = sorted({column for column in columns.values() if list(columns.values()).count(column) > 1})
    if double:
        raise SchemaError(
            f"{where}: two columns would be called {', '.join(double)} in the table",
            hint=f"name the captions' column {CAPTION!r}, or rename the other one",
        )
    return columns


def _free_name(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _find(names: Sequence[str], *wanted: str) -> str | None:
    """The column of one of these names, exactly or else in any case, when there is just one."""
    for name in wanted:
        like = [column for column in names if column.lower() == name]
        if name in names or len(like) == 1:
            return name if name in names else like[0]
    return None
