"""Run: the folder of one training, and what it says of itself.

    config.json     the config, the encoder it began with, the table version and rows it reads, versions of libraries
    metrics.jsonl   one line a step and one an epoch
    checkpoints/    the newest few
    export/         the tuned model, which open_clip loads by itself
    summary.json    written last: a run that has it is finished

It knows files; it must not know how training is done.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata.errors import NotFoundError, StorageError, UsageError
from clipdata.notebook import html_facts, html_table
from clipdata.storage import is_remote
from clipdata.training.checkpoints import complete, sync
from clipdata.training.config import OPERATIONAL, TrainConfig
from clipdata.training.metrics import read_metrics

if TYPE_CHECKING:
    from clipdata.encoder import Encoder

_SOFTWARE = ("clipdata", "torch", "open_clip_torch", "timm", "transformers", "pylance", "numpy")


@dataclass(frozen=True)
class Run:
    """A training run on disk, finished or not.

    Args:
        path: its folder.
    """

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """What config.json holds.

        Raises:
            NotFoundError: the folder is no run.
        """
        try:
            return json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.path} is no training run: it has no config.json") from error

    @property
    def config(self) -> TrainConfig:
        """How it is trained."""
        return TrainConfig.from_json(self.record["config"])

    @property
    def export_path(self) -> Path:
        """Folder of the tuned model."""
        return self.path / "export"

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done and the model is exported."""
        return (self.path / "summary.json").exists() and self.export_path.is_dir()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One entry a step."""
        return [line for line in read_metrics(self.path / "metrics.jsonl") if line["kind"] == "step"]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """One entry an epoch, from 1: mean loss, and what was measured on held-out rows; entry 0 is before training."""
        return [line for line in read_metrics(self.path / "metrics.jsonl") if line["kind"] == "epoch"]

    def encoder(self, *, device: str | None = None, precision: str = "fp32") -> Encoder:
        """Load the tuned model.

        Raises:
            NotFoundError: the run is not finished.
        """
        from clipdata.encoder import load_encoder

        if not self.is_finished:
            newest = complete(self.path / "checkpoints")
            found = f"it stands at step {newest[-1].step}" if newest else "it has no checkpoint yet"
            raise NotFoundError(f"the run {self.path} is not finished: {found}", hint="run the same training again")
        return load_encoder(self.path, device=device, precision=precision)

    def to_dict(self) -> dict[str, Any]:
        """What a program wants to know of it."""
        summary = self.path / "summary.json"
        return {
            "path": str(self.path),
            "finished": self.is_finished,
            **{key: self.record[key] for key in ("config", "encoder", "table")},
            **(json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}),
            "epochs": self.epochs,
        }

    def _repr_html_(self) -> str:
        table = self.record["table"]
        facts = {
            "state": "finished" if self.is_finished else "not finished",
            "encoder": self.record["encoder"]["name"],
            "rows": f"{table['num_rows']:,} of {table['uri']}, version {table['version']}",
            "where": table["where"],
        }
        return html_facts(facts, title=f"run {self.path}") + html_table(self.epochs)

    def __str__(self) -> str:
        table = self.record["table"]
        state = f"finished, the tuned model is in {self.export_path}" if self.is_finished else "not finished"
        lines = [
            f"run {self.path}: {state}",
            f"  {table['num_rows']:,} rows of {table['uri']}, version {table['version']}",
        ]
        for epoch in self.epochs:
            loss = f"mean loss {epoch['loss']:.4g}" if epoch["loss"] is not None else "before training"
            measured = f", held-out accuracy {epoch['accuracy']:.1%}" if "accuracy" in epoch else ""
            lines.append(f"  epoch {epoch['epoch']}: {loss}{measured}")
        return "\n".join(lines)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the folder of a run.

    Raises:
        NotFoundError: the folder is no run.
    """
    run = Run(run_folder(path))
    _ = run.record
    return run


def run_folder(path: str | os.PathLike[str]) -> Path:
    """Absolute folder of a run.

    Raises:
        UsageError: it is not on this machine.
    """
    if is_remote(path):
        raise UsageError(f"a run's folder is {os.fspath(path)}; expected one on this machine")
    return Path(path).expanduser().absolute()


def differences(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say in what a run on disk is another one than is wanted now; what only changes its speed does not count."""
    problems = []
    for name, now in wanted["config"].items():
        before = record["config"].get(name)
        if name not in OPERATIONAL and before != now:
            problems.append(f"{name} was {before!r} and is {now!r} now")
    if record["encoder"]["identity"] != wanted["encoder"]["identity"]:
        old, new = record["encoder"], wanted["encoder"]
        problems.append(
            f"the encoder was {old['name']} ({old['identity'][:12]}) and is {new['name']} ({new['identity'][:12]}) now"
        )
    for name, words in (("uri", "the table"), ("where", "the filter")):
        before, now = record["table"][name], wanted["table"][name]
        if before != now:
            problems.append(f"{words} was {before or 'none'} and is {now or 'none'} now")
    return problems


def software() -> dict[str, str]:
    """Versions of what computes."""
    versions = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for package in _SOFTWARE:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file so that a crash leaves the old one or the new one."""
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sync(aside)
    aside.rename(path)
    sync(path.parent)


def discard(path: Path) -> None:
    """Remove a run's own files from its folder, and nothing else; config.json goes last.

    Raises:
        StorageError: something cannot be removed.
    """
    try:
        for name in ("summary.json", "metrics.jsonl"):
            (path / name).unlink(missing_ok=True)
        for name in ("checkpoints", "export"):
            if (path / name).exists():
                shutil.rmtree(path / name)
        (path / "config.json").unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove the earlier run in {path}: {error}") from error
