"""`clipdata similar`: tables for people, JSON and CSV for scripts, and what is wrong with what was typed."""

import csv
import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from clipdata.encoder import export
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import write_pictures
from tests.tiny_models import tiny_encoder

CHINESE = ["桑巴军团", "日耳曼战车", "一个圆圆的月亮", "小猪"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    encoder = tiny_encoder()
    return str(export(encoder.model, encoder, tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", 3)
    return tmp_path / "photos"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["similar", *map(str, words)])
    return code, *capsys.readouterr()


def test_the_three_tables_are_printed_in_columns_of_the_terminals_width(
    model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "texts.txt").write_text("\ufeff" + "\n\n".join(CHINESE) + "\n", encoding="utf-8")

    code, out, err = run(capsys, "-m", model, "--texts", tmp_path / "texts.txt", "--images", photos, "--top", 2)

    assert code == 0, err
    blocks = out.rstrip("\n").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "image-text: each image among 4 texts",
        "text-text: each text among 3 other texts",
        "image-image: each image among 2 other images",
    ]
    header, *lines = blocks[1].splitlines()[1:]
    assert header.split() == ["text", "nearest", "text", "probability", "cosine"]
    assert len(lines) == 2 * len(CHINESE)
    assert [line.split()[0] for line in lines[::2]] == CHINESE
    assert {line.split()[0] for line in blocks[2].splitlines()[2:]} == {"0000.jpg", "0001.jpg", "0002.jpg"}
    at = header.index("probability")
    for line in lines:
        cells = next(place for place in range(len(line) + 1) if cell_len(line[:place]) == at)
        assert line[cells] in "01", line  # the numbers stand below each other, however wide the letters
    assert all(cell_len(line) <= 100 for line in out.splitlines())


def test_words_that_follow_an_option_are_more_of_it(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted(photos.iterdir())

    code, out, err = run(capsys, "--images", *pictures, "--texts", "a cat", "a dog", "--model", model, "--json")

    assert code == 0, err
    found = json.loads(out)
    assert found["images"] == [str(path) for path in pictures]
    assert found["texts"] == ["a cat", "a dog"]


def test_an_option_may_also_be_repeated(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--texts", "- a cat", "--texts=a dog", "a bird", "-m", model, "--json")

    assert code == 0
    assert json.loads(out)["texts"] == ["- a cat", "a dog", "a bird"]


def test_a_word_after_an_option_with_one_value_is_refused(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--texts", "a cat", "a dog", "-m", model, "more")

    assert code == 2
    assert "more" in err


def test_json_follows_its_schema_and_tells_what_was_refused(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")

    code, out, _ = run(capsys, "--images", photos, "-m", model, "--top", 1, "--json")

    assert code == 0
    found = json.loads(out)
    verb = next(verb for verb in VERBS if verb.words == "similar")
    check_schema(found, schema_of(verb.words, verb.found))
    assert list(found["tables"]) == ["image-image"]
    assert [len(ranking["matches"]) for ranking in found["tables"]["image-image"]] == [1, 1, 1]
    assert list(found["refused"]) == [str(photos / "bad.png")]
    assert found["refused"][str(photos / "bad.png")].startswith("not_an_image")


def test_the_same_matches_are_written_as_csv(
    model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "likeness.csv"
    command = ["--texts", *CHINESE, "--images", photos, "-m", model, "--top", 0, "--csv", file, "--json"]

    code, out, err = run(capsys, *command)

    assert code == 0, err
    found = json.loads(out)["tables"]
    with open(file, encoding="utf-8", newline="") as opened:
        lines = list(csv.DictReader(opened))
    told = [
        (kind, ranking["name"], rank, match["name"], match["probability"])
        for kind, rankings in found.items()
        for ranking in rankings
        for rank, match in enumerate(ranking["matches"], 1)
    ]
    assert [
        (line["table"], line["name"], int(line["rank"]), line["match"], float(line["probability"])) for line in lines
    ] == told
    assert len(lines) == 3 * 4 + 4 * 3 + 3 * 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    assert run(capsys, *command)[0] == 2
    assert run(capsys, *command, "--overwrite")[0] == 0


def test_texts_in_another_encoding_are_read_when_it_is_named(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\n".join(CHINESE).encode("gb18030"))

    code, _, err = run(capsys, "--texts", file, "-m", model)
    assert code == 2
    assert "--encoding gb18030" in err

    code, out, _ = run(capsys, "--texts", file, "-m", model, "--encoding", "gb18030", "--json")
    assert code == 0
    assert json.loads(out)["texts"] == CHINESE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "nothing is given"),
        (["--texts", "a cat"], 2, "one text alone"),
        (["--texts", "gone.txt"], 3, "there is no file gone.txt"),
        (["--texts", "a", "cat.jpg"], 3, "there is no file cat.jpg"),
        (["--texts", "a", "photos/cats"], 3, "there is no file photos/cats"),
        (["--texts", "a", "gs://bucket/texts"], 3, "there is no file gs://bucket/texts"),
        (["--texts", "a", "FOLDER/"], 2, "is a folder; expected a text"),
        (["--texts", "a", "PICTURE"], 2, "is a picture; expected a text"),
        (["--texts", "EMPTY"], 2, "holds no text"),
        (["--texts", "EMPTY", "--encoding", "utf-9"], 2, "no encoding 'utf-9'"),
        (["--images", "nowhere"], 3, "no file or folder nowhere"),
        (["--images", "nowhere.jpg", "gone.png"], 6, "gone.png: missing"),
        (["--texts", "a", "b", "--csv", "nowhere/a.csv"], 1, "cannot be written"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    words: list[str], code: int, said: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")

    (picture,) = write_pictures(tmp_path, 1)
    stands_for = {"EMPTY": str(tmp_path / "empty.txt"), "FOLDER/": f"{tmp_path}/", "PICTURE": str(picture)}
    typed = [stands_for.get(word, word) for word in words]

    found, _, err = run(capsys, *typed, "-m", model)
    assert (found, said in err) == (code, True), err


def test_a_sentence_with_a_slash_is_a_text(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--texts", "a black/white cat", "a dog, 1/2", "-m", model, "--json")
    assert code == 0, err
    assert json.loads(out)["texts"] == ["a black/white cat", "a dog, 1/2"]


def test_its_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")

    assert code == 0
    assert out.split("Examples")[1].count("clipdata similar") == 3
