"""What to do in a run's folder: begin, go on, or nothing because it is finished.

The same call made again goes on where the last one stopped. A call that asks for another result than the folder holds
is refused with every difference. It knows tables and runs, and nothing of steps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipdata.encoder import Encoder
from clipdata.errors import CredentialsError, StorageError, TransientError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.training.config import TrainConfig
from clipdata.training.forward import check_images
from clipdata.training.rows import ChosenRows, choose_rows
from clipdata.training.run import Run, differences, discard, software, write_json

_LOCK = ".lock"


@dataclass(frozen=True)
class Beginning:
    """Where a training stands before its first step of this process.

    Args:
        run: its folder.
        table: pinned to the version that the run reads.
        rows: to train on.
        held_out: rows to measure, if asked for.
    """

    run: Run
    table: Table
    rows: ChosenRows
    held_out: ChosenRows | None


def begin(
    folder: Path, table: Table, encoder: Encoder, config: TrainConfig, *, where: str | None, progress: Progress
) -> Beginning | Run:
    """Begin a run or go on with it; a finished one is returned as it is.

    Raises:
        UsageError: the folder holds another run, or something else.
        SchemaError: the table is not what the config needs.
    """
    wanted = _record(table, encoder, config, where)
    run = Run(folder)
    if (folder / "config.json").exists():
        table = _same_table(run, wanted, table, config, where)
        if run.is_finished:
            progress.say(f"{folder} is finished already; nothing was done")
            return run
        progress.say(f"going on with {folder}, which reads version {table.version} of {redact(table.uri)}")
        check_images(table, encoder, config)
        rows = _choose(table, config, where)
    else:
        check_images(table, encoder, config)
        rows = _choose(table, config, where)
        wanted["table"] |= {"num_rows": len(rows.offsets), "refused": dict(rows.refused), "digest": rows.digest}
        _tag(table, folder, progress)
        write_json(folder / "config.json", wanted)
    progress.say(f"training on {rows.describe()}")
    return Beginning(run, table, rows, _held_out(table, config, rows, progress))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the same folder meanwhile.

    Raises:
        UsageError: one does already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write to the run's folder {folder}: {error}") from error
    try:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another process is training in {folder}", hint="wait for it, or use another --out"
                ) from error
        yield
    finally:
        os.close(descriptor)


def clear(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make room for a run in a folder, as far as the caller allows.

    Raises:
        UsageError: the folder holds a run that may be neither gone on with nor discarded, or files of somebody else.
    """
    holds_run = (folder / "config.json").exists()
    if holds_run and overwrite:
        discard(folder)
    elif holds_run and not resume:
        raise UsageError(f"{folder} holds a run already", hint="resume=True goes on, overwrite=True discards it")
    elif not holds_run:
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if found:
            raise UsageError(
                f"{folder} is not empty and holds no training run (it holds {', '.join(found[:3])})",
                hint="choose a folder that does not exist yet",
            )


def _record(table: Table, encoder: Encoder, config: TrainConfig, where: str | None) -> dict[str, Any]:
    return {
        "config": config.to_json(),
        "encoder": {"name": encoder.name, "identity": encoder.identity, "trunk_identity": encoder.trunk_identity},
        "table": {"uri": redact(table.uri), "version": table.version, "where": where},
        "software": {**software(), "device": str(encoder.device)},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _same_table(run: Run, wanted: dict[str, Any], table: Table, config: TrainConfig, where: str | None) -> Table:
    """The version of the table that the run on disk reads, provided that all else is as it was."""
    problems = differences(run.record, wanted)
    version = run.record["table"]["version"]
    # The table may have moved on (scores were mapped, say) while what the run reads stayed as it was.
    moved = not problems and version != table.version
    if moved and _choose(table, config, where).digest != run.record["table"]["digest"]:
        problems.append(f"the table was at version {version} and is at {table.version} now, with other rows in it")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UsageError(
            f"{run.path} holds another run:{listed}",
            hint="train into another folder, or discard the one that is there with --overwrite (overwrite=True)",
        )
    return table if version == table.version else open_table(table.uri, version=version, storage=table.storage)


def _choose(table: Table, config: TrainConfig, where: str | None) -> ChosenRows:
    return choose_rows(
        table,
        choices=config.choices,
        label=config.label,
        where=where,
        max_texts=config.text_cache if config.train == "projections" else 0,
        features=config.image_trunk,
    )


def _held_out(table: Table, config: TrainConfig, rows: ChosenRows, progress: Progress) -> ChosenRows | None:
    if config.evaluate_where is None:
        return None
    held_out = _choose(table, config, config.evaluate_where)
    common = len(set(held_out.offsets.tolist()).intersection(rows.offsets.tolist()))
    if common:
        progress.say(
            f"{common:,} of the {len(held_out.offsets):,} rows to measure are trained on; they are no evidence"
        )
    return held_out


def _tag(table: Table, folder: Path, progress: Progress) -> None:
    """Name the version, so that no clean-up of the table removes what the run needs to go on."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", folder.name)
    try:
        table.tag(f"run-{name}-v{table.version}")
    except (CredentialsError, StorageError, TransientError) as error:  # a public table cannot be written to
        progress.say(f"version {table.version} could not be tagged, so a clean-up may remove it: {error.message}")
