"""What a comparison is shown as: text, JSON, HTML, and held to gates."""

from __future__ import annotations

import json

import lance
import pyarrow as pa
import pytest

from clipdata.comparison import compare, json_schema
from clipdata.errors import GateFailedError, UsageError
from clipdata.lance_io.table import open_table
from clipdata.lineage import METADATA_KEY, Lineage
from tests.comparisons import answered, contest
from tests.json_schemas import check_schema


def test_gates_pass_the_comparison_on_or_name_every_bound_missed(save):
    comparison = compare(contest(save), "before", "after")

    assert comparison.gate(min_difference=0.1, fail_if="rows < 10") is comparison
    with pytest.raises(GateFailedError, match="missed 2 of 3") as missed:
        comparison.gate(min_difference=0.5, fail_if=["losses > 1000", "difference < 0.9"])
    assert missed.value.exit_code == 7
    with pytest.raises(GateFailedError):
        comparison.gate(min_difference=comparison.difference - 1e-4, certain=True)


def test_a_gate_on_a_figure_that_does_not_exist_here_fails(save):
    comparison = compare(contest(save), "before", "after")

    with pytest.raises(GateFailedError, match=r"has no accuracy\.difference"):
        comparison.gate(min_accuracy_difference=-1.0)
    with pytest.raises(UsageError, match=r"has no figure 'beauty'; it has .*mean\.difference"):
        comparison.gate(fail_if="beauty < 1")
    with pytest.raises(UsageError, match="cannot read the condition"):
        comparison.gate(fail_if="difference is small")


def test_json_follows_the_published_schema(save):
    full = compare(
        contest(save, category=["x", "y", None] * 60, split=["train"] * 180), "before", "after", by="category"
    )
    judged = compare(answered(save), "scores", "tuned")
    single = compare(save(id=["a"], before=[0.1], after=[0.2]), "before", "after")

    for comparison in (full, judged, single):
        written = json.loads(comparison.to_json())
        check_schema(written, json_schema())
        assert written["schema_version"] == 1
        assert written["mean"]["difference"] == comparison.difference


def test_escape_codes_of_data_reach_no_terminal(save):
    table = save(id=["a\x1b[31m", "b\u202e"], before=[0.0, 0.0], after=[-1.0, 1.0])

    text = str(compare(table, "before", "after"))

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m" in text


def test_a_notebook_shows_a_comparison_escaped(save):
    table = contest(save, caption=["<script>"] * 180)

    html = compare(table, "before", "after", by="path")._repr_html_()

    assert "<table" in html
    assert "better" in html
    assert "95 % interval" in html
    assert "<script>" not in html


def test_the_name_of_a_model_stands_beside_its_digest(tmp_path):
    def made_by(name, digest, called):
        lineage = Lineage(step="true-prob", step_version="1", model=digest, model_name=called)
        return pa.field(name, pa.float64(), metadata={METADATA_KEY: lineage.to_json()})

    fields = [made_by("before", "a" * 64, "starter"), made_by("after", "b" * 64, None)]
    uri = str(tmp_path / "named.lance")
    lance.write_dataset(pa.table([[0.0, 0.0], [1.0, 2.0]], schema=pa.schema(fields)), uri)

    comparison = compare(open_table(uri), "before", "after")

    assert (comparison.before.model_name, comparison.after.model_name) == ("starter", None)
    before, after = comparison.to_text().splitlines()[2:4]
    assert "starter" in before
    assert "aaaaaaaaaaaa" in before
    assert "bbbbbbbbbbbb" in after


@pytest.mark.parametrize("condition", ["mean.difference < 1e-3.5", "difference <= inf", "difference < 1.2.3", "rows <"])
def test_conditions_that_cannot_be_read_are_refused_in_one_line(save, condition):
    comparison = compare(contest(save), "before", "after")

    with pytest.raises(UsageError, match=r"cannot read the condition|is not a number"):
        comparison.gate(fail_if=condition)
