"""READMEs of the packages: each names every file once, with what its docstring says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import packages

FOLDERS = packages.folders()


def test_every_readme_is_current() -> None:
    """`python -m docs.generate.packages` writes them."""
    assert [str(path) for path in packages.outdated()] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_readme_names_every_file_once_and_none_that_is_gone(folder: Path) -> None:
    text = (packages.ROOT / folder / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| \[`([^`]+?)/?`\]", text, re.MULTILINE)
    there = {path.name for path in (packages.ROOT / folder).iterdir() if not path.name.startswith((".", "__pycache__"))}

    assert len(named) == len(set(named))
    assert set(named) == there - {"README.md", "__init__.py"}


def test_packages_of_all_kinds_have_one() -> None:
    assert {"clipdata", "clipdata/training", "ingest/web", "pipelines/cli", "benchmarks", "tests"} <= set(
        map(str, FOLDERS)
    )


def test_a_file_without_a_docstring_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "__init__.py").write_text('"""The ways in."""\n')
    (tmp_path / "ingest" / "silent.py").write_text("rows = 1\n")
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    _forget()
    try:
        with pytest.raises(ValueError, match=r"ingest/silent\.py has no docstring"):
            packages.readme_of(Path("ingest"))
    finally:
        _forget()


def _forget() -> None:
    packages.files_by_folder.cache_clear()
    packages.docstring_of.cache_clear()


def test_contributing_and_the_concepts_name_files_that_exist() -> None:
    root = packages.ROOT
    for page in [root / "CONTRIBUTING.md", *sorted((root / "docs" / "concepts").glob("*.md"))]:
        named = re.findall(r"`((?:clipdata|ingest|pipelines|tests|docs|benchmarks)/[\w./-]+)`", page.read_text())
        for name in named:
            assert (root / name).exists(), f"{page.name}: {name}"
    assert len(re.findall(r"^## Add a", (root / "CONTRIBUTING.md").read_text(), re.MULTILINE)) == 4


def test_the_changelog_knows_the_version_of_the_package() -> None:
    import clipdata

    told = (packages.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert clipdata.__version__ in told
    assert f'version = "{clipdata.__version__}"' in (packages.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert told.index("## [Unreleased]") < told.index("### Added")
