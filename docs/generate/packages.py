"""README.md of every package: one line a file, from the sentence that the file's docstring begins with.

    python -m docs.generate.packages          writes those that are not current
    python -m docs.generate.packages --check  names them, and ends with 1

What comes before the list is the docstring of the package. A list is kept nowhere else. The same lists are one
page of the site.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from docs.generate.markdown import plain

ROOT = Path(__file__).parents[2]
TOPS = ("clipdata", "ingest", "pipelines", "benchmarks", "tests", "docs")
PATH = "code.md"

_IGNORED = re.compile(r"^\.|^__pycache__$|\.(pyc|lance|state|egg-info)$")
_COMMENT = re.compile(r"\s*(?:/\*|<!--|\{#|//)\s*(.+?)\s*(?:\*/|-->|#\}|\n)", re.DOTALL)
_MADE = "<!-- Made from the docstrings by `python -m docs.generate.packages`; change those. -->"
_TOP = {
    "benchmarks": "Programs that measure what the project promises: one file a promise, each prints its figures.",
    "docs": "The documentation, which `mkdocs build --strict` makes a site of.",
}
# Files that have no docstring to take a line from.
_OTHERS = {
    "llms.txt": "the documentation, listed for programs that read it",
    "decisions.md": "what was decided while building, and the evidence",
    "index.md": "where the site begins",
    "py.typed": "says to type checkers that the package is typed",
    "__init__.pyi": "types of the public names, which `__init__` loads on first use",
}
_FOLDERS = {
    "assets": "style of the site",
    "benchmarks": "figures, with machine, date and command",
    "concepts": "what the words mean",
    "guides": "one task each; the tests run every command in them",
    "configs": "what each tutorial's document trains with",
    "models": "models as JSON configs",
    "images": "drawings of the sample",
    "meta": "lists of the sample",
    "pictures": "photographs of the canary",
    "templates": "HTML templates",
    "static": "styles and scripts that are served",
}


def folders() -> list[Path]:
    """Folders that get a README: those with Python files, but for the sample, which has one of its own."""
    return [
        folder
        for folder, names in files_by_folder().items()
        if any(name.endswith(".py") for name in names) and folder != Path("pipelines/sample")
    ]


def readme_of(folder: Path) -> str:
    """The README of a folder.

    Raises:
        ValueError: a file has no docstring.
    """
    lines = [f"# {folder}", "", _MADE, "", plain(_about(folder)), "", "| file | is |", "|---|---|"]
    lines += [f"| [`{name}`]({name}) | {text} |" for name, text in _entries(folder)]
    return "\n".join(lines) + "\n"


def page() -> str:
    """All of them as one page of the site, without the tests."""
    text = (
        "# Code map\n\nWhich file does what, package by package; the same stands in the `README.md` of each folder.\n"
    )
    for folder in folders():
        if folder.parts[0] in ("tests", "docs"):
            continue
        rows = "".join(f"| `{name}` | {told} |\n" for name, told in _entries(folder))
        text += f"\n## {folder}\n\n{plain(_about(folder))}\n\n| file | is |\n|---|---|\n{rows}"
    return text


def outdated() -> list[Path]:
    """READMEs that are not what the docstrings say now, or that are missing."""
    made = {ROOT / folder / "README.md": readme_of(folder) for folder in folders()}
    return [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def write() -> list[Path]:
    """Write those that are not current; returns them."""
    changed = outdated()
    for path in changed:
        path.write_text(readme_of(path.parent.relative_to(ROOT)), encoding="utf-8")
    return changed


@cache
def files_by_folder() -> dict[Path, list[str]]:
    """Names of the files of every folder of the project, without what Python and tools leave there."""
    listed: dict[Path, list[str]] = {}
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*")):
            inside = path.relative_to(ROOT)
            if path.is_file() and not any(_IGNORED.search(part) for part in inside.parts):
                listed.setdefault(inside.parent, []).append(path.name)
    return listed


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Each file and each folder in a folder, with its line."""
    known = files_by_folder()
    for name in sorted({path.relative_to(folder).parts[0] for path in known if folder in path.parents}):
        yield f"{name}/", plain(_about(folder / name))
    for name in known[folder]:
        if name not in ("README.md", "__init__.py"):
            yield name, _line(folder / name)


def _line(path: Path) -> str:
    if path.name in _OTHERS:
        return _OTHERS[path.name]
    if path.suffix == ".md":
        return _heading(path)
    if path.suffix != ".py":
        comment = _COMMENT.match((ROOT / path).read_text(encoding="utf-8", errors="replace"))
        return plain(" ".join(comment.group(1).split())) if comment else f"{path.suffix.lstrip('.').upper()} data"
    return plain(_sentence(docstring_of(path)) or _lacks(path))


def _about(folder: Path) -> str:
    own = ROOT / folder / "__init__.py"
    told = _sentence(docstring_of(own.relative_to(ROOT))) if own.exists() else ""
    if known := told or _TOP.get(str(folder)) or _FOLDERS.get(folder.name):
        return known
    return _lacks(folder) if any((ROOT / folder).glob("*.py")) else "data"


@cache
def docstring_of(path: Path) -> str:
    return ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""


def _sentence(docstring: str) -> str:
    """The sentence that a docstring begins with, as one line."""
    return re.split(r"(?<=[.?!]) (?=[A-Z])", " ".join(docstring.partition("\n\n")[0].split()))[0]


def _heading(path: Path) -> str:
    return plain((ROOT / path).read_text(encoding="utf-8").partition("\n")[0].lstrip("# "))


def _lacks(path: Path) -> str:
    raise ValueError(f"{path} has no docstring; expected a sentence that says what it is")


if __name__ == "__main__":
    found = outdated() if "--check" in sys.argv else write()
    sys.stdout.write("".join(f"{path.relative_to(ROOT)}\n" for path in found))
    sys.exit("--check" in sys.argv and bool(found))
