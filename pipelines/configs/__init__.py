"""Configs of the pipelines as files, among them each document's own hyper-parameters as `<pipeline>.json`.

A file gives the fields of `TrainConfig` that it names; the others stay as the pipeline has them. This module knows
files, and no pipeline.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from clipdata.errors import ConfigError, NotFoundError, UsageError
from clipdata.file_kinds import kind_of_file
from clipdata.json_parsing import json_kind, parse_json

DOCUMENT = "document"
_WHAT = "config file"


def read(given: str | None, pipeline: str) -> dict[str, Any]:
    """Read the fields that a config file gives, as JSON values.

    Args:
        given: path of a JSON file; "document" for the settings of the document that the pipeline comes from; None for
            nothing.
        pipeline: whose document, as in "caption-contest".

    Raises:
        UsageError: it is no text.
        NotFoundError: there is no such file.
        ConfigError: it holds no JSON object.
    """
    if given is None:
        return {}
    text = document(pipeline) if given == DOCUMENT else _text_of(Path(given).expanduser())
    try:
        fields = parse_json(text)
    except ValueError as error:
        raise ConfigError([f"{given} is not JSON: {error}"], what=_WHAT) from error
    if not isinstance(fields, dict):
        raise ConfigError([f"{given} holds {json_kind(fields)}; expected a JSON object of fields"], what=_WHAT)
    return fields


def document(pipeline: str) -> str:
    """JSON text of the hyper-parameters of the document that a pipeline comes from."""
    return (files("pipelines.configs") / f"{pipeline}.json").read_text("utf-8")


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if (kind := kind_of_file(path)) is not None:
            raise UsageError(f"{path} is {kind.name}; expected a JSON file of settings") from error
        found = f"there is no config file {path}" if isinstance(error, FileNotFoundError) else f"{path}: {error}"
        raise NotFoundError(
            found, hint="--config document takes the document's own settings; or name a JSON file"
        ) from error
