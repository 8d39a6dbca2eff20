"""`clipdata show`, `log`, `query`, `rejects`: what is in a table, and how it came to be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from pipelines.options import AsJson, StorageOptions, Version, examples, storage_of, version_of
from pipelines.terminal import Terminal, columns

verbs = typer.Typer()
# What Lance calls the commits that a verb makes on its way, in words.
_OPERATIONS = {
    "Overwrite": "  table made",
    "Update": "  rows written",
    "Merge": "  column added",
    "Append": "  rows added",
    "Delete": "  rows deleted",
    "DataReplacement": "  column filled",
    "UpdateConfig": "  metadata written",
    "Project": "  column dropped",
}
TableArgument = Annotated[str, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL.")]


@verbs.command(epilog=examples("clipdata show contest.lance"))
def show(
    table: TableArgument, version: Version = None, storage_option: StorageOptions = None, as_json: AsJson = False
) -> None:
    """Show a table's columns, how many values each has, and what made them."""
    import clipdata as cd
    from clipdata.lance_io.referring import referred_by

    opened = cd.open_table(table, version=version_of(version), storage=storage_of(storage_option))
    num_rows = opened.num_rows
    described = []
    for column in opened.schema:
        lineage = opened.lineage(column.name)
        empty = opened.count_nulls(column.name)
        filled = num_rows - empty if empty is not None else None
        described.append((column, lineage, filled))
    lines = [
        [
            column.name + (" (key)" if column.name == opened.key else ""),
            str(column.type),
            "?" if filled is None else f"{filled:,}",
            lineage.describe() if lineage else "",
        ]
        for column, lineage, filled in described
    ]
    title = f"{table}: {num_rows:,} rows, version {opened.version}"
    text = f"{title}\n{columns(lines, header=['column', 'type', 'values', 'made by'])}"
    pictures = referred_by(opened)
    text += "".join(f"\nimage: {referred}" for referred in pictures)
    data = {
        "table": opened.uri,
        "version": opened.version,
        "rows": num_rows,
        "columns": [
            {
                "name": column.name,
                "type": str(column.type),
                "values": filled,
                "lineage": lineage.to_dict() if lineage else None,
            }
            for column, lineage, filled in described
        ],
        "pictures": [asdict(referred) for referred in pictures],
    }
    Terminal(as_json=as_json).result(text, data)


@verbs.command(epilog=examples("clipdata log contest.lance"))
def log(table: TableArgument, storage_option: StorageOptions = None, as_json: AsJson = False) -> None:
    """List the versions of a table: when, which verb, with which parameters, how many rows."""
    import clipdata as cd

    entries = cd.log(table, storage=storage_of(storage_option))
    lines = [
        [
            str(entry.version),
            entry.when.strftime("%Y-%m-%d %H:%M:%S"),
            entry.properties.verb if entry.properties else _OPERATIONS.get(entry.operation, f"({entry.operation})"),
            f"{entry.num_rows:,}",
            ", ".join(f"{count:,} {what}" for what, count in entry.properties.rows.items() if count)
            if entry.properties
            else "",
            _parameters(entry.properties.parameters) if entry.properties else "",
            " ".join(f"[{tag}]" for tag in entry.tags),
        ]
        for entry in entries
    ]
    header = ["version", "when (UTC)", "verb", "rows", "touched", "parameters", "tags"]
    data = {"table": table, "versions": [entry.to_dict() for entry in entries]}
    Terminal(as_json=as_json).result(columns(lines, header=header), data)


@verbs.command(
    epilog=examples('clipdata query contest.lance "SELECT label, avg(label_prob) FROM dataset GROUP BY label"')
)
def query(
    table: TableArgument,
    sql: Annotated[str, typer.Argument(help="SELECT statement; the table is called dataset.")],
    version: Version = None,
    storage_option: StorageOptions = None,
    as_json: AsJson = False,
) -> None:
    """Answer a SQL SELECT on a table."""
    import clipdata as cd

    opened = cd.open_table(table, version=version_of(version), storage=storage_of(storage_option))
    found = opened.query(sql)
    records = [{name: _cell(value) for name, value in record.items()} for record in found.to_pylist()]
    lines = [[_text(value) for value in record.values()] for record in records]
    text = columns(lines, header=found.schema.names) if found.num_columns else "no rows"
    Terminal(as_json=as_json).result(text, {"table": opened.uri, "version": opened.version, "rows": records})


@verbs.command(epilog=examples("clipdata rejects images.lance"))
def rejects(table: TableArgument, storage_option: StorageOptions = None, as_json: AsJson = False) -> None:
    """List what ingest and merge refused, with the reasons."""
    import clipdata as cd
    from clipdata.errors import NotFoundError
    from ingest.updating.rejects import rejects_uri

    storage = storage_of(storage_option)
    opened = cd.open_table(table, storage=storage)
    try:
        found = cd.open_table(rejects_uri(opened.uri), storage=storage).to_table().to_pylist()
    except NotFoundError:
        found = []
    found.sort(key=lambda record: (record["reason"], record["path"]))
    lines = [[record["reason"], record["path"], record["detail"] or ""] for record in found]
    text = columns(lines, header=["reason", "path", "detail"]) if found else "nothing was refused"
    Terminal(as_json=as_json).result(text, {"table": opened.uri, "rejects": found})


def _parameters(parameters: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in parameters.items() if value not in (None, "", {}, []))


def _cell(value: Any) -> Any:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
