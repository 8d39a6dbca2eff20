"""The README: its Python runs, its commands exist, and every command is in it."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import sample
from pipelines.cli.app import app, main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BASH = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
TABLE = re.findall(r"^\| `(clipdata [^`]+)` \|", README, re.MULTILINE)
COMMANDS = [
    part.strip() for line in [*BASH, *TABLE] for part in line.split("&&") if part.strip().startswith("clipdata")
]
# Nine trainings come from it, and none is judged here.
SHORT = {"epochs=5": "steps=5", 'caption_contest(image_trunk="trunk")': 'caption_contest(image_trunk="trunk", steps=5)'}


@pytest.mark.slow
def test_its_python_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    questions = pq.read_table(sample.questions_path())
    names = sorted(set(questions["filename"].to_pylist()))[::60]
    kept = questions.filter(pc.is_in(questions["filename"], pa.array(names)))
    pq.write_table(kept, tmp_path / "questions.parquet")
    (tmp_path / "photos").mkdir()
    for picture in sample.images_path().rglob("*.png"):
        if picture.name in names:
            shutil.copy(picture, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "readme"}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        for long, short in SHORT.items():
            block = block.replace(long, short)
        (tmp_path / "block.py").write_text(block, encoding="utf-8")
        exec(compile(block, str(tmp_path / "block.py"), "exec"), scope)
    printed = capsys.readouterr().out
    assert "label_prob → label_prob_fine_tune" in printed
    assert f"num_choices: {len(kept):,} rows computed" in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_each_of_its_commands_exists_with_the_options_it_names(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)[1:]
    verb = words[:2] if words[0] in ("ingest", "run") else words[:1]
    assert main([*verb, "--help"]) == 0
    listed = capsys.readouterr().out
    for word in words:
        if word.startswith("--"):
            assert word in listed, f"{command}: {word}"


def test_every_command_is_in_it() -> None:
    named = {" ".join(shlex.split(command)[1:3]) for command in COMMANDS}
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            assert f"{group.name} {command.name or command.callback.__name__}" in named
    for command in app.registered_commands:
        assert f"clipdata {command.name or command.callback.__name__}" in README
