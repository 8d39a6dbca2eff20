"""A server on the loopback with small pictures, and a list of their addresses, two of which are of no use."""

from __future__ import annotations

import csv
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.captioned import drawings


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def prepare(folder: Path) -> None:
    """Write pairs.csv, and serve the pictures that it names until the process ends."""
    served = folder / "served"
    served.mkdir()
    rows = drawings(8)
    for row in rows:
        (served / row["image_id"]).write_bytes(row["image"])
    (served / "page.png").write_text("<html>nothing here</html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        lines = [(row["image_id"], row["captions"][0]) for row in rows] + [("gone.png", "gone"), ("page.png", "a page")]
        base = f"http://127.0.0.1:{server.server_port}"
        csv.writer(file).writerows(
            [("url", "text", "license"), *((f"{base}/{name}", text, "cc0") for name, text in lines)]
        )
