"""The options that verbs share, with the same words everywhere: as types, and as sets that a verb's signature names.

A new option of all verbs of a kind is one field here. It knows the words of the command line, and no verb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipdata.errors import UsageError
from clipdata.storage import Storage
from pipelines.cli.terminal import Terminal, can_ask

if TYPE_CHECKING:
    from clipdata.encoder import Encoder
    from clipdata.engines.task import Engine
    from clipdata.lance_io.table import Table
    from clipdata.step_protocol import Step

TableArgument = Annotated[str, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL.")]
ImagesArgument = Annotated[str, typer.Argument(help="Folder, or URL of a bucket's prefix; searched with all inside.")]
Into = Annotated[str, typer.Option("--into", help="Table to write: a path, or gs:// s3:// az:// URL.")]
Where = Annotated[
    str | None, typer.Option("--where", help="SQL condition on the rows, such as \"split = 'test'\" or @NAME.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already and was made otherwise.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; the best there is by default.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="starter, ViT-B-32/openai, hf-hub:…, local-dir:…, or a run's folder.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="key=value of the training config; repeatable.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Take what links point to outside the folder (a hub's cache).")
]
Encoding = Annotated[str, typer.Option(help="Encoding of text files, such as gb18030, big5, utf-16.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Most rows to show.")]
RowsLimit = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first so many rows only.")]
RowsSample = Annotated[
    int | None, typer.Option("--sample", min=1, help="Take so many rows only, the same ones every time.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed takes other rows.")]
_StorageOption = Annotated[
    list[str] | None,
    typer.Option("--storage-option", "-O", help="key=value for the store (endpoint, region, profile, …); repeatable."),
]


def between_0_and_1(share: float) -> float:
    """Hold a share to one that leaves something on either side, as the callback of an option."""
    if not 0 < share < 1:
        raise typer.BadParameter(f"{share:g}; expected a share between 0 and 1")
    return share


@dataclass(frozen=True, kw_only=True)
class StorageOptions:
    """How to reach what a verb reads and writes."""

    storage_option: _StorageOption = None

    @property
    def storage(self) -> Storage:
        """As the library takes it."""
        return Storage.parse(self.storage_option or [])


_AnonymousSource = Annotated[bool, typer.Option("--anonymous", help="The source is public: send unsigned requests.")]


@dataclass(frozen=True, kw_only=True)
class SourceStorageOptions(StorageOptions):
    """How to reach sources that may be public, and the tables made from them."""

    anonymous: _AnonymousSource = False


@dataclass(frozen=True, kw_only=True)
class ReadOptions(StorageOptions):
    """Options of a verb that only reads tables."""

    anonymous: Annotated[bool, typer.Option("--anonymous", help="The table is public: send unsigned requests.")] = False

    @property
    def storage(self) -> Storage:
        """As the library takes it."""
        return Storage.parse(self.storage_option or [], anonymous=self.anonymous)

    def open(self, table: str, version: int | str | None = None) -> Table:
        """Open a table."""
        from clipdata import open_table

        return open_table(table, version=version, storage=self.storage)


@dataclass(frozen=True, kw_only=True)
class VersionOptions(ReadOptions):
    """Options of a verb that reads one version of a table."""

    version: Annotated[
        str | None, typer.Option("--version", help="Version number or tag to read; the newest by default.")
    ] = None

    def open(self, table: str, version: int | str | None = None) -> Table:
        """Open a table at the version that is asked for."""
        return super().open(table, version=version if self.version is None else version_of(self.version))


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where the work of a map or an ingest runs."""

    engine: Annotated[
        str, typer.Option("--engine", help="local: in this process; ray: on the machines of a Ray cluster.")
    ] = "local"
    engine_option: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option", "-E", help="key=value of ray: workers, gpus, cpus, address, start_s; repeatable."
        ),
    ] = None

    def make(self) -> Engine:
        """The engine."""
        from clipdata.engines.named import engine_named

        return engine_named(self.engine, parse_pairs(self.engine_option))


@dataclass(frozen=True, kw_only=True)
class IngestOptions(EngineOptions, StorageOptions):
    """Options of every `ingest …`. Each but the storage and the engine's is an argument of the function behind."""

    into: Into
    prefix: Annotated[str, typer.Option(help="Folder to put before every key, where another source has them.")] = ""
    limit: RowsLimit = None
    sample: RowsSample = None
    seed: Seed = 0
    dry_run: DryRun = False
    retry_rejects: Annotated[
        bool, typer.Option("--retry-rejects", help="Try again what was refused and has not changed.")
    ] = False
    max_rejects: Annotated[
        str | None,
        typer.Option("--max-rejects", help="Exit with 6 when more are refused: a number, or a share such as 0.1."),
    ] = None

    def arguments(self, terminal: Terminal) -> dict[str, Any]:
        """As the functions of `ingest` take them."""
        given = {name: value for name, value in vars(self).items() if name not in ("storage_option", "engine_option")}
        given["max_rejects"] = count_or_share(self.max_rejects, "--max-rejects")
        return given | {"storage": self.storage, "engine": self.make(), "progress": terminal}


@dataclass(frozen=True, kw_only=True)
class SourceOptions(IngestOptions):
    """Options of every `ingest …` from a place that may be public."""

    anonymous: _AnonymousSource = False


@dataclass(frozen=True, kw_only=True)
class PipelineOptions(SourceStorageOptions):
    """Options of every `run …`; see `pipelines.settings.PipelineSettings`."""

    model: Model = "starter"
    out: Annotated[str, typer.Option(help="Folder or URL for the tables.")] = "work"
    runs: Annotated[str | None, typer.Option(help="Local folder for the training runs; OUT/runs by default.")] = None
    config: Annotated[
        str | None, typer.Option(help="JSON file with fields of the training config; document: the document's own.")
    ] = None
    recipe: Annotated[
        str | None, typer.Option(help="Recipe to train by, of those that train --help lists; auto chooses one.")
    ] = None
    settings: Settings = None
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Train on the first so many rows only.")] = None
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Train on so many rows only, the same ones every time.")
    ] = None
    held_out: Annotated[
        int | None,
        typer.Option(min=1, help="Measure on so many held-out rows at most; all, or 500 beside --limit and --sample."),
    ] = None
    device: Device = None

    def arguments(self) -> dict[str, Any]:
        """As the pipelines' settings take them."""
        given = {name: value for name, value in vars(self).items() if name not in ("storage_option", "settings")}
        return given | {"training": parse_pairs(self.settings), "storage": self.storage}


@dataclass(frozen=True, kw_only=True)
class PairsOptions(PipelineOptions):
    """Options of every `run …` over pictures with captions; see `pipelines.pair_settings.PairsSettings`."""

    model: Annotated[
        str, typer.Option("--model", "-m", help="A model to begin with, as of train; new: one of its own parts.")
    ] = "new"
    choices: Annotated[int, typer.Option(min=2, help="Captions of each question that is drawn.")] = 5
    test_share: Annotated[
        float,
        typer.Option(callback=between_0_and_1, help="Share of the pictures to hold out where nothing says which."),
    ] = 0.2
    search: Annotated[
        list[str] | None, typer.Option("--search", help="Text to search the pictures by at the end; repeatable.")
    ] = None
    top: Annotated[int, typer.Option(min=1, help="Pictures to show of each search.")] = 5

    def arguments(self) -> dict[str, Any]:
        """As the pipelines' settings take them."""
        return super().arguments() | {"search": tuple(self.search or ())}


@dataclass(frozen=True, kw_only=True)
class RebuildOptions:
    """What a verb is given that makes a column's step again from its lineage."""

    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model with the weights of a lineage, where its name is gone; repeatable."),
    ] = None
    step: Annotated[
        list[str] | None, typer.Option("--step", help="FILE.py:function that made a column; repeatable.")
    ] = None
    device: Device = None

    def models(self, say: Callable[[str], None]) -> list[Encoder]:
        """The models, loaded."""
        from clipdata import load_encoder

        loaded = []
        for name in self.model or ():
            say(f"loading {name}")
            loaded.append(load_encoder(name, device=self.device))
        return loaded

    def steps(self) -> list[Step]:
        """The functions as steps.

        Raises:
            UsageError: one is no function of a file.
        """
        from pipelines.cli.named_steps import own_step

        return [own_step(name) for name in self.step or ()]


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """How a verb shows rows to a person."""

    full: Annotated[bool, typer.Option("--full", help="Cut nothing, however wide the rows get.")] = False
    vertical: Annotated[bool, typer.Option("--vertical", help="A line for every value instead of a row.")] = False


def require_yes(terminal: Terminal, planned: str, question: str, *, yes: bool) -> None:
    """Go on only when somebody agrees to what is planned.

    Args:
        planned: what would be done, told before the question.
        yes: agreed to beforehand.

    Raises:
        UsageError: nobody can be asked.
    """
    if yes:
        return
    terminal.say(planned)
    if not can_ask():
        raise UsageError("nothing was removed: nobody can be asked here", hint="type it again with --yes")
    typer.confirm(question, abort=True, err=True)


def names_in(text: str | None) -> list[str] | None:
    """Names written one after the other, with commas between."""
    return [name.strip() for name in text.split(",")] if text is not None else None


def parse_pairs(pairs: Sequence[str] | None) -> dict[str, str]:
    """Read `key=value` words, of whatever option.

    Raises:
        UsageError: a word has no "=", or a key is given twice.
    """
    pairs = pairs or []
    broken = [pair for pair in pairs if "=" not in pair]
    if broken:
        raise UsageError(f"{broken[0]!r} has no value; expected key=value")
    read: dict[str, str] = {}
    for key, value in (pair.split("=", 1) for pair in pairs):
        if key in read:
            raise UsageError(f"{key!r} is given twice, as {read[key]!r} and {value!r}; expected it once")
        read[key] = value
    return read


def count_or_share(text: str | None, option: str) -> int | float | None:
    """A number of rows, or a share of them written with a point.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    try:
        found: int | float = int(text) if text.isascii() and text.isdecimal() else float(text)
    except ValueError:
        found = -1
    if not 0 <= found < float("inf") or (isinstance(found, float) and found > 1):
        raise UsageError(f"{option} is {text!r}; expected a number of rows such as 100, or a share such as 0.1")
    return found


def version_of(text: str) -> int | str:
    """A version number, or a tag."""
    from clipdata.lance_io.version_numbers import version_named

    return version_named(text)
