"""The command line and Python have the same options."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import typer

import clipdata as cd
import ingest
from pipelines.caption_contest import ContestSettings
from pipelines.cli.app import VERBS, app, main

# Arguments of Python that the command line has in other words, or can have in none.
ELSEWHERE = {
    "table", "progress", "storage", "step", "column", "encoder", "config",  # objects, made from words
    "batch_rows", "engine", "version",  # how the work is done, not what comes of it
    "resume",  # False only refuses what --overwrite discards
    "table_before", "models",  # --table-before, --version-before; --model-before, --model-after
    "where", "images", "parquet", "captions", "urls", "shards", "lists", "out", "options", "rules", "num_rows_shown",
    "splits", "training",
}  # fmt: skip
SCHEMAS = {"ingest shards": {"columns"}}  # an Arrow schema, which no words say
FUNCTIONS: dict[str, Callable[..., object]] = {
    "ingest images": ingest.from_images,
    "ingest parquet": ingest.from_parquet,
    "ingest class-list": ingest.from_class_list,
    "ingest captions": ingest.from_captions,
    "ingest urls": ingest.from_urls,
    "ingest shards": ingest.from_shards,
    "ingest lance": ingest.from_lance,
    "merge": ingest.merge_report,
    "export": cd.export,
    "map": cd.map_column,
    "train": cd.train,
    "compare": cd.compare,
    "run caption-contest": ContestSettings,
}


def options_of(words: str) -> set[str]:
    """Names of a verb's parameters, as its function sees them."""
    command = typer.main.get_command(app)
    for word in words.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    return {parameter.name for parameter in command.params}


@pytest.mark.parametrize("words", sorted(FUNCTIONS))
def test_every_argument_of_a_function_is_an_option_of_its_verb(words: str) -> None:
    known = set(inspect.signature(FUNCTIONS[words]).parameters)
    known |= (
        set(inspect.signature(ingest.ingest).parameters) - {"source", "parameters"} if "ingest " in words else set()
    )

    assert known - options_of(words) <= ELSEWHERE | SCHEMAS.get(words, set()), words


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)
def test_every_verb_takes_what_makes_sense_everywhere(verb, capsys: pytest.CaptureFixture[str]) -> None:
    main([*verb.words.split(), "--help"])

    shown = capsys.readouterr().out
    here = verb.words in (
        "check-canary",
        "export-towers",
        "interpolate",
        "new",
        "runs",
    )  # models and runs lie on this machine
    store = [] if here else ["--storage-option"]
    for option in ("--json", "--json-schema", "-q, --quiet", *store):
        assert option in shown
    assert f"clipdata {verb.words}" in shown.split("Example")[1]
    assert all(len(line) <= 80 for line in shown.split("Example")[0].splitlines())
