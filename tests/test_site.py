"""The site: it builds without a warning or a network, no link is broken, no page asks anybody else for anything."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag

import pytest

from tests.chromium import page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
# Where a reader may be sent; nothing is loaded from there.
_NAMED_ONLY = ("https://keepachangelog.com/", "https://semver.org/")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_spec("mkdocs") and find_spec("material")),
        reason="the site's tools are not installed: pip install -e '.[docs]'",
    ),
]


class _Page(HTMLParser):
    """What a page loads, what it links to, and the places within it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places |= {value for name in ("id", "name") if (value := given.get(name))}
        target = given.get("href") or given.get("src")
        if target:
            (self.links if tag == "a" else self.loads).append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `mkdocs build --strict` makes it; a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    warned: list[str] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.append(record.getMessage())

    log, heard = logging.getLogger("mkdocs"), Heard(logging.WARNING)
    log.addHandler(heard)
    try:
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    finally:
        log.removeHandler(heard)
    assert warned == []
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_it_has_the_guides_the_concepts_the_reference_and_what_lies_at_the_root(site: Path) -> None:
    for page in (
        "index",
        "guides/own-data",
        "concepts/tables",
        "reference/verbs/train",
        "contributing",
        "changelog",
        "code",
    ):
        assert (site / f"{page}.html").is_file(), page
    assert (site / "llms.txt").is_file()
    assert (site / "guides" / "own-data.md").read_bytes() == (ROOT / "docs" / "guides" / "own-data.md").read_bytes()
    assert not (site / "generate").exists()


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, _Page]) -> None:
    for path, page in pages.items():
        elsewhere = [target for target in page.loads if re.match(r"(https?:)?//", target)]
        assert elsewhere == [], path
        sent = [link for link in page.links if re.match(r"(https?:)?//", link) and not link.startswith(_NAMED_ONLY)]
        assert sent == [], path
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?https?:", style.read_text(encoding="utf-8")), style


def test_no_link_within_it_is_broken(site: Path, pages: dict[Path, _Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the root, wherever it is shown
            continue
        for link in {*page.links, *page.loads}:
            place, fragment = urldefrag(link)
            if re.match(r"[a-z]+:", place):
                continue
            target = (path.parent / unquote(place)).resolve() if place else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (fragment and target in pages and unquote(fragment) not in pages[target].places):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_llms_txt_names_pages_that_are_there(site: Path) -> None:
    named = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))

    assert len(named) > 20
    assert [page for page in named if not (site / page).is_file()] == []


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_browser_finds_a_field_by_search_and_asks_nobody_else(chromium: Browser, address: str) -> None:
    asked: list[str] = []
    faults: list[str] = []
    page = page_of(chromium, viewport={"width": 390, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{address}/guides/own-data.html")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({"width": 1300, "height": 800})
    page.locator("input.md-search__input").fill("grad_cache_chunk")
    page.locator(".md-search-result__link").first.wait_for(timeout=180_000)
    found = page.locator(".md-search-result__link").evaluate_all("links => links.map(link => link.href)")
    page.close()
    assert any("reference/training.html" in link for link in found), found
    assert wide <= 390, "a phone has to scroll sideways"
    assert faults == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
