"""`report`: a page and JSON of the same records, whatever a table holds: bounded, escaped, with the parts there are."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.refused import rejects_uri
from clipdata.lance_io.table import open_table
from clipdata.reporting import report_schema
from clipdata.schema import key_field
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contests import contest_table
from tests.json_schemas import check_schema
from tests.reported import CAPTIONS, hostile_table
from tests.tiny_models import tiny_encoder

MOST_BYTES = 5_000_000
GROUP = "<b>group</b>"


class Parsed(HTMLParser):
    """Tags, their attributes, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.text = "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return hostile_table(tmp_path_factory.mktemp("hostile"), 240)


@pytest.fixture(scope="module")
def hostile_report(hostile):
    return cd.report(hostile, "before", "after", by=GROUP, num_pictures=16)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A contest with scores before and after a training, and the run."""
    folder = tmp_path_factory.mktemp("tuned")
    table, encoder = contest_table(folder, 60), tiny_encoder(folder)
    config = cd.recipes.caption_contest(
        epochs=2, batch_size=8, label="label_ind", evaluate_where="split = 'test'", canary=False
    )
    run = cd.train(table, encoder, config, out=folder / "run", where="split = 'train'")
    for name, model in (("", encoder), ("_fine_tune", run.encoder(device="cpu"))):
        cd.map_column(table, cd.steps.ChoiceScores(model), f"scores{name}")
        cd.map_column(table, cd.steps.Pick(f"scores{name}", "label_ind"), f"label_prob{name}")
    return table, run


@pytest.fixture(scope="module")
def whole(tuned, tmp_path_factory):
    """A report of all three, and its file."""
    table, run = tuned
    out = tmp_path_factory.mktemp("whole") / "made here" / "report.html"
    found = cd.report(table, "label_prob", "label_prob_fine_tune", run=run, where="split = 'test'", out=out)
    return found, out.read_text(encoding="utf-8")


def test_a_page_of_all_three_shows_what_the_records_say(whole):
    found, html = whole
    page, compared = Parsed(html), found.comparison.compared

    assert html == found.to_html()
    for said in (
        f"{100 * compared.accuracy.change.difference:+.1f} points".replace("-", "−"),
        f"{compared.mean.num_rows:,} rows",
        "No leak found.", "None of them trained on",
        "Expected calibration error", "held-out rows", "training, smoothed", "tiny", "caption_contest",
        *(gallery.title for gallery in found.comparison.galleries), "scores_fine_tune", "ChoiceScores",
        "cd.report(", "clipdata report", "Nothing was refused.",
    ):  # fmt: skip
        assert said in page.text, said
    shown = [row for gallery in found.comparison.galleries for row in gallery.rows]
    assert [attributes["src"] for tag, attributes in page.tags if tag == "img"] == [
        row.picture.thumbnail for row in shown
    ]
    assert {choice.text for row in shown for choice in row.choices} <= set(map(str.strip, page.texts))
    assert all(sum(choice.is_right for choice in row.choices) == 1 for row in shown)


def test_rows_that_are_shown_have_the_scores_that_the_table_holds(whole, tuned):
    found, table = whole[0], tuned[0]
    row = found.comparison.galleries[0].rows[0]
    held = table.to_table(
        ["caption_choices", "scores", "scores_fine_tune", "label_ind"], where=row.row.where
    ).to_pylist()[0]

    assert [choice.text for choice in row.choices] == held["caption_choices"]
    assert [choice.before for choice in row.choices] == held["scores"]
    assert [choice.after for choice in row.choices] == held["scores_fine_tune"]
    assert row.choices[held["label_ind"]].is_right
    assert row.row.before == pytest.approx(held["scores"][held["label_ind"]])


def test_the_figures_are_those_of_compare(whole, tuned):
    plain = cd.compare(tuned[0], "label_prob", "label_prob_fine_tune", where="split = 'test'", calibration=True)
    compared = whole[0].comparison.compared

    assert (compared.mean, compared.accuracy, compared.probabilities) == (
        plain.mean,
        plain.accuracy,
        plain.probabilities,
    )
    spread = whole[0].comparison.spread
    assert sum(spread.before) == sum(spread.after) == sum(spread.change_counts) == compared.mean.num_rows


def test_lineage_names_the_model_of_each_column_and_what_it_was_trained_on(whole, tuned):
    made = {one.column: one for one in whole[0].table.made}

    assert made["scores"].trained_on == ()
    assert made["scores_fine_tune"].model == tuned[1].encoder(device="cpu").identity
    assert "48 rows" in made["scores_fine_tune"].trained_on[0]
    assert "split = 'train'" in made["scores_fine_tune"].trained_on[0]


def test_rows_that_a_model_was_trained_on_are_told_of(tuned):
    found = cd.report(tuned[0], "label_prob", "label_prob_fine_tune", where="split = 'train'", num_pictures=0)

    assert found.comparison.leak == "seen"
    assert "TRAINED ON" in Parsed(found.to_html()).text
    assert found.comparison.galleries == ()


def test_the_python_and_the_command_of_a_page_make_the_same_again(whole, capsys):
    found, html = whole
    out = Path(shlex.split(found.command)[-1])

    def written_now() -> str:
        written = out.read_text(encoding="utf-8")
        out.unlink()
        return re.sub(r"<time.*?</time>", "", written)

    exec(found.python, {})
    by_python = written_now()
    assert main(shlex.split(found.command)[1:]) == 0
    by_command = written_now()

    assert by_python == by_command == re.sub(r"<time.*?</time>", "", html)


def test_json_follows_its_schema_and_holds_pictures_only_when_asked(whole, capsys):
    found = whole[0]

    check_schema(found.to_dict(), report_schema())
    assert json.loads(found.to_json()) == found.to_dict()
    assert "data:image" not in found.to_json()
    assert found.to_json(thumbnails=True).count("data:image/webp") == whole[1].count("data:image/webp")


def test_the_verb_writes_the_page_and_prints_where_or_the_records(tuned, tmp_path, capsys):
    table, run = tuned
    words = ["report", table.uri, "label_prob", "label_prob_fine_tune", "--run", str(run.path)]

    assert main([*words, "-o", str(tmp_path / "a.html")]) == 0
    said = capsys.readouterr().out
    assert main([*words, "-o", str(tmp_path / "b.html"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)

    assert said.startswith(f"{tmp_path}/a.html: ")
    verb = next(verb for verb in VERBS if verb.words == "report")
    check_schema(printed, schema_of(verb.words, verb.found))
    assert printed["comparison"]["compared"]["mean"]["num_rows"] == 60
    assert (tmp_path / "b.html").stat().st_size < MOST_BYTES


def test_rows_of_two_versions_have_the_scores_of_both_and_are_made_again(tuned, tmp_path):
    run = tuned[1]
    table = open_table(shutil.copytree(tuned[0].uri, tmp_path / "contest.lance"))  # that of the others stays
    before = open_table(table.uri, version=table.version)
    model = run.encoder(device="cpu")
    cd.map_column(table, cd.steps.ChoiceScores(model), "scores", overwrite=True)

    by_version = cd.report(table, f"scores@{before.version}", "scores", any_scale=True)
    by_table = cd.report(table, "scores", "scores", table_before=before, any_scale=True, out=tmp_path / "a.html")

    row = by_version.comparison.galleries[0].rows[0]
    assert by_table.comparison.galleries == by_version.comparison.galleries
    for side, held in (("before", before), ("after", table)):
        scores = held.to_table(["scores"], where=row.row.where)["scores"].to_pylist()[0]
        assert [getattr(choice, side) for choice in row.choices] == scores
    assert f"--table-before {table.uri} --version-before {before.version}" in by_table.command
    exec(by_table.python, {})
    assert main(shlex.split(by_table.command)[1:]) == 0


def test_columns_of_any_name_are_shown_when_they_look_like_it_or_are_named(hostile, tmp_path):
    read = hostile.to_table(["image", "caption", "after"], limit=12)
    odd = pa.table({"la légende": read["caption"], "the picture": read["image"], "notes": ["of mine"] * 12,
                    "score": read["after"]})  # fmt: skip
    lance.write_dataset(odd, tmp_path / "odd.lance")
    captions = set(read["caption"].to_pylist())

    shown = cd.report(tmp_path / "odd.lance", num_pictures=12).table.gallery.rows
    named = cd.report(tmp_path / "odd.lance", image="the picture", text="notes", num_pictures=12).table.gallery.rows

    assert sum(row.picture.thumbnail is not None for row in shown) >= 8
    assert {row.caption[:20] for row in shown} <= {text[:20] for text in captions}
    assert {row.caption for row in named} == {"of mine"}
    assert [row.picture for row in named] == [row.picture for row in shown]
    for wrong, said in (({"image": "notes"}, "expected pictures"), ({"text": "nothing"}, "no such column")):
        with pytest.raises(SchemaError, match=said):
            cd.report(tmp_path / "odd.lance", **wrong)


def test_the_page_says_which_table_and_version_each_side_lies_in(tmp_path):
    for name, shift in (("a.lance", 0.0), ("b.lance", 0.1)):
        values = pa.table({"id": [f"{n}" for n in range(12)], "p": [n / 20 + shift for n in range(12)]})
        lance.write_dataset(values, tmp_path / name)

    found = cd.report(tmp_path / "b.lance", "p", "p", table_before=tmp_path / "a.lance", on="id")

    assert found.title == "b.lance: p of a.lance → p"
    text = Parsed(found.to_html()).text
    assert f"of {tmp_path}/a.lance, version 1" in text
    assert f"of {tmp_path}/b.lance, version 1" in text


@pytest.mark.parametrize("there", ["notes of mine", ""])
def test_a_file_that_is_no_report_stays_unless_it_is_to_be_replaced(hostile, tmp_path, there):
    out = tmp_path / "a.html"
    out.write_text(there)
    if there:
        with pytest.raises(UsageError, match="no report"):
            cd.report(hostile, out=out)
        assert out.read_text() == there

    cd.report(hostile, out=out, num_pictures=0, overwrite=bool(there))
    cd.report(hostile, out=out, num_pictures=0, title="another")

    assert "<title>another</title>" in out.read_text()
    with pytest.raises(UsageError, match="is a folder"):
        cd.report(hostile, out=tmp_path)


def test_a_long_command_stands_whole_on_the_page(hostile):
    found = cd.report(hostile, num_pictures=0, where=" OR ".join(f"caption = '{n}'" for n in range(200)))

    assert found.command in Parsed(found.to_html()).text


def test_notes_stand_as_they_are_and_are_no_markup(hostile):
    lines = "recall     R@1\n  <b>held out</b>   4.0%" + "\n  trained on   9.0%" * 100
    found = cd.report(hostile, num_pictures=0, notes={"recall": lines})

    assert lines in Parsed(found.to_html()).text
    assert found.to_dict()["notes"] == [{"title": "recall", "text": lines}]
    check_schema(found.to_dict(), report_schema())


def test_no_text_of_a_table_becomes_markup_or_turns_the_page_around(hostile_report):
    html = hostile_report.to_html()
    page = Parsed(html)

    tags = {tag for tag, _ in page.tags}
    assert tags.isdisjoint({"script", "b", "i", "iframe", "object", "link", "base", "form"})
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not {attributes.get("href", "#")[:1] for tag, attributes in page.tags if tag == "a"} - {"#"}
    assert not set(html) & set("\x00\x1b\u202e\u202c")
    assert "\\u202eelif.exe" in page.text
    assert CAPTIONS[0] in page.text
    assert CAPTIONS[3] in page.text
    assert "url(" not in html
    assert "<title>&lt;hostile&gt;.lance: before → after</title>" in html


def test_a_page_stays_below_5_mb_with_every_picture_text_group_and_column_there_is(hostile, tmp_path):
    table = wide_copy(hostile, tmp_path)

    found = cd.report(table, "before", "after", by=GROUP, num_pictures=100)

    size = len(found.to_html().encode())
    pictures = [row.picture for gallery in found.comparison.galleries for row in gallery.rows]
    shown = [picture for picture in pictures if picture.thumbnail]
    assert len(pictures) > 150
    assert 10 < len(shown) < len(pictures), "the bound was not met"
    assert all(max(picture.width, picture.height) <= 256 for picture in shown)
    assert {picture.refused for picture in pictures[60:] if not picture.thumbnail} == {
        "left out: the pictures before it take all the room of a report"
    }
    assert (len(found.comparison.compared.groups), found.comparison.compared.num_groups_left_out) == (40, 20)
    assert (len(found.table.columns), found.table.num_columns_left_out) == (100, 36)
    assert 2_000_000 < size < MOST_BYTES


def wide_copy(table, folder):
    """The same rows with 130 further columns of long texts, whose names are long."""
    held = table.to_table()
    for number in range(130):
        values = pa.array([f"{'🙂' * 100}{row % 9}" for row in range(held.num_rows)])
        held = held.append_column(f"column_{number}_{'n' * 200}", values)
    copy = rows.create_table(folder / "wide.lance", held.schema)
    rows.upsert(copy, held)
    return open_table(folder / "wide.lance")


def test_broken_and_missing_pictures_show_why(hostile_report):
    worst = hostile_report.comparison.galleries[0].rows[:2]

    assert sorted(row.picture.refused.partition(":")[0] for row in worst) == ["the row holds no picture", "truncated"]
    text = Parsed(hostile_report.to_html()).text
    assert all(row.picture.refused in text for row in worst)


def test_a_picture_at_an_address_is_read_from_there_and_one_that_is_gone_says_so(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "here.png"), np.full((30, 40, 3), 90, np.uint8))
    schema = pa.schema([key_field("path"), pa.field("image", pa.large_binary()), pa.field("uri", pa.string())])
    table = rows.create_table(tmp_path / "t.lance", schema)
    places = [str(tmp_path / name) for name in ("gone.png", "here.png")]
    rows.upsert(table, pa.table({"path": ["a", "b"], "image": [None, None], "uri": places}, schema=schema))

    gone, here = cd.report(open_table(tmp_path / "t.lance")).table.gallery.rows

    assert gone.picture.refused.startswith("missing")
    assert (here.picture.width, here.picture.height, here.picture.refused) == (40, 30, None)


def test_a_table_alone_shows_what_it_holds_and_what_was_refused_by_reason(tmp_path):
    table = contest_table(tmp_path, 12)
    schema = pa.schema(
        [key_field("path"), *(pa.field(n, pa.string()) for n in ("reason", "detail", "etag", "refused_at"))]
    )
    refused = {
        "path": ["a.jpg", "b.jpg", "c <b>.jpg"],
        "reason": ["truncated", "truncated", "empty"],
        "detail": ["half of it", "", None],
        "etag": [""] * 3,
        "refused_at": [""] * 3,
    }
    rejects = rows.create_table(rejects_uri(table.uri), schema)
    rows.upsert(rejects, pa.table(refused, schema=schema))

    found = cd.report(table, num_pictures=3)

    assert [(one.reason, one.num) for one in found.table.refused] == [("truncated", 2), ("empty", 1)]
    assert found.table.refused[0].examples[0] == ("a.jpg", "half of it")
    assert len(found.table.gallery.rows) == 3
    text = Parsed(found.to_html()).text
    for said in ("c <b>.jpg", "truncated", "caption_choices", "12", "A few rows", "sides of split"):
        assert said in text, said
    assert (found.comparison, found.run) == (None, None)
    assert "The difference" not in text


def test_a_run_alone_is_told_also_before_it_is_finished(tuned, tmp_path):
    finished = cd.report(run=tuned[1].path)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.json").write_bytes((tuned[1].path / "config.json").read_bytes())

    unfinished = cd.report(run=begun)

    assert [chart.title for chart in finished.run.charts] == ["loss", "held-out rows"]
    assert (finished.table, finished.title) == (None, "run run")
    assert "not finished" in Parsed(unfinished.to_html()).text
    assert "data:image/svg+xml;base64," in tuned[1]._repr_html_()
    assert "No step was done yet." in Parsed(unfinished.to_html()).text


def test_a_table_that_has_no_pictures_no_lists_and_no_rows_to_show_is_reported_all_the_same(tmp_path):
    schema = pa.schema([key_field("id"), pa.field("p", pa.float64()), pa.field("q", pa.float64())])
    table = rows.create_table(tmp_path / "plain.lance", schema)
    rows.upsert(table, pa.table({"id": ["a", "b"], "p": [0.5, 0.5], "q": [0.5, 0.5]}, schema=schema))

    found = cd.report(open_table(tmp_path / "plain.lance"), "p", "q")

    assert found.comparison.galleries == ()
    assert "calibration needs" in found.comparison.not_calibrated
    assert found.comparison.leak == "unknown"
    assert "No reliability curve" in Parsed(found.to_html()).text
    empty = rows.create_table(tmp_path / "empty.lance", schema)
    assert cd.report(empty).table.gallery is None


def test_what_cannot_be_reported_is_refused_with_what_to_type(hostile, tmp_path):
    with pytest.raises(UsageError, match="a table, or a run"):
        cd.report()
    with pytest.raises(UsageError, match="both columns"):
        cd.report(hostile, "before")
    with pytest.raises(UsageError, match="at most 100"):
        cd.report(hostile, num_pictures=101)
    with pytest.raises(SchemaError, match="no column 'afterwards'"):
        cd.report(hostile, "before", "afterwards")
    with pytest.raises(NotFoundError):
        cd.report(run=tmp_path)


def test_a_notebook_shows_the_page_in_a_frame_that_runs_nothing(whole):
    shown = whole[0]._repr_html_()

    (tag, attributes), *rest = Parsed(shown).tags
    assert (tag, rest) == ("iframe", [])
    assert attributes["sandbox"] is None
    assert attributes["srcdoc"] == whole[1]


def test_a_text_of_any_length_is_folded_with_its_real_length_and_read_by_a_click(tmp_path):
    texts = ["short", "word " * 2_000, "line\n" * 40, "字" * 281]
    lance.write_dataset(
        pa.table({"id": range(4), "caption": texts, "x": [0.1] * 4, "y": [0.2] * 4}), tmp_path / "t.lance"
    )

    found = cd.report(tmp_path / "t.lance", "x", "y")

    parsed = Parsed(found.to_html())
    assert sum(tag == "details" and "caption" in (attrs.get("class") or "") for tag, attrs in parsed.tags) >= 3
    assert "(10,000 characters)" in parsed.text
    assert "(6,000 more)" in parsed.text
    assert "(281 characters)" in parsed.text
    assert "line\n" * 30 in parsed.text


def test_times_and_dates_are_told_with_their_range(tmp_path):
    days = [dt.date(2026, 1, day) for day in (9, 2, 31)]
    moments = [dt.datetime(2025, month, 1, 12) for month in (3, 1, 2)]
    lance.write_dataset(pa.table({"day": days, "at": moments}), tmp_path / "t.lance")

    found = cd.report(tmp_path / "t.lance")

    columns = {column.name: (column.earliest, column.latest) for column in found.table.columns}
    assert columns["day"] == ("2026-01-02", "2026-01-31")
    text = Parsed(found.to_html()).text
    assert "2026-01-02 … 2026-01-31" in text
    assert "2025-01-01 12:00:00 … 2025-03-01 12:00:00" in text
