"""A report in a real browser: nothing leaves the file, nothing in it runs, and everybody can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipdata as cd
from tests.chromium import page_of
from tests.reported import CAPTIONS, hostile_table

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    table = hostile_table(folder, 64, num_groups=6)
    notes = {"recall of <i>both</i> sides": "\n".join(f"{n:<60}{n / 10:>60.1%}" for n in range(4))}
    out = folder / "report.html"
    cd.report(table, "before", "after", by="<b>group</b>", num_pictures=8, notes=notes, out=out)
    return folder / "report.html"


@pytest.fixture
def opened(chromium, file):
    """The page, on a wide screen, and every address that was asked for since."""
    asked: list[str] = []
    page = page_of(chromium, viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri(), wait_until="load")
    yield page, asked
    page.close()


def test_pictures_load_and_no_request_leaves_the_file(opened, file):
    page, asked = opened

    sizes = page.evaluate("Array.from(document.images, image => [image.complete, image.naturalWidth])")

    assert len(sizes) >= 14
    assert all(complete and width == 256 for complete, width in sizes)
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def test_no_caption_runs_and_each_is_read_in_its_own_direction(opened):
    page, _ = opened

    assert page.title() == "<hostile>.lance: before → after"
    assert page.evaluate("document.scripts.length") == 0
    directions = page.evaluate(
        "Array.from(document.querySelectorAll('.caption'), one => [one.textContent, getComputedStyle(one).direction])"
    )
    assert {way for text, way in directions if text.startswith(CAPTIONS[3][:4])} == {"rtl"}
    assert {way for text, way in directions if text.startswith(CAPTIONS[2][:4])} == {"ltr"}
    assert any(text.startswith(CAPTIONS[0]) for text, _ in directions)
    inserted = "document.body.insertAdjacentHTML('beforeend', `<img src=x onerror=\"document.title='ran'\">`)"
    page.evaluate(inserted)
    page.wait_for_timeout(50)
    assert page.title() != "ran", "the page's own policy lets nothing run, were anything to get in"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing(chromium, file, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = page_of(chromium, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.goto(file.as_uri())

    found = axe.Axe().run(page)
    page.close()

    assert found.violations_count == 0, found.generate_report()


def test_a_telephone_scrolls_in_one_direction_and_letters_are_not_small(chromium, file):
    page = page_of(chromium, viewport={"width": 390, "height": 844}, is_mobile=True, device_scale_factor=2)
    page.goto(file.as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    smallest = page.evaluate(
        """Math.min(...Array.from(document.querySelectorAll('svg.chart text, p, td, th, dd, dt'), one => {
            const svg = one.ownerSVGElement
            const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1
            return parseFloat(getComputedStyle(one).fontSize) * scale
        }))"""
    )
    page.close()

    assert smallest > 9


def test_the_page_is_used_with_the_keyboard(opened):
    page, _ = opened

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#difference"
    anchors = page.evaluate(
        "Array.from(document.querySelectorAll('nav a'), one => document.querySelector(one.hash) !== null)"
    )
    assert len(anchors) >= 5
    assert all(anchors)


def test_print_is_dark_on_white_and_leaves_the_navigation_out(chromium, file, tmp_path: Path):
    page = page_of(chromium, color_scheme="dark")
    page.goto(file.as_uri())
    page.emulate_media(media="print", color_scheme="dark")

    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.pdf(format="A4")
    page.close()

    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000
