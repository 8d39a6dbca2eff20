"""The model card: what a tuned model was made of and from, and how good it is, in the README of its folder.

It is text in the form of Hugging Face's cards, so that the folder can be put on a hub as it is. It knows what a run
says of itself, and nothing of how it is trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipdata.encoder.layout import read_trained_rows
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.training.canary import Canary
from clipdata.training.config import OPERATIONAL, TrainConfig
from clipdata.training.metrics import chief_figure, of_exported, told
from clipdata.training.mixing import Mixture
from clipdata.training.run import Run
from clipdata.training.state_files import writing

_LOADING = "\n## How to load\n"
_HUB = ("hf-hub:", "hf://")
_TAGS = ("clip", "image-text", "clipdata")


def write_card(run: Run, summary: Mapping[str, Any]) -> None:
    """Write the card of a run's exported model; one that is there is made anew.

    Args:
        run: its model is exported.
        summary: what summary.json holds, or is to hold.

    Raises:
        StorageError: it cannot be written.
    """
    path = run.export_path / "README.md"
    with writing(path):
        loading = _loading(path.read_text(encoding="utf-8"))
        path.write_text(f"{_front_matter(run, summary)}{_body(run, summary)}{_LOADING}\n{loading}", encoding="utf-8")


def _loading(readme: str) -> str:
    """How the folder is loaded, as its export says, with or without a card around it."""
    if _LOADING in readme:
        return readme.partition(_LOADING)[2].lstrip("\n")
    return readme.partition("\n")[2].lstrip("\n") if readme.startswith("# ") else readme


def _front_matter(run: Run, summary: Mapping[str, Any]) -> str:
    """What hubs read: YAML, whose strings are written as JSON, which YAML takes in."""
    encoder, table = str(run.record["encoder"]["name"]), str(run.record["table"]["uri"])
    lines = [
        "# Fill in the licence: those of the model it began with, of the pictures and of the captions decide.",
        "license: unknown",
        "library_name: open_clip",
        "pipeline_tag: zero-shot-image-classification",
        f"tags: {json.dumps(_TAGS)}",
    ]
    lines += [f"base_model: {json.dumps(_repository(encoder))}"] if encoder.startswith(_HUB) else []
    if table.startswith("hf://datasets/"):
        lines.append(f"datasets: {json.dumps([_repository(table)])}")
    figures = held_out_figures(run.epochs, summary)
    if figures:
        lines.append(f"model-index: {json.dumps(_model_index(run, figures))}")
    return "---\n" + "\n".join(lines) + "\n---\n"


def _repository(name: str) -> str:
    for prefix in (*_HUB, "datasets/"):
        name = name.removeprefix(prefix)
    return "/".join(name.partition("@")[0].split("/")[:2])


def _model_index(run: Run, figures: Sequence[tuple[str, float | None, float]]) -> list[dict[str, Any]]:
    """Figures as hubs read them."""
    return [
        {
            "name": run.path.name,
            "results": [
                {
                    "task": {"type": "zero-shot-image-classification"},
                    "dataset": {"type": "held-out-rows", "name": str(run.record["table"]["uri"])},
                    "metrics": [{"type": name, "value": round(after, 6)} for name, _, after in figures],
                }
            ],
        }
    ]


def _body(run: Run, summary: Mapping[str, Any]) -> str:
    record, table = run.record, run.record["table"]
    parts = [
        f"# {printable(run.path.name)}",
        f"An image-text model, fine-tuned by clipdata from `{printable(record['encoder']['name'])}` on "
        f"{counted(table['num_rows'], 'row')}.",
        "## Data",
        _rows_of_table(data_facts(run, summary)),
        *_measured(run, summary),
        *_canary(summary),
        *_warnings(summary),
        "## Training",
        _rows_of_table(training_facts(run, summary)),
        "Fields of the config that are not the default:",
        _rows_of_table(changed_fields(run.config)),
        *_earlier(run.export_path),
        "## Licence",
        f"Unknown. It follows from those of `{printable(record['encoder']['name'])}`, of the pictures and of their "
        "texts; write it at the top of this file, after `license:`.",
    ]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def data_facts(run: Run, summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What it was trained on: name and value; a value may be None."""
    table = run.record["table"]
    yield "table", table["uri"]
    yield "version", table["version"]
    yield "filter", table.get("where") or "none: all rows"
    yield "rows", f"{table['num_rows']:,}"
    for name in ("limit", "sample"):
        if table.get(name):
            yield name, f"{table[name]:,}"
    yield "digest of the rows", table.get("digest")
    yield (
        "digests of keys and pictures",
        f"{table['trained_rows']}, in trained_rows/" if "trained_rows" in table else None,
    )
    for reason, count in summary.get("left_out", {}).items():
        yield "left out", f"{count:,} {reason}"


def training_facts(run: Run, summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """How it was trained, with what: name and value; a value may be None."""
    config, encoder = run.config, run.record["encoder"]
    yield "recipe", config.recipe
    yield "objective", config.objective.kind
    yield "began with", f"{encoder['name']} (identity {str(encoder['identity'])[:12]}, {encoder.get('precision')})"
    yield "steps", f"{summary['steps']:,}" if "steps" in summary else None
    if summary.get("mixture"):
        yield "exported", str(Mixture.from_dict(summary["mixture"]))
    if summary.get("exported_step") not in (None, summary.get("steps")):
        yield "exported", f"step {summary['exported_step']:,}, the best {config.best}"
    yield "begun", run.record.get("started")
    software = run.record.get("software", {})
    yield (
        "software",
        ", ".join(f"{name} {software[name]}" for name in ("clipdata", "torch", "open_clip_torch") if name in software),
    )
    yield "device", software.get("device")


def changed_fields(config: TrainConfig) -> Iterator[tuple[str, Any]]:
    """Fields that differ from their defaults, but for those that change nothing in the result."""
    defaults = TrainConfig(objective=config.objective.kind).to_json()  # type: ignore[arg-type]
    for name, value in config.to_json().items():
        if name in OPERATIONAL or value == defaults[name]:
            continue
        if name == "objective":
            for field, inner in value.items():
                if inner != defaults[name].get(field):
                    yield field, inner
        else:
            yield name, value


def held_out_figures(
    epochs: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> list[tuple[str, float | None, float]]:
    """Name, before and after of what was measured on held-out rows, the chief one first."""
    reports = [line for line in epochs if chief_figure(line)]
    if not reports:
        return []
    last = of_exported(reports, summary)
    names = list(last)[list(last).index(str(chief_figure(last))) :]
    before = reports[0] if reports[0]["epoch"] == 0 else {}
    numbers = [name for name in names if isinstance(last[name], (int, float)) and not isinstance(last[name], bool)]
    return [(name, before.get(name), last[name]) for name in numbers]


def _measured(run: Run, summary: Mapping[str, Any]) -> list[str]:
    figures = held_out_figures(run.epochs, summary)
    if not figures:
        return ["## Figures", "None: this run measured no rows. `clipdata compare` measures some beside it."]
    num_rows = of_exported([line for line in run.epochs if chief_figure(line)], summary)["num_rows"]
    where = run.record.get("measured_where") or run.config.evaluate_where
    head = f"Measured on {counted(num_rows, 'row')}, filter `{printable(str(where))}`."
    overlap = run.record.get("held_out", {})
    seen = {name.replace("_", " "): count for name, count in overlap.items() if count and not name.startswith("num_")}
    shared = f" Of these, {', '.join(f'{count:,} are {name}' for name, count in seen.items())}." if seen else ""
    rows = [
        f"| {name.replace('_', ' ')} | {_value(name, before)} | {_value(name, after)} |"
        for name, before, after in figures
    ]
    return ["## Figures", head + shared, "\n".join(["| | before | after |", "|---|---|---|", *rows])]


def _value(name: str, value: float | None) -> str:
    return "" if value is None else told(name, value).removeprefix(name.replace("_", " ")).strip()


def _canary(summary: Mapping[str, Any]) -> list[str]:
    """What the built-in zero-shot set says of what the model could do before."""
    found = summary.get("canary")
    return ["## What else it can still do", printable(str(Canary.from_dict(found)))] if found else []


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    found = [str(one.get("text", one)) if isinstance(one, Mapping) else str(one) for one in summary.get("warnings", [])]
    return ["## Warnings", "\n".join(f"- {printable(one)}" for one in found)] if found else []


def _earlier(folder: Path) -> list[str]:
    """What trained the model in earlier trainings; the last record is that of this one."""
    records = read_trained_rows(folder)[:-1]
    told = [
        (counted(one.num_rows, "row"), f"{one.table}, version {one.version}, filter {one.where or 'none'}")
        for one in records
    ]
    return ["## Trained before", _rows_of_table(told)] if told else []


def _rows_of_table(facts: Iterable[tuple[str, Any]]) -> str:
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts if value not in (None, "")]
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else ""


def _cell(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(said).replace("|", "\\|").replace("\n", " ")
