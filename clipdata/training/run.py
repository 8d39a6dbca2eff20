"""Run: the folder of one training, and what it says of itself.

    config.json         config, encoder it began with, version and rows of the table it reads, versions of libraries
    trained_rows.arrow  digests of the keys and pictures of these rows; it goes with the tuned model as well
    metrics.jsonl       one line a step and one an epoch
    curves.svg          losses and figures, drawn
    checkpoints/        the newest few
    export/             the tuned model, which open_clip loads by itself
    summary.json        written last: a run that has it is finished

It knows files; it must not know how training is done.
"""

from __future__ import annotations

import os
import platform
import shutil
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata.current_folder import absolute_path
from clipdata.encoder.damage import check_model, damage_of
from clipdata.errors import ConfigError, NotFoundError, StorageError, UsageError
from clipdata.notebook import html_facts, html_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import absolute, is_remote
from clipdata.trained_rows import OF_A_RUN, TrainedRows
from clipdata.training.config import BEFORE_IT_EXISTED, OPERATIONAL, TrainConfig
from clipdata.training.metrics import chief_figure, told
from clipdata.training.objectives import objective_of
from clipdata.training.run_contents import SUMMARY, read_lines, read_record, read_summary, summary_part

if TYPE_CHECKING:
    from clipdata.encoder import Encoder
    from clipdata.training.canary import Canary
    from clipdata.training.mixing import Mixture

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
            StorageError: it cannot be read, or holds something else.
        """
        return read_record(self.path)

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
        """Whether all steps were done and the model exported; it may have been damaged since."""
        return (self.path / SUMMARY).exists()

    @property
    def damage(self) -> str | None:
        """What is missing or broken of a finished run's model, in words; None where nothing is."""
        return damage_of(self.export_path) if self.is_finished else None

    @property
    def trained_rows(self) -> TrainedRows:
        """Which rows and pictures it trains on; whatever could not be decoded among them is in it, too.

        Raises:
            NotFoundError: a run of an earlier release, which did not write it.
            StorageError: it cannot be read.
        """
        anew = "train again with --overwrite"
        try:
            return TrainedRows.from_bytes((self.path / OF_A_RUN).read_bytes())
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.path} holds no {OF_A_RUN}", hint=anew) from error
        except OSError as error:
            raise StorageError(f"{self.path / OF_A_RUN} cannot be read: {error}", hint=anew) from error

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One entry a step."""
        return [line for line in read_lines(self.path) if line["kind"] == "step"]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """One entry an epoch, from 1: mean loss, and what was measured on held-out rows; entry 0 is before training."""
        return [line for line in read_lines(self.path) if line["kind"] == "epoch"]

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds; nothing before the run is finished.

        Raises:
            StorageError: it cannot be read.
        """
        return read_summary(self.path)

    @property
    def canary(self) -> Canary | None:
        """Whether the tuned model still knows what nobody trained on; None where it was not asked, or not yet."""
        from clipdata.training.canary import Canary

        found: Canary | None = summary_part(self.path, "canary", Canary.from_dict)
        return found

    @property
    def mixture(self) -> Mixture | None:
        """How much of the weights after training the exported model holds; None where it was not mixed."""
        from clipdata.training.mixing import Mixture

        found: Mixture | None = summary_part(self.path, "mixture", Mixture.from_dict)
        return found

    def encoder(self, *, device: str | None = None, precision: str | None = None) -> Encoder:
        """Load the tuned model.

        Args:
            device: as in `load_encoder`.
            precision: that of the encoder it began with by default, so that it takes the same columns of features.

        Raises:
            NotFoundError: the run is not finished.
            StorageError: its summary or its model is damaged.
        """
        from clipdata.encoder import load_encoder
        from clipdata.training.checkpoints import complete  # which takes torch

        if not self.is_finished:
            newest = complete(self.path / "checkpoints")
            found = f"it stands at step {newest[-1].step}" if newest else "it has no checkpoint yet"
            raise NotFoundError(f"the run {self.path} is not finished: {found}", hint="run the same training again")
        _ = self.summary
        check_model(self.export_path)
        begun_at = str(self.record["encoder"].get("precision", "fp32"))
        return load_encoder(self.path, device=device, precision=precision or begun_at)

    def to_dict(self) -> dict[str, Any]:
        """What a program wants to know of it."""
        return {
            "path": str(self.path),
            "finished": self.is_finished,
            **{key: self.record[key] for key in ("config", "encoder", "table")},
            **self.summary,
            "epochs": self.epochs,
        }

    def _repr_html_(self) -> str:
        table = self.record["table"]
        facts = {
            "state": self.damage or ("finished" if self.is_finished else "not finished"),
            "encoder": self.record["encoder"]["name"],
            "rows": f"{table['num_rows']:,} of {table['uri']}, version {table['version']}",
            "where": table["where"],
        }
        return html_facts(facts, title=f"run {self.path}") + html_table(self.epochs) + self._drawn()

    def _drawn(self) -> str:
        """The curves as a picture, whose style stays its own; nothing before they are drawn."""
        try:
            drawn = (self.path / "curves.svg").read_bytes()
        except OSError:
            return ""
        return f'<img alt="curves" src="data:image/svg+xml;base64,{b64encode(drawn).decode("ascii")}">'

    def __str__(self) -> str:
        table = self.record["table"]
        state = f"finished, the tuned model is in {self.export_path}" if self.is_finished else "not finished"
        state = f"damaged: {damage}" if (damage := self.damage) else state
        lines = [
            f"run {self.path}: {state}",
            f"  {counted(table['num_rows'], 'row')} of {table['uri']}, version {table['version']}",
        ]
        for epoch in self.epochs:
            loss = f"mean loss {epoch['loss']:.4g}" if epoch["loss"] is not None else "before training"
            lines.append(f"  epoch {epoch['epoch']}: {loss}{_measured(epoch)}")
        lines += [f"  {found}" for found in (self.mixture, self.canary) if found is not None]
        return "\n".join(map(printable, lines))


def _measured(epoch: Mapping[str, Any]) -> str:
    name = chief_figure(epoch)
    return "" if name is None else f", held-out {told(name, epoch[name])}"


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
    return absolute_path(path)


def differences(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say in what a run on disk is another one than is wanted now; what only changes its speed does not count.

    A field that the record lacks was added by a later release, and has the value that gives the numbers of the time.
    """
    now, defaults = wanted["config"], TrainConfig().to_json() | dict(BEFORE_IT_EXISTED)
    before = {**now, **defaults, **record["config"]}
    before["objective"] = _with_later_fields(before["objective"])
    problems = [
        f"{name} was {before[name]!r} and is {value!r} now"
        for name, value in now.items()
        if name not in OPERATIONAL and before.get(name) != value
    ]
    problems += [f"{name} was {before[name]!r}, which this release does not know" for name in before if name not in now]
    if record["encoder"]["identity"] != wanted["encoder"]["identity"]:
        old, new = record["encoder"], wanted["encoder"]
        problems.append(
            f"the encoder was {old['name']} ({old['identity'][:12]}) and is {new['name']} ({new['identity'][:12]}) now"
        )
    old_uri, new_uri = record["table"]["uri"], wanted["table"]["uri"]
    if one_spelling(old_uri) != one_spelling(new_uri):
        problems.append(f"the table was {old_uri} and is {new_uri} now")
    for name, word in (("where", "filter"), ("limit", "limit"), ("sample", "sample")):
        old, new = record["table"].get(name), wanted["table"].get(name)
        if old != new:
            problems.append(f"the {word} was {old or 'none'} and is {new or 'none'} now")
    return problems


def _with_later_fields(objective: Any) -> Any:
    """A recorded objective with the fields that it was given since, whose defaults change nothing."""
    try:
        return objective_of(objective).to_json()
    except ConfigError:  # of a later release
        return objective


def one_spelling(uri: str) -> str:
    """A location in the one spelling that all ways to write it share: without `..`, links, or a slash at the end."""
    location = absolute(uri)
    return location if is_remote(location) else os.path.realpath(location)


def software() -> dict[str, str]:
    """Versions of what computes."""
    versions = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for package in _SOFTWARE:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def discard(path: Path) -> None:
    """Remove a run's own files from its folder, and nothing else; config.json goes last.

    Raises:
        StorageError: something cannot be removed.
    """
    try:
        for name in ("summary.json", "metrics.jsonl", "curves.svg", "trackers.json", OF_A_RUN):
            (path / name).unlink(missing_ok=True)
        for name in ("checkpoints", "best", "epochs", "export", "tensorboard", "wandb"):
            if (path / name).exists():
                shutil.rmtree(path / name)
        (path / "config.json").unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot remove the earlier run in {path}: {error}", hint="remove it by hand, or use another --out"
        ) from error
