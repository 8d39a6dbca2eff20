"""What hints and next commands say works when it is typed, on tables whose columns have names of their own."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.encoder import export
from pipelines.cli.app import main
from tests.captioned import drawings
from tests.pictures import write_pictures
from tests.tiny_models import tiny_encoder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def merged(here: Path) -> Path:
    """Pictures and metadata in m.lance, whose captions are called "Caption Text"."""
    rows = drawings(24)
    for row in rows:
        path = here / "in" / row["image_id"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(row["image"])
    texts = {"Caption Text": [row["captions"][0] for row in rows], "lbl": ["even", "odd"] * 12}
    pq.write_table(pa.table({"image_path": [row["image_id"] for row in rows], **texts}), "meta.parquet")
    ingest.from_images("in", into="images.lance")
    ingest.from_parquet("meta.parquet", into="meta.lance", required="image_path")
    ingest.merge("images.lance", "meta.lance", metadata_on="image_path", into="m.lance")
    return here


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, and what the command wrote on both streams."""
    code = main(list(words))
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return code, shown.out, shown.err


def failing(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, message and hint of a command that fails."""
    code = main([*words, "--json"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert code == error["code"] != 0
    return code, error["message"], error.get("hint") or ""


@pytest.mark.parametrize(
    ("settings", "pipeline"),
    [
        (["objective=multi_positive", "text=Caption Text"], "dual-encoder"),
        (["objective=class_prompts", "label=lbl"], "prompt-classification"),
        (["text=Caption Text"], "dual-encoder"),
    ],
)
def test_fine_tune_does_what_its_hint_says(
    merged: Path, capsys: pytest.CaptureFixture[str], settings: list[str], pipeline: str
) -> None:
    encoder = tiny_encoder()
    model = str(export(encoder.model, encoder, merged / "tiny"))
    words = ["fine-tune", "m.lance", "--model", model, "--out", "z", "--set", "steps=2", "--set", "canary=false"]
    code, message, hint = failing(capsys, *words)
    assert (code, "nothing tells what to train for" in message, "--set objective=multi_positive" in hint) == (2, 1, 1)

    named = [word for one in settings for word in ("--set", one)]
    code = main([*words, *named, "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (code, found.get("pipeline"), found.get("error")) == (0, pipeline, None)


def test_fine_tune_without_pictures_says_so(merged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["fine-tune", "meta.lance", "--out", "z"], ["train", "meta.lance", "--model", "starter"]):
        more = ["--out", "y"] if words[0] == "train" else []
        _, message, hint = failing(capsys, *words, *more)
        assert "none of them holds pictures" in message
        assert hint.startswith("clipdata merge IMAGES.lance")
        assert "--metadata-on image_path" in hint
    named = ["--set", "objective=multi_positive", "--set", "text=lbl"]
    for words in (
        ["fine-tune", "meta.lance", "--out", "z"],
        ["train", "meta.lance", "--model", "starter", "--out", "y"],
    ):
        _, message, hint = failing(capsys, *words, *named)
        assert "no column" in message
        assert hint.startswith("clipdata merge IMAGES.lance")


def test_fine_tune_says_what_an_objective_that_is_named_lacks(merged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cd.map_column(cd.open_table("m.lance"), cd.steps.CleanCaptions("Caption Text"), "texts")
    asked = [word for one in ("objective=choice", "choices=texts") for word in ("--set", one)]

    _, _, hint = failing(capsys, "fine-tune", "m.lance", "--out", "z", *asked)

    assert "label-index label_ind -p label=" in hint

    _, message, hint = failing(capsys, "fine-tune", "m.lance", "--out", "z", "--set", "objective=distillation")
    assert "no pipeline" in message
    assert hint.startswith("clipdata train m.lance ")
    _, _, hint = failing(capsys, "fine-tune", "m.lance", "--out", "z", "--set", "text=lbls")
    assert hint == "--set text=COLUMN; columns of texts are texts, image_table, image_path, Caption Text, lbl"


def test_what_follows_an_ingest_of_metadata_joins_on_the_column_that_names_pictures(
    merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, said = typed(capsys, "ingest", "parquet", "meta.parquet", "--required", "image_path", "--into", "n.lance")
    command = said.rpartition("next: ")[2].strip()
    assert command == "clipdata merge IMAGES.lance n.lance --metadata-on image_path --into MERGED.lance"

    code, _, said = typed(capsys, *shlex.split(command.replace("IMAGES", "images"))[1:])

    assert code == 0
    after = shlex.split(said.rpartition("next: ")[2].strip())
    assert after[-2:] == ["-p", "text=Caption Text"]
    assert typed(capsys, *after[1:], "--limit", "2")[0] == 0


def test_what_follows_a_merge_without_texts_is_no_second_merge(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(here / "in", 2)
    pq.write_table(pa.table({"filename": ["0000.jpg", "0001.jpg"], "price": [1, 2]}), "meta.parquet")
    ingest.from_images("in", into="images.lance")
    ingest.from_parquet("meta.parquet", into="meta.lance")

    _, _, said = typed(capsys, "merge", "images.lance", "meta.lance", "--into", "m.lance")

    assert said.rpartition("next: ")[2].strip() == "clipdata show m.lance"
    _, _, said = typed(capsys, "show", "m.lance")
    assert "next:" not in said


def pictures_in_two_folders() -> None:
    for folder in ("in/a", "in/b"):
        write_pictures(Path(folder), 2)
    write_pictures(Path("in"), 1)
    ingest.from_images("in", into="images.lance")


@pytest.mark.parametrize("names", [["0000.jpg"], ["b/0001.jpg"]])
def test_names_of_several_images_are_merged_as_the_hint_says(
    here: Path, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    pictures_in_two_folders()
    short = [name.rpartition("/")[2] for name in names]
    pq.write_table(pa.table({"filename": short, "the place": names}), "meta.parquet")
    ingest.from_parquet("meta.parquet", into="meta.lance")
    words = ["merge", "images.lance", "meta.lance", "--into", "m.lance"]

    code, message, hint = failing(capsys, *words)

    assert (code, "belong to several images" in message) == (2, True)
    assert typed(capsys, *words, *shlex.split(hint))[0] == 0
    assert cd.open_table("m.lance").to_table(["path"])["path"].to_pylist() == names


def test_names_of_several_images_that_nothing_tells_apart_are_no_circle(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures_in_two_folders()
    pq.write_table(pa.table({"filename": ["0001.jpg"]}), "meta.parquet")
    ingest.from_parquet("meta.parquet", into="meta.lance")
    _, _, hint = failing(capsys, "merge", "images.lance", "meta.lance", "--into", "m.lance")
    assert "no column of the metadata says which is meant" in hint

    rows = {"path": ["a", "a"], "image": pa.array([b"1", b"2"], pa.large_binary())}
    lance.write_dataset(pa.table(rows), "own.lance")
    lance.write_dataset(pa.table({"path": ["a"]}), "facts.lance")
    _, message, hint = failing(capsys, "merge", "own.lance", "facts.lance", "--on", "path", "--into", "n.lance")
    assert "belong to several images" in message
    assert "--on path" not in hint


@pytest.mark.parametrize(
    "more", [[], ["--on", "path"], ["--on", "paht", "--metadata-on", "image_path"], ["--metadata-on", "nope"]]
)
def test_columns_that_a_merge_lacks_are_named(
    merged: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    words = ["merge", "images.lance", "meta.lance", "--into", "n.lance", *more]

    code, message, hint = failing(capsys, *words)

    assert (code, "has no column" in message) == (2, True)
    assert typed(capsys, *words, *shlex.split(hint))[0] == 0


def test_tables_in_the_wrong_order_are_told_with_the_right_one(
    merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message, hint = failing(capsys, "merge", "meta.lance", "images.lance", "--into", "n.lance")

    assert (code, "has no column of images" in message) == (2, True)
    assert typed(capsys, *shlex.split(hint.partition("clipdata ")[2]))[0] == 0


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["map", "m.lance", "pair-score", "ps", "--model", "starter", "--limit", "2"], "-p 'text=Caption Text'"),
        (["map", "m.lance", "caption-quality", "q", "-p", "text=Caption_Text"], "-p 'text=Caption Text'"),
        (["map", "m.lance", "perceptual-hash", "h", "-p", "image=imag"], "-p image=image"),
        (["map", "m.lance", "leak-proof-split", "side", "-p", "by=pathh,sha256"], "-p by=path,sha256"),
    ],
)
def test_a_step_is_told_which_column_to_read(
    merged: Path, capsys: pytest.CaptureFixture[str], words: list[str], settings: str
) -> None:
    code, message, hint = failing(capsys, *words)

    assert (code, "has no column" in message, shlex.split(hint)) == (2, True, shlex.split(settings))
    again = words[: words.index("-p")] if "-p" in words else words
    assert typed(capsys, *again, *shlex.split(hint))[0] == 0


def test_a_step_without_a_likely_column_or_without_pictures_says_what_to_name(
    merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(capsys, "map", "m.lance", "choice-scores", "s", "--model", "starter")[2] == "-p choices=COLUMN"
    _, _, hint = failing(capsys, "map", "meta.lance", "perceptual-hash", "h")
    assert hint.startswith("clipdata merge IMAGES.lance")
    Path("steps.py").write_text("import clipdata\n@clipdata.step(reads='labl')\ndef f(x) -> str:\n    return x\n")
    assert failing(capsys, "map", "m.lance", "steps.py:f", "s")[2] == '@clipdata.step(reads=["lbl"]) in steps.py'


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["compare", "m.lance", "width", "hight"], "clipdata compare m.lance width height"),
        (["compare", "m.lance", "width", "nope"], "clipdata compare m.lance width AFTER"),
        (["compare", "m.lance", "width", "height", "--by", "lbls"], "--by lbl"),
        (["show", "m.lance", "--sample", "1", "--columns", "Caption_Text,path"], "--columns 'Caption Text,path'"),
        (["check-split", "m.lance", "--column", "lbl", "--by", "shaa256,path"], "--by sha256,path"),
        (["drop", "m.lance", "lbls", "--yes"], "clipdata drop m.lance lbl"),
        (["export", "m.lance", "--out", "a.csv", "--columns", "lbls"], "--columns lbl"),
        (["index", "m.lance", "lbls"], "clipdata index m.lance lbl"),
        (["stats", "m.lance", "--columns", "lbls"], "--columns lbl"),
    ],
)
def test_an_option_that_names_no_column_is_told_with_one(
    merged: Path, capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    code, message, found = failing(capsys, *words)

    assert (code, "has no column" in message, found) == (2, True, hint)


def test_check_split_says_what_was_asked_and_how_sides_come_about(
    merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, message, hint = failing(capsys, "check-split", "m.lance", "--by", "nope")
    assert ("'nope'" in message, "'split'" in message, hint) == (True, False, "--by COLUMN")

    _, message, hint = failing(capsys, "check-split", "m.lance")
    assert "'split'" in message
    assert hint.startswith("--column ")
    assert typed(capsys, *shlex.split(hint.partition("clipdata ")[2]))[0] == 0
    assert typed(capsys, "check-split", "m.lance")[0] == 0


def test_a_printed_version_is_told_as_it_is_typed(merged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["show", "m.lance@1"], ["merge", "images.lance@1", "meta.lance", "--into", "n.lance"]):
        code, message, hint = failing(capsys, *words)
        table = words[1].removesuffix("@1")
        assert (code, "there is no table at" in message) == (3, True)
        assert hint.partition(": ")[2].partition(";")[0] == f"clipdata show {table} --version 1"
        assert typed(capsys, *shlex.split(hint.partition("clipdata ")[2].partition(";")[0]))[0] == 0
    assert "make one" in failing(capsys, "show", "none.lance@1")[2]


@pytest.mark.parametrize(
    "words",
    [
        ["export", "m.lance", "--out", "-"],
        ["query", "m.lance", "SELECT path FROM dataset", "--out", "-"],
        ["merge", "images.lance", "meta.lance", "--metadata-on", "image_path", "--into", "-"],
        ["ingest", "images", "in", "--into", "-"],
        ["fine-tune", "m.lance", "--out", "-"],
    ],
)
def test_nothing_is_written_to_a_place_called_dash(
    merged: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    code, message, hint = failing(capsys, *words)

    assert (code, "standard output" in message, Path("-").exists()) == (2, True, False)
    command = shlex.split(hint.partition("clipdata ")[2].partition(" prints")[0].replace("TABLE", "m.lance"))
    assert typed(capsys, *command)[0] == 0


def test_a_file_that_nothing_takes_is_not_said_to_be_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gen.py").write_text("print(1)\n")
    Path("a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    Path("rows.csv").write_text("name,caption\na,one\n")
    for words in (["log", "gen.py"], ["show", "gen.py"], ["fine-tune", "gen.py"], ["ingest", "hugging-face", "gen.py"]):
        more = ["--into", "t.lance"] if words[0] == "ingest" else []
        assert "ingest parquet" not in failing(capsys, *words, *more)[2]
    assert "unzip" in failing(capsys, "log", "a.zip")[2]
    for words in (["log", "rows.csv"], ["fine-tune", "rows.csv"]):
        command = failing(capsys, *words)[2].partition("clipdata ")[2].partition(" makes ")[0]
        assert typed(capsys, *shlex.split(command))[0] == 0


def test_a_file_of_steps_without_a_function_is_told_with_its_functions(
    merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("steps.py").write_text(
        "import clipdata\nfrom clipdata import step\n"
        "@clipdata.step(reads='lbl')\ndef letters(x) -> int:\n    return len(x)\n"
        "@step\ndef lbls(lbl: str) -> str:\n    return lbl\n"
        "def helper():\n    pass\n"
    )
    code, message, hint = failing(capsys, "map", "m.lance", "./steps.py", "c")

    assert (code, "is a file" in message, hint) == (2, True, "./steps.py:letters or ./steps.py:lbls")
    assert typed(capsys, "map", "m.lance", hint.partition(" or ")[0], "c")[0] == 0
