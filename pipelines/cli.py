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
from pipelines.commands import curating, ingesting, looking, running, sources

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
ingesting.app.registered_commands.extend(sources.sources.registered_commands)
app.add_typer(running.app, name="run")
app.add_typer(ingesting.app, name="ingest")
for group in (ingesting.verbs, curating.verbs, looking.verbs, sources.verbs):
    app.registered_commands.extend(group.registered_commands)


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
        app(args=arguments)
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
