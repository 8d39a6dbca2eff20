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
from clipdata.errors import CredentialsError, NotFoundError, StorageError, TransientError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.trained_rows import TrainedRows
from clipdata.training.config import TrainConfig
from clipdata.training.forward import check_images
from clipdata.training.overlap import Overlap, overlap_of
from clipdata.training.run import TRAINED_ROWS, Run, differences, discard, software
from clipdata.training.state_files import write_bytes, write_json
from clipdata.training.usable_rows import ChosenRows, choose_rows

_LOCK = ".lock"


@dataclass(frozen=True)
class Beginning:
    """Where a training stands before its first step of this process.

    Args:
        run: its folder.
        table: pinned to the version that the run reads.
        rows: to train on.
        trained: the record of these rows, which the tuned model carries.
        held_out: rows to measure, if asked for.
    """

    run: Run
    table: Table
    rows: ChosenRows
    trained: TrainedRows
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
        _require_same(run, wanted, table, config, where)
        if run.is_finished:
            progress.say(f"{folder} is finished already; nothing was done")
            return run
        table = _version_it_reads(run, table, progress)
        progress.say(f"going on with {folder}, which reads version {table.version} of {redact(table.uri)}")
    check_images(table, encoder, config)
    rows = _choose(table, config, where)
    trained = rows.trained(table, where)
    progress.say(f"training on {rows.describe()}")
    held_out, overlap = _held_out(table, encoder, config, rows, progress)
    if not (folder / "config.json").exists():
        wanted["table"] |= {"num_rows": len(rows.offsets), "refused": dict(rows.refused), "digest": rows.digest}
        wanted["table"]["trained_rows"] = trained.digest
        if overlap is not None:
            wanted["held_out"] = overlap.to_json()
        _tag(table, folder, progress)
        write_bytes(folder / TRAINED_ROWS, trained.to_bytes())
        write_json(folder / "config.json", wanted)
    return Beginning(run, table, rows, trained, held_out)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the same folder meanwhile.

    Raises:
        UsageError: one does already, or there is a file in the folder's place.
        StorageError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; expected the folder of a run", hint="name a folder: another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"cannot write to the run's folder {folder}: {error.strerror}",
            hint="choose a folder that can be written: another --out",
        ) from error
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
        # A run that died while it began may have left the record of its rows, which is written before config.json.
        held = (path.name for path in folder.iterdir() if path.name != TRAINED_ROWS)
        found = sorted(name for name in held if not name.startswith("."))
        if found:
            raise UsageError(
                f"{folder} is not empty and holds no training run (it holds {', '.join(found[:3])})",
                hint="choose a folder that does not exist yet",
            )


def _record(table: Table, encoder: Encoder, config: TrainConfig, where: str | None) -> dict[str, Any]:
    return {
        "config": config.to_json(),
        "encoder": {
            "name": encoder.name,
            "identity": encoder.identity,
            "trunk_identity": encoder.trunk_identity,
            "precision": encoder.precision,
        },
        "table": {"uri": redact(table.uri), "version": table.version, "where": where},
        "software": {**software(), "device": str(encoder.device)},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _require_same(run: Run, wanted: dict[str, Any], table: Table, config: TrainConfig, where: str | None) -> None:
    """Check that the run on disk is the one that is wanted.

    Raises:
        UsageError: lists every difference.
    """
    problems = differences(run.record, wanted)
    version = run.record["table"]["version"]
    # The table may have moved on (scores were mapped, say) while what the run reads stayed as it was.
    moved = not problems and version != table.version
    if moved and not _holds_same_rows(run, table, config, where):
        problems.append(f"the table was at version {version} and is at {table.version} now, with other rows in it")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UsageError(
            f"{run.path} holds another run:{listed}",
            hint="train into another folder, or discard the one that is there with --overwrite (overwrite=True)",
        )


def _holds_same_rows(run: Run, table: Table, config: TrainConfig, where: str | None) -> bool:
    now = _choose(table, config, where).digest
    if now == run.record["table"]["digest"]:
        return True
    # An earlier release digested rows in another way; then the version it read is digested anew, if it is there.
    begun_at = _opened(table, run.record["table"]["version"])
    return begun_at is not None and now == _choose(begun_at, config, where).digest


def _version_it_reads(run: Run, table: Table, progress: Progress) -> Table:
    """The version that an unfinished run goes on with: its own, or one with equal rows where that is gone."""
    version = run.record["table"]["version"]
    if version == table.version:
        return table
    begun_at = _opened(table, version)
    if begun_at is None:
        progress.say(f"version {version}, which {run.path} reads, is gone; version {table.version} holds the same rows")
    return begun_at or table


def _opened(table: Table, version: int) -> Table | None:
    try:
        return open_table(table.uri, version=version, storage=table.storage)
    except NotFoundError:
        return None


def _choose(table: Table, config: TrainConfig, where: str | None) -> ChosenRows:
    return choose_rows(
        table,
        choices=config.choices,
        label=config.label,
        where=where,
        max_texts=config.text_cache if config.train == "projections" else 0,
        features=config.image_trunk,
        image=config.image,
    )


def _held_out(
    table: Table, encoder: Encoder, config: TrainConfig, rows: ChosenRows, progress: Progress
) -> tuple[ChosenRows | None, Overlap | None]:
    if config.evaluate_where is None:
        return None, None
    held_out = _choose(table, config, config.evaluate_where)
    overlap = overlap_of(held_out, rows, encoder.trained_on)
    if overlap.any:
        progress.say(str(overlap))
    return held_out, overlap


def _tag(table: Table, folder: Path, progress: Progress) -> None:
    """Name the version, so that no clean-up of the table removes what the run needs to go on."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", folder.name)
    try:
        table.tag(f"run-{name}-v{table.version}")
    except (CredentialsError, StorageError, TransientError) as error:  # a public table cannot be written to
        progress.say(f"version {table.version} could not be tagged, so a clean-up may remove it: {error.message}")
