"""`clipdata evaluate` and `clipdata train --write-back`: figures as others compute them, and scores as columns."""

import json
from pathlib import Path

import numpy as np
import pytest

import clipdata as cd
from clipdata.encoder import export, load_encoder
from clipdata.lance_io.table import open_table
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contracts.objectives import objective_table
from tests.json_schemas import check_schema
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    encoder = tiny_encoder()
    return str(export(encoder.model, encoder, tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def table(tmp_path: Path) -> str:
    return objective_table(tmp_path).uri


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict, str]:
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    verb = next(one for one in VERBS if one.words == words[0])
    check_schema(found, schema_of(verb.words, verb.found))
    return code, found, err


def test_choices_are_judged_as_a_loop_over_the_rows_judges_them(table, model, capsys):
    code, found, err = run(
        capsys, "evaluate", table, "-m", model, "--where", "split = 'test'", "-s", "objective=choice"
    )

    rows = open_table(table).to_table(
        ["image", "caption_choices", "label_ind"], where="split = 'test' AND label_ind IS NOT NULL"
    ).to_pylist()  # fmt: skip
    encoder, right = load_encoder(model, device="cpu"), []
    for row in rows:
        picture = encoder.encode_images(encoder.prepare(_pixels(row["image"]))[None])[0]
        cosines = encoder.encode_texts(row["caption_choices"]) @ picture
        right.append(int(cosines.argmax()) == row["label_ind"])
    assert code == 0, err
    assert (found["rows"], found["metrics"]["accuracy"]) == (len(rows), pytest.approx(np.mean(right)))
    assert found["more"]["chance"] == pytest.approx(np.mean([1 / len(row["caption_choices"]) for row in rows]))


def test_what_is_measured_follows_from_the_columns_and_rows_left_out_are_counted(table, model, capsys):
    code, found, _ = run(capsys, "evaluate", table, "-m", model, "-s", "label=class_name")

    assert (code, found["objective"]["kind"]) == (0, "class_prompts")
    assert found["objective"]["classes"][:2] == ["black", "blue"]
    assert found["refused"] == {"no class": 2}
    assert found["more"]["classes"] == 8
    assert sum(kind["rows"] for kind in found["more"]["confusion"]) == found["rows"] == 24


def test_scores_of_each_row_are_kept_as_a_column_with_its_lineage(table, model, capsys):
    code, found, err = run(
        capsys,
        "evaluate",
        table,
        "-m",
        model,
        "-s",
        "objective=multi_positive",
        "-s",
        "text=captions",
        "--write",
        "cosines",
    )

    assert (code, found["written"]) == (0, "cosines"), err
    written = open_table(table)
    assert written.lineage("cosines").step == "ChoiceScores"
    lengths = {len(scores) for scores in written.to_table(["cosines"])["cosines"].to_pylist() if scores}
    assert lengths == {1, 2, 3}


def test_a_table_that_tells_nothing_is_refused_with_what_to_type(table, model, capsys):
    code = main(["evaluate", table, "-m", model, "-s", "objective=multi_positive", "-s", "text=nothing"])

    assert code == 2
    assert "columns of texts are caption_choices, captions" in capsys.readouterr().err


def test_training_writes_the_tuned_models_scores_back_in_the_same_command(table, model, tmp_path, capsys):
    settings = ["-s", "objective=class_prompts", "-s", "steps=2", "-s", "batch_size=8"]

    code, found, err = run(
        capsys, "train", table, "-m", model, "--out", tmp_path / "run", *settings, "--write-back", "class_scores"
    )

    assert (code, found["written"]) == (0, "class_scores"), err
    lineage = open_table(table).lineage("class_scores")
    assert lineage.model == cd.open_run(tmp_path / "run").encoder(device="cpu").identity
    assert lineage.parameters["classes"] == found["config"]["objective"]["classes"]


def test_a_column_that_is_there_already_is_not_written_back_to_and_nothing_is_trained(table, model, tmp_path, capsys):
    code = main(["train", table, "-m", model, "--out", str(tmp_path / "run"), "--write-back", "captions"])

    assert code == 2
    assert "has a column 'captions' already" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def _pixels(content: bytes) -> np.ndarray:
    import cv2

    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].copy()
