"""The viewer: a table, a parquet file or a folder of pictures as a page in the browser of the machine that it runs on.

    sources/        what is looked at: a Lance table, a parquet file, a folder of pictures; one protocol
    view_state.py   what is shown of it: version, filter, order, search; every state is a link
    orders.py       which rows come after which, as an array of their positions
    cells.py        values as JSON
    columns.py      what the page is told of columns, and which of them a card shows first
    facets.py       histograms and frequent values, each with the filter that it stands for
    finding.py      searches by text, words or a row
    changes.py      two versions held against each other, with pictures
    selections.py   rows that are kept under a name
    ticks.py        times, dates and decimals as whole numbers
    plane.py        rows as points of a plane, and those inside a lasso
    groups.py       clusters of alike rows
    thumbnails.py   pictures, encoded anew
    asked_pictures.py   pictures that somebody searches by
    commands.py     the same state as a command and as Python
    edits.py        tag, decide, delete
    deciding.py     decisions that are written together
    desk.py         answers of all of these for one source
    guard.py        who may ask at all
    pages.py        addresses, and JSON in and out
    beginning.py    what `view` and `export_view` begin with
    server.py       `view`: the server itself
    gallery_file.py `export_view`: one HTML file that needs no server

Nothing here sends a request anywhere: the server listens on the loopback, and the page asks it alone.
"""

from clipdata.viewer.gallery_file import ExportedView, export_view
from clipdata.viewer.server import Viewer, view

__all__ = ["ExportedView", "Viewer", "export_view", "view"]
