"""Push: what is published, what is not, and that `load_dataset` reads it without any of our code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lance
import pytest

import clipdata as cd
from clipdata.errors import UsageError
from clipdata.exports.card import BEGIN, TABLE
from clipdata.exports.croissant import NAME as CROISSANT
from pipelines.cli.app import main
from pipelines.cli.commands.push import push
from pipelines.cli.json_output import schema_of
from tests.fake_hub import OID, hub_server
from tests.json_schemas import check_schema
from tests.tables import number_table
from tests.test_exports import NUM
from tests.test_exports import pictures as pictures

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        datasets.disable_progress_bars()
        yield


@pytest.fixture
def scored(pictures: cd.Table) -> cd.Table:
    """The table with a column that a step made."""
    table = pictures.pinned()
    table.move_to(table.latest())

    @cd.step(reads="share", returns="float32")
    def score(share: float) -> float:
        return share * 2

    cd.map_column(table, score, "clip_score")
    return table


def test_load_dataset_reads_the_folder_and_its_pictures(scored: cd.Table, tmp_path: Path) -> None:
    done = cd.push(scored, tmp_path / "out", where="flag OR NOT flag")

    read = datasets.load_dataset(str(tmp_path / "out"))
    assert list(read) == ["train"]
    rows = read["train"]
    assert rows.num_rows == done.num_rows == NUM - 1
    assert isinstance(rows.features["image"], datasets.Image)
    assert rows[0]["image"].size == (16, 12)
    held = rows.cast_column("image", datasets.Image(decode=False))
    assert [hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in held] == rows["sha256"][:]
    assert set(done.left_out) == {"uri"}
    assert "uri" not in rows.features
    streamed = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    assert len(list(streamed)) == NUM - 1

    alone = lance.dataset(str(tmp_path / "out" / TABLE))
    assert alone.count_rows("image IS NOT NULL") == NUM - 1
    assert cd.open_table(tmp_path / "out" / TABLE).lineage("clip_score") == scored.lineage("clip_score")
    files = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert str(Path(scored.uri).parent).encode() not in files  # nothing of where the files lay


def test_the_card_tells_columns_splits_and_lineage_and_keeps_what_a_person_wrote(
    scored: cd.Table, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cd.push(scored, out)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "| `clip_score` | `float` | step score(share)" in card
    assert "| test | 3 |" in card
    assert "# license: say which" in card
    assert "from `main` alone" in card

    cd.push(scored, out, overwrite=True)
    assert (out / "README.md").read_text(encoding="utf-8").count("# license: say which") == 1

    mine = card.replace("# license: say which", "license: cc-by-4.0\nlanguage:\n- zh").replace(
        "_Say here", "Mine. _Say here"
    )
    (out / "README.md").write_text(f"{mine}\n## Thanks\n", encoding="utf-8")
    with pytest.raises(UsageError, match="holds an export"):
        cd.push(scored, out)
    cd.push(scored, out, overwrite=True, where="split = 'test'")
    again = (out / "README.md").read_text(encoding="utf-8")
    head = again.split("---")[1]
    assert "license: cc-by-4.0\nlanguage:\n- zh\n" in head
    assert head.count("configs:") == head.count("dataset_info:") == 1
    assert ("Mine." in again, "## Thanks" in again, again.count(BEGIN)) == (True, True, 1)
    assert "3 rows, copied" in again
    assert "NUM rows" not in again
    assert datasets.load_dataset(str(out), split="train").num_rows == 3


def test_croissant_says_every_column_as_the_specification_wants_it(scored: cd.Table, tmp_path: Path) -> None:
    cd.push(scored, tmp_path / "out")
    told = json.loads((tmp_path / "out" / CROISSANT).read_text(encoding="utf-8"))
    assert (told["@type"], told["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
    ids = {one["@id"] for one in told["distribution"]}
    assert [one["@type"] for one in told["distribution"]] == ["cr:FileObject", "cr:FileSet"]
    (records,) = told["recordSet"]
    names = cd.open_table(tmp_path / "out" / TABLE).schema.names
    assert [one["name"] for one in records["field"]] == names
    kinds = {one["name"]: (one["dataType"], one.get("repeated", False)) for one in records["field"]}
    assert kinds["image"] == ("sc:ImageObject", False)
    assert kinds["captions"] == ("sc:Text", True)
    assert kinds["vector"] == ("sc:Float", True)
    assert (kinds["number"][0], kinds["flag"][0], kinds["day"][0]) == ("sc:Integer", "sc:Boolean", "sc:Date")
    for one in records["field"]:
        assert one["source"]["fileSet"]["@id"] in ids
        assert one["source"]["extract"] == {"column": one["name"]}
    used = {word for one in records["field"] for word in one if not word.startswith("@")} - {"name", "description"}
    assert used <= set(told["@context"])


def test_the_command_publishes_to_a_folder_and_foretells(
    scored: cd.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["hf://datasets/org/name", "--dry-run"], [str(tmp_path / "out")]):
        assert main(["push", scored.uri, *words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        check_schema(found, schema_of("push", push.found))
        assert found["num_rows"] == NUM
        assert found["dry_run"] == ("--dry-run" in words)
        assert (found["tag"] == f"v{scored.version}") == found["dry_run"]
        assert any("main alone" in note for note in found["notes"]) == found["dry_run"]
    assert main(["push", scored.uri, str(tmp_path / "none"), "--where", "number < 0"]) == 6
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no.lance", "out"], 3, "no table"),
        (["t.lance", "hf://models/org/name"], 2, "no data set on the hub"),
        (["t.lance", "hf://datasets/name"], 2, "no data set on the hub"),
        (["t.lance", "hf://datasets/a/../b"], 2, "no data set on the hub"),
        (["t.lance", "gs://bucket/x"], 2, "neither"),
        (["t.lance", "mine"], 2, "not empty"),
        (["t.lance", "out", "--columns", "nmber"], 2, "did you mean number"),
        (["t.lance", "out", "--where", "number ="], 2, "number ="),
        (["t.lance", "hf://datasets/org/name"], 5, "hf://datasets/org/name"),
    ],
)
def test_wrong_words_are_refused_and_nothing_is_left(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    said: str,
) -> None:
    number_table(tmp_path, 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    monkeypatch.chdir(tmp_path)
    assert main(["push", *words, "--json"]) == code
    shown = capsys.readouterr()
    assert said in json.loads(shown.out)["error"]["message"]
    assert "Traceback" not in shown.err
    assert sorted(path.name for path in tmp_path.rglob("*") if path.suffix in (".txt", ".md")) == ["thesis.txt"]


PUSH_TWICE = """
import sys
from pipelines.cli.app import main
again = ["--where", "number > 0", "--tag", "second"]
codes = [main(["push", sys.argv[1], "hf://datasets/org/name", *more]) for more in ([], again)]
sys.exit(max(codes))
"""


def test_a_hub_gets_it_in_one_commit_and_the_next_one_replaces_the_files(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    with hub_server() as hub:
        secret = "hf_" + "secretsecretsecret"
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": secret}
        environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", PUSH_TWICE, table.uri]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert "private" in (hub.repos["name"].get("visibility"), *hub.repos["name"])  # as its version says it
        assert hub.tags == {f"v{table.version}": OID, "second": OID}
        assert len(hub.commits) == 2
        assert f"Bearer {secret}" in hub.tokens
        assert {name.partition("/")[0] for name in hub.files} == {"README.md", "croissant.json", "data"}
        for name, data in hub.files.items():
            (tmp_path / "got" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "got" / name).write_bytes(data)
        assert datasets.load_dataset(str(tmp_path / "got"), split="train")["number"][:] == [1, 2]
        assert "main alone" in done.stdout

        hub.denies = True
        denied = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (denied.returncode, "hf auth login" in denied.stderr) == (4, True)
        assert secret not in done.stdout + done.stderr + denied.stdout + denied.stderr
