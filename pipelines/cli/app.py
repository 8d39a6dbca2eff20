"""The command line: `clipdata VERB …`. Each verb does what the function of the same name does.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 credentials, 5 transient (try again), 6 too many rows refused or
none usable, 7 a comparison gate failed or a column is stale, 130 interrupted, 143 a training was terminated.
"""

from __future__ import annotations

import re
import sys
import traceback
from contextlib import suppress
from functools import cache
from typing import Any

import typer

import clipdata
from clipdata.current_folder import require_current_folder
from clipdata.errors import ClipdataError, EndedElsewhereError, StorageError, UsageError
from clipdata.own_packages import require_own
from clipdata.storage import redact
from pipelines.cli.arguments import as_text, unreadable
from pipelines.cli.commands.bench import bench
from pipelines.cli.commands.check import check
from pipelines.cli.commands.check_canary import check_canary
from pipelines.cli.commands.check_split import check_split
from pipelines.cli.commands.clean import clean
from pipelines.cli.commands.compact import compact
from pipelines.cli.commands.compare import compare
from pipelines.cli.commands.curate import curate
from pipelines.cli.commands.delete import delete
from pipelines.cli.commands.diff import diff
from pipelines.cli.commands.doctor import doctor
from pipelines.cli.commands.drop import drop
from pipelines.cli.commands.errors import errors
from pipelines.cli.commands.evaluate import evaluate
from pipelines.cli.commands.export import export
from pipelines.cli.commands.export_towers import export_towers
from pipelines.cli.commands.fine_tune import fine_tune
from pipelines.cli.commands.fit_head import fit_head
from pipelines.cli.commands.index import index
from pipelines.cli.commands.ingest_captions import ingest_captions
from pipelines.cli.commands.ingest_class_list import ingest_class_list
from pipelines.cli.commands.ingest_hugging_face import ingest_hugging_face
from pipelines.cli.commands.ingest_images import ingest_images
from pipelines.cli.commands.ingest_lance import ingest_lance
from pipelines.cli.commands.ingest_parquet import ingest_parquet
from pipelines.cli.commands.ingest_shards import ingest_shards
from pipelines.cli.commands.ingest_urls import ingest_urls
from pipelines.cli.commands.interpolate import interpolate
from pipelines.cli.commands.log import log
from pipelines.cli.commands.map import map_
from pipelines.cli.commands.merge import merge
from pipelines.cli.commands.new import new
from pipelines.cli.commands.push import push
from pipelines.cli.commands.query import query
from pipelines.cli.commands.refresh import refresh
from pipelines.cli.commands.rejects import rejects
from pipelines.cli.commands.report import report
from pipelines.cli.commands.restore import restore
from pipelines.cli.commands.run_caption_contest import run_caption_contest
from pipelines.cli.commands.run_dual_encoder import run_dual_encoder
from pipelines.cli.commands.run_from_scratch import run_from_scratch
from pipelines.cli.commands.run_locked_image import run_locked_image
from pipelines.cli.commands.run_prompt_classification import run_prompt_classification
from pipelines.cli.commands.runs import runs
from pipelines.cli.commands.search import search
from pipelines.cli.commands.select import select
from pipelines.cli.commands.show import show
from pipelines.cli.commands.similar import similar
from pipelines.cli.commands.stats import stats
from pipelines.cli.commands.tag import tag
from pipelines.cli.commands.train import train
from pipelines.cli.commands.view import view
from pipelines.cli.commands.why import why
from pipelines.cli.schemas import print_schemas
from pipelines.cli.terminal import ReaderGoneError, Terminal, UnwritableError, hold_streams, let_go, write

VERBS = (
    run_caption_contest,
    run_prompt_classification,
    run_from_scratch,
    run_dual_encoder,
    run_locked_image,
    ingest_images,
    ingest_parquet,
    ingest_class_list,
    ingest_captions,
    ingest_urls,
    ingest_shards,
    ingest_lance,
    ingest_hugging_face,
    merge,
    map_,
    curate,
    refresh,
    new,
    train,
    fine_tune,
    runs,
    fit_head,
    bench,
    evaluate,
    interpolate,
    check_canary,
    check_split,
    compare,
    report,
    search,
    similar,
    index,
    show,
    view,
    stats,
    why,
    log,
    query,
    rejects,
    errors,
    export,
    push,
    export_towers,
    select,
    tag,
    diff,
    restore,
    drop,
    delete,
    compact,
    clean,
    check,
    doctor,
)
"""Every verb there is, in the order of the help."""

INTERRUPTED, TERMINATED = 130, 143
_HELP = {"-h", "--help", "--version"}
_GOES_ON = "the same command goes on where it stopped"
# Of typer's own errors only some have public names; their common class is among the parents of one that has.
_WRONG_WORDS: type[Exception] = next(
    parent for parent in typer.BadParameter.__mro__ if parent.__name__ == "ClickException"
)
_GROUPS = {
    "run": "Run a whole pipeline, or what of it is still to be done.",
    "ingest": "Bring a table up to date with images or metadata.",
}

app = typer.Typer(
    name="clipdata",
    help="Curate image-text data and fine-tune CLIP models on one versioned Lance table.",
    epilog="clipdata COMMAND --help says more, with examples; clipdata --json-schema says what every --json prints. "
    "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 credentials, 5 try again, 6 too many rows refused "
    "or none usable, 7 gate failed, 130 interrupted, 143 terminated.",
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
        write(sys.stdout, f"clipdata {clipdata.__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Hold the options of no command in particular."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = as_text(sys.argv[1:] if arguments is None else arguments)
    hold_streams()
    terminal, code = Terminal(as_json="--json" in given), 0
    try:
        code = _run(given, terminal)
        terminal.close()
    except ReaderGoneError:  # it has read enough
        let_go(sys.stdout)
        return 0
    except UnwritableError as error:
        let_go(sys.stdout)
        failed = terminal.fail(StorageError.name, StorageError.exit_code, f"the result could not be written: {error}")
        return code or failed
    finally:
        let_go(sys.stderr)
    return code


def _run(arguments: list[str], terminal: Terminal) -> int:
    """Do what was asked; whatever ends it otherwise becomes an exit code and an error in the words of the terminal."""
    try:
        return _call(arguments, terminal)
    except (KeyboardInterrupt, typer.Abort):
        return terminal.fail("interrupted", INTERRUPTED, _GOES_ON)
    except SystemExit as ended:
        if ended.code != TERMINATED:
            raise
        return terminal.fail("terminated", TERMINATED, _GOES_ON)
    except (ReaderGoneError, UnwritableError):
        raise
    except EndedElsewhereError as error:
        if error.is_told and terminal.process is not None:
            return error.exit_code
        return terminal.fail(error.name, error.exit_code, error.message)
    except (ClipdataError, UnicodeEncodeError) as error:
        told = unreadable(error, arguments) or error
        if not isinstance(told, ClipdataError):
            return _report(terminal)
        return terminal.fail(told.name, told.exit_code, told.message, told.hint)
    except _WRONG_WORDS as error:
        return _refuse(error, terminal)
    except OSError as error:
        return terminal.fail(StorageError.name, StorageError.exit_code, redact(_in_words(error)))
    except Exception:
        return _report(terminal)


def _report(terminal: Terminal) -> int:
    """Tell a fault of ours: the user can send the traceback, and loses nothing."""
    found = redact(traceback.format_exc())
    return terminal.fail("internal", 1, f"{found}\nThis is a fault in clipdata; please report the lines above.")


def _in_words(error: OSError) -> str:
    """What a system says, without its number."""
    if error.strerror is None:
        return str(error)
    places = [str(place) for place in (error.filename, error.filename2) if place is not None]
    return ": ".join([*filter(None, [" -> ".join(places)]), error.strerror])


def _call(arguments: list[str], terminal: Terminal) -> int:
    require_own("ingest")
    if "--json-schema" in arguments:
        print_schemas([word for word in arguments if not word.startswith("-")], VERBS)
        return 0
    if arguments and not _HELP.intersection(arguments):
        require_current_folder()
    ended = _command()(args=arguments, prog_name="clipdata", standalone_mode=False, obj=terminal)
    if ended == INTERRUPTED:
        raise KeyboardInterrupt
    return ended if isinstance(ended, int) else 0


@cache
def _command() -> Any:
    """All verbs as one command, made once: reading the options of all takes longer than most answers."""
    return typer.main.get_command(app)


def _refuse(error: Any, terminal: Terminal) -> int:
    """Tell what is wrong with the words that were typed; a group without a verb shows its help."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "clipdata"
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        with suppress(UnwritableError):
            write(sys.stderr, f"{message}\n")
        message = "no command is given"
    return terminal.fail(UsageError.name, UsageError.exit_code, message, _command_named(message) or f"{path} --help")


def _command_named(message: str) -> str | None:
    """The help of a command that stands in a group, where it was typed without the group: `clipdata images`."""
    unknown = re.match(r"No such command '([^']+)'", message)
    found = [verb.words for verb in VERBS if unknown and verb.words.split()[1:] == [unknown.group(1)]]
    return f"clipdata {found[0]} --help" if found else None
