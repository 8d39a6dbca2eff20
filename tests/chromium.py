"""One headless Chromium for the tests of a file; without one they are skipped, and say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 180_000  # of a machine that does much else


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser, which asks nobody anything by itself."""
    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if place is None or find_spec("playwright") is None:
        pytest.skip("no Chromium: apt-get install chromium fonts-noto-cjk fonts-noto-core, pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def page_of(browser: Browser, **options: Any) -> Page:
    """A page with patience, in a context of its own."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE_MS)
    return page
