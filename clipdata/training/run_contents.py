"""The files of a run, read and held to what they must have: every reader of a run goes through here.

    config.json     config, encoder and table, with what all that read a run ask of them
    summary.json    of a finished run: its steps, and parts that are objects where they are there
    metrics.jsonl   of a finished run: a line for every step, and the report of the last one

A file that is missing, cut short or something else is named, with what to type. It knows files and JSON, and nothing of
configs, models or figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipdata.encoder.layout import RUN_EXPORT, RUN_MARKS, is_model_folder
from clipdata.errors import ClipdataError, NotFoundError, StorageError
from clipdata.json_parsing import json_kind
from clipdata.printable import shell_word
from clipdata.training.metrics import read_metrics
from clipdata.training.state_files import read_json

RECORD, SUMMARY, METRICS = "config.json", "summary.json", "metrics.jsonl"
_Kinds = Mapping[str, tuple[type, str]]
_TEXT, _WHOLE, _OBJECT, _LIST = (str, "a text"), (int, "a whole number"), (dict, "an object"), (list, "a list")
_OF_RECORD: Mapping[str, _Kinds] = {
    "config": {"objective": _OBJECT},
    "encoder": {"name": _TEXT, "identity": _TEXT},
    "table": {"uri": _TEXT, "version": _WHOLE, "num_rows": _WHOLE},
}
_OF_SUMMARY: _Kinds = {"steps": _WHOLE}
_MAY_BE_IN_SUMMARY: _Kinds = {
    "exported_step": _WHOLE,
    "model": _TEXT,
    **dict.fromkeys(("canary", "mixture", "exported_figures", "texts", "left_out", "not_measured", "pace"), _OBJECT),
    "warnings": _LIST,
}
_NEVER_EMPTY = ("canary", "mixture", "exported_figures")


def read_record(folder: Path) -> dict[str, Any]:
    """What config.json holds.

    Raises:
        NotFoundError: the folder is no run, or config.json is gone from it.
        StorageError: it cannot be read, or holds something else.
    """
    path = folder / RECORD
    anew = "train into another folder, or discard the run with --overwrite (overwrite=True)"
    try:
        record = read_json(path, hint=anew)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_record(folder) from error
    missing = [name for name in _OF_RECORD if not isinstance(record.get(name), dict)]
    if missing:
        raise StorageError(f"{path} is no record of a run: it has no {' and no '.join(missing)}", hint=anew)
    for part, kinds in _OF_RECORD.items():
        if wrong := _wrong(record[part], kinds):
            raise StorageError(f"{path} is no record of a run: in {part}, {wrong}", hint=anew)
    return record


def remains(folder: Path) -> list[str]:
    """Names of the files of a run in a folder whose config.json is gone; none where it holds no run at all."""
    if (folder / RECORD).exists():
        return []
    return [name for name in RUN_MARKS if (folder / name).exists()]


def hint_for_remains(folder: Path) -> str:
    """What to type where a run has lost its config.json."""
    export = folder / RUN_EXPORT
    alone = f"; its model alone: --model {shell_word(str(export))}" if is_model_folder(export) else ""
    return f"bring config.json back from a copy, or train into another folder{alone}"


def _no_record(folder: Path) -> NotFoundError:
    if left := remains(folder):
        return NotFoundError(
            f"{folder} has lost its config.json, and is no training run without it (it holds {', '.join(left)})",
            hint=hint_for_remains(folder),
        )
    within = folder if folder.is_dir() else folder.parent
    return NotFoundError(
        f"{folder} is no training run: it has no config.json",
        hint=f"clipdata runs {shell_word(str(within))} lists the runs in a folder",
    )


def read_summary(folder: Path) -> dict[str, Any]:
    """What summary.json holds; nothing before the run is finished.

    Raises:
        StorageError: it cannot be read, or lacks what every summary has.
    """
    path = folder / SUMMARY
    hint = f"rm {shell_word(str(path))}; then the same clipdata train again writes it anew"
    try:
        summary = read_json(path, hint=hint)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    there = {name: kind for name, kind in _MAY_BE_IN_SUMMARY.items() if summary.get(name) is not None}
    wrong = _wrong(summary, {**_OF_SUMMARY, **there})
    empty = [name for name in _NEVER_EMPTY if summary.get(name) == {}]
    if wrong or empty:
        wrong = wrong or f"{empty[0]} is empty"
        raise StorageError(f"{path} is no summary of a run: {wrong}", hint=hint)
    return summary


def summary_part(folder: Path, name: str, read: Any) -> Any:
    """A part of the summary, as an object; None where it is not there.

    Args:
        read: makes the object of what `to_dict` gave.

    Raises:
        StorageError: it is something else.
    """
    found = read_summary(folder).get(name)
    if found is None:
        return None
    try:
        return read(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = folder / SUMMARY
        raise StorageError(
            f"{path} is no summary of a run: {name} lacks fields, or has others",
            hint=f"rm {shell_word(str(path))}; then the same clipdata train again writes it anew",
        ) from error


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; those of a finished run are all there.

    Raises:
        StorageError: they cannot be read, or some are missing.
    """
    path, summary = folder / METRICS, read_summary(folder)
    lines = read_metrics(path)
    if summary:
        num_steps, steps = summary["steps"], [line["step"] for line in lines if line["kind"] == "step"]
        is_reported = any(line["kind"] == "epoch" and line["step"] == num_steps for line in lines)
        if steps != [*range(1, num_steps + 1)] or not is_reported:
            found = (
                f"{len(steps):,} of {num_steps:,} steps" if len(steps) != num_steps else "no report of the last step"
            )
            raise StorageError(
                f"{path} {'is not whole' if path.exists() else 'is missing'}: found {found}",
                hint=hint_for_lines(folder),
            )
    return lines


def hint_for_lines(folder: Path) -> str:
    """What to type where metrics.jsonl is damaged."""
    export = shell_word(str(folder / RUN_EXPORT))
    return f"it is a log that only training anew writes: --overwrite; the model in {export} needs it not"


def of_steps_taken(folder: Path) -> dict[str, Any]:
    """What a sound summary says of steps that nobody takes again when the model is exported anew."""
    try:
        summary = read_summary(folder)
    except ClipdataError:
        return {}
    return {name: summary[name] for name in ("not_measured", "pace") if name in summary}


def _wrong(found: Mapping[str, Any], kinds: _Kinds) -> str | None:
    """The first field of another kind than it must be, in words."""
    for name, (kind, word) in kinds.items():
        if name not in found:
            return f"it has no field {name}"
        value = found[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{name} is {json_kind(value)}; expected {word}"
    return None
