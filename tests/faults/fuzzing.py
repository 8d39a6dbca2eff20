"""Damaged input for everything that reads what others wrote: seeds, a mutator with a seed of its own, and the readers.

A reader may refuse with the errors that are its own; anything else it raises is a finding. Used by a test for some
hundreds of inputs, and by `benchmarks/fuzz.py` for as many as one likes, there with atheris where it is installed.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import features

import clipdata as cd
from clipdata import images
from clipdata.encoder.model_config import ModelConfig
from clipdata.encoder.tower_kinds import HuggingFaceText, TimmImage
from clipdata.errors import ClipdataError
from clipdata.filters.reading import read_filters
from clipdata.lance_io.table import Table
from ingest.metadata.metadata_files import MetadataFiles
from ingest.shards.blocks import ArchiveBroken
from ingest.shards.members import TarLimits, read_members
from ingest.updating.source import BrokenFile
from pipelines.cli.app import VERBS, main
from pipelines.train_arguments import TrainArguments
from tests.faults.metadata_kinds import texts
from tests.faults.parquet_kinds import parquet_bytes, parquets
from tests.hostile_images import encode, smooth_picture
from tests.tars import END, member, sample

_LIMITS = images.ImageLimits(max_pixels=1_000_000)
_MOST_BYTES = 64 << 10
_INTERESTING = (
    b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0",
    b"\n", b'"', b"{", b"[", b"\\", b"%", b"'",
)  # fmt: skip

_SQL = rb"""
    number text path = <> < >= AND OR NOT IN LIKE IS NULL BETWEEN 1 2.5 'a' '' ( ) , top_share( at_least( 0.5 true CAST
    AS int * / % - || CASE WHEN THEN END regexp_like lower( datacomp_basic laion-400m . :: [ ] ; -- /* */ \ " ` 1e400
    9223372036854775808 share= number, text) SELECT EXISTS array[1]
""".split()
_OPTIONS = b"""
    --into --where --json --help --storage-option a=b --set lr=1 --limit -1 nan t.lance x.csv s3://b/x gs:// file://
    \x00 -- - --version --dry-run --yes --recipe
""".split()


_VALUES = (
    None, True, False, 0, 1, -1, 2, 7, 0.5, -0.0, 1e-9, 1e300, 2**63, 10**400, float("inf"), float("nan"),
    "", "0", "1e-3", "auto", "all", "none", "steps", "cosine", "a" * 5000, "\ud800", "\0", "../x",
    [], [0], [1, 2], ["a"], [None], [[]], {}, {"kind": "siglip"}, {"kind": "vit"}, {"a": {"b": []}},
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        name: what it reads.
        seeds: good and bad inputs to begin with.
        read: reads one input.
        refusals: errors that it may raise.
        num_runs: that are worth it, by what one costs.
        words: pieces to put together, for a reader of lines that people type.
        given: a good object, for a reader of JSON: some of its values are replaced by others.
    """

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[BaseException], ...] = (ClipdataError,)
    num_runs: int = 20_000
    words: Sequence[bytes] = ()
    given: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Finding:
    """An input that was neither read nor refused."""

    target: str
    number: int
    data: bytes
    error: str


def mutated(random_: random.Random, target: Target) -> bytes:
    """Another input, made of the seeds."""
    if target.words and random_.random() < 0.7:
        return b" ".join(random_.choices(target.words, k=random_.randint(1, 8)))
    if target.given is not None and random_.random() < 0.7:
        return json.dumps(_replaced(random_, target.given)).encode()
    data = bytearray(random_.choice(target.seeds)[:_MOST_BYTES])
    for _ in range(1 << random_.randint(0, 4)):
        at, size = random_.randrange(len(data) + 1), random_.randint(1, 1 << random_.randint(0, 8))
        how = random_.randrange(7)
        if how == 0 and at < len(data):
            data[at] ^= 1 << random_.randrange(8)
        elif how == 1:
            data[at : at + 1] = random_.randbytes(1)
        elif how == 2:
            del data[at : at + size]
        elif how == 3:
            data[at:at] = data[random_.randrange(len(data) + 1) :][:size]
        elif how == 4:
            piece = random_.choice(_INTERESTING)
            data[at : at + len(piece)] = piece
        elif how == 5:
            data[at:at] = random_.choice(_INTERESTING) * size
        else:
            other = random_.choice(target.seeds)
            data[at:] = other[random_.randrange(len(other) + 1) :]
    return bytes(data[:_MOST_BYTES])


def _replaced(random_: random.Random, given: Mapping[str, Any]) -> dict[str, Any]:
    """The object with another value, or none, under some of its names, however deep."""
    made = dict(given)
    for name in random_.sample(sorted(made), min(random_.randint(1, 3), len(made))):
        inner = made[name]
        if isinstance(inner, dict) and random_.random() < 0.7:
            made[name] = _replaced(random_, inner)
        elif random_.random() < 0.1:
            del made[name]
        else:
            made[name] = random_.choice(_VALUES)
    return made


def fuzz(target: Target, *, num_runs: int, seed: int) -> Iterator[Finding]:
    """Read so many inputs; the same seed makes the same ones."""
    random_ = random.Random(f"{seed} {target.name}")
    for number in range(num_runs):
        data = target.seeds[number] if number < len(target.seeds) else mutated(random_, target)
        error = failure(target, data)
        if error is not None:
            yield Finding(target.name, number, data, f"{type(error).__name__}: {str(error)[-600:]}")


def failure(target: Target, data: bytes) -> BaseException | None:
    """What a reader raises that is not its own to raise."""
    try:
        target.read(data)
    except target.refusals:
        return None
    except Exception as error:
        return error
    return None


def targets(folder: Path, table: Table) -> list[Target]:
    """All readers.

    Args:
        folder: for what they read from a disk.
        table: for what they say of one; it is left as it is.
    """
    return [_pictures(), _decoded(), _tars(), *_metadata(folder), *_configs(), _filters(table), _command_line(folder)]


def _picture_seeds() -> list[bytes]:
    picture = smooth_picture(24, 16)
    formats = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else [])]
    more = [encode(picture, "JPEG", progressive=True), encode(picture.quantize(9), "PNG", transparency=b"\0\x80")]
    more += [encode(picture.convert("CMYK"), "JPEG"), encode(picture, "TIFF", compression="tiff_lzw")]
    return [*(encode(picture, name) for name in formats), *more]


def _pictures() -> Target:
    return Target(
        "pictures, checked", _picture_seeds(), lambda data: images.check(data, _LIMITS), (images.ImageRefused,)
    )


def _decoded() -> Target:
    return Target(
        "pictures, decoded", _picture_seeds(), lambda data: images.decode(data, _LIMITS), (images.ImageRefused,)
    )


def _tars() -> Target:
    def read(data: bytes) -> int:
        limits = TarLimits(max_member_bytes=1 << 20)
        return sum(len(one.data) for one in read_members(io.BytesIO(data), limits, lambda *_: None))

    good = sample("a", 1, "x") + member("b/c.txt", b"text") + END
    return Target("tar shards", [good, good + good, member("x" * 99, b"y" * 600) + END], read, (ArchiveBroken,))


def _metadata(folder: Path) -> list[Target]:
    small = {name: kind for name, kind in texts().items() if len(kind.data) < 4000}

    def reading(suffix: str) -> Callable[[bytes], int]:
        path = folder / f"m.{suffix}"

        def read(data: bytes) -> int:
            path.write_bytes(data)
            source = MetadataFiles(path, required=None)
            item = next(source.items())
            return sum(batch.num_rows for batch in source.read_file(item, lambda _: None))

        return read

    def seeds(suffix: str) -> list[bytes]:
        return [kind.data for kind in small.values() if kind.file.endswith(suffix) and kind.data]

    refusals = (ClipdataError, BrokenFile)
    some = pa.table({"filename": ["a", "b"], "n": [1, 2], "l": [["x"], []], "s": [{"a": 1.5}, None]})
    how = ({}, {"compression": "none", "version": "1.0"}, {"data_page_version": "2.0"})
    written = [parquet_bytes(some, **options) for options in how]
    few = [kind.data for kind in parquets().values() if 0 < len(kind.data) < 3000]
    return [
        Target("CSV", seeds(".csv"), reading("csv"), refusals, 5000),
        Target("TSV", seeds(".tsv"), reading("tsv"), refusals, 2000),
        Target("packed CSV", seeds(".csv.gz"), reading("csv.gz"), refusals, 5000),
        Target("JSON lines", seeds(".jsonl"), reading("jsonl"), refusals, 5000),
        Target("parquet", [*written, *few], reading("parquet"), refusals, 5000),
    ]  # fmt: skip


def _configs() -> list[Target]:
    config = cd.TrainConfig().to_json()
    model = ModelConfig(image=TimmImage("resnet18"), text=HuggingFaceText("distilbert"), embed_dim=8)
    names = ("output_dir", "image_path", "train_file", "clip_pretrain_path", "bert_pretrain_path")
    arguments = vars(TrainArguments(**dict.fromkeys(names, "x")))
    deep = b'{"lr": ' + b"[" * 5000 + b"]" * 5000 + b"}"

    def target(name: str, given: Mapping[str, Any], read: Callable[[bytes], object], *more: bytes) -> Target:
        return Target(name, [json.dumps(given).encode(), *more, b"{}", b"null", deep], read, given=given)

    return [
        target(
            "training config", config, lambda data: cd.TrainConfig.from_json(data).to_json(), b'{"objective": "siglip"}'
        ),
        target("model config", model.to_json(), lambda data: ModelConfig.from_json(data).to_json()),
        target(
            "training arguments",
            arguments,
            lambda data: cd.TrainConfig(**TrainArguments.from_json(data).to_train_config(on_gpu=False)),
        ),
    ]


def _filters(table: Table) -> Target:
    def read(data: bytes) -> object:
        text = data.decode("utf-8", "replace")
        chosen = read_filters(table, text)
        return cd.funnel(table, chosen)

    seeds = [b"number > 3", b"text LIKE '%1%' AND number IN (1, 2)", b"top_share(number, 0.5)", b"datacomp_basic()"]
    seeds += [b"at_least(number, 2)", b"(" * 500 + b"number" + b")" * 500]
    return Target("conditions", seeds, read, num_runs=2000, words=_SQL)


def _command_line(folder: Path) -> Target:
    out = folder / "typed"
    out.mkdir(exist_ok=True)

    def read(data: bytes) -> int:
        typed = [word for word in data.decode("utf-8", "replace").split() if word != "view"]
        said = io.StringIO()
        with contextlib.chdir(out), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = main([*typed, "--no-such-option"])
            except SystemExit as ended:
                code = int(ended.code or 0)
        if "Traceback" in said.getvalue() or code not in {*range(8), 130}:
            raise AssertionError(f"exit {code}: {said.getvalue()}")
        return code

    verbs = [word.encode() for verb in VERBS for word in verb.words.split()]
    return Target("command line", [b"map x y", b"ingest images", b"run"], read, (), 2000, [*verbs, *_OPTIONS])
