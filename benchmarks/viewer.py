"""The viewer at a million rows: seconds to the first screen, to an order, and to the end; memory of server and page.

    python -m benchmarks.viewer [--rows 1000000] [--pictures 2000] [--table FOLDER]

The server runs in a process of its own, the page in headless Chromium. Rows are narrow; every picture is one of twelve
JPEGs of 320 x 240. Seconds are those of the page's own clock from the start of the navigation, so that how
often is asked does not count; the first one is given with the start of the browser, too, and with the processor time
of the server and of the page's own thread, which a busy machine does not change.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import lance
import numpy as np
import psutil
import pyarrow as pa
from playwright.sync_api import CDPSession, Page, sync_playwright

_ROWS_AT_ONCE = 50_000
PATIENCE_S = 600  # of a machine that does much else
SCREENS = 200
# Notes when the first card has a row, and when its picture is drawn.
_NOTE = """
window.noted = {};
new MutationObserver(() => {
  if (!window.noted.rows && document.querySelector("#card-0:not(.waiting)")) window.noted.rows = performance.now();
  if (!window.noted.picture && document.querySelector("#card-0 .drawn")) window.noted.picture = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
"""


def main() -> None:
    """Write a table, look at it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=2_000, help="rows at each end that hold a picture")
    parser.add_argument("--table", type=Path, help="where the table is kept for the next run; it is made once")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = asked.table or Path(folder) / "rows.lance"
        if not place.exists():
            write_table(place, asked.rows, asked.pictures)
        figures = looked_at(place, asked.rows)
    print(json.dumps(figures, indent=2))


def write_table(place: Path, num_rows: int, num_pictures: int) -> None:
    """A table of narrow rows, of which the first and last hold pictures."""
    random = np.random.default_rng(0)
    made = [np.full((240, 320, 3), random.integers(256, size=3), np.uint8) for _ in range(12)]
    files = pa.array([cv2.imencode(".jpg", one)[1].tobytes() for one in made], pa.large_binary())
    schema = pa.schema(
        [("path", pa.string()), ("image", pa.large_binary()), ("caption", pa.string()), ("split", pa.string()),
         ("score", pa.float32()), ("score_tuned", pa.float32())]
    )  # fmt: skip

    def batches() -> object:
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            number = np.arange(start, min(start + _ROWS_AT_ONCE, num_rows))
            has = (number < num_pictures) | (number >= num_rows - num_pictures)
            image = files.take(pa.array(number % 12, mask=~has))
            score = random.random(len(number), dtype=np.float32)
            yield pa.record_batch(
                [pa.array([f"{one:09}.jpg" for one in number]), image, pa.array([f"thing {one}" for one in number]),
                 pa.array(np.where(number % 5, "train", "test")), pa.array(score), pa.array(score**2)],
                schema=schema,
            )  # fmt: skip

    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches()), place)


def looked_at(place: Path, num_rows: int) -> dict[str, float]:
    """Figures of one look through the table."""
    command = [sys.executable, "-m", "clipdata", "view", str(place)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None, "it was asked for"
        url = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE_S * 1000)
            page.add_init_script(_NOTE)
            return {"rows": num_rows, **_figures(page, url, num_rows, psutil.Process(server.pid))}
    finally:
        server.terminate()
        server.wait()


def _figures(page: Page, url: str, num_rows: int, server: psutil.Process) -> dict[str, float]:
    home = url.partition("?")[0]
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    start, server_cpu_s = time.perf_counter(), _cpu_s(server)
    page.goto(url)
    page.wait_for_selector("#card-0 .drawn")
    told = {"first_screen_and_browser_s": round(time.perf_counter() - start, 3), **_noted(page, "first_screen")}
    told["first_screen_server_cpu_s"] = round(_cpu_s(server) - server_cpu_s, 3)
    told["first_screen_page_cpu_s"] = round(_metrics(session)["TaskDuration"], 3)
    page.goto(home)
    page.wait_for_selector("#card-0 .drawn")
    told |= _noted(page, "again")
    page.goto(f"{home}?sort=score&descending=1")
    page.wait_for_selector("#card-0 .extra .value")
    assert float(page.locator("#card-0 .extra .value").inner_text()) > 0.99, "the highest first"
    told |= _noted(page, "sorted")
    page.goto(f"{home}?where=score+%3E+0.5")
    page.wait_for_selector("#card-0 .title")
    assert " of " in page.locator("#count").inner_text(), "not all rows meet the filter"
    told |= _noted(page, "filtered")
    page.goto(home)
    page.wait_for_selector("#card-0 .drawn")
    start = time.perf_counter()
    page.evaluate("document.querySelector('.gallery').scrollTop = 1e9")
    page.wait_for_selector(f"#card-{num_rows - 1} .drawn")
    told["to_the_end_s"] = round(time.perf_counter() - start, 3)
    page.mouse.move(700, 500)
    for _ in range(SCREENS):
        page.mouse.wheel(0, -900)
        page.wait_for_timeout(20)
    page.wait_for_selector(".card:not(.waiting)")
    told["cards"] = page.locator(".card").count()
    return told | _memory(page, server)


def _noted(page: Page, name: str) -> dict[str, float]:
    """Seconds from the start of the navigation to the first card with a row, as the page's own clock noted it."""
    told: dict[str, float] = page.evaluate("window.noted")
    return {f"{name}_{what}_s": round(at_ms / 1000, 3) for what, at_ms in told.items()}


def _cpu_s(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _metrics(session: CDPSession) -> dict[str, float]:
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def _memory(page: Page, server: psutil.Process) -> dict[str, float]:
    """MB of the page's objects after a collection, of the process that draws it, and of the server."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = _metrics(session)
    drawing = [
        process.memory_info().rss
        for process in psutil.Process().children(recursive=True)
        if "--type=renderer" in process.cmdline()
    ]
    return {
        "page_heap_mb": round(metrics["JSHeapUsedSize"] / 2**20, 1),
        "page_nodes": metrics["Nodes"],
        "renderer_mb": round(max(drawing) / 2**20, 1),
        "server_mb": round(server.memory_info().rss / 2**20, 1),
    }


if __name__ == "__main__":
    main()
