"""The card of a data set: the README.md by which a hub shows and loads it, and how every column came to be.

What a person wrote stays: a licence, a description, whatever stands outside the marks. It knows facts, and no hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from clipdata.lineage import Lineage
from clipdata.plurals import counted
from clipdata.printable import printable

TABLE = "data/train.lance"
BEGIN, END = "<!-- clipdata: made by push, and anew by the next one -->", "<!-- clipdata: end -->"
_OURS = ("configs", "dataset_info", "size_categories")
_HEAD = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What a card says.

    Args:
        name: of the data set.
        version: of the table that it is a copy of.
        num_rows: in it.
        schema: of its columns, with their lineage.
        features: in the words of `datasets`; None where it has none.
        splits: value of the column `split` → rows.
        left_out: columns of the table that are not in it.
        repo: on the hub; None for a folder.
        tag: of this state there.
        where: condition on the rows.
    """

    name: str
    version: int
    num_rows: int
    schema: pa.Schema
    features: Mapping[str, Any] | None = None
    splits: Mapping[str, int] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    repo: str | None = None
    tag: str | None = None
    where: str | None = None


def card(facts: Facts, present: str | None = None) -> str:
    """The text of README.md.

    Args:
        facts: of the data set.
        present: the card that is there; what is not of our making stays.
    """
    told = f"{BEGIN}\n{_body(facts)}\n{END}\n"
    if present is None:
        return f"---\n{_head(facts, {})}---\n# {_text(facts.name)}\n\n{_FOR_THE_PERSON}\n\n{told}"
    found = _HEAD.match(present)
    head, rest = (found.group(1), present[found.end() :]) if found else ("", present)
    if BEGIN in rest and END in rest:
        before, _, after = rest.partition(BEGIN)
        told = before + told.rstrip("\n") + after.partition(END)[2]
    else:
        told = f"{rest.rstrip()}\n\n{told}"
    return f"---\n{_head(facts, _entries(head))}---\n{told}"


_FOR_THE_PERSON = (
    "_Say here what this is, where the pictures come from, and under which licence they may be used "
    "(`license:` in the head of this file)._"
)


_NO_LICENSE = "# license: say which\n"


def _entries(head: str) -> dict[str, str]:
    """The entries of a YAML head by their names, each as it is written."""
    entries: dict[str, str] = {}
    name = ""
    for line in head.splitlines():
        found = re.match(r"([A-Za-z_][\w-]*):", line)
        name = found.group(1) if found else name
        entries[name] = entries.get(name, "") + f"{line}\n"
    return entries


def _head(facts: Facts, present: Mapping[str, str]) -> str:
    kept = {name: text.replace(_NO_LICENSE, "") for name, text in present.items() if name not in _OURS}
    own = {
        "pretty_name": f"pretty_name: {json.dumps(facts.name, ensure_ascii=False)}\n",
        "tags": "tags: [lance, clipdata]\n",
        **({} if "license" in kept else {"license": _NO_LICENSE}),
    }
    size = next((name for most, name in _SIZES if facts.num_rows < most), "100M<n<1B")
    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": f"{TABLE}/**"}]}]
    ours = f"size_categories: [{json.dumps(size)}]\nconfigs: {json.dumps(configs)}\n"
    listed = _yaml_list(facts.features) if facts.features is not None else None
    if listed is not None:
        ours += f"dataset_info: {json.dumps({'features': listed}, ensure_ascii=False)}\n"
    return "".join({**own, **kept}.values()) + ours


def _yaml_list(features: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Features as a card lists them: JSON, which is YAML too."""
    listed = [{"name": name, **one} for name, kind in features.items() if (one := _yaml_of(kind)) is not None]
    return listed if len(listed) == len(features) else None


def _yaml_of(kind: Any) -> dict[str, Any] | None:
    word = kind.get("_type") if isinstance(kind, Mapping) else None
    if word == "Value":
        return {"dtype": kind["dtype"]}
    if word == "Image":
        return {"dtype": "image"}
    if word in ("List", "LargeList"):
        inner = _yaml_of(kind["feature"])
        if inner is None:
            return None
        length = {"length": kind["length"]} if "length" in kind else {}
        return {"list" if word == "List" else "large_list": inner.get("dtype", inner.get("struct", inner)), **length}
    if word is None and isinstance(kind, Mapping):
        struct = _yaml_list(kind)
        return {"struct": struct} if struct is not None else None
    return None


def _body(facts: Facts) -> str:
    parts = [f"{counted(facts.num_rows, 'row')}, copied from version {facts.version} of a table that clipdata keeps."]
    if facts.where is not None:
        parts.append(f"Only rows that meet this condition: `{_code(facts.where)}`")
    if facts.splits:
        parts.append("| split | rows |\n|---|---|\n" + _rows([[name, f"{n:,}"] for name, n in facts.splits.items()]))
    parts.append("## Columns\n\n| column | type | made by |\n|---|---|---|\n" + _rows(map(_column, facts.schema)))
    if facts.left_out:
        parts.append(f"Left out: {', '.join(f'`{_code(name)}`' for name in facts.left_out)}.")
    return "\n\n".join([*parts, "## Loading\n\n" + _loading(facts)])


def _column(column: pa.Field) -> list[str]:
    lineage = Lineage.of(column)
    return [f"`{_code(column.name)}`", f"`{_code(str(column.type))}`", _made_by(lineage) if lineage else "the source"]


def _made_by(lineage: Lineage) -> str:
    model = f", model {lineage.model_name or 'without a name'} `{(lineage.model or '')[:12]}`" if lineage.model else ""
    tuned = ", a model that was fine-tuned" if lineage.trained_on else ""
    tuned = ", trained on rows that nobody recorded" if lineage.trained_on is None else tuned
    when = f", {lineage.made_at[:10]}" if lineage.made_at else ""
    return _text(f"step {lineage.describe().partition(' with ')[0]}") + _text(model) + tuned + when


def _loading(facts: Facts) -> str:
    place = facts.repo or "this/folder"
    table = f"hf://datasets/{facts.repo}/{TABLE}" if facts.repo else f"{place}/{TABLE}"
    tag = f" This state is tagged `{_code(facts.tag)}`." if facts.tag else ""
    return (
        "```python\n"
        "from datasets import load_dataset\n\n"
        f'rows = load_dataset("{place}", split="train")  # all rows; the column split, if any, tells them apart\n'
        "\nimport lance\n\n"
        f'table = lance.dataset("{table}")\n'
        "```\n\n"
        f"`load_dataset` reads a Lance table from `main` alone, whatever revision is asked for.{tag} To read a tagged "
        "state, download it (`hf download --repo-type dataset --revision TAG`) and load the folder."
    )


def _rows(rows: Any) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _text(text: str) -> str:
    """Text from data inside a line of markdown, where it is neither a tag nor the end of a cell."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|\[\]])", r"\\\1", plain)


def _code(text: str) -> str:
    return printable(text).replace("`", "'").replace("|", "\\|")
