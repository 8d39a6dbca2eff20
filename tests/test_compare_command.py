"""`clipdata compare`: what is asked for stands in text and JSON; gates, several columns, models, wrong inputs."""

from __future__ import annotations

import json

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.lineage import METADATA_KEY, Lineage
from clipdata.schema import key_field
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """120 questions about 40 pictures, of two versions: sharper scores, then calmer ones of the same answers."""
    rng = np.random.default_rng(0)
    uri = str(tmp_path_factory.mktemp("compared") / "contest.lance")
    calm_NK = rng.dirichlet([0.8] * 3, 120)
    label_N = (calm_NK.cumsum(axis=1) < rng.random(120)[:, None]).sum(axis=1)
    share_NK = calm_NK**2 / (calm_NK**2).sum(axis=1, keepdims=True)
    for scores_NK in (share_NK, calm_NK):
        columns = {
            "id": [f"q{n:03}" for n in range(120)],
            "path": [f"{n // 3}.jpg" for n in range(120)],
            "kind": ["few" if n < 6 else "many" for n in range(120)],
            "label_ind": label_N.tolist(),
            "scores": scores_NK.tolist(),
            "calm": calm_NK.tolist(),
            "p": scores_NK[:, 0].tolist(),
            "q": calm_NK[:, 0].tolist(),
            "logit": (10.0 * np.log(calm_NK[:, 0])).tolist(),
            "rank": rng.integers(1, 9, 120).tolist(),
            "rank_tuned": rng.integers(1, 9, 120).tolist(),
        }
        fields = [key_field(n) if n == "id" else pa.field(n, pa.array(v).type) for n, v in columns.items()]
        rows = pa.table([pa.array(v) for v in columns.values()], schema=pa.schema(fields))
        lance.write_dataset(rows, uri, mode="overwrite")
    lance.dataset(uri).tags.create("sharp", 1)
    return uri


def run(capsys, *words):
    code = main(["compare", *map(str, words)])
    return code, *capsys.readouterr()


def found(capsys, *words):
    """The JSON of a run, held to the verb's schema."""
    code, out, err = run(capsys, *words, "--json")
    verb = next(verb for verb in VERBS if verb.words == "compare")
    check_schema(json.loads(out), schema_of(verb.words, verb.found))
    return code, json.loads(out), err


def test_everything_that_can_be_asked_for_is_said_and_stands_in_the_json(table, capsys):
    asked = ["scores@sharp", "scores", "--by", "kind", "--calibration", "--ranks", "--no-worse-than", "accuracy=5pt"]

    code, text, _ = run(capsys, table, *asked)
    same, record, _ = found(capsys, table, *asked)

    assert code == same == 0
    for said in (
        "before: ", "version 1", "accuracy: the same within 5 points", "ranks", "R@1", "MRR", "log loss",
        "temperature alone moves", "reliability", "Holm", "BH", "with fewer than 30 images there is too little to say",
    ):  # fmt: skip
        assert said in text
    assert record["margins"][0]["same"]
    assert record["probabilities"]["before"]["temperature"] == pytest.approx(
        2.0 * record["probabilities"]["after"]["temperature"], rel=1e-3
    )
    assert record["mean"]["method"] == "percentile"
    assert [group["mean"]["verdict"] == "too few to say" for group in record["groups"]] == [False, True]


def test_a_margin_that_is_not_shown_ends_with_exit_code_7_after_the_figures(table, capsys):
    code, record, _ = found(capsys, table, "scores@1", "calm", "--no-worse-than", "0.01pt", "--anytime")

    assert code == 7
    assert record["error"]["name"] == "gate_failed"
    assert record["mean"]["method"] == "anytime"
    assert "0.01 points" in record["error"]["message"]


def test_several_columns_print_a_line_each_and_the_gate_holds_for_all(table, capsys):
    code, text, _ = run(capsys, table, "p", "q", "p@1")
    gated, record, _ = found(capsys, table, "p", "q", "p@1", "--all-pairs", "--fail-if", "difference > -1")

    assert code == 0
    assert "p → q" in text
    assert "p → p@1" in text
    assert gated == 7
    assert [(pair["before"], pair["after"]) for pair in record["several"]] == [("p", "q"), ("p", "p@1"), ("q", "p@1")]


def test_several_columns_show_for_each_pair_what_was_asked_for(table, capsys):
    code, text, _ = run(capsys, table, "p", "q", "p@1", "--by", "kind", "--no-worse-than", "90pt")

    assert code == 0
    of_q, of_version = text.split("\n  p → q\n")[1].split("\n  p → p@1\n")
    for shown in (of_q, of_version):
        assert "mean: the same within 90 points" in shown
        assert "by kind" in shown
    assert "  before: " in text
    assert "  after:  " in text


def test_a_condition_that_cannot_be_read_is_refused_before_anything_is_measured(table, capsys):
    for condition in ("foo < 0", "mean.difference <"):
        code, text, error = run(capsys, table, "p", "q", "--fail-if", condition)

        assert (code, text) == (2, "")
        assert condition.split()[0] in error


def test_ranks_and_losses_are_better_when_they_fall(table, capsys):
    _, record, _ = found(capsys, table, "rank", "rank_tuned", "--ranks")
    _, losses, _ = found(capsys, table, "rank", "rank_tuned", "--lower-is-better")

    assert record["ranks"]["source"] == "rank columns"
    assert not record["mean"]["higher_is_better"]
    assert not losses["mean"]["higher_is_better"]
    assert losses["ranks"] is None


WRONG = {
    "one column": (["p"], 2, "1 column(s) and 0 model(s)"),
    "no column": ([], 2, "expected two columns or more, or runs"),
    "columns beside runs": (["p", "q", "--runs", "a,b"], 2, "2 column(s) stand beside runs"),
    "columns beside models": (["p", "q", "--made-by", "a,b"], 2, "2 column(s) and 2 model(s)"),
    "one model": (["--made-by", "a"], 2, "1 model(s)"),
    "models that are not there": (["--made-by", "nowhere/a,nowhere/b"], 3, "nowhere/a"),
    "runs that are not there": (["--runs", "nowhere/a,nowhere/b"], 3, "nowhere/a"),
    "models beside runs": (["--made-by", "a,b", "--runs", "a,b"], 2, "--made-by stands beside --runs"),
    "a column twice": (["p", "q", "q"], 2, "each of them once"),
    "an unknown version": (["p@9", "p"], 3, "no version 9"),
    "an unknown tag": (["p@blunt", "p"], 3, "no tag 'blunt'"),
    "the same version": (["p@2", "p"], 2, "compared with itself"),
    "a version of nothing": (["@1", "p"], 2, "COLUMN@VERSION"),
    "an unknown column at a version": (["pp@1", "p"], 2, "no column"),
    "a margin in words": (["p", "q", "--no-worse-than", "a bit"], 2, "a margin above zero"),
    "a negative margin": (["p", "q", "--no-worse-than", "-1pt"], 2, "a margin above zero"),
    "a margin of nothing": (["p", "q", "--no-worse-than", "beauty=1pt"], 2, "it has mean"),
    "points of what is no share": (["rank", "rank_tuned", "--no-worse-than", "1pt"], 2, "a share or a probability"),
    "another scale": (["p", "logit"], 2, "on one scale"),
    "calibration without lists": (["p", "q", "--calibration"], 2, "calibration needs lists of scores"),
    "ranks of shares": (["p", "q", "--ranks"], 2, "expected ranks"),
    "a gate on what was not asked": (["p", "q", "--fail-if", "log_loss.difference > 0"], 7, "no log_loss.difference"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line_with_its_exit_code(table, capsys, case):
    words, expected, said = WRONG[case]

    code, _, err = run(capsys, table, *words)

    assert code == expected, err
    assert said in err
    assert "Traceback" not in err


def test_models_are_compared_by_the_columns_that_they_made(tmp_path, capsys):
    from tests.tiny_models import tiny_encoder

    encoders = [tiny_encoder(tmp_path, seed=seed) for seed in (1, 2)]
    runs = [str(tmp_path / f"tiny-{seed}") for seed in (1, 2)]
    fields = [
        pa.field(
            f"scores{n}", pa.float64(), metadata={METADATA_KEY: Lineage("PairScore", "1", model=one.identity).to_json()}
        )
        for n, one in enumerate(encoders)
    ]
    uri = str(tmp_path / "scored.lance")
    lance.write_dataset(pa.table([[0.1, 0.2, 0.3], [0.2, 0.4, 0.5]], schema=pa.schema(fields)), uri)

    code, record, err = found(capsys, uri, "--made-by", f"{runs[1]},{runs[0]}")

    assert code == 0, err
    assert (record["before"]["column"], record["after"]["column"]) == ("scores1", "scores0")
