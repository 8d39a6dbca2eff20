"""Heads on a column of embeddings: what they are fitted to, what they say of rows, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.errors import LineageMismatchError, NotFoundError, SchemaError, StorageError, TransientError, UsageError
from clipdata.folder_lock import alone_at
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.training import head_objective
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contests import contest_rows
from tests.json_schemas import check_schema
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> cd.Encoder:
    return tiny_encoder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def table(tmp_path_factory, encoder) -> Table:
    """Coloured squares with their colours; the model knows nothing of either."""
    made = contest_rows(40)
    right = [
        one[at] for one, at in zip(made["caption_choices"].to_pylist(), made["label_ind"].to_pylist(), strict=True)
    ]
    colours = [caption.split()[1] for caption in right]
    colours[3] = None
    made = made.append_column("class_name", pa.array(colours))
    folder = tmp_path_factory.mktemp("heads")
    rows.upsert(rows.create_table(folder / "t.lance", made.schema), made)
    table = open_table(folder / "t.lance")
    cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding")
    return table


def drawn(num_rows: int = 30, num_classes: int = 4, size: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    text_CD, centre_CD = random.normal(size=(2, num_classes, size))
    label_N = random.integers(num_classes, size=num_rows)
    embedding_ND = centre_CD[label_N] + random.normal(size=(num_rows, size)) + 2
    return *(one / np.linalg.norm(one, axis=1, keepdims=True) for one in (embedding_ND, text_CD)), label_N


def plain_objective(own: torch.Tensor, scale: torch.Tensor, embedding, label, text, begun: float) -> torch.Tensor:
    """As it is described, row by row."""
    total = torch.zeros((), dtype=torch.float64)
    for one, right in zip(embedding, label, strict=True):
        logits = torch.stack([one @ (own[c] + scale[c] * text[c]) for c in range(len(text))])
        total = total - logits[right] + logits.exp().sum().log()
    spread = ((embedding - embedding.mean(0)) ** 2).sum(1).mean()
    total = total + head_objective.PULL * spread / 2 * (own**2).sum()
    return total + head_objective.SCALE_PULL / 2 * ((scale / begun - 1) ** 2).sum()


def test_the_fit_minimises_what_is_described_and_has_its_gradient():
    embedding, text, label = drawn()
    random = np.random.default_rng(1)
    own, scale = random.normal(size=text.shape), random.uniform(5, 15, len(text))

    value, gradient = head_objective.objective(np.concatenate([own.reshape(-1), scale]), embedding, label, text, 10.0)

    parts = [torch.tensor(one, requires_grad=True) for one in (own, scale)]
    expected = plain_objective(*parts, *map(torch.tensor, (embedding, label, text)), 10.0)
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-10)
    np.testing.assert_allclose(gradient, torch.cat([one.grad.flatten() for one in parts]).numpy(), atol=1e-9)


def test_block_majorise_minimise_steps_of_lp_plus_plus_come_to_the_same_weights():
    """Vectors and scales in turn, each by a step of its own Lipschitz constant: no rate is chosen."""
    embedding, text, label = drawn()
    num_classes, begun = len(text), 10.0
    cosine, one_hot = embedding @ text.T, np.eye(num_classes)[label]
    pull = head_objective.PULL * float(embedding.var(axis=0).sum())
    own, scale = np.zeros_like(text), np.full(num_classes, begun)
    own_steepness = np.linalg.eigvalsh(embedding.T @ embedding)[-1] / 2 + pull
    scale_steepness = (cosine**2).sum(0).max() / 2 + head_objective.SCALE_PULL / begun**2

    def slope() -> np.ndarray:
        logits = embedding @ own.T + cosine * scale
        share = np.exp(logits - logits.max(1, keepdims=True))
        return share / share.sum(1, keepdims=True) - one_hot

    for _ in range(5_000):
        own = own - (slope().T @ embedding + pull * own) / own_steepness
        away = head_objective.SCALE_PULL * (scale / begun - 1) / begun
        scale = scale - ((slope() * cosine).sum(0) + away) / scale_steepness

    found = head_objective.fit(embedding, label, text, begun)

    assert found.converged
    np.testing.assert_allclose(found.weight_CD, own + scale[:, None] * text, atol=2e-3)


def test_no_row_of_a_class_leaves_it_near_its_prompt_and_rows_move_it():
    embedding, text, label = drawn()
    few = head_objective.fit(embedding[:1], label[:1], text, 10.0)
    all_of_them = head_objective.fit(embedding, label, text, 10.0)

    def away(found: head_objective.FittedWeights) -> float:
        return float(np.linalg.norm(found.weight_CD - 10.0 * text))

    assert away(few) < away(all_of_them)
    assert (np.argmax(embedding @ all_of_them.weight_CD.T, 1) == label).mean() > (
        np.argmax(embedding @ text.T, 1) == label
    ).mean()


def test_a_head_learns_the_classes_and_its_scores_become_a_column(table, encoder, tmp_path):
    head = cd.fit_head(table, encoder, where="split = 'train'").save(tmp_path / "head")
    with alone_at(tmp_path / "head", "fit-head"), pytest.raises(TransientError, match=r"fit-head .* is writing"):
        head.save(tmp_path / "head")

    cd.map_column(table, cd.steps.HeadScores(head), "head_scores")
    cd.map_column(table, cd.steps.HeadScores(tmp_path / "head", output="label"), "guess")

    read = table.to_table(["class_name", "head_scores", "guess"], where="split = 'train' and class_name is not null")
    guesses, right = read["guess"].to_pylist(), read["class_name"].to_pylist()
    assert np.mean([one == other for one, other in zip(guesses, right, strict=True)]) > 0.9
    for scores, guess in zip(read["head_scores"].to_pylist(), guesses, strict=True):
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert head.classes[int(np.argmax(scores))] == guess
    assert head.fitted["refused"] == {"no class": 1}
    assert head.fitted["rows"] == len(right)


def test_the_lineage_of_scores_names_head_model_and_rows(table, encoder, tmp_path):
    head = cd.fit_head(table, encoder, where="split = 'train'").save(tmp_path / "head")
    cd.map_column(table, cd.steps.HeadScores(head), "named")

    lineage = table.lineage("named")

    assert (lineage.model, lineage.model_name) == (head.identity, str(tmp_path / "head"))
    assert lineage.parameters["embeddings_of"] == encoder.identity
    assert [one["where"] for one in lineage.trained_on] == ["split = 'train'"]


def test_compare_tells_which_rows_a_head_was_fitted_on(table, encoder, tmp_path):
    head = cd.fit_head(table, encoder, where="split = 'train'").save(tmp_path / "head")
    classes = [str(one) for one in head.classes]
    cd.map_column(table, cd.steps.LabelIndex("class_name", classes=classes), "place")
    cd.map_column(table, cd.steps.ClassScores(encoder, classes), "before")
    cd.map_column(table, cd.steps.HeadScores(head), "after")
    for name in ("before", "after"):
        cd.map_column(table, cd.steps.Pick(name, "place"), f"{name}_right")

    compared = cd.compare(table, "before_right", "after_right", where="class_name is not null")

    assert compared.seen_after.num_rows == table.count_rows("split = 'train' and class_name is not null")


def test_the_same_rows_make_the_same_head_and_what_is_saved_is_read_again(table, encoder, tmp_path):
    one, other = (cd.fit_head(table, encoder) for _ in range(2))
    one.save(tmp_path / "head")

    again = cd.ClassHead.load(tmp_path / "head")

    assert one.identity == other.identity == again.identity
    assert again.fitted == one.fitted
    assert [rows.digest for rows in again.trained_on] == [rows.digest for rows in one.trained_on]
    np.testing.assert_array_equal(again.weight_CD, one.weight_CD)


def test_embeddings_of_another_model_are_refused(table, encoder, tmp_path):
    other = tiny_encoder(seed=3)

    with pytest.raises(LineageMismatchError, match="expected image embeddings of") as refused:
        cd.fit_head(table, other)
    assert "image-embedding embedding --model" in str(refused.value.hint)

    head = cd.fit_head(table, encoder)
    cd.map_column(table, cd.steps.ImageEmbedding(other), "of_another")
    with pytest.raises(LineageMismatchError, match="of_another"):
        cd.map_column(table, cd.steps.HeadScores(head, "of_another"), "scores_2")
    with pytest.raises(SchemaError, match="no column 'embeddings'"):
        cd.fit_head(table, encoder, embedding="embeddings")


def test_a_folder_that_holds_no_head_or_a_changed_one_is_refused(table, encoder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    head = cd.fit_head(table, encoder)

    with pytest.raises(UsageError, match="holds no head"):
        head.save(tmp_path / "other")
    with pytest.raises(NotFoundError, match="is no head"):
        cd.steps.HeadScores(tmp_path / "nowhere")
    head.save(tmp_path / "head")
    said = json.loads((tmp_path / "head" / "head.json").read_text())
    (tmp_path / "head" / "head.json").write_text(json.dumps(said | {"model": "0" * 64}))
    with pytest.raises(StorageError, match="was changed"):
        cd.ClassHead.load(tmp_path / "head")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    code = main([*map(str, words), "--json"])
    found = json.loads(capsys.readouterr().out)
    verb = next(one for one in VERBS if one.words == words[0])
    check_schema(found, schema_of(verb.words, verb.found))
    assert code == 0, found
    return found


def test_the_command_line_fits_and_scores(table, encoder, tmp_path, capsys):
    folder = tmp_path / "head"

    fitted = run(capsys, "fit-head", table.uri, "--model", encoder.name, "--out", folder)
    run(capsys, "map", table.uri, "head-scores", "typed_scores", "-p", f"head={folder}")

    assert cd.ClassHead.load(folder).identity == fitted["identity"]
    assert open_table(table.uri).lineage("typed_scores").model == fitted["identity"]


def test_a_head_whose_saving_was_killed_is_saved_again_and_nothing_else_is_replaced(tmp_path):
    head = cd.ClassHead(("a", "b"), np.zeros((2, 4), np.float32), "0" * 64, "tiny", ())
    (tmp_path / "head" / "trained_rows").mkdir(parents=True)
    (tmp_path / "head" / ".head.json.123-4").write_text("half")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()

    head.save(tmp_path / "head")

    assert cd.ClassHead.load(tmp_path / "head").classes == ("a", "b")
    assert not list((tmp_path / "head").glob(".head.json.*"))
    with pytest.raises(UsageError, match="holds no head"):
        head.save(tmp_path / "other")


def test_the_hint_of_a_label_that_is_none_is_an_option_of_the_verb(table: Table, encoder, capsys) -> None:
    for label, words in (("none", "has no column 'none'"), ("embedding", "expected names of classes")):
        with pytest.raises(SchemaError, match=f"fit-head: .*{words}") as refused:
            cd.fit_head(table, encoder, label=label)
        assert (refused.value.hint or "").startswith("--label COLUMN")
        assert "--set" not in str(refused.value)
