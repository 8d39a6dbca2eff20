"""The guides: every command and every piece of Python in docs/guides runs as it stands, in order, on small data.

A guide is tested as soon as its file is there. It runs in an empty folder of its own, from its first block to its
last: of ```bash blocks the lines that begin with `clipdata` (a line that ends in a backslash goes on), and ```python
blocks whole, which share their names. A command that does not end with 0 fails the test. A comment on the line before a
block, which no reader sees, says what is different in the test:

    <!-- small: --sample 40 --set epochs=1 -->    these words are added to each command of the block
    <!-- ends with: 3 -->                         the last command of the block ends with this code
    <!-- not run: needs a bucket -->              the block's commands are only held to options that exist

Several may stand above one another. Files that a guide names are made before its first block: `prepare(folder)` in
tests/guides/<name of the guide, with underscores>.py writes them into the folder that the commands run in. Where that
module names a fixture as `BUCKET`, the fixture's bucket is given to `prepare`, too, and the variables BUCKET and
ENDPOINT stand for it in commands.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelines.cli.app import main

FOLDER = Path(__file__).parents[1] / "docs" / "guides"
GUIDES = sorted(guide for guide in FOLDER.glob("*.md") if guide.stem != "index")
BLOCK = re.compile(r"((?:^<!-- .*? -->\n)*)^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"^<!-- (small|ends with|not run): (.*?) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a guide, and what the comments before it say."""

    language: str
    text: str
    small: Sequence[str] = ()
    ends_with: int = 0
    runs: bool = True

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command behind `clipdata`, without those that make it small."""
        lines = self.text.replace("\\\n", " ").splitlines() if self.language == "bash" else []
        parts = [part.strip() for line in lines for part in line.split("&&")]
        return [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("clipdata ")]

    @property
    def expanded(self) -> list[list[str]]:
        """The same, with the values of the variables that they name."""
        return [[os.path.expandvars(word) for word in words] for words in self.commands]


def blocks_of(guide: str) -> list[Block]:
    """The blocks of a guide's text, in order."""
    found = []
    for comments, language, text in BLOCK.findall(guide):
        marks = dict(MARK.findall(comments))
        small, code = shlex.split(marks.get("small", "")), int(marks.get("ends with", 0))
        found.append(Block(language, text, small, code, "not run" not in marks))
    return found


def run_blocks(blocks: Sequence[Block], folder: Path) -> None:
    """Run blocks in the current folder, one after the other."""
    scope: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        if not block.runs:
            continue
        if block.language == "python":
            file = folder / f"block{number}.py"  # a function's own text is looked up where it was defined
            file.write_text(block.text, encoding="utf-8")
            exec(compile(block.text, str(file), "exec"), scope)
        for place, words in enumerate(commands := block.expanded):
            expected = block.ends_with if place == len(commands) - 1 else 0
            assert main([*words, *block.small]) == expected, shlex.join(["clipdata", *words, *block.small])


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=[guide.stem for guide in GUIDES])
def test_all_of_a_guide_runs_as_it_stands(
    guide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    datachain_root: Path,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    prepares = f"tests.guides.{guide.stem.replace('-', '_')}"
    if find_spec(prepares):
        module = importlib.import_module(prepares)
        bucket = request.getfixturevalue(module.BUCKET) if hasattr(module, "BUCKET") else None
        if bucket is not None:
            variables = {"BUCKET": bucket.name, "ENDPOINT": bucket.storage.options["endpoint"]}
            keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
            for name, value in {**variables, **keys}.items():
                monkeypatch.setenv(name, value)
        module.prepare(tmp_path, *([bucket] if bucket is not None else []))
    blocks = blocks_of(guide.read_text(encoding="utf-8"))
    assert any(block.runs for block in blocks), f"{guide.name} has no block that runs"

    run_blocks(blocks, tmp_path)


@pytest.mark.parametrize("guide", GUIDES, ids=[guide.stem for guide in GUIDES])
def test_each_command_of_a_guide_names_options_that_exist(guide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks_of(guide.read_text(encoding="utf-8")):
        for words in block.commands:
            assert main([*(words[:2] if words[0] in ("ingest", "run") else words[:1]), "--help"]) == 0, words
            listed = capsys.readouterr().out
            missing = [word for word in words if word.startswith("--") and word.partition("=")[0] not in listed]
            assert not missing, f"{shlex.join(words)}: no option {missing}"


EXAMPLE = """
# A guide

```bash
pip install 'clipdata[starter]'
clipdata ingest images \\
    photos/ --into "my images.lance"   # takes a while
```

<!-- small: --full -->
<!-- ends with: 3 -->
```bash
clipdata show nowhere.lance
```

<!-- not run: needs a bucket -->
```bash
clipdata show gs://bucket/images.lance && clipdata log gs://bucket/images.lance
```

```python
rows = 3
```

```python
assert rows == 3
```
"""


def test_a_guide_is_read_block_by_block_with_what_the_comments_say() -> None:
    ingest, show, bucket, first, second = blocks_of(EXAMPLE)

    assert ingest.commands == [["ingest", "images", "photos/", "--into", "my images.lance"]]
    assert (show.small, show.ends_with, show.runs) == (["--full"], 3, True)
    assert not bucket.runs
    assert [words[0] for words in bucket.commands] == ["show", "log"]
    assert (first.language, second.commands) == ("python", [])


def test_a_command_that_ends_otherwise_than_it_should_fails_its_guide(tmp_path: Path) -> None:
    _, show, _, *python = blocks_of(EXAMPLE)
    run_blocks([show, *python], tmp_path)

    with pytest.raises(AssertionError, match=r"clipdata show nowhere\.lance"):
        run_blocks([Block("bash", show.text)], tmp_path)
