"""Runs put together by what was trained: all of the config but the seed, the rows, and the model they began with.

Their folders' names decide nothing. It knows records of runs, and measures nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clipdata.encoder.damage import check_model
from clipdata.errors import ClipdataError, NotFoundError, UsageError
from clipdata.training.config import BEFORE_IT_EXISTED, OPERATIONAL, TrainConfig
from clipdata.training.run import Run, one_spelling

_SEED = re.compile(r"-seed\d+$")
_ROWS = ("where", "limit", "sample")
_SHOWN = 30  # characters of a value in a name


@dataclass(frozen=True)
class RunGroup:
    """Runs of one recipe, one a seed.

    Args:
        name: of the recipe.
        runs: by seed, ascending.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> TrainConfig:
        """Of the first run."""
        return self.runs[0].config

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs."""
        return tuple(run.config.seed for run in self.runs)

    @property
    def start(self) -> Mapping[str, Any]:
        """Name, identity and precision of the model that they began with."""
        found: Mapping[str, Any] = self.runs[0].record["encoder"]
        return found

    @cached_property
    def paces(self) -> list[Pace]:
        """What each run's steps took, as far as its records tell."""
        return [pace for run in self.runs if (pace := pace_of(run)) is not None]


@dataclass(frozen=True)
class Pace:
    """What the steps of a run took.

    Args:
        seconds: of all steps.
        steps_s: steps a second.
    """

    seconds: float
    steps_s: float


@dataclass(frozen=True)
class Grouped:
    """Runs by recipe.

    Args:
        groups: in the order in which their first runs were named.
        left_out: folder → why its run is in none.
    """

    groups: tuple[RunGroup, ...]
    left_out: Mapping[str, str]


def group_runs(runs: Sequence[Run]) -> Grouped:
    """Put runs together by what was trained.

    A run that is not finished, or is damaged, is left out and named; so is another one of the same recipe and seed.

    Raises:
        NotFoundError: a folder is not there.
        UsageError: no run is left; or two read different tables, or versions of one with different rows.
    """
    left_out: dict[str, str] = {}
    by_key: dict[str, dict[int, Run]] = {}
    for run in runs:
        if not run.path.exists():
            raise NotFoundError(f"there is no folder {run.path}; expected that of a training run")
        why = _why_not(run)
        if why is None:
            same = by_key.setdefault(_key(run), {})
            other = same.setdefault(run.config.seed, run)
            why = None if other is run else f"the same recipe and seed as {other.path.name}"
        if why is not None:
            left_out[str(run.path)] = why
    groups = [tuple(by_seed[seed] for seed in sorted(by_seed)) for by_seed in by_key.values()]
    if not groups:
        told = "; ".join(f"{path}: {why}" for path, why in left_out.items()) or "none was named"
        raise UsageError(f"compare: no run to compare: {told}", hint="clipdata train TABLE --recipes … --out DIR")
    _require_one_table([run for group in groups for run in group])
    names = _names(groups)
    return Grouped(tuple(RunGroup(name, group) for name, group in zip(names, groups, strict=True)), left_out)


def pace_of(run: Run) -> Pace | None:
    """What the steps of a run took, by the rate of its last process and the rows of its steps; None where untold."""
    rows_s = (run.to_dict().get("pace") or {}).get("rows_s")
    rows = [line.get("rows", 0) for line in run.metrics]
    if not rows_s or not sum(rows):
        return None
    seconds = sum(rows) / rows_s
    return Pace(seconds, len(rows) / seconds)


def _why_not(run: Run) -> str | None:
    """Why a run cannot be compared; None where it can."""
    try:
        _ = run.record, run.config
        if not run.is_finished:
            return "not finished; the command that trains it goes on"
        check_model(run.export_path)
        _ = run.to_dict()
    except ClipdataError as error:
        return error.message.removeprefix(f"{run.path} is ").removeprefix(f"{run.path} ")
    return None


def _key(run: Run) -> str:
    """What was trained, as text that is equal for runs of one recipe."""
    table = run.record["table"]
    rows = {name: table.get(name) for name in _ROWS}
    if rows["sample"] is None:  # or else every seed has its own
        rows["digest"] = table.get("digest")
    return json.dumps([_fields(run), rows, run.record["encoder"]["identity"]], sort_keys=True)


def _fields(run: Run) -> dict[str, Any]:
    """Fields of a run's config that decide its result, but the seed; those it lacks as they were at its time."""
    known = {**TrainConfig().to_json(), **BEFORE_IT_EXISTED, **run.record["config"]}
    return {name: value for name, value in known.items() if name not in OPERATIONAL and name != "seed"}


def _require_one_table(runs: Sequence[Run]) -> None:
    """Check that runs read one table, and versions of it with the same rows where they read the same condition.

    Raises:
        UsageError: two do not; both are named.
    """
    first = runs[0]
    for run in runs[1:]:
        one, other = first.record["table"], run.record["table"]
        if one_spelling(one["uri"]) != one_spelling(other["uri"]):
            raise UsageError(
                f"compare: {first.path} was trained on {one['uri']}, and {run.path} on {other['uri']}; expected runs "
                "of one table",
                hint="name runs of one table: --runs A,B",
            )
        has_same = one["version"] == other["version"] or one.get("files") == other.get("files")
        is_alike = any(one.get(name) != other.get(name) for name in _ROWS) or one.get("sample") is not None
        if not has_same and (is_alike or one.get("digest") != other.get("digest")):
            raise UsageError(
                f"compare: {first.path} was trained on version {one['version']} of {one['uri']}, and {run.path} on "
                f"version {other['version']}, with other rows in it; expected the same rows",
                hint="train the older ones again with --overwrite, or name runs of one version: --runs A,B",
            )


def _names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name a group: its recipe's, with what differs from others of the same recipe."""
    plain = [group[0].config.recipe or _SEED.sub("", group[0].path.name) for group in groups]
    told = [{**_flat(_fields(group[0])), **_about_rows(group[0])} for group in groups]
    names = []
    for name, fields in zip(plain, told, strict=True):
        others = [other for other, called in zip(told, plain, strict=True) if called == name and other is not fields]
        differing = [key for key, value in fields.items() if any(other.get(key) != value for other in others)]
        added = ",".join(f"{key}={_short(fields[key])}" for key in differing)
        names.append(f"{name}:{added}" if added else name)
    return [f"{name} ({number})" if names.index(name) != number else name for number, name in enumerate(names)]


def _about_rows(run: Run) -> dict[str, Any]:
    table = run.record["table"]
    return {**{name: table.get(name) for name in _ROWS}, "model": run.record["encoder"]["name"]}


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the objective beside those of the config, as they are typed."""
    objective = dict(fields["objective"])
    return {**fields, "objective": objective.pop("kind"), **objective}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
