"""A page for each verb of the command line: what it does, its options, examples, and the schema of its `--json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from docs.generate.markdown import code, description, first_line, plain, table
from pipelines.cli import field_help
from pipelines.cli.app import VERBS, app
from pipelines.cli.json_output import schema_of
from pipelines.cli.verbs import Verb

FOLDER = "reference/verbs"
NAV: dict[str, list[str | dict[str, str]]] = {
    "Commands": [
        f"{FOLDER}/index.md",
        *({verb.words: f"{FOLDER}/{verb.words.replace(' ', '-')}.md"} for verb in VERBS),
    ]
}

_ANYWAY = ("--quiet", "--json", "--json-schema")
# Help that is made of other things than the verb has a page of its own.
_TOLD_ELSEWHERE = {
    field_help.config_help: ("fields of the training config", "../training.md"),
    field_help.steps_help: ("steps and their parameters", "../steps.md"),
}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The index, and for each verb its page and the schema of what `--json` prints."""
    made = {f"{FOLDER}/index.md": _index()}
    for verb in VERBS:
        schema = schema_of(verb.words, verb.found)
        name = f"{FOLDER}/{verb.words.replace(' ', '-')}"
        made[f"{name}.json"] = json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
        made[f"{name}.md"] = _page(verb, schema, missing)
    return made


def _index() -> str:
    rows = [
        (f"[`clipdata {verb.words}`]({verb.words.replace(' ', '-')}.md)", plain(first_line(verb.function)))
        for verb in VERBS
    ]
    return f"""# Commands

{table(("command", "does"), rows)}
Every command takes `--json` (one JSON object whatever the exit code), `--json-schema` (the schema of that object;
`clipdata
--json-schema` prints those of all commands), `--quiet` and `--help`. Results go to stdout, everything else to
stderr. What the exit codes mean stands in [exit codes](../exit-codes.md).
"""


def _page(verb: Verb, schema: Mapping[str, Any], missing: list[str]) -> str:
    name = f"clipdata {verb.words}"
    command = _command(verb.words)
    arguments, options, anyway = _parameters(command, name, missing)
    if not first_line(verb.function):
        missing.append(f"{name}: no docstring")
    if not verb.examples:
        missing.append(f"{name}: no example")
    parts = [f"# {name}\n\n{description(verb.function)}"]
    parts.append("```bash\n" + "".join(f"{example}\n" for example in verb.examples) + "```\n")
    if arguments:
        parts.append("## Arguments\n\n" + table(("argument", "is"), arguments))
    if options:
        parts.append("## Options\n\n" + table(("option", "does"), options))
    parts.append("Of every command:\n\n" + table(("option", "does"), anyway))
    if verb.more_help is not None:
        parts.append(_more(verb))
    parts.append(_schema(verb, schema))
    return "\n".join(parts)


def _command(words: str) -> Any:
    """The command behind the words of a verb."""
    found: Any = typer.main.get_command(app)
    for word in words.split():
        found = found.commands[word]
    return found


def _parameters(
    command: Any, name: str, missing: list[str]
) -> tuple[list[Sequence[str]], list[Sequence[str]], list[Sequence[str]]]:
    """Arguments, the verb's own options, and those that every verb has, as rows of tables."""
    arguments: list[Sequence[str]] = []
    options: list[Sequence[str]] = []
    anyway: list[Sequence[str]] = []
    for shown, told, parameter in _records(command):
        if not (parameter.help or "").strip():
            missing.append(f"{name}: {shown} has no help")
        row = (code(shown), plain(told))
        if parameter.param_type_name == "argument":
            arguments.append(row)
        else:
            (anyway if set(_ANYWAY) & set(parameter.opts) else options).append(row)
    return arguments, options, anyway


def _records(command: Any) -> Iterator[tuple[str, str, Any]]:
    context = type(command).context_class(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield record[0], record[1].replace("  [", " ["), parameter


def _more(verb: Verb) -> str:
    assert verb.more_help is not None
    if verb.more_help in _TOLD_ELSEWHERE:
        what, where = _TOLD_ELSEWHERE[verb.more_help]
        return f"## More\n\nSee [{what}]({where}); `clipdata {verb.words} --help` prints them, too.\n"
    return f"## More\n\n```text\n{verb.more_help().strip()}\n```\n"


def _schema(verb: Verb, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (code(name), _kind(told), "" if name in required else "where it applies")
        for name, told in schema["properties"].items()
    ]
    return f"""## JSON

`clipdata {verb.words} --json` prints one object with these properties; the whole schema is
[{verb.words.replace(" ", "-")}.json]({verb.words.replace(" ", "-")}.json), and what `clipdata {verb.words}
--json-schema` prints.

{table(("property", "type", "present"), rows)}"""


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a property, in words."""
    if "const" in schema:
        return f"always {code(json.dumps(schema['const']))}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))
