"""What a verb of the command line is: a function whose signature holds its arguments and options.

    @verb("ingest images", found=INGESTED, examples=["clipdata ingest images photos/ --into images.lance"])
    def ingest_images(terminal: Terminal, where: Annotated[str, typer.Argument()], *, shared: IngestOptions) -> None: …

A parameter of the type `Terminal` is where the verb writes. One whose type is a dataclass stands for the options that
are its fields, so that verbs share options by naming the set. Every verb takes `--json`, `--quiet` and `--json-schema`.
This module knows typer, and no particular verb.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer
import typer.models
from typer.core import TyperCommand

from clipdata.errors import SchemaError, UsageError
from clipdata.printable import shell_word
from clipdata.storage import is_remote, redact
from pipelines.cli.json_output import Schema
from pipelines.cli.terminal import Terminal

_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the result, or the error, as one JSON object.")]
_JsonSchema = Annotated[bool, typer.Option("--json-schema", help="Print the schema of what --json prints, and end.")]
_ANYWAY = {"quiet": _Quiet, "as_json": _AsJson, "json_schema": _JsonSchema}
MAY_BE_EMPTY = "may be empty"
"""Stands beside an option whose empty text says something of its own."""
_WRITTEN = ("out", "into")  # places that are written
_MOST = 2**63 - 1  # what Arrow and Lance count with


@dataclass(frozen=True)
class Verb:
    """One verb.

    Args:
        words: as they are typed, "ingest images".
        function: does it; its docstring is the verb's help.
        found: record of what it finds, as JSON schema; a function where something has to be imported for it.
        examples: commands that end the help.
        more_help: makes another part of the help when it is asked for, so that nothing is imported before.
    """

    words: str
    function: Callable[..., None]
    found: Schema | Callable[[], Schema]
    examples: Sequence[str]
    more_help: Callable[[], str] | None = None

    def add_to(self, app: typer.Typer) -> None:
        """Make it a command of an app, under the last of its words."""
        verb = self

        class Command(TyperCommand):
            def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
                return super().parse_args(ctx, _several_after(args, self.params))

            def format_epilog(self, ctx: Any, formatter: Any) -> None:
                formatter.write(verb.epilog())

        # Whole: what click makes of a docstring by itself is cut in the middle of a sentence.
        summary = (inspect.getdoc(self.function) or "").partition("\n")[0]
        app.command(name=self.words.split()[-1], cls=Command, short_help=summary)(self._callback())

    def epilog(self) -> str:
        """What comes after the options in the verb's help, as it stands."""
        more = f"\n{self.more_help().rstrip()}\n" if self.more_help else ""
        title = "Example" if len(self.examples) == 1 else "Examples"
        return more + f"\n{title}:\n" + "".join(f"  {command}\n" for command in self.examples)

    def _callback(self) -> Callable[..., None]:
        """The function with every option in its own signature, as typer wants it."""
        verb, function = self, self.function
        hints = get_type_hints(function, include_extras=True)
        hints.pop("return", None)
        sets: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
        own = {
            name: _parameter(name, hints[name], parameter.default)
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in sets and hints[name] is not Terminal
        }
        fields = {name: _fields(kind) for name, kind in sets.items()}
        anyway = {name: _parameter(name, kind, False) for name, kind in _ANYWAY.items()}
        everything = own | {name: one for options in fields.values() for name, one in options.items()} | anyway
        for_terminal = next(name for name, kind in hints.items() if kind is Terminal)

        def callback(context: typer.Context, **given: Any) -> None:
            terminal: Terminal = context.obj
            del given["json_schema"]  # answered before the words are read, so that it needs no arguments beside it
            terminal.configure(as_json=given.pop("as_json"), quiet=given.pop("quiet"))
            _check_values(verb.words, everything, given)
            terminal.wait(_remote(given.values()))
            typed = dict(given)
            gathered = {n: kind(**{f: given.pop(f) for f in fields[n]}) for n, kind in sets.items()}
            try:
                with terminal.only_results():
                    function(**{for_terminal: terminal}, **given, **gathered)
            except SchemaError as error:
                error.hint = error.hint or _named_otherwise(verb.words, everything, typed, error.missing)
                raise

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        callback.__signature__ = inspect.Signature([context, *everything.values()])  # type: ignore[attr-defined]
        callback.__annotations__ = {"context": typer.Context} | {n: one.annotation for n, one in everything.items()}
        callback.__doc__ = function.__doc__
        return callback


def verb(
    words: str,
    *,
    found: Schema | Callable[[], Schema],
    examples: Sequence[str],
    more_help: Callable[[], str] | None = None,
) -> Callable[[Callable[..., None]], Verb]:
    """Make a verb of a function; see `Verb`."""
    return lambda function: Verb(words, function, found, examples, more_help)


def _several_after(words: Sequence[str], parameters: Iterable[Any]) -> list[str]:
    """Give words that stand alone to the repeatable option before them, where a verb takes no words of its own.

    So `--images a.png b.png`, or `--images *.png`, names two pictures.
    """
    if any(one.param_type_name == "argument" for one in parameters):
        return list(words)
    flags = {opt for one in parameters for opt in one.opts if one.is_flag}
    repeatable = {opt for one in parameters for opt in one.opts if one.multiple}
    spread: list[str] = []
    option, has_value = "", True
    for place, word in enumerate(words):
        if word == "--":
            return [*spread, *words[place:]]
        if not has_value:
            has_value = True
        elif word.startswith("-"):
            option, has_value = word.partition("=")[0], "=" in word or word in flags
        elif option in repeatable:
            spread.append(option)
        spread.append(word)
    return spread


def _check_values(words: str, known: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> None:
    """Hold what was typed to what a value can be at all, whichever verb it is for.

    Raises:
        UsageError: a text is empty, a number is infinite or none, no table has so many rows, or what is to be written
            is to go to the standard output.
    """
    for name, found in given.items():
        if name in _WRITTEN and found == "-":
            raise UsageError(
                f"{_typed_name(known[name])} is -, and nothing is written to the standard output; expected: "
                f"{_help_of(known[name])}",
                hint="clipdata query TABLE 'SELECT * FROM dataset' --json prints rows; ./- is a place of that name",
            )
        for value in found if isinstance(found, list) else [found]:
            problem = _problem(value) if value != known[name].default else None
            if problem is not None and not (value == "" and MAY_BE_EMPTY in known[name].annotation.__metadata__):
                raise UsageError(
                    f"{_typed_name(known[name])} is {problem}; expected: {_help_of(known[name])}",
                    hint=f"clipdata {words} --help",
                )


def _problem(value: Any) -> str | None:
    if value == "":
        return "empty"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which is no finite number"
    if isinstance(value, int) and abs(value) > _MOST:
        return f"{'larger' if value > 0 else 'smaller'} than what can be counted, which ends at {_MOST:,}"
    return None


def _typed_name(parameter: inspect.Parameter) -> str:
    """An option or argument as the help names it."""
    info = parameter.annotation.__metadata__[0]
    if isinstance(info, typer.models.ArgumentInfo):
        return parameter.name.upper()
    named = [info.default, *(info.param_decls or ())]  # typer has the first name where another signature has a default
    spelled = f"--{parameter.name.replace('_', '-')}"
    return next((str(one) for one in named if str(one).startswith("--")), spelled)


def _named_otherwise(
    words: str, known: Mapping[str, inspect.Parameter], given: Mapping[str, Any], missing: Mapping[str, Sequence[str]]
) -> str | None:
    """What to type in place of the words that named columns which are not there; None where no word did.

    Args:
        missing: columns, each with the names that are like it.
    """
    said: list[str] = []
    arguments: list[str] = []
    are_wrong = False
    for name, value in given.items():
        words_of = [word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)]
        is_argument = isinstance(known[name].annotation.__metadata__[0], typer.models.ArgumentInfo)
        otherwise = {column: near[0] if near else _placeholder(known[name]) for column, near in missing.items()}
        if is_argument:
            arguments += [shell_word(redact(otherwise.get(word, word))) for word in words_of]
            are_wrong = are_wrong or any(word in otherwise for word in words_of)
        elif isinstance(value, str) and any(column in missing for column in _names_in(value)):
            named = [otherwise.get(column, column) for column in _names_in(value)]
            said.append(f"{_typed_name(known[name])} {shell_word(','.join(named))}")
    return " ".join([*([f"clipdata {words}", *arguments] if are_wrong else []), *said]) or None


def _names_in(value: str) -> list[str]:
    """The names in a text that may list several, as `names_in` reads them; the whole text, too, where it is one."""
    listed = [name.strip() for name in value.split(",")]
    return listed if len(listed) > 1 else [value]


def _placeholder(parameter: inspect.Parameter) -> str:
    """What stands for a column that nobody knows: the argument's own name, or COLUMN of an option."""
    info = parameter.annotation.__metadata__[0]
    return parameter.name.upper() if isinstance(info, typer.models.ArgumentInfo) else "COLUMN"


def _help_of(parameter: inspect.Parameter) -> str:
    return str(parameter.annotation.__metadata__[0].help).rstrip(".")


def _remote(values: Iterable[Any]) -> str | None:
    """The first place among a verb's arguments that is reached through a network."""
    return next((redact(value) for value in values if isinstance(value, str) and is_remote(value)), None)


def _fields(options: type) -> Mapping[str, inspect.Parameter]:
    """The fields of a set of options, as parameters."""
    hints = get_type_hints(options, include_extras=True)
    return {one.name: _parameter(one.name, hints[one.name], one.default) for one in dataclasses.fields(options)}


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    absent = default in (inspect.Parameter.empty, dataclasses.MISSING)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if absent else default,
        annotation=kind,
    )
