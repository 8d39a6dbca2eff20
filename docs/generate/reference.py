"""The reference: every page that is made from the code, and what in the code lacks a description.

`tests/test_reference.py` fails on what lacks one, and so does the build of the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from docs.generate import exit_codes, pipelines, python_names, reasons, sources, steps, training, verbs

WRITERS = (sources, steps, training, pipelines, python_names, reasons, exit_codes, verbs)
"""In the order of the navigation. Each has `NAV`, and `pages(missing)` that notes there what lacks a description."""

_TITLES = {
    "reference/verbs/index.md": "every command with its options, examples and the schema of its `--json`",
    "reference/sources.md": "the ways in: what each reads, and what it makes of it",
    "reference/steps.md": "what `map` can fill a column with",
    "reference/training.md": "fields of the training config, objectives and recipes",
    "reference/pipelines.md": "settings of the five pipelines, and what they train with",
    "reference/python/index.md": "public names of `clipdata` and `ingest`",
    "reference/reject-reasons.md": "why a row or a file is refused, and what to do",
    "reference/exit-codes.md": "exit codes and errors",
}


@dataclass(frozen=True)
class Reference:
    """The pages that are made from the code.

    Args:
        pages: Markdown, or JSON, by path below the site's folder.
        missing: what has no description, in words.
    """

    pages: Mapping[str, str]
    missing: tuple[str, ...]


def reference() -> Reference:
    """Make every page."""
    missing: list[str] = []
    pages = {"reference/index.md": _index()}
    for writer in WRITERS:
        pages |= writer.pages(missing)
    return Reference(pages, tuple(missing))


def _index() -> str:
    listed = "".join(f"- [{_first_words(text)}]({path.removeprefix('reference/')})\n" for path, text in _TITLES.items())
    return f"# Reference\n\nMade from the code of this version, so that it says what the code does.\n\n{listed}"


def _first_words(text: str) -> str:
    return text[0].upper() + text[1:]
