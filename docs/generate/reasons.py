"""The page of reject reasons: each with its meaning, and with what the README says to do about it.

Reasons are read from the source files: what stands where a refusal is made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from clipdata.images import REASONS
from docs.generate.markdown import code, plain, table
from ingest.shards.members import ARCHIVE_REASONS
from ingest.web.download_rules import REASONS as WEB_REASONS

PATH = "reference/reject-reasons.md"
NAV = {"Reject reasons": PATH}
ROOT = Path(__file__).parents[2]

_MEANINGS = {
    "ambiguous": "a list or a caption names a picture, and several may be meant",
    "bad_caption": "the line or entry of the file of captions cannot be read",
    "bad_encoding": "the text file has bytes that its encoding does not have",
    "bad_name": "the name of the file is not UTF-8",
    "bad_value": "the value cannot be converted to the type of its column",
    "broken_link": "the link leads nowhere, or in a circle",
    "changed": "the file was another one when it was to be read than when it was listed",
    "link_outside": "the link leads out of the folder that was named",
    "missing_key": "the row has no value by which it would be known",
    "no_class": "the picture is in no class folder, or the list names none for it",
    "no_column": "the file lacks a column that was asked for",
    "no_image": "the metadata names a picture that the table of images does not have",
    "not_text": "the file has no line ends where a text file has them, or is packed, a picture or another binary file",
    "null_key": "the row has no value in the column that was required",
    "other_columns": "the file has other columns than the first one of the same source",
    "other_source": "the key belongs to a row of another source, whose content differs",
    "other_type": "the column has another type than in the first file of the same source",
}
# Who makes a refusal → where in the call its reason stands.
_MAKERS = {"Refused": 0, "ImageRefused": 0, "FileFault": 0, "BrokenFile": 0, "Refusal": 0}
_MAKERS |= {"Unusable": 0, "refused": 1, "Reject": 2, "_refused": 2}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    told, remedies = meanings(), remedies_of((ROOT / "README.md").read_text(encoding="utf-8"))
    for reason in sorted(reasons_in_code() - set(told)):
        missing.append(f"reject reason {reason}: no description")
    for reason in sorted(set(told) - set(remedies)):
        missing.append(f"reject reason {reason}: the README does not say what to do")
    rows = [(code(reason), plain(told[reason]), plain(remedies.get(reason, ""))) for reason in sorted(told)]
    text = f"""# Reject reasons

What cannot be used is refused by a reason, counted at the end of the verb, and listed by `clipdata rejects TABLE`;
in Python by
`cd.open_table("TABLE.rejects.lance")`. It is tried again by itself when it changes, when an option that refused it
changes, or when the cause was not in the file; with `--retry-rejects` in any case.

{table(("reason", "means", "what to do"), rows)}"""
    return {PATH: text}


def meanings() -> dict[str, str]:
    """What each reason means; where pictures and downloads share one, both."""
    told = {**_MEANINGS, **ARCHIVE_REASONS, **WEB_REASONS}
    for reason, meaning in REASONS.items():
        told[reason] = meaning if reason not in WEB_REASONS else f"{meaning}; of a download: {WEB_REASONS[reason]}"
    return told


def remedies_of(readme: str) -> dict[str, str]:
    """What the README's table says to do about each reason; `http_…` stands for any status."""
    found: dict[str, str] = {}
    section = readme.partition("### What is refused, and what to do")[2].partition("\n## ")[0]
    for names, remedy in re.findall(r"^\| (`.*?) \| (.*?) \|$", section, re.MULTILINE):
        for name in re.findall(r"`(\w+?)_?…?`", names):
            found["http_404" if name == "http" else name] = remedy
    return found


def reasons_in_code() -> set[str]:
    """Every reason that a refusal is made with, in the packages that refuse."""
    return {
        reason
        for package in ("ingest", "clipdata/images")
        for file in sorted((ROOT / package).rglob("*.py"))
        for reason in _reasons(ast.parse(file.read_text(encoding="utf-8")))
    }


def _reasons(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        maker = node.func.id if isinstance(node.func, ast.Name) else ""
        place = _MAKERS.get(maker)
        if place is None or len(node.args) <= place:
            continue
        for part in ast.walk(node.args[place]):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and re.fullmatch(r"[a-z_]+", part.value):
                yield "http_404" if part.value == "http_" else part.value
