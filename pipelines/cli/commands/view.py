"""`clipdata view`: a page to look at a table, a parquet file or a folder of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clipdata.errors import UsageError
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import VersionOptions, Where, version_of
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.viewer import Viewer

_EXPORTED = record(
    file=TEXT, table=TEXT, version=maybe(WHOLE), num_rows=WHOLE, num_found=WHOLE, num_bytes=WHOLE,
    notes=listed(TEXT),
)  # fmt: skip
VIEWED = record(("exported",), table=TEXT, url=maybe(TEXT), edit=FLAG, exported=maybe(_EXPORTED))


@verb(
    "view",
    found=VIEWED,
    examples=[
        "clipdata view contest.lance",
        'clipdata view contest.lance --before label_prob --after label_prob_fine_tune --sort "~change"',
        "clipdata view photos/",
        "clipdata view train.parquet --export gallery.html --rows 500",
    ],
)
def view(
    terminal: Terminal,
    what: Annotated[str, typer.Argument(help="Any Lance table, a parquet file, or a folder of pictures.")],
    *,
    where: Where = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help='Column to sort by; "~change": by --after minus --before.')
    ] = None,
    descending: Annotated[bool, typer.Option("--descending", help="The highest first.")] = False,
    before: Annotated[str | None, typer.Option("--before", help="Column of scores to show beside --after.")] = None,
    after: Annotated[str | None, typer.Option("--after", help="Column of scores.")] = None,
    link: Annotated[
        str | None, typer.Option("--link", help="Address of a state of the page, or its query, to begin with.")
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Let the page tag versions, write decisions and delete rows.")
    ] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="Folder of a training run whose metrics are drawn as they come.")
    ] = None,
    export: Annotated[
        str | None, typer.Option("--export", help="Write one HTML file of the first rows instead, and end.")
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Beside --export: rows at most; 200.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Beside --export: replace a file.")] = False,
    host: Annotated[str, typer.Option("--host", help="127.0.0.1, localhost or ::1; nothing else.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="To listen on; any free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    store: VersionOptions,
) -> None:
    """Look at a table, a parquet file or a folder of pictures in the browser, on this machine alone.

    The address that is printed lets a browser in; nobody else is answered, and nothing is asked of any other machine.
    Ctrl+C ends it.
    """
    import clipdata as cd

    shown = {
        "version": version_of(store.version) if store.version is not None else None,
        "where": where, "sort": sort, "descending": descending, "before": before, "after": after,
        "link": link, "storage": store.storage,
    }  # fmt: skip
    if export is not None:
        done = cd.export_view(what, export, rows=200 if rows is None else rows, overwrite=overwrite, **shown)  # type: ignore[arg-type]
        terminal.result(str(done), {"table": done.table, "url": None, "edit": False, "exported": done.to_dict()})
        return
    if rows is not None or overwrite:
        raise UsageError("--rows and --overwrite belong to --export", hint="--export gallery.html")
    viewer = cd.view(what, edit=edit, run=run, host=host, port=port, open_browser=open_browser, **shown)  # type: ignore[arg-type]
    _serve(terminal, viewer)


def _serve(terminal: Terminal, viewer: Viewer) -> None:
    """Tell the address, and serve until the program is interrupted, which is how it is meant to end."""
    location = viewer.desk.first.location
    if terminal.as_json:
        terminal.say(f"{viewer.url}   (Ctrl+C ends)")
    terminal.result(viewer.url, {"table": location, "url": viewer.url, "edit": viewer.desk.edit, "exported": None})
    for note in viewer.desk.first.notes:
        terminal.say(f"{location}: {note}")
    terminal.say(f"{location}: open this address in a browser of this machine; Ctrl+C ends")
    try:
        viewer.wait()
    except KeyboardInterrupt:
        terminal.say("ended")
    finally:
        viewer.close()
        for line in viewer.held_back:
            terminal.say(f"not written, since somebody else decided otherwise: {line}")
