"""The card of a tuned model: what hubs read, what people read, and made anew without growing."""

import pytest

from clipdata.encoder import load_encoder
from clipdata.training.fine_tuning import train
from clipdata.training.model_card import write_card
from clipdata.training.run import open_run
from tests.contests import contest_table
from tests.test_interruption import TRAIN, quick
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    table = contest_table(folder)
    first = train(table, tiny_encoder(folder), quick(epochs=1), out=folder / "first", where="split = 'test'")
    return train(table, first.encoder(device="cpu"), quick(recipe="by hand"), out=folder / "second", where=TRAIN)


def test_a_hub_reads_the_card(run):
    hub = pytest.importorskip("huggingface_hub")

    card = hub.ModelCard.load(run.export_path / "README.md")

    assert card.data.license == "unknown"
    assert card.data.library_name == "open_clip"
    assert "clip" in card.data.tags
    results = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert results["accuracy"] == pytest.approx(run.epochs[-1]["accuracy"], abs=1e-6)


def test_the_card_tells_data_config_figures_and_what_trained_it_before(run):
    text = (run.export_path / "README.md").read_text()

    before, after = run.epochs[0]["accuracy"], run.epochs[-1]["accuracy"]
    for line in (
        "| rows | 32 |",
        "| filter | split = 'train' |",
        f"| version | {run.record['table']['version']} |",
        "| recipe | by hand |",
        "| lr | 0.003 |",
        "| epochs | 2 |",
        f"| accuracy | {before:.1%} | {after:.1%} |",
        "Measured on 8 rows, filter `split",
        "## Trained before",
        "| 8 rows |",
        "## How to load",
        "open_clip.create_model_and_transforms",
    ):
        assert line in text
    assert "| seed |" not in text  # the default
    assert "checkpoint_every" not in text  # changes nothing in the model


def test_a_card_that_is_written_again_stays_as_it_is(run):
    path = run.export_path / "README.md"
    before = path.read_text()

    write_card(open_run(run.path), open_run(run.path).to_dict())

    assert path.read_text() == before


def test_a_model_with_its_card_is_loaded(run):
    assert load_encoder(run.export_path, device="cpu").identity == run.encoder(device="cpu").identity
