"""The command line: `clipdata VERB …`. Each verb does what the function of the same name does.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 credentials, 5 transient (try again), 6 too many rows refused,
7 a comparison gate failed, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
import traceback

import typer

import clipdata
from clipdata.errors import ClipdataError, StorageError
from clipdata.storage import redact
from pipelines.cli.commands.compare import compare
from pipelines.cli.commands.export import export
from pipelines.cli.commands.ingest_captions import ingest_captions
from pipelines.cli.commands.ingest_class_list import ingest_class_list
from pipelines.cli.commands.ingest_images import ingest_images
from pipelines.cli.commands.ingest_parquet import ingest_parquet
from pipelines.cli.commands.ingest_shards import ingest_shards
from pipelines.cli.commands.ingest_urls import ingest_urls
from pipelines.cli.commands.log import log
from pipelines.cli.commands.map import map_
from pipelines.cli.commands.merge import merge
from pipelines.cli.commands.query import query
from pipelines.cli.commands.rejects import rejects
from pipelines.cli.commands.run_caption_contest import run_caption_contest
from pipelines.cli.commands.show import show
from pipelines.cli.commands.train import train
from pipelines.cli.terminal import Terminal

VERBS = (
    run_caption_contest,
    ingest_images,
    ingest_parquet,
    ingest_class_list,
    ingest_captions,
    ingest_urls,
    ingest_shards,
    merge,
    map_,
    train,
    compare,
    show,
    log,
    query,
    rejects,
    export,
)
"""Every verb there is, in the order of the help."""

_GROUPS = {
    "run": "Run a whole pipeline, or what of it is still to be done.",
    "ingest": "Bring a table up to date with images or metadata.",
}

app = typer.Typer(
    name="clipdata",
    help="Curate image-text data and fine-tune CLIP models on one versioned Lance table.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 credentials, 5 try again, 6 too many rows refused, "
    "7 gate failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _help in _GROUPS.items():
    _group = typer.Typer(help=_help, no_args_is_help=True, rich_markup_mode=None)
    _group.callback()(lambda: None)  # so that its verbs keep their names, also while there is only one
    app.add_typer(_group, name=_name)
    for _verb in VERBS:
        if _verb.words.startswith(f"{_name} "):
            _verb.add_to(_group)
for _verb in VERBS:
    if " " not in _verb.words:
        _verb.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"clipdata {clipdata.__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Hold the options of no command in particular."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=arguments, obj=Terminal())
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it stopped\n")
        return 130
    except ClipdataError as error:
        return _report(error, as_json="--json" in arguments)
    except OSError as error:
        return _report(StorageError(redact(str(error))), as_json="--json" in arguments)
    except Exception:  # a fault of ours: the user can send the traceback, and loses nothing
        sys.stderr.write(
            f"{redact(traceback.format_exc())}\nThis is a fault in clipdata; please report the lines above.\n"
        )
        return 1
    return 0


def _report(error: ClipdataError, *, as_json: bool) -> int:
    if as_json:
        fields = {"name": error.name, "code": error.exit_code, "message": error.message, "hint": error.hint}
        sys.stdout.write(json.dumps({"schema_version": 1, "error": fields}, ensure_ascii=False) + "\n")
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"  hint: {error.hint}\n")
    return error.exit_code


def entry() -> None:
    """Console script."""
    sys.exit(main())
