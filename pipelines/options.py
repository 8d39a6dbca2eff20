"""The options that commands share, with the same words everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.storage import Storage

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.")]
Into = Annotated[str, typer.Option("--into", help="Table to write: a path, or gs:// s3:// az:// URL.")]
Anonymous = Annotated[bool, typer.Option("--anonymous", help="The source is public: send unsigned requests.")]
StorageOptions = Annotated[
    list[str] | None,
    typer.Option("--storage-option", "-O", help="key=value for the store (endpoint, region, profile, …); repeatable."),
]
Where = Annotated[str | None, typer.Option("--where", help="SQL condition on the rows, such as \"split = 'test'\".")]
Version = Annotated[str | None, typer.Option("--version", help="Version number or tag to read; the newest by default.")]
RetryRejects = Annotated[bool, typer.Option("--retry-rejects", help="Try again what was refused and has not changed.")]
MaxRejects = Annotated[int | None, typer.Option("--max-rejects", help="Exit with 6 when more rows are refused.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; the best there is by default.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="starter, ViT-B-32/openai, hf-hub:…, local-dir:…, or a run's folder.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="key=value of the training config; repeatable.")
]


def storage_of(options: list[str] | None, *, anonymous: bool = False) -> Storage:
    """The settings that `--storage-option` and `--anonymous` describe."""
    return Storage.parse(options or [], anonymous=anonymous)


def version_of(text: str | None) -> int | str | None:
    """A version number, a tag, or the newest."""
    return int(text) if text is not None and text.isdecimal() else text


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "Example:\n\n" + "\n\n".join(f"    {command}" for command in commands)
