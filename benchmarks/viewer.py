"""The viewer at a million rows: seconds to the first screen, to an order, and to the end; memory of server and page.

    python -m benchmarks.viewer [--rows 1000000] [--pictures 2000]

The server runs in a process of its own, the page in headless Chromium. Rows are narrow; every picture is one of twelve
JPEGs of 320 x 240.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import lance
import numpy as np
import psutil
import pyarrow as pa
from playwright.sync_api import Page, sync_playwright

_ROWS_AT_ONCE = 50_000
PATIENCE_S = 120


def main() -> None:
    """Write a table, look at it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=2_000, help="rows at each end that hold a picture")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "rows.lance"
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
            return {"rows": num_rows, **_figures(page, url, num_rows, psutil.Process(server.pid))}
    finally:
        server.terminate()
        server.wait()


def _figures(page: Page, url: str, num_rows: int, server: psutil.Process) -> dict[str, float]:
    def timed(do: Callable[[], object], shown: str) -> float:
        start = time.perf_counter()
        do()
        _wait(page, shown)
        return round(time.perf_counter() - start, 3)

    rendered = "document.querySelector('#card-0:not(.waiting)')"
    drawn = "document.querySelector('#card-0 img')?.naturalWidth > 0"
    told: dict[str, float] = {"first_screen_s": timed(lambda: page.goto(url), rendered)}
    told["first_screen_again_s"] = timed(lambda: page.goto(url.partition("?")[0]), drawn)
    order = "/^(1|0[.]9{3})/.test(document.querySelector('#card-0 .extra .value')?.textContent ?? '')"
    told["sort_s"] = timed(lambda: page.goto(url.partition("?")[0] + "?sort=score&descending=1"), order)
    count = "document.getElementById('count').textContent.includes(' of ')"
    told["filter_s"] = timed(lambda: page.goto(url.partition("?")[0] + "?where=score+%3E+0.5"), count)
    page.goto(url.partition("?")[0])
    _wait(page, drawn)
    last = f"document.querySelector('#card-{num_rows - 1} img')?.naturalWidth > 0"
    told["to_the_end_s"] = timed(lambda: page.evaluate("document.querySelector('.gallery').scrollTop = 1e9"), last)
    for _ in range(200):
        page.mouse.move(700, 500)
        page.mouse.wheel(0, -900)
    page.wait_for_timeout(500)
    told["cards"] = page.locator(".card").count()
    told["page_heap_mb"] = round(page.evaluate("performance.memory.usedJSHeapSize") / 2**20, 1)
    told["server_mb"] = round(server.memory_info().rss / 2**20, 1)
    return told


def _wait(page: Page, shown: str) -> None:
    """Asked from here: the page's policy lets it evaluate no text itself."""
    until = time.perf_counter() + PATIENCE_S
    while not page.evaluate(shown):
        if time.perf_counter() > until:
            raise TimeoutError(f"not shown within {PATIENCE_S} s: {shown}")
        page.wait_for_timeout(5)


if __name__ == "__main__":
    main()
