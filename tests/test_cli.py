"""The command line: what it prints, where, and with which exit code. Wrong input is a table of cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import write_pictures
from tests.tables import number_table
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_encoder(folder)
    return f"local-dir:{next(folder.iterdir())}"


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """A folder of pictures and questions, half of them held out."""
    write_pictures(tmp_path / "in", 12)
    questions = [
        {
            "filename": f"{n:04d}.jpg",
            "caption_choices": [f"caption {(n + k) % 12}" for k in range(3)],
            "label": "A",
            "split": "train" if n < 8 else "test",
        }
        for n in range(12)
        for _ in range(2)
    ]
    pq.write_table(pa.Table.from_pylist(questions), tmp_path / "meta.parquet")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def checked(verb: str, out: str) -> dict:
    """What a verb printed, held to the schema that the verb gives."""
    schema = next(schema_of(one.words, one.found) for one in VERBS if verb.startswith(one.words))
    printed = json.loads(out, parse_constant=lambda word: pytest.fail(f"{verb} printed {word}"))
    check_schema(printed, schema)
    return printed


def test_every_verb_alone_from_pictures_to_comparison(
    contest: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = contest / "c.lance"
    steps: list[list[object]] = [
        ["ingest", "images", contest / "in", "--into", contest / "i.lance"],
        ["ingest", "parquet", contest / "meta.parquet", "--into", contest / "m.lance"],
        ["merge", contest / "i.lance", contest / "m.lance", "--into", table],
        ["map", table, "choice-scores", "scores", "--model", model],
        ["map", table, "label-index", "label_ind", "-p", "choices=caption_choices"],
        ["map", table, "pick", "label_prob", "-p", "values=scores", "-p", "index=label_ind"],
        ["train", table, "--model", model, "--out", contest / "run", "--where", "split = 'train'", "-s", "steps=2"],
        ["map", table, "choice-scores", "scores_2", "--model", contest / "run"],
        ["map", table, "pick", "label_prob_2", "-p", "values=scores_2", "-p", "index=label_ind"],
        ["compare", table, "label_prob", "label_prob_2", "--where", "split = 'test'"],
        ["show", table],
        ["log", table],
        ["query", table, "SELECT count(*) AS n FROM dataset"],
        ["rejects", table],
        ["export", table, "--out", contest / "shards", "--caption", "label"],
    ]
    for arguments in steps:
        code, out, err = run(capsys, *arguments, "--json")
        assert code == 0, (arguments, err)
        checked(" ".join(map(str, arguments)), out)
    assert cd.open_table(table).count_rows("label_prob_2 IS NOT NULL") == 24


def test_the_whole_contest_in_one_command_and_again_with_nothing_to_do(
    contest: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "caption-contest", "--images", contest / "in", "--metadata", contest / "meta.parquet"]
    command += ["--model", model, "--out", contest / "work", "--set", "steps=2"]
    code, out, err = run(capsys, *command)
    assert code == 0, err
    assert "label_prob → label_prob_fine_tune" in out
    assert "before training, test: 8 questions" in err
    version = cd.open_table(contest / "work" / "contest.lance").version
    code, again, err = run(capsys, *command)
    assert code == 0
    assert again == out
    assert "nothing changed" in err
    assert checked("run caption-contest", run(capsys, *command, "--json")[1])["changed"] is False
    assert cd.open_table(contest / "work" / "contest.lance").version == version


def test_a_few_rows_are_learned_by_heart_and_both_figures_are_told(
    contest: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "caption-contest", "--images", contest / "in", "--metadata", contest / "meta.parquet"]
    command += ["--model", model, "--out", contest / "work", "--sample", 5, "--held-out", 4, "--config", "document"]
    code, out, err = run(capsys, *command, "--set", "steps=3")
    assert code == 0, err
    assert "training on 5 of 16 rows, measuring on 4 of 8 held-out rows" in err
    assert out.index("trained on ") < out.index("held out ")
    found = checked("run caption-contest", run(capsys, *command, "--set", "steps=3", "--json")[1])
    assert (found["trained"]["mean"]["num_rows"], found["comparison"]["mean"]["num_rows"]) == (5, 4)
    assert found["run"]["config"]["init_logit_scale"] == 100


def test_the_contest_trains_blocks_of_the_towers_from_the_pictures(
    contest: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "caption-contest", "--images", contest / "in", "--metadata", contest / "meta.parquet"]
    code, _, err = run(
        capsys, *command, "--model", model, "--out", contest / "work", "-s", "steps=2", "-s", "train=last_blocks"
    )
    assert code == 0, err
    assert "image_trunk" not in cd.open_table(contest / "work" / "contest.lance").schema.names


def test_a_split_is_made_when_there_is_none_and_keeps_pictures_and_captions_together(
    contest: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = pq.read_table(contest / "meta.parquet").drop_columns(["split"])
    pq.write_table(plain, contest / "meta.parquet")
    command = ["run", "caption-contest", "--images", contest / "in", "--metadata", contest / "meta.parquet"]
    code, _, err = run(capsys, *command, "--model", model, "--out", contest / "work", "-s", "steps=2")
    assert code == 0, err
    assert "nothing says what to hold out" in err
    rows = cd.open_table(contest / "work" / "contest.lance").to_table(["path", "split"]).to_pylist()
    assert {row["split"] for row in rows} == {"train", "test"}
    assert len({(row["path"], row["split"]) for row in rows}) == 12


def wrong_parquet(folder: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), folder / "wrong.parquet")
    return folder / "wrong.parquet"


# Arguments (FOLDER, TABLE and MODEL stand for real ones), exit code, what the error says.
WRONG = [
    (["ingest", "images", "FOLDER/none", "--into", "FOLDER/x.lance"], 3, "there is no folder"),
    (["ingest", "images", "FOLDER/empty", "--into", "FOLDER/x.lance"], 3, "no image under"),
    (["ingest", "images", "FOLDER/meta.parquet", "--into", "FOLDER/x.lance"], 3, "expected a folder of images"),
    (["ingest", "images", "FOLDER/in", "--into", "TABLE"], 2, "these rows are keyed by 'path'"),
    (["ingest", "images", "FOLDER/in", "--into", "http://127.0.0.1/x.lance"], 2, "a table cannot live on http://"),
    (["ingest", "images", "FOLDER/in", "--into", "FOLDER/x.lance", "-O", "endpont=x"], 2, "unknown storage option"),
    (["ingest", "parquet", "FOLDER/none.parquet", "--into", "FOLDER/x.lance"], 3, "no parquet file"),
    (
        ["ingest", "parquet", "FOLDER/meta.parquet", "--into", "FOLDER/x.lance", "--required", "file_name"],
        2,
        "filename",
    ),
    (["merge", "FOLDER/none.lance", "TABLE", "--into", "FOLDER/x.lance"], 3, "there is no table"),
    (["merge", "TABLE", "TABLE", "--into", "FOLDER/x.lance"], 2, "has no column"),
    (["map", "TABLE", "choice-score", "scores"], 2, "did you mean choice-scores"),
    (["map", "TABLE", "choice-scores", "scores"], 2, "needs a model"),
    (["map", "TABLE", "choice-scores", "scores", "-m", "MODEL"], 2, "has no column 'image'"),
    (["map", "TABLE", "choice-scores", "scores", "-m", "ViT-B-3000/openai"], 3, "did you mean ViT-B-32/openai"),
    (["map", "TABLE", "pick", "x", "-p", "values=a"], 2, "'index' is missing"),
    (["map", "TABLE", "pick", "x", "-p", "nonsense"], 2, "expected key=value"),
    (["map", "TABLE", "label-index", "x", "-p", "label=text", "-p", "what=1"], 2, "'what' is unknown"),
    (["map", "TABLE", "FOLDER/none.py:f", "x"], 3, "there is no file"),
    (["train", "TABLE", "-m", "MODEL", "--out", "FOLDER/run"], 2, "has no column"),
    (["train", "TABLE", "-m", "MODEL", "--out", "FOLDER/run", "-s", "epoch=1"], 2, "epochs"),
    (["train", "TABLE", "-m", "MODEL", "--out", "FOLDER/run", "--recipe", "none"], 2, "recipes:"),
    (["compare", "TABLE", "number", "nothing"], 2, "has no column"),
    (["query", "TABLE", "SELECT nothing FROM dataset"], 2, "there is no column nothing"),
    (["query", "TABLE", "SELEC"], 2, "SELEC"),
    (["show", "TABLE", "--version", "99"], 3, "the newest is version"),
    (["show", "TABLE", "--version", "no-such-tag"], 3, "no-such-tag"),
    (["log", "FOLDER/none.lance"], 3, "there is no table"),
    (["run", "caption-contest", "--images", "FOLDER/in"], 2, "--images is given without --metadata"),
    (["run", "caption-contest", "--out", "gs://bucket/x"], 2, "--runs"),
    (
        [
            "run",
            "caption-contest",
            "--images",
            "FOLDER/in",
            "--metadata",
            "FOLDER/others.parquet",
            "-m",
            "MODEL",
            "--out",
            "FOLDER/work",
        ],
        2,
        "no metadata row names one of the",
    ),
    (["frobnicate"], 2, "No such command"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG, ids=[" ".join(case[0])[:60] for case in WRONG])
def test_wrong_input_gets_one_clear_error_and_its_exit_code(
    contest: Path, model: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    (contest / "empty").mkdir()
    others = {"filename": ["elsewhere.jpg"], "caption_choices": [["a"]], "label": ["A"]}
    pq.write_table(pa.table(others), contest / "others.parquet")
    schema_key = number_table(contest, 3, name="numbers.lance")
    cd.map_column(schema_key, _copy, "copy")
    stand_ins = {"FOLDER": str(contest), "MODEL": model, "TABLE": str(contest / "numbers.lance")}
    if arguments[:2] == ["ingest", "images"] and "TABLE" in arguments:
        from clipdata.lance_io import rows
        from clipdata.schema import key_field

        rows.create_table(contest / "other_key.lance", pa.schema([key_field("id")]))
        stand_ins["TABLE"] = str(contest / "other_key.lance")
    filled = []
    for argument in arguments:
        for word, value in stand_ins.items():
            argument = argument.replace(word, value)
        filled.append(argument)
    found, out, err = run(capsys, *filled)
    assert found == code, err
    assert message in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trian", "Did you mean 'train'?"),
        ("ingest imges", "Did you mean 'images'?"),
        ("images photos/", "hint: clipdata ingest images --help"),
        ("--json-schema trian", "did you mean 'train'?"),
        ("--json-schema ingest imges", "did you mean 'ingest images'?"),
    ],
)
def test_a_verb_that_is_nearly_right_is_told_the_right_one(
    capsys: pytest.CaptureFixture[str], typed: str, meant: str
) -> None:
    code, out, err = run(capsys, *typed.split())

    assert (code, out) == (2, "")
    assert meant in err


def test_the_list_of_commands_says_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["ingest"], ["run"]):
        _, out, _ = run(capsys, *group, "--help")
        listed = " ".join(out.partition("Commands:")[2].split())
        for verb in VERBS:
            if verb.words.split()[:-1] == group:
                assert " ".join((verb.function.__doc__ or "").partition("\n")[0].split()) in listed
                assert verb.examples


@cd.step(reads="number", returns="int64")
def _copy(number: int) -> int:
    return number


def test_an_error_is_json_too_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", tmp_path / "none.lance", "--json")
    assert code == 3
    error = json.loads(out)["error"]
    assert (error["name"], error["code"]) == ("not_found", 3)
    assert "there is no table" in error["message"]


def test_too_many_rejects_and_a_failed_gate_have_their_own_exit_codes(
    contest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (contest / "in" / "bad.jpg").write_text("no picture")
    code, _, err = run(capsys, "ingest", "images", contest / "in", "--into", contest / "i.lance", "--max-rejects", "0")
    assert code == 6
    assert "1 row was refused" in err
    table = number_table(contest, 5, name="n.lance")
    cd.map_column(table, _copy, "copy")
    code, _, err = run(capsys, "compare", table.uri, "number", "copy", "--fail-if", "mean.difference <= 0")
    assert code == 7, err


def test_a_folder_that_cannot_be_written_is_said(contest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (contest / "file").write_text("a file where a folder should be")
    code, _, err = run(capsys, "ingest", "images", contest / "in", "--into", contest / "file" / "x.lance")
    assert code == 2, err
    assert "is a file, and a table is a folder" in err


def test_own_steps_run_from_a_file(contest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(contest, 3, name="n.lance")
    (contest / "own.py").write_text(
        "import clipdata as cd\n\n"
        "@cd.step(reads='number', returns='int64')\ndef square(number):\n    return number ** 2\n"
    )
    code, out, err = run(capsys, "map", table.uri, f"{contest / 'own.py'}:square", "square", "--json")
    assert code == 0, err
    assert json.loads(out)["computed"] == 3


def fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    return done.stdout.strip()


def test_importing_the_package_loads_neither_torch_nor_lance() -> None:
    found = fresh_python(
        "import sys, clipdata; print([m for m in ('torch', 'lance', 'open_clip') if m in sys.modules])"
    )
    assert found == "[]"


def test_help_loads_nothing_heavy_and_names_every_verb() -> None:
    code = (
        "import sys\nfrom pipelines.cli.app import main\nmain(['--help'])\n"
        "print([m for m in ('torch', 'lance', 'open_clip', 'pyarrow', 'datachain') if m in sys.modules])"
    )
    printed = fresh_python(code)
    assert printed.endswith("[]")
    for verb in ("ingest", "merge", "map", "train", "compare", "query", "show", "log", "run"):
        assert verb in printed


@pytest.mark.parametrize("verb", ["ingest images", "ingest parquet", "merge", "map", "train", "compare", "query"])
def test_every_verbs_help_ends_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *verb.split(), "--help")
    assert code == 0
    assert f"clipdata {verb}" in out.split("Example")[1]


@pytest.mark.parametrize("name", ["_rowid", "a`b", "a.b", "_score", "Text", "path", "x__error", " x"])
def test_a_column_that_could_not_be_read_back_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    table = number_table(tmp_path, 3)
    (tmp_path / "own.py").write_text(
        "import clipdata as cd\n\n@cd.step\ndef letters(text: str) -> int:\n    return 1\n"
    )

    code, out, err = run(capsys, "map", table.uri, f"{tmp_path / 'own.py'}:letters", name)

    assert (code, out) == (2, ""), err
    assert "cannot be called" in err
    assert "hint: use" in err
    assert table.latest().version == table.version
    assert not list(tmp_path.glob("*.state"))


@pytest.mark.parametrize("name", ["a`b", "", "_rowid", "_rowoffset"])
def test_a_table_that_another_tool_gave_an_odd_column_is_shown_and_never_panics(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    table = number_table(tmp_path, 3)
    table.dataset.add_columns(pa.field(name, pa.int64()))

    for arguments in (["show", table.uri], ["log", table.uri]):
        assert main([*arguments, "--json"]) == 0
    for sql in ("SELECT * FROM dataset", f'SELECT "{name}" FROM dataset'):
        assert main(["query", table.uri, sql]) == 2

    err = capfd.readouterr().err
    assert "panicked" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name\n", "No module named 'nothing_of_this_name'"),
        ("def square(:\n", "SyntaxError"),
        ("import clipdata as cd\n@cd.step\ndef square(number):\n    return 1\n", "does not say what it returns"),
        ("def square(number):\n    return 1\n", "no function there is marked"),
    ],
)
def test_a_file_of_own_steps_that_cannot_be_used_is_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    table = number_table(tmp_path, 3)
    (tmp_path / "own.py").write_text(code)

    found, _, err = run(capsys, "map", table.uri, f"{tmp_path / 'own.py'}:square", "square")

    assert found == 2
    assert said in err
    assert "Traceback" not in err
