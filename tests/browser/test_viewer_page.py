"""The viewer's page in a real browser: by mouse and by keyboard, in light and dark, and with a million rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.viewer import Viewer
from clipdata.viewer.decisions import Decisions
from tests.chromium import PATIENCE_MS
from tests.tiny_models import tiny_encoder
from tests.viewing import MARKUP, NUM_ROWS, picture, viewed_table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser
MILLION, WAIT_MS = 1_000_000, 50
SHOWN = """() => {
    const text = (selector) => document.querySelector(selector)?.textContent;
    return {news: text("#news"), dialog: text("dialog[open]"), edit: text("#edit"), focus: document.activeElement?.id};
}"""


@contextmanager
def page_of(browser: Browser, viewer: Viewer, query: str = "", **context: Any) -> Iterator[Page]:
    """The page, let in; no request may leave its origin, and nothing may go wrong in it."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(viewer.url)
    origin = viewer.url.partition("/?")[0]
    if query:
        page.goto(f"{origin}/?{query}")
    page.wait_for_selector(".card:not(.waiting), .sections, canvas")
    try:
        yield page
    except Exception as error:
        last = [url.partition("/api/")[2] for url in asked if "/api/" in url and "/api/live" not in url][-8:]
        error.add_note(f"the page asked last: {last}; wrong: {wrong}; it shows: {page.evaluate(SHOWN)}")
        raise
    context.close()
    assert {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in asked} == {origin}
    assert wrong == []


def wait_until(page: Page, holds: str, argument: Any = None) -> None:
    """Wait for an expression to hold; asked from here, since the page's policy lets it evaluate no text itself."""
    give_up = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(holds, argument):
        assert time.monotonic() < give_up, f"it never came to hold: {holds}"
        page.wait_for_timeout(WAIT_MS)


def state_of(page: Page) -> dict[str, str]:
    """What stands in the page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def wait_for_count(page: Page, text: str) -> None:
    wait_until(page, "text => document.getElementById('count').textContent.startsWith(text)", text)


def texts(page: Page, of: str) -> list[str]:
    """Texts of the cards in sight, in their order."""
    wait_until(page, "!document.querySelector('.card.waiting') && !document.querySelector('[aria-busy]')")
    script = f"""() => [...document.querySelectorAll('.card')]
        .sort((a, b) => a.id.slice(5) - b.id.slice(5)).map((card) => card.querySelector('{of}').textContent)"""
    return page.evaluate(script)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    return viewed_table(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def viewer(table: cd.Table) -> Iterator[Viewer]:
    with cd.view(table.uri) as serving:
        yield serving


def test_pictures_load_and_a_caption_with_markup_stays_text(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        wait_until(page, "[...document.querySelectorAll('.card img')].some((image) => image.naturalWidth === 64)")
        assert MARKUP in texts(page, ".text")
        page.locator(".card", has_text="<script>").first.click()
        page.wait_for_selector("#detail dl")
        assert MARKUP in page.locator("#detail").inner_text()
        assert "taken" not in page.title()
        assert page.locator("main script, main [onerror], #detail script").count() == 0


def test_captions_are_laid_out_in_their_own_direction(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        ways = page.evaluate(
            "() => Object.fromEntries([...document.querySelectorAll('.card .text')]"
            ".map((text) => [text.textContent.slice(0, 3), getComputedStyle(text).direction]))"
        )
    assert ways["قطة"] == "rtl"
    assert ways["一只小"] == "ltr"


def test_rows_are_sorted_and_scores_stand_side_by_side(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        page.select_option("#sort", "score")
        wait_until(page, "document.querySelector('#card-0 .extra .value')?.textContent.startsWith('0.0')")
        shown = [float(text) for text in texts(page, ".extra .value")]
        assert shown == sorted(shown)
        page.select_option("#before", "score")
        page.select_option("#after", "score_tuned")
        page.select_option("#sort", "~change")
        wait_until(page, "document.querySelector('#card-0 .scores .up')")
        assert state_of(page) == {"sort": "~change", "descending": "1", "before": "score", "after": "score_tuned"}
        changes = [float(text.replace("−", "-")) for text in texts(page, ".scores > :last-child")]
        assert changes == sorted(changes, reverse=True)


def test_a_filter_is_typed_with_completion_and_a_false_one_is_explained(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        page.keyboard.press("/")
        page.keyboard.type("spl")
        page.keyboard.press("Tab")
        page.keyboard.type("= 'test'")
        page.keyboard.press("Enter")
        wait_for_count(page, "12 of 60")
        assert state_of(page) == {"where": "split = 'test'"}
        page.fill("#filter", "nope > 3")
        page.keyboard.press("Enter")
        page.wait_for_selector("#filter-error:visible")
        assert "nope" in page.locator("#filter-error").inner_text()
        page.go_back()
        wait_until(page, """document.querySelector('#filter').value === "split = 'test'" """)
        page.wait_for_selector("#filter-error", state="hidden")
        wait_for_count(page, "12 of 60")
        page.go_forward()
        page.wait_for_selector("#main.stale")  # its rows are of the filter before
        assert page.input_value("#filter") == "nope > 3"
        page.go_back()
        page.wait_for_selector("#main:not(.stale)")


def test_a_click_on_a_facet_adds_to_the_filter(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        page.wait_for_selector("[data-column=score] .bin:not(:disabled)")
        page.locator("[data-column=score] .bin:not(:disabled)").last.click()
        wait_until(page, "document.getElementById('count').textContent.includes(' of 60')")
        assert "`score` >=" in state_of(page)["where"]
        if page.locator("[data-column=split] .value").count() == 0:
            page.locator("[data-column=split] summary").click()
        page.locator("[data-column=split] .value", has_text="train").click()
        wait_until(page, "document.getElementById('filter').value.includes('split')")
        assert " AND `split` = 'train'" in state_of(page)["where"]


def test_words_are_searched(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        page.fill("#search", "red house")
        page.press("#search", "Enter")
        wait_for_count(page, "12 of 60")
        assert set(texts(page, ".text")) == {"a red house by the sea"}


def test_an_earlier_version_is_looked_at_and_held_against_another(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer) as page:
        wait_until(page, "document.querySelectorAll('#version option').length > 2")
        page.select_option("#version", "2")
        wait_for_count(page, "50 rows")
        assert state_of(page) == {"version": "2"}
        page.get_by_role("button", name="changes").click()
        page.wait_for_selector("#from")
        page.select_option("#from", "2")
        page.wait_for_selector("text=10 rows added")
        wait_until(page, "document.querySelector('.chip img').naturalWidth > 0")
        page.locator(".chip").first.click()
        page.wait_for_selector("#detail dl")


def test_failures_are_rows_one_click_away(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer, "view=failures") as page:
        page.get_by_role("button", name="ValueError").click()
        wait_for_count(page, "12 of 60")
        page.wait_for_selector("#card-0 .failed")
        assert "no French" in page.locator("#card-0").inner_text()


def test_the_keyboard_alone_moves_opens_and_closes(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer, "sort=path") as page:
        page.wait_for_selector(".gallery:focus")  # without a click
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("#detail dl")
        assert page.locator("#detail h2").inner_text() == "002.png"
        outline = page.evaluate("getComputedStyle(document.querySelector('.card.active')).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("ArrowLeft")
        wait_until(page, "document.querySelector('#detail h2').textContent === '001.png'")
        page.keyboard.press("Escape")
        assert not page.locator("#detail").is_visible()
        page.keyboard.press("End")
        page.wait_for_selector(f"#card-{NUM_ROWS - 1}.active")


def test_the_same_view_can_be_copied(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer, "where=score+%3E+0.5&sort=score") as page:
        page.click("#copy")
        page.wait_for_selector("#copies pre")
        command, python, link = page.locator("#copies pre").all_inner_texts()
        assert command.startswith("clipdata query ")
        assert (
            "WHERE score > 0.5 ORDER BY isnan(`score`) ASC NULLS LAST, nanvl(`score`, 0) ASC NULLS LAST, _rowaddr"
            in command
        )
        assert "cd.open_table(" in python
        assert link == page.url


def test_rows_are_chosen_by_click_and_by_keyboard_and_written(chromium: Browser, tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, page_of(chromium, viewer, "sort=path") as page:
        page.locator("#card-0").click()
        page.locator("#card-2").click(modifiers=["Shift"])
        page.wait_for_selector("text=3 chosen")
        page.fill("#decision-value", "keep")
        page.get_by_role("button", name="write", exact=True).click()
        page.wait_for_selector("text=pending")
        page.wait_for_selector("text=/is “keep” .version/")
        page.fill("#keep-name", "first-three")
        page.press("#keep-name", "Enter")
        page.wait_for_selector("text=/@first-three is 3 rows/")
        page.locator(".selections .value").click()
        wait_for_count(page, "3 of 60")
        assert state_of(page)["where"] == "@first-three"
        page.click("#clear")
        wait_for_count(page, "60 rows")
        page.locator(".gallery").focus()
        page.keyboard.press("Shift+ArrowRight")
        wait_until(page, "/^[1-9]\\d* chosen/.test(document.querySelector('.chosen').textContent)")
        page.fill("#tag-name", "looked-at")
        page.press("#tag-name", "Enter")
        page.wait_for_selector("text=is called looked-at")
        page.get_by_role("button", name="none", exact=True).click()
        page.locator("#card-5").click()
        page.click("#delete")
        page.wait_for_selector("text=Delete 1 row?")
        page.keyboard.press("Escape")
        page.click("#delete")
        page.get_by_role("button", name="delete", exact=True).click()
        page.wait_for_selector("text=deleted 1 row")

    newest = table.latest()
    assert newest.to_table(["path"], where="decision = 'keep'").column(0).to_pylist() == [
        "000.png",
        "001.png",
        "002.png",
    ]
    assert newest.count_rows("path = '005.png'") == 0
    assert newest.num_rows == NUM_ROWS - 1
    assert "looked-at" in {tag.name for tag in cd.tag(table.uri).tags}


def test_chosen_rows_stay_chosen_while_they_are_found_again_at_newer_versions(
    chromium: Browser, tmp_path: Path
) -> None:
    table = viewed_table(tmp_path)
    held: list[Route] = []
    with cd.view(table.uri, edit=True) as viewer, page_of(chromium, viewer, "sort=path") as page:
        page.route("**/api/edit/places*", lambda route: held.append(route), times=1)
        page.locator("#card-0").click()
        page.locator("#card-2").click(modifiers=["Shift"])
        page.wait_for_selector("text=3 chosen")

        for path in ("000.png", "001.png"):
            cd.delete(table.uri, f"path = '{path}'")
            page.wait_for_selector(f"text=version {table.latest().version} of the table is there")
            wait_until(page, "!document.querySelector('[aria-busy]')")
            assert page.inner_text(".chosen") == "3 chosen"
        page.fill("#keep-name", "rest")
        page.press("#keep-name", "Enter")
        page.wait_for_selector("text=/@rest is /")  # they are told by where they stood
        held.pop().continue_()
        page.wait_for_selector("text=1 chosen")

    assert table.latest().to_table(["path"], where="@rest").column(0).to_pylist() == ["002.png"]


def test_a_page_is_asked_which_of_two_decisions_stands(chromium: Browser, tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    with cd.view(table.uri, edit=True) as viewer, page_of(chromium, viewer, f"version={table.version}") as page:
        cd.map_column(table.uri, Decisions("path", {"000.png": "keep"}), "decision")
        page.locator(".card", has_text="000.png").click()
        for answer, stands in (("keep theirs", "keep"), ("write mine over 1", "drop")):
            page.fill("#decision-value", "drop")
            page.get_by_role("button", name="write", exact=True).click()
            page.wait_for_selector("text=1 row was decided otherwise since this page looked")
            assert "000.png is “keep” (another viewer, or a command, version" in page.locator(".disputes").inner_text()
            page.get_by_role("button", name=answer).click()
            page.wait_for_selector("dialog", state="hidden")
            wait_for_decision(table, "000.png", stands)


def test_two_pages_are_asked_of_their_own_decisions_also_once_reloaded(chromium: Browser, tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    at, own = f"version={table.version}", ("000.png", "001.png")
    with (
        cd.view(table.uri, edit=True) as viewer,
        page_of(chromium, viewer, at) as first,
        page_of(chromium, viewer, at) as second,
    ):
        cd.map_column(table.uri, Decisions("path", dict.fromkeys(own, "keep")), "decision")
        for page, path in zip((first, second), own, strict=True):
            page.locator(".card", has_text=path).click()
            page.fill("#decision-value", "drop")
            page.get_by_role("button", name="write", exact=True).click()
            page.wait_for_selector(f".disputes >> text={path} is “keep”")
        second.reload()
        second.wait_for_selector("text=1 row was decided otherwise since this page looked")
        assert "001.png is “keep”" in second.locator(".disputes").inner_text()
        first.get_by_role("button", name="write mine over 1").click()
        wait_for_decision(table, "000.png", "drop")
        second.get_by_role("button", name="keep theirs").click()
        second.wait_for_selector("dialog", state="hidden")
        wait_for_decision(table, "001.png", "keep")
        assert second.locator("[role=alert]:visible").count() == 0
    assert viewer.held_back == []


def wait_for_decision(table: cd.Table, path: str, value: str) -> None:
    def decided() -> list[str]:
        newest = table.latest()
        if "decision" not in newest.schema.names:  # it is being made anew
            return []
        found: list[str] = newest.to_table(["decision"], where=f"path = '{path}'").column(0).to_pylist()
        return found

    give_up = time.monotonic() + PATIENCE_MS / 1000
    while decided() != [value]:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_rows_are_searched_by_a_picture_from_a_file(chromium: Browser, tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    cd.map_column(table.uri, cd.steps.ImageEmbedding(tiny_encoder(tmp_path)), "features")
    file = tmp_path / "asked.png"
    file.write_bytes(picture(3))
    with cd.view(table.uri) as viewer, page_of(chromium, viewer) as page:
        page.set_input_files("#picture-file", file)
        wait_for_count(page, "60 like the picture of 60")
        wait_until(page, "document.querySelector('#asked img').naturalWidth > 0")
        assert "asked.png" in page.locator("#asked").inner_text()
        assert texts(page, ".title")[0] == "003.png"
        page.get_by_role("button", name="do not search by this picture").click()
        wait_for_count(page, "60 rows")


def test_a_link_with_a_false_filter_shows_the_filter_and_all_that_is_known_without(
    chromium: Browser, viewer: Viewer
) -> None:
    with page_of(chromium, viewer) as page:
        page.goto(viewer.url.partition("?")[0] + "?where=%22split%22+%3D+%27test%27")
        page.wait_for_selector("#filter-error:visible")
        wait_until(page, "document.querySelectorAll('#sort option').length > 5")
        assert page.input_value("#filter") == "\"split\" = 'test'"
        page.fill("#filter", "split = 'test'")
        page.press("#filter", "Enter")
        wait_for_count(page, "12 of 60")


def test_a_lasso_is_drawn_by_mouse_and_by_keyboard(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer, "view=map") as page:
        page.wait_for_selector("canvas[data-points='60']")
        box = page.locator("canvas").bounding_box()
        left, top, middle = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] / 2
        page.click("#lasso")
        page.mouse.move(left, top)
        page.mouse.down()
        for x, y in ((middle, top), (middle, top + box["height"] - 6), (left, top + box["height"] - 6)):
            page.mouse.move(x, y, steps=4)
        page.mouse.up()
        wait_for_count(page, "30 of 60")
        page.get_by_role("button", name="look at them").click()
        page.wait_for_selector(".card:not(.waiting)")
        assert page.locator(".gallery").is_visible()
        page.go_back()
        page.wait_for_selector("canvas[data-points]")
        page.locator("canvas").focus()
        for key in ["+"] * 7:
            page.keyboard.press(key)
        page.wait_for_selector("canvas[data-near='yes']")
        page.keyboard.press("l")
        wait_until(page, "!document.getElementById('count').textContent.startsWith('30 ')")
        page.fill("#filter", "score > 5")
        page.press("#filter", "Enter")
        page.wait_for_selector("text=No row meets this filter, so there is nothing to draw")


def test_a_lasso_is_copied_short_as_a_name_of_its_rows(chromium: Browser, tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    lasso = "x=x&y=y&lasso=1.5,1.5,4.5,1.5,4.5,3.5,1.5,3.5&sort=score"
    with cd.view(table.uri, edit=True) as viewer, page_of(chromium, viewer, lasso) as page:
        page.click("#copy")
        page.fill("#lasso-name", "island")
        page.press("#lasso-name", "Enter")
        page.wait_for_selector("#copies pre >> text=WHERE @island ORDER BY")
        assert page.locator("#copies pre").first.inner_text().startswith("clipdata query ")
        assert state_of(page) == {"where": "@island", "sort": "score", "x": "x", "y": "y"}
        wait_for_count(page, "6 of 60")
    assert cd.open_table(table.uri).count_rows("@island") == 6


def test_alike_rows_are_shown_together_above_a_threshold(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer, "view=groups") as page:
        page.wait_for_selector("text=20 groups, 60 rows")
        page.select_option("#group-score", "score")
        page.wait_for_selector("#least")
        page.locator("#least").focus()
        page.keyboard.press("PageUp")
        wait_until(page, "!document.querySelector('.loaded.count').textContent.startsWith('20 groups')")
        assert float(state_of(page)["least"]) > 0


def test_the_page_notes_a_new_version_and_draws_a_run(chromium: Browser, tmp_path: Path) -> None:
    table = viewed_table(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    with cd.view(table.uri, run=run) as viewer, page_of(chromium, viewer) as page:
        page.wait_for_selector(".run >> text=loss")
        cd.delete(table.uri, "path = '000.png'")
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2, "loss": 1.25}\n')
        wait_for_count(page, "59 rows")
        page.wait_for_selector(".run >> text=1.25")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(chromium: Browser, table: cd.Table, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = []
    with cd.view(table.uri, edit=True) as viewer, page_of(chromium, viewer, color_scheme=scheme) as page:
        for query in ("before=score&after=score_tuned&row=3", "view=map", "view=groups", "view=failures"):
            page.goto(f"{viewer.url.partition('?')[0]}?{query}")
            page.wait_for_selector(".card:not(.waiting), .sections, canvas")
            wait_until(page, "!document.querySelector('[aria-busy]') && !document.querySelector('.card.waiting')")
            found = axe.Axe().run(page).response["violations"]
            violations += [(query, one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]
    assert violations == []


def test_a_narrow_screen_shows_a_row_over_everything_and_closes_it(chromium: Browser, viewer: Viewer) -> None:
    with page_of(chromium, viewer, viewport={"width": 400, "height": 720}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.click("#columns")
        page.wait_for_selector("[data-column=score] .bin:not(:disabled)")
        page.click("#columns")
        page.wait_for_selector("#facets", state="hidden")
        page.locator("#card-0").click()
        page.wait_for_selector("#detail dl")
        assert page.locator("#detail").bounding_box()["width"] == 400
        page.keyboard.press("Escape")
        assert not page.locator("#detail").is_visible()


@pytest.mark.parametrize(("width", "lines"), [(1720, 1), (1280, 1), (900, 2), (390, 1)])
def test_what_writes_fits_the_screen_and_is_all_in_reach(
    chromium: Browser, tmp_path: Path, width: int, lines: int
) -> None:
    table = viewed_table(tmp_path)
    with (
        cd.view(table.uri, edit=True) as viewer,
        page_of(chromium, viewer, viewport={"width": width, "height": 800}) as page,
    ):
        page.locator("#card-0").click()
        page.wait_for_selector("#detail dl")
        page.keyboard.press("Escape")
        page.wait_for_selector("text=1 chosen")
        assert page.locator(".bottom").bounding_box()["height"] < 20 + 36 * lines
        if width < 720:
            page.click(".edit .more")
        page.fill("#tag-name", "seen")
        page.press("#tag-name", "Enter")
        page.wait_for_selector("text=is called seen")
        for control in page.locator("#edit button:visible, #edit input:visible").all():
            box = control.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= 800
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import lance

    place = tmp_path_factory.mktemp("million") / "million.lance"
    number_N = pa.array(np.arange(MILLION))
    pictures = pa.array([picture(number) for number in range(8)], pa.binary())
    image_N = pictures.take(pa.array(np.where(np.arange(MILLION) < 500, np.arange(MILLION) % 8, 0)))
    has_picture_N = pa.array((np.arange(MILLION) < 500) | (np.arange(MILLION) >= MILLION - 500))
    rows = pa.table(
        {
            "number": number_N,
            "image": pa.compute.if_else(has_picture_N, image_N, pa.scalar(None, pa.binary())),
            "score": np.random.default_rng(0).random(MILLION, dtype=np.float32),
        }
    )
    lance.write_dataset(rows, place)
    return place


def test_a_million_rows_scroll_to_the_end(chromium: Browser, million: Path) -> None:
    with cd.view(million) as viewer, page_of(chromium, viewer) as page:
        wait_until(page, "document.querySelector('#card-0 img')?.naturalWidth > 0")
        height = page.evaluate("document.querySelector('.gallery').scrollHeight")
        assert height <= 6_000_000
        page.evaluate("document.querySelector('.gallery').scrollTop = 1e9")
        last = f"#card-{MILLION - 1}"
        page.wait_for_selector(f"{last}:not(.waiting)")
        wait_until(page, f"document.querySelector('{last} img')?.naturalWidth > 0")
        shown, seen = page.locator(last).bounding_box(), page.locator(".gallery").bounding_box()
        assert shown["y"] + shown["height"] <= seen["y"] + seen["height"]
        page.evaluate("document.querySelector('.gallery').scrollTop -= 400")
        page.wait_for_timeout(400)
        assert page.locator(".card").count() < 150
        page.locator(".gallery").focus()
        page.keyboard.press("Home")
        page.wait_for_selector("#card-0:not(.waiting)")
        page.select_option("#sort", "score")
        wait_until(page, "document.querySelector('#card-0 .extra')")
        page.locator(".gallery").focus()
        page.keyboard.press("End")
        page.wait_for_selector(f"{last}:not(.waiting)")
        assert page.locator(f"{last} .extra .value").inner_text() == "1.000"
