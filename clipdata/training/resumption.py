"""What to do in a run's folder: begin, go on, or nothing because it is finished.

The same call made again goes on where the last one stopped. A call that asks for another result than the folder holds
is refused with every difference. It knows tables and runs, and nothing of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipdata.encoder import Encoder
from clipdata.errors import CredentialsError, NotFoundError, StorageError, TransientError, UsageError
from clipdata.lance_io.table import Table
from clipdata.lance_io.tags import run_tag
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.stream.prepared import PixelSource
from clipdata.trained_rows import OF_A_RUN, TrainedRows
from clipdata.training.checkpoints import complete
from clipdata.training.config_checks import AUTO
from clipdata.training.feasibility import check_feasible
from clipdata.training.image_side import check_images, pixels_read
from clipdata.training.likeness import overlap_in
from clipdata.training.overlap import Overlap
from clipdata.training.processes import Processes
from clipdata.training.rows_read import RowsRead
from clipdata.training.run import Run, differences, discard, software
from clipdata.training.run_contents import hint_for_remains, remains
from clipdata.training.state_files import write_bytes, write_json
from clipdata.training.usable_rows import ChosenRows
from clipdata.training.validation import LEAST_GROUPS


@dataclass(frozen=True)
class Beginning:
    """Where a training stands before its first step of this process.

    Args:
        run: its folder.
        table: pinned to the version that the run reads.
        rows: to train on.
        trained: the record of these rows, which the tuned model carries.
        held_out: rows to measure, if asked for.
        taught_by: records of the rows behind columns that models made, which the tuned model carries, too.
        validation: rows to choose a mixture by, split off those to train on.
    """

    run: Run
    table: Table
    rows: ChosenRows
    trained: TrainedRows
    held_out: ChosenRows | None
    taught_by: tuple[TrainedRows, ...] = ()
    validation: ChosenRows | None = None


@dataclass(frozen=True)
class Foreseen:
    """A run as it would begin or go on, and nothing written yet.

    Args:
        run: its folder.
        read: the rows, in the version that the run reads.
        record: what config.json holds, or is to hold.
        is_new: the folder holds no run, or one that is discarded.
        overlap: what the rows to measure share with those to train on.
    """

    run: Run
    read: RowsRead
    record: dict[str, Any]
    is_new: bool
    overlap: Overlap | None


def begin(folder: Path, read: RowsRead, encoder: Encoder, *, progress: Progress) -> Beginning | Run:
    """Begin a run or go on with it; a finished one is returned as it is.

    Args:
        read: the rows, in the version that a new run reads.

    Raises:
        UsageError: the folder holds another run, or something else.
        SchemaError: the table is not what the config needs.
    """
    found = foresee(folder, read, encoder, progress=progress)
    if isinstance(found, Run):
        return found
    read, record = found.read, found.record
    if found.is_new:
        record["table"] |= read.to_record()
        record["table"] |= {"models": read.models} if read.models else {}
        record["measured_where"] = read.measured_where
        if found.overlap is not None:
            record["held_out"] = found.overlap.to_json()
        _tag(read.table, folder, progress)
        write_bytes(folder / OF_A_RUN, read.trained.to_bytes())
        write_json(folder / "config.json", record)
    elif not _has_rows(found.run):
        write_bytes(folder / OF_A_RUN, read.trained.to_bytes())
    return Beginning(found.run, read.table, read.rows, read.trained, read.held_out, read.taught_by, read.validation)


def foresee(
    folder: Path, read: RowsRead, encoder: Encoder, *, progress: Progress, anew: bool = False
) -> Foreseen | Run:
    """Look how a run would begin or go on, and write nothing; a finished one is returned as it is.

    Args:
        anew: as if the folder held no run.

    Raises:
        UsageError: the folder holds another run, or something else.
        SchemaError: the table is not what the config needs.
    """
    run, config, table = Run(folder), read.config, read.table
    wanted = wanted_record(read, encoder)
    is_new = anew or not (folder / "config.json").exists()
    if not is_new:
        _require_same(run, wanted, read)
        if run.is_finished and _is_sound(run, progress):
            progress.say(f"{folder} is finished already; nothing was done")
            return run
        read = _version_it_reads(run, read, progress)
        progress.say(f"going on with {folder}, which reads version {read.table.version} of {redact(table.uri)}")
    check_images(read.table, encoder, config)
    check_feasible(encoder, config)
    pixels = pixels_read(read.table, encoder, config, read.rows.offsets)
    _require_same_pixels(run, pixels, is_new=is_new)
    progress.say(f"training on {read.rows.describe()}")
    if config.wise_ft == AUTO:
        progress.say(_chosen_by(read.validation))
    for line in ([str(pixels)] if pixels is not None else []) + [*config.objective.tells(read.table)]:
        progress.say(line)
    if read.num_called_held_out:
        progress.say(
            f"{read.num_called_held_out:,} of these rows are of the split test or validation, and trained on, too; "
            "--where \"split = 'train'\" leaves them out"
        )
    overlap = _overlap(read, encoder, progress)
    if pixels is not None:
        wanted["table"]["pixels"] = {**pixels.to_json(), "version": read.table.version}
    return Foreseen(run, read, wanted if is_new else run.record, is_new, overlap)


def _is_sound(run: Run, progress: Progress) -> bool:
    """Whether a finished run is as it was left; False where its model is damaged, and can be exported anew.

    Raises:
        StorageError: its other files are damaged; or its model is, and there is no checkpoint to export it from.
    """
    damage = run.damage
    _ = run.epochs, run.canary, run.mixture
    if damage is None:
        return True
    if not complete(run.path / "checkpoints"):
        raise StorageError(
            f"{damage}; and {run.path} has no checkpoint to export its model from",
            hint="train into another folder, or discard the run with --overwrite (overwrite=True)",
        )
    progress.say(f"{damage}; the model is exported anew from the newest checkpoint")
    return False


def _has_rows(run: Run) -> bool:
    """Whether the record of a run's rows can be read."""
    try:
        return bool(run.trained_rows)
    except (NotFoundError, StorageError):
        return False


def _chosen_by(validation: ChosenRows | None) -> str:
    """What is said of the rows that the mixture is chosen by."""
    if validation is None:
        return f"wise_ft: under {LEAST_GROUPS} groups of rows are too few to split any off; nothing is mixed"
    return f"wise_ft: {len(validation.offsets):,} more rows choose how much of the training is mixed in"


def _require_same_pixels(run: Run, pixels: PixelSource | None, *, is_new: bool) -> None:
    """Check that a run goes on with the pixels it began with.

    Raises:
        UsageError: the version that it read is gone, and in the one that has its rows they come from elsewhere.
    """
    if is_new or pixels is None:
        return
    before, now = run.record["table"].get("pixels") or {}, pixels.to_json()
    if any(before.get(name) != value for name, value in now.items()):
        raise UsageError(
            f"{run.path} read pixels of column {before.get('column')!r} ({before.get('kind')}), and now {pixels}",
            hint="train into another folder, or discard the run with --overwrite (overwrite=True)",
        )


def clear(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make room for a run in a folder, as far as the caller allows.

    Raises:
        UsageError: the folder holds a run that may be neither gone on with nor discarded, or files of somebody else.
    """
    if is_discarded(folder, resume=resume, overwrite=overwrite):
        discard(folder)


def is_discarded(folder: Path, *, resume: bool, overwrite: bool) -> bool:
    """Whether a run that a folder holds is to go, as far as the caller allows.

    Raises:
        UsageError: the folder holds a run that may be neither gone on with nor discarded, or files of somebody else.
    """
    holds_run = (folder / "config.json").exists()
    if holds_run and not overwrite and not resume:
        raise UsageError(f"{folder} holds a run already", hint="resume=True goes on, overwrite=True discards it")
    if not holds_run and folder.is_dir():
        # A run that died while it began may have left the record of its rows, which is written before config.json.
        held = (path.name for path in folder.iterdir() if path.name != OF_A_RUN)
        found = sorted(name for name in held if not name.startswith("."))
        if found and remains(folder):
            raise UsageError(
                f"{folder} has lost its config.json, which says what its run trains (it holds {', '.join(found[:3])})",
                hint=hint_for_remains(folder),
            )
        if found:
            raise UsageError(
                f"{folder} is not empty and holds no training run (it holds {', '.join(found[:3])})",
                hint="choose a folder that does not exist yet",
            )
    return holds_run and overwrite


def wanted_record(read: RowsRead, encoder: Encoder) -> dict[str, Any]:
    """What config.json of a run that begins now holds."""
    table = read.table
    return {
        "config": read.config.to_json(),
        "encoder": {
            "name": encoder.name,
            "identity": encoder.identity,
            "trunk_identity": encoder.trunk_identity,
            "precision": encoder.precision,
        },
        "table": {"uri": redact(table.uri), "version": table.version, "where": read.where, **read.portion.to_json()},
        "software": {**software(), "device": str(encoder.device)},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _require_same(run: Run, wanted: dict[str, Any], read: RowsRead) -> None:
    """Check that the run on disk is the one that is wanted.

    Raises:
        UsageError: lists every difference.
    """
    problems = differences(run.record, wanted)
    # The table may have moved on (scores were mapped, say) while what the run reads stayed as it was.
    if not problems and not read.is_of(run.record["table"]):
        problems.append(_other_rows(run.record["table"], read.table))
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        hint = "train into another folder, or discard the one that is there with --overwrite (overwrite=True)"
        if Processes.here().world > 1:
            hint += "; or one of the processes was started with other arguments than the first, which began the run"
        raise UsageError(f"{run.path} holds another run:{listed}", hint=hint)


def _other_rows(recorded: Mapping[str, Any], table: Table) -> str:
    if recorded["version"] == table.version:
        return f"version {table.version} of the table is another one now, made anew with other rows in it"
    return f"the table was at version {recorded['version']} and is at {table.version} now, with other rows in it"


def _version_it_reads(run: Run, read: RowsRead, progress: Progress) -> RowsRead:
    """What an unfinished run goes on with: its own version, or one with equal rows where that is gone."""
    recorded = run.record["table"]
    begun_with = read.begun_with(recorded)
    if begun_with is None:
        gone, now = f"version {recorded['version']}, which {run.path} reads, is gone", f"version {read.table.version}"
        progress.say(f"{gone}; {now} holds the same rows")
    return begun_with or read


def _overlap(read: RowsRead, encoder: Encoder, progress: Progress) -> Overlap | None:
    overlap = overlap_in(read, (*encoder.trained_on, *read.taught_by))
    if overlap is not None and overlap.any:
        progress.say(str(overlap))
    return overlap


def _tag(table: Table, folder: Path, progress: Progress) -> None:
    """Name the version, so that no clean-up of the table removes what the run needs to go on."""
    try:
        table.tag(run_tag(folder.name, table.version), needed_by=str(folder))
    except (CredentialsError, StorageError, TransientError) as error:  # a public table cannot be written to
        progress.say(f"version {table.version} could not be tagged, so a clean-up may remove it: {error.message}")
