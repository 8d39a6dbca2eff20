"""What earlier releases wrote is read, mapped on, compared, trained on and restored by this one, and read by others."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import pytest

import clipdata as cd
from clipdata.lance_io.refused import rejects_uri
from clipdata.lineage import Lineage
from tests.golden.make_golden import CONFIG, HERE, TABLES, Halves, held

RELEASES = sorted(path.name.removesuffix(".tar.gz") for path in HERE.glob("*.tar.gz"))


@dataclass(frozen=True)
class Golden:
    """A copy of what a release wrote, which a test may change, and what it held when it was written."""

    folder: Path
    expected: dict[str, Any]

    def table(self, name: str) -> cd.Table:
        return cd.open_table(self.folder / name)


@pytest.fixture(params=RELEASES)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    with tarfile.open(HERE / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return Golden(tmp_path, json.loads((tmp_path / "expected.json").read_text()))


def test_this_release_has_left_its_own() -> None:
    assert cd.__version__ in RELEASES, "python -m tests.golden.make_golden"


def test_every_value_is_what_it_was(golden: Golden) -> None:
    assert held(golden.folder) == golden.expected


def test_refusals_tags_deletes_lineage_and_history_are_read(golden: Golden) -> None:
    pictures, contest = golden.table("pictures.lance"), golden.table("contest.lance")

    refused = cd.open_table(rejects_uri(pictures.uri)).to_table().to_pylist()
    assert [(row["path"], row["reason"]) for row in refused] == [("broken.jpg", "truncated")]
    assert "first" in pictures.dataset.tags.list()
    assert {"ingest images", "map", "delete"} <= {one.properties.verb for one in cd.log(pictures) if one.properties}
    assert Lineage.of(contest.schema.field("label_prob_after")) is not None
    assert cd.check(contest).problems == ()
    assert "11.jpg" not in pictures.to_table(["filename"])["filename"].to_pylist()


def test_columns_are_compared_by_what_their_models_were_trained_on(golden: Golden) -> None:
    compared = cd.compare(golden.table("contest.lance"), "label_prob", "label_prob_after", where="split = 'test'")

    assert compared.num_wins + compared.num_losses + compared.num_ties == 2
    assert compared.seen_after is not None
    assert compared.seen_after.num_rows == 0


def test_the_run_is_opened_its_model_scores_alike_and_a_stopped_run_goes_on(golden: Golden) -> None:
    contest = golden.table("contest.lance")
    run = cd.open_run(golden.folder / "run")
    before = contest.to_table(["scores_after"])["scores_after"].to_pylist()

    cd.map_column(contest, cd.steps.ChoiceScores(run.encoder()), "scores_again")
    again = contest.to_table(["scores_again"])["scores_again"].to_pylist()
    assert [value for row in again for value in row] == pytest.approx([value for row in before for value in row])

    stopped = golden.folder / "stopped"
    record = (stopped / "config.json").read_text()  # says where the table was
    (stopped / "config.json").write_text(record.replace("/tmp/golden/contest.lance", contest.uri))
    assert not cd.open_run(stopped).is_finished
    encoder = cd.load_encoder(golden.folder / "model", device="cpu")
    done = cd.train(contest, encoder, cd.TrainConfig(**CONFIG), out=stopped, where="split = 'train'")
    losses = [line["loss"] for line in done.metrics if "loss" in line]
    assert losses == pytest.approx(golden.expected["losses"])


def test_a_map_goes_on_where_that_release_stopped(golden: Golden) -> None:
    table = golden.table("contest.lance")
    left = Halves(stop_after=table.num_rows - 2)  # it would stop if what was done before were done again

    try:
        cd.map_column(table, left, "halves", batch_rows=2)
    except KeyboardInterrupt:
        pytest.fail("what was done before is done again")

    rows = table.to_table(["bytes", "halves"]).to_pylist()
    assert all(row["halves"] == row["bytes"] / 2 for row in rows)


def test_what_was_deleted_can_be_restored(golden: Golden) -> None:
    pictures = golden.table("pictures.lance")

    cd.restore(pictures, "first")

    assert golden.table("pictures.lance").num_rows == 6


def test_plain_lance_reads_it(golden: Golden) -> None:
    for name in TABLES[1:]:
        read = lance.dataset(str(golden.folder / name)).to_table()
        assert read.num_rows == len(golden.expected[name])


def test_duckdb_reads_it(golden: Golden) -> None:
    duckdb = pytest.importorskip("duckdb")
    opened = duckdb.connect()
    try:
        opened.execute("LOAD lance")
        read = f"'{golden.folder / 'questions.lance'}'"
    except duckdb.Error:
        # Without the extension, which is fetched from a network, through Arrow.
        dataset = lance.dataset(str(golden.folder / "questions.lance"))
        opened.register("questions", dataset.scanner(columns=["filename", "votes"]).to_reader())
        read = "questions"
    total = sum(row["votes"] or 0 for row in golden.expected["questions.lance"])

    assert opened.execute(f"SELECT sum(votes) FROM {read}").fetchone() == (total,)


def test_hugging_face_datasets_reads_it(golden: Golden, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    read = cd.to_hugging_face(golden.table("questions.lance"), columns=["filename", "caption_choices"])

    expected = {row["filename"]: row["caption_choices"] for row in golden.expected["questions.lance"]}
    assert {row["filename"]: row["caption_choices"] for row in read} == expected
