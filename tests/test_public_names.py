"""The names that `import clipdata` gives."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import clipdata as cd


def test_every_public_name_is_there() -> None:
    for name in cd.__all__:
        assert getattr(cd, name) is not None
    assert {"Table", "Run", "Mapped", "Comparison", "Encoder", "Step", "log", "progress_bar"} <= set(cd.__all__)


def test_no_module_hides_a_public_function() -> None:
    for module in pkgutil.iter_modules(cd.__path__):
        importlib.import_module(f"clipdata.{module.name}")
        if module.name in cd.__all__:
            assert isinstance(getattr(cd, module.name), ModuleType)
    assert callable(cd.compare)
    assert callable(cd.progress_bar)


def test_the_names_alone_load_neither_torch_nor_lance_nor_rich() -> None:
    check = (
        "import sys, clipdata; dir(clipdata); print(sorted({'torch', 'lance', 'rich', 'open_clip'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout.strip() == "[]"


def test_type_checkers_see_the_same_names_as_python() -> None:
    stub = ast.parse(Path(cd.__file__).with_suffix(".pyi").read_text())
    typed = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names} - {None}

    assert typed | {"__version__"} == set(cd.__all__)


def test_a_program_of_a_user_is_typed_to_the_last_value(tmp_path: Path) -> None:
    """Under mypy's strictest settings, which refuse whatever the library leaves untyped; with what it knows of ours."""
    root = Path(cd.__file__).parents[1]
    (tmp_path / "program.py").write_text(
        "import clipdata as cd\n"
        "import ingest\n\n"
        "@cd.step\ndef num_words(caption: str) -> int:\n    return len(caption.split())\n\n"
        "table: cd.Table = ingest.merge('images.lance', 'meta.lance', into='contest.lance')\n"
        "done: cd.Mapped = cd.map_column(table, num_words, 'words', progress=cd.progress_bar())\n"
        "encoder: cd.Encoder = cd.load_encoder('starter')\n"
        "run: cd.Run = cd.train(table, encoder, cd.recipes.caption_contest(), out='runs/x')\n"
        "found: cd.Comparison = cd.compare('contest.lance', 'a', 'b')\n"
        "print(len(table), done.version, run.path, found.to_dict(), [entry.version for entry in cd.log(table)])\n"
    )
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            root / "pyproject.toml",
            "--cache-dir",
            root / ".mypy_cache",
            "program.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(root)},
    )
    assert checked.returncode == 0, checked.stdout
