"""What a model recalls of pictures and captions, before training and after, on several sets of rows.

It knows figures by name and files of JSON, and no pipeline.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipdata.json_parsing import parse_json
from clipdata.plurals import counted

SIDES = {"text_to_image": "caption → picture", "image_to_text": "picture → caption"}
SIZES = (1, 5, 10)


@dataclass(frozen=True)
class RecallRow:
    """Figures of one model on one set of rows.

    Args:
        rows: which, in words: "held out".
        when: "before" or "after" training.
        found: what `clipdata.evaluate` found, as JSON values.
    """

    rows: str
    when: str
    found: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"set": self.rows, "when": self.when, **self.found}


@dataclass(frozen=True)
class Recalls:
    """Recall at 1, 5 and 10 in both directions, against that of a random order.

    Args:
        rows: sets of rows one after the other, each before and after.
        notes: what a reader must know of them.
    """

    rows: Sequence[RecallRow]
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"rows": [row.to_dict() for row in self.rows], "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [f"{'recall':<34}{'R@1':>8}{'R@5':>8}{'R@10':>8}   95 % interval of R@10"]
        for rows in dict.fromkeys(row.rows for row in self.rows):
            chosen = [row for row in self.rows if row.rows == rows]
            more = chosen[0].found["more"]
            pictures, captions = more["image_to_text_queries"], more["text_to_image_queries"]
            lines.append(f"  {rows}: {counted(pictures, 'picture')}, {counted(captions, 'caption')}")
            for side, words in SIDES.items():
                lines += [_line(f"{words}, {row.when}", row.found, f"{side}_recall") for row in chosen]
                lines.append(_line(f"{words}, chance", chosen[0].found, f"{side}_chance"))
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def _line(name: str, found: Mapping[str, Any], figure: str) -> str:
    values = "".join(f"{100 * found['more'][f'{figure}@{size}']:>7.1f}%" for size in SIZES)
    interval = found["more"].get(f"{figure}@10_interval")
    told = f"   {100 * interval[0]:.1f} … {100 * interval[1]:.1f}" if interval else ""
    return f"    {name:<30}{values}{told}"


def kept(file: Path, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Figures from a file, or made and kept there: measuring again would give the same."""
    try:
        found = parse_json(file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    made = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    aside.write_text(json.dumps(made), "utf-8")
    os.replace(aside, file)
    return made
