"""runs(): the trainings in a folder, with how far they are, how good, and in what they differ.

A folder that is damaged is one line of the list, not the end of it. It knows what runs say of themselves, and loads no
model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clipdata.encoder.damage import check_model
from clipdata.encoder.layout import RUN_MARKS
from clipdata.errors import ClipdataError, NotFoundError, UsageError
from clipdata.folder_lock import is_taken
from clipdata.notebook import html_table
from clipdata.training.config import BEFORE_IT_EXISTED, OPERATIONAL, TrainConfig
from clipdata.training.length import Length
from clipdata.training.metrics import chief_figure, is_lower_better, of_exported, told
from clipdata.training.run import Run, run_folder

State = Literal["finished", "running", "interrupted", "damaged"]
_LEVELS = 2
_CHECKPOINT = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class ListedRun:
    """One run of a list.

    Args:
        path: its folder.
        state: how far it is; "running" as far as this machine can tell.
        step: steps done, as its newest checkpoint or its summary says; None where it is damaged.
        num_steps: in all.
        started: when it was begun, in ISO 8601.
        table, version, rows: what it reads.
        figure: name of the chief figure, if rows are held out.
        before, after: its value before training and of the model that is exported, or of the newest report.
        canary: its verdict on the exported model, where it was asked.
        settings: fields of the config, and where the run began, by name.
        problem: what is damaged.
    """

    path: Path
    state: State
    step: int | None = None
    num_steps: int | None = None
    started: str | None = None
    table: str | None = None
    version: int | None = None
    rows: int | None = None
    figure: str | None = None
    before: float | None = None
    after: float | None = None
    canary: str | None = None
    settings: Mapping[str, Any] | None = None
    problem: str | None = None

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        if self.state in ("finished", "damaged"):
            return self.state
        return f"{self.state} at step {self.step or 0:,} of {self.num_steps:,}"

    @property
    def result(self) -> str:
        """The chief figure before and after, in words, and what the canary found worse."""
        lost = "canary worse" if self.canary == "worse" else ""
        if self.figure is None:
            return lost
        values = [told(self.figure, one).removeprefix(self.figure.replace("_", " ")).strip() if one is not None else "?"
                  for one in (self.before, self.after)]  # fmt: skip
        moved = f"{self.figure.replace('_', ' ')} {values[0]} → {values[1]}"
        return f"{moved}; {lost}" if lost else moved


@dataclass(frozen=True)
class RunList:
    """The runs in a folder.

    Args:
        folder: that was looked through.
        runs: in order.
        differing: names of the settings that are not the same in all of them.
    """

    folder: Path
    runs: tuple[ListedRun, ...]
    differing: tuple[str, ...]

    def __iter__(self) -> Iterator[ListedRun]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        listed = []
        for run in self.runs:
            settings = {name: _plain((run.settings or {}).get(name)) for name in self.differing}
            facts = {name: value for name, value in vars(run).items() if name not in ("settings", "path")}
            listed.append({"path": str(run.path), **facts, "differing": settings})
        return {"folder": str(self.folder), "differing": list(self.differing), "runs": listed}

    def rows(self) -> list[dict[str, str]]:
        """A row of texts for each run: column → what to show."""
        found = []
        for run in self.runs:
            row = {
                "run": os.path.relpath(run.path, self.folder),
                "state": run.progress,
                "begun (UTC)": (run.started or "")[:16].replace("T", " "),
                "version": "" if run.version is None else str(run.version),
                "rows": "" if run.rows is None else f"{run.rows:,}",
                "result": run.result if run.problem is None else run.problem,
            }
            row |= {name: _shown((run.settings or {}).get(name)) for name in self.differing}
            found.append(row)
        return found

    def _repr_html_(self) -> str:
        return html_table(self.rows(), title=f"{len(self)} runs in {self.folder}")


def runs(folder: str | os.PathLike[str], *, sort: Literal["begun", "figure"] = "begun") -> RunList:
    """List the trainings in a folder, up to two levels down.

    Args:
        folder: of runs, or a run itself.
        sort: "begun" lists the oldest first, "figure" the best model first.

    Raises:
        NotFoundError: there is no such folder.
        UsageError: it is not on this machine; `sort` is something else.
    """
    if sort not in ("begun", "figure"):
        raise UsageError(f"runs: sort is {sort!r:.80}; expected 'begun' or 'figure'")
    path = run_folder(folder)
    if not path.is_dir():
        raise NotFoundError(f"there is no folder {path}", hint="clipdata train … --out runs/NAME makes a run")
    found = [_read(one) for one in _folders(path, _LEVELS)]
    found.sort(key=_by_figure if sort == "figure" else lambda run: (run.started or "~", str(run.path)))
    return RunList(path, tuple(found), tuple(_differing(found)))


def _folders(folder: Path, levels: int) -> Iterator[Path]:
    """Folders of runs, those inside runs left out."""
    if _is_run(folder):
        yield folder
        return
    if not levels:
        return
    try:
        inside = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return
    for one in inside:
        yield from _folders(one, levels - 1)


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in RUN_MARKS)


def _read(folder: Path) -> ListedRun:
    try:
        return _described(Run(folder))
    except (ClipdataError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = error.message if isinstance(error, ClipdataError) else f"a file of {folder} holds something else"
        return ListedRun(folder, "damaged", problem=" ".join(said.replace(f"{folder}/", "").split()))


def _described(run: Run) -> ListedRun:
    record, table = run.record, run.record["table"]
    # A record of an earlier release lacks later fields, and did then what BEFORE_IT_EXISTED says.
    config = TrainConfig.from_json({**BEFORE_IT_EXISTED, **record["config"]})
    num_steps = Length.of(config, table["num_rows"]).num_steps
    if run.is_finished:
        check_model(run.export_path)
    summary = run.summary
    name, before, after = _figure(run, summary)
    return ListedRun(
        run.path,
        "finished" if run.is_finished else "running" if is_taken(run.path) else "interrupted",
        int(summary["steps"]) if summary else _newest(run.path),
        num_steps,
        record.get("started"),
        table["uri"],
        table["version"],
        table["num_rows"],
        name,
        before,
        after,
        (summary.get("canary") or {}).get("verdict"),
        _settings(config, record),
    )


def _newest(folder: Path) -> int:
    """Step of the newest checkpoint."""
    found = [_CHECKPOINT.fullmatch(path.name) for path in (folder / "checkpoints").glob("step-*")]
    return max((int(one[1]) for one in found if one), default=0)


def _figure(run: Run, summary: Mapping[str, Any]) -> tuple[str | None, float | None, float | None]:
    reports = [line for line in run.epochs if chief_figure(line)]
    if not reports:
        return None, None, None
    name = str(chief_figure(reports[-1]))
    last = of_exported(reports, summary)
    before = reports[0].get(name) if reports[0]["epoch"] == 0 else None
    return name, before, last.get(name) if last["epoch"] != 0 else None


def _settings(config: TrainConfig, record: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in config.to_json().items() if name not in OPERATIONAL or name == "recipe"}
    objective = found.pop("objective")
    found = {"objective": objective["kind"], **found}
    found |= {name: value for name, value in objective.items() if name != "kind"}
    table = record["table"]
    return {
        "table": table["uri"],
        "where": table.get("where"),
        "limit": table.get("limit"),
        "sample": table.get("sample"),
        "encoder": record["encoder"]["name"],
        **found,
    }


def _differing(found: Iterable[ListedRun]) -> list[str]:
    every = [run.settings for run in found if run.settings is not None]
    names = dict.fromkeys(name for settings in every for name in settings)
    return [name for name in names if len({repr(settings.get(name)) for settings in every}) > 1]


def _by_figure(run: ListedRun) -> tuple[Any, ...]:
    """The best first; other figures apart, and what has none last."""
    if run.figure is None or run.after is None:
        return (1, "", 0.0, str(run.path))
    return (0, run.figure, run.after if is_lower_better(run.figure) else -run.after, str(run.path))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
