"""Fine-tune a model on whatever data there is: which pipeline fits is told by the data itself, and said.

    a Lance table with caption_choices      caption-contest           the right one of several captions
    a Lance table with captions             dual-encoder              pictures and captions that find each other
    a Lance table with classes              prompt-classification     the right one of all classes
    a folder with questions.parquet         caption-contest
    a folder with a file of captions        dual-encoder, after `ingest captions`
    a folder of class folders               prompt-classification
    a folder of a Hugging Face data set     what its columns ask for, after `ingest hugging-face`

How it is trained the recipe `auto` says, which goes by the rows and the model, unless another is asked for. It knows
names of files and columns, and leaves all work to the pipelines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clipdata as cd
import ingest
from clipdata import hints
from clipdata.errors import ClipdataError, NotFoundError, SchemaError, UsageError
from clipdata.progress import Progress, Silent
from clipdata.schema import is_of
from clipdata.storage import Storage, absolute, is_remote, join, redact
from clipdata.training.objectives import (
    Choice,
    ClassPrompts,
    Distillation,
    Objective,
    objective_with,
    own_fields,
)
from clipdata.training.objectives.pairs import Pairs
from clipdata.training.recipe_choice import AUTO
from ingest.metadata.metadata_files import MetadataFiles
from pipelines import configs
from pipelines.results import PipelineResult
from pipelines.settings import PipelineSettings

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
_METADATA = frozenset({".parquet", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".token"})
_LISTS = frozenset({"train.txt", "test.txt", "val.txt"})
_SPLITS = frozenset({"train", "test", "val", "valid", "validation", "training", "testing"})
_SAVED = ("dataset_dict.json", "state.json")
_METADATA_OF_PICTURES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_PARQUET_OF_A_SPLIT = re.compile(rf"({'|'.join(sorted(_SPLITS))})(-\d+-of-\d+)?\.parquet$")
_LOOKED_AT = 10_000


@dataclass(frozen=True)
class Fitting:
    """The pipeline that fits some data.

    Args:
        pipeline: its name.
        settings: of it, beside those that every pipeline has.
        reason: what in the data asks for it.
        captions: pictures and a file of captions that are to become a table first.
        taken: names of training settings that the pipeline is told as settings of its own.
    """

    pipeline: str
    settings: Mapping[str, Any]
    reason: str
    captions: tuple[str, str] | None = None
    taken: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.reason}: clipdata run {self.pipeline}"


def fine_tune(data: str, given: PipelineSettings, progress: Progress | None = None) -> tuple[Fitting, PipelineResult]:
    """Choose the pipeline that fits, say so, and run it.

    Args:
        data: a Lance table, or a folder.
        given: what every pipeline is told.
        progress: watches.

    Raises:
        NotFoundError: there is nothing at that place.
        UsageError: nothing tells what to train for.
    """
    progress = progress or Silent()
    if is_data_set(data):
        into = join(given.out, "data.lance")
        progress.say(f"{data} is laid out as a Hugging Face data set: clipdata ingest hugging-face")
        taken = ingest.from_hugging_face(data, into=into, storage=given.storage, progress=progress)
        progress.say(str(taken))
        data = taken.table.uri
    found = fitting(data, given.storage, asked_for(given))
    progress.say(str(found))
    settings = dict(found.settings)
    if found.captions is not None:
        pictures, captions = found.captions
        into = join(given.out, "captions.lance")
        try:
            taken = ingest.from_captions(pictures, captions, into=into, storage=given.storage, progress=progress)
        except (SchemaError, UsageError) as error:
            error.hint = (
                f"{error.hint or 'say how to read it'}. So: clipdata ingest captions {hints.typed(pictures)} "
                f"{hints.typed(captions)} --into {hints.typed(into)} and what is said here; then clipdata fine-tune "
                f"{hints.typed(into)}"
            )
            raise
        progress.say(str(taken))
        settings["table"] = taken.table.uri
    training = {name: text for name, text in given.training.items() if name not in found.taken}
    given = replace(given, recipe=given.recipe or AUTO, training=training)
    shared = {one.name: getattr(given, one.name) for one in fields(PipelineSettings)}
    settings_class, run = _pipeline(found.pipeline)
    return found, run(settings_class(**{**shared, **settings}), progress)


def is_data_set(data: str) -> bool:
    """Whether a folder is laid out as only Hugging Face's `datasets` does it.

    So are folders of `save_to_disk`, parquet files that bear the names of splits, and folders of splits with metadata
    of their own. One `metadata.jsonl` beside the pictures is a file of captions like others.
    """
    folder = Path(absolute(data))
    if is_remote(data) or not folder.is_dir():
        return False
    if any((folder / name).is_file() for name in _SAVED):
        return True
    if any(
        _PARQUET_OF_A_SPLIT.match(path.name) for place in (folder, folder / "data") for path in place.glob("*.parquet")
    ):
        return True
    return any((folder / split / name).is_file() for split in _SPLITS for name in _METADATA_OF_PICTURES)


def asked_for(given: PipelineSettings) -> dict[str, Any]:
    """What the settings say of the objective: `--set` over the file of `--config`.

    Raises:
        ConfigError: lists every setting that is wrong.
    """
    config = {} if given.config == configs.DOCUMENT else configs.read(given.config, "")
    said = {**config, **cd.TrainConfig.parse_settings(given.training)}
    return own_fields(said) | {name: said[name] for name in ("objective",) if name in said}


def fitting(data: str, storage: Storage | None = None, asked: Mapping[str, Any] | None = None) -> Fitting:
    """The pipeline that fits some data; see the top of this module.

    Args:
        asked: an objective and fields of one, which decide where the data is a table.

    Raises:
        NotFoundError: there is nothing at that place.
        UsageError: nothing tells what to train for.
    """
    if (table := _as_table(data, storage)) is not None:
        return _for_table(table, data, asked or {})
    if is_remote(data):
        raise UsageError(
            f"{redact(data)} is no Lance table; expected one, or a folder on this machine",
            hint=f"clipdata run prompt-classification --images {redact(data)}, or take it in first: clipdata ingest …",
        )
    folder = Path(absolute(data))
    if folder.is_file():
        raise UsageError(
            f"{data} is a file; expected a folder or a Lance table",
            hint=f"take it in first: {hints.ingest_file(data)}" if hints.is_file_of_rows(data) else None,
        )
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder or Lance table {data}")
    return _for_folder(folder)


def _as_table(data: str, storage: Storage | None) -> Table | None:
    if not is_remote(data) and not (Path(absolute(data)) / "_versions").is_dir():
        return None
    try:
        return cd.open_table(data, storage=storage)
    except NotFoundError:
        return None


def _for_table(table: Table, data: str, asked: Mapping[str, Any]) -> Fitting:
    kinds = {name: table.schema.field(name).type for name in table.schema.names}
    answers = [name for name in ("label", "label_index", "label_ind") if name in kinds]
    if not asked and Choice().choices in kinds and is_of("texts", kinds[Choice().choices]) and answers:
        objective: Objective = Choice()
    else:
        objective = objective_with(table, asked)
    if isinstance(objective, Distillation) or not isinstance(objective, Choice | ClassPrompts | Pairs):
        raise UsageError(
            f"no pipeline compares before and after a training for {objective.kind!r}",
            hint=f"clipdata train {hints.typed(data)} --model starter --out RUN --set objective={objective.kind}",
        )
    if asked or isinstance(objective, Choice):
        _check(objective, table, asked, answers)
    if isinstance(objective, Choice):
        label = objective.label if "label" in asked or not answers else answers[0]
        return Fitting(
            "caption-contest",
            {"table": data, "label": label, **({"choices": objective.choices} if asked else {})},
            f"the table lists captions to choose from ({objective.choices}, {label})",
            taken=("choices", "label"),
        )
    if isinstance(objective, ClassPrompts):
        return Fitting(
            "prompt-classification",
            {"table": data, "label": objective.label},
            f"the table names a class for each picture ({objective.label})",
            taken=("label",),
        )
    named = {"captions_column": objective.text} if asked else {}
    return Fitting(
        "dual-encoder", {"table": data, **named}, f"the table holds captions ({objective.text})", taken=("text",)
    )


def _check(objective: Objective, table: Table, asked: Mapping[str, Any], answers: Sequence[str]) -> None:
    """Hold an objective that is asked for to the table; a contest whose places are still to be made may go on.

    Raises:
        SchemaError: the table lacks a column of it.
    """
    if isinstance(objective, Choice) and (answers or "label" in asked):
        wanted = {"choices": objective.choices} | ({"label": objective.label} if "label" in asked else {})
        hint = " ".join(f"--set {name}=COLUMN" for name, column in wanted.items() if column not in table.schema.names)
        table.require(list(wanted.values()), verb="fine-tune", hint=hint)
        return
    objective.check(table)


def _for_folder(folder: Path) -> Fitting:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    metadata = [path for path in files if path.suffix.lower() in _METADATA and path.name not in _LISTS]
    for path in metadata:
        if _lists_choices(path):
            return Fitting(
                "caption-contest",
                {"images": str(folder), "metadata": str(path)},
                f"{path.name} lists captions to choose from",
            )
    classes = [one for one in _folders_with_pictures(folder) if one.name.lower() not in _SPLITS]
    within = {one.name for split in folder.iterdir() if split.name.lower() in _SPLITS and split.is_dir()
              for one in _folders_with_pictures(split)}  # fmt: skip
    num_classes = len({one.name for one in classes} | within)
    if num_classes > 1 and not any(map(_is_of_captions, metadata)):
        lists = {"lists": str(folder)} if any((folder / name).is_file() for name in _LISTS) else {}
        return Fitting(
            "prompt-classification",
            {"images": str(folder), **lists},
            f"pictures lie in {num_classes:,} class folders, such as {sorted(within or {c.name for c in classes})[0]}/",
        )
    if metadata:
        return Fitting(
            "dual-encoder",
            {},
            f"{metadata[0].name} stands beside pictures",
            captions=(str(folder), str(metadata[0])),
        )
    if num_classes == 1:
        raise UsageError(
            f"{folder} holds pictures of one class, {min(within or {c.name for c in classes})}/: there is nothing to "
            "tell apart",
            hint="expected one folder a class, or a file of captions beside the pictures",
        )
    listed = ", ".join(path.name for path in files[:5]) or "no file"
    raise UsageError(
        f"{folder} holds {listed}, and nothing that says what its pictures show",
        hint="expected one folder a class, or a file of captions or questions beside the pictures "
        "(captions.csv, metadata.jsonl, questions.parquet)",
    )


def _is_of_captions(path: Path) -> bool:
    """Whether a file beside class folders is one of captions, and not a list of classes or a licence."""
    return path.suffix.lower() not in (".txt", ".json") or "caption" in path.name.lower()


def _lists_choices(path: Path) -> bool:
    """Whether a file of metadata has the column of captions to choose from."""
    if path.suffix.lower() in (".txt", ".token", ".json"):
        return False
    try:
        return Choice().choices in MetadataFiles(str(path), required=None).schema().names
    except ClipdataError:  # a file of captions need not be one that a table is made of
        return False


def _folders_with_pictures(folder: Path) -> list[Path]:
    """Folders right inside that hold pictures, as far as their first files tell."""
    return [
        inside
        for inside in sorted(folder.iterdir())
        if inside.is_dir() and any(path.suffix.lower() in _PICTURES for path in _first(inside.iterdir()))
    ]


def _first(paths: Iterator[Path]) -> Iterator[Path]:
    for _, path in zip(range(_LOOKED_AT), paths, strict=False):
        yield path


def _pipeline(name: str) -> tuple[type[PipelineSettings], Callable[[Any, Progress], PipelineResult]]:
    """Settings and run of a pipeline."""
    if name == "caption-contest":
        from pipelines.caption_contest import ContestSettings, run_caption_contest

        return ContestSettings, run_caption_contest
    if name == "prompt-classification":
        from pipelines.prompt_classification import ClassificationSettings, run_prompt_classification

        return ClassificationSettings, run_prompt_classification
    from pipelines.dual_encoder import DualEncoderSettings, run_dual_encoder

    return DualEncoderSettings, run_dual_encoder
