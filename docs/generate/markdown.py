"""Docstrings and tables as Markdown. It knows the project's way to write a docstring, and nothing of what it says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$")
_SECTION = re.compile(r"^(Args|Raises|Returns|Yields|Attributes):$")

# An underscore within a word means nothing.
_MEANS = re.compile(r"[<*\[\]]|(?<![\w])_+|_+(?![\w])")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars and line ends in its cells are escaped."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def code(text: str) -> str:
    """Text as code within a line; of a text with backticks, as HTML."""
    return f"`{text}`" if "`" not in text else f"<code>{_escaped(text)}</code>"


def plain(text: str) -> str:
    """Text in which no character means something to Markdown, but for code in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _MEANS.sub(_escape, part) for part in parts)


def description(documented: object) -> str:
    """The text of a docstring before its first section and after its last one; indented lines are code."""
    kept: list[str] = []
    inside = False
    for line in (inspect.getdoc(documented) or "").splitlines():
        if _SECTION.match(line):
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        if not inside:
            kept.append(line)
    return "\n\n".join(_block(block) for block in _blocks(kept)) + "\n"


def named_parts(documented: object) -> dict[str, list[tuple[str, str]]]:
    """The sections of a docstring, each a list of names with what is said of them; a text without a name has ""."""
    found: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in (inspect.getdoc(documented) or "").splitlines():
        if match := _SECTION.match(line):
            section = match.group(1)
            found[section] = []
        elif line and not line.startswith(" "):
            section = ""
        elif section and (entry := _ENTRY.match(line)):
            found[section].append((entry.group(1), entry.group(2)))
        elif section and line.strip():
            name, told = found[section].pop() if found[section] else ("", "")
            found[section].append((name, f"{told} {line.strip()}".strip()))
    return found


def first_line(documented: object) -> str:
    """The sentence that a docstring begins with."""
    return ((inspect.getdoc(documented) or "").splitlines() or [""])[0]


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """Runs of lines that are text, or that are code, by whether they are indented."""
    blocks: list[list[str]] = []
    is_code, is_open = False, False
    for line in lines:
        if not line.strip():
            if is_code and is_open:
                blocks[-1].append(line)
            else:
                is_open = False
            continue
        if not is_open or line.startswith("    ") != is_code:
            is_code, is_open = line.startswith("    "), True
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _block(lines: Sequence[str]) -> str:
    text = "\n".join(lines).rstrip()
    if text.startswith("    "):
        return f"```text\n{inspect.cleandoc(text)}\n```"
    return plain(text)


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").strip() or " "


def _escape(found: re.Match[str]) -> str:
    return "".join(f"\\{character}" for character in found.group())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
