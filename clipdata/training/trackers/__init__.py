"""Trackers: programs of others that show how a training goes. What goes to metrics.jsonl goes there, too.

Each imports its program when a training asks for it, and tells it metrics and the run's record; nothing else is sent.
"""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipdata.errors import ConfigError
from clipdata.training.state_files import read_json, write_json
from clipdata.training.trackers.protocol import Tracker

KNOWN_AS = "trackers.json"
"""File of a run that says as what its trackers know it."""


def require(names: Sequence[str]) -> None:
    """Check that the programs are installed.

    Raises:
        ConfigError: one is not.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            [f"report_to names {name}, which is not installed" for name in missing],
            what="training config",
            hint=f"pip install {' '.join(missing)}",
        )


def open_tracker(name: str, run: Path, record: Mapping[str, Any]) -> Tracker:
    """Begin, or go on, to tell a program of a run.

    Args:
        name: of the program.
        run: the run's folder.
        record: its config.json.
    """
    path = run / KNOWN_AS
    known = read_json(path, hint=f"remove it: rm {path}") if path.exists() else {}
    is_known = name in known
    identity = str(known.get(name) or f"{run.name}-{uuid.uuid4().hex[:8]}")
    tracker = _opened(name, run, record, identity, is_known=is_known)
    if not is_known:
        write_json(path, {**known, name: identity})
    return tracker


def _opened(name: str, run: Path, record: Mapping[str, Any], identity: str, *, is_known: bool) -> Tracker:
    if name == "tensorboard":
        from clipdata.training.trackers.tensorboard import TensorBoard

        return TensorBoard(run)
    if name == "wandb":
        from clipdata.training.trackers.wandb import WeightsAndBiases

        return WeightsAndBiases(run, record, identity, is_known=is_known)
    assert name == "trackio", name
    from clipdata.training.trackers.trackio import Trackio

    return Trackio(record, identity, is_known=is_known)
