"""A run's folder brought back from a copy of it, on a machine that has none or an older one.

It knows runs and copies, and nothing of tables or steps.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipdata.errors import StorageError, UsageError
from clipdata.json_parsing import parse_json
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.training import checkpoints
from clipdata.training.copies import Copies, Copy
from clipdata.training.run import Run, differences
from clipdata.training.state_files import writing


def restore(
    folder: Path, copies: Copies, wanted: Mapping[str, Any], *, resume: bool, overwrite: bool, progress: Progress
) -> None:
    """Make a run's folder what its newest copy holds, unless the folder is further.

    Args:
        wanted: what config.json is to hold.
        resume: False refuses copies of a run.
        overwrite: discard the copies that are there.

    Raises:
        UsageError: the copies are those of another run, or may not be gone on with.
        CredentialsError, TransientError, StorageError: the place cannot be reached or written.
    """
    own_run = Run(folder)
    if own_run.is_finished and own_run.damage is None:
        return
    copies.check()
    if overwrite:
        copies.discard()
    found = copies.complete()
    own = checkpoints.complete(folder / "checkpoints")
    newer = [copy for copy in found if not own or copy.step > own[-1].step]
    if found:
        _require_same(copies, found[-1], wanted)
    if newer and not resume:
        raise UsageError(
            f"{redact(copies.uri)} holds a run already", hint="resume=True goes on, overwrite=True discards it"
        )
    for copy in reversed(newer):
        try:
            _bring(copies, copy, folder)
        except StorageError as error:
            progress.say(f"the copy of step {copy.step:,} cannot be taken up: {error.message}")
            continue
        progress.say(f"step {copy.step:,} is taken up from {redact(copies.uri)}")
        return


def _require_same(copies: Copies, copy: Copy, wanted: Mapping[str, Any]) -> None:
    try:
        record = parse_json(copies.read(copy, "config.json"))
        problems = differences(record, wanted)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        problems = [f"its config.json cannot be read: {error}"]
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UsageError(
            f"{redact(copies.uri)} holds copies of another run:{listed}",
            hint="name another checkpoint_to, or discard them with --overwrite (overwrite=True)",
        )


def _bring(copies: Copies, copy: Copy, folder: Path) -> None:
    """Put a copy's files in their places once all of them are here; config.json first, or it would be no run's folder.

    A crash between two of them leaves a folder whose copy is still newer, and is taken up again.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".restoring-", dir=folder))
    try:
        copies.get(copy, aside)
        last = Path("checkpoints") / f"step-{copy.step}"
        names = [Path(name) for name in copy.files if not Path(name).is_relative_to(last)]
        with writing(folder):
            for name in sorted(names, key=lambda name: (name.name != "config.json", name)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (aside / name).replace(folder / name)
            (folder / last).parent.mkdir(parents=True, exist_ok=True)
            (aside / last).rename(folder / last)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
