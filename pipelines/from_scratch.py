"""CLIP from nothing: a vision transformer and a DistilBERT with random weights, trained on pairs of texts and pictures.

The flow of "building CLIP from scratch": texts and paths go in, a model is made from a config, both towers are trained
with a symmetric cross entropy over the pairs of a batch, with a temperature that is learned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clipdata as cd
import ingest
from clipdata.encoder.model_config import ModelConfig
from clipdata.encoder.tower_kinds import HuggingFaceText
from clipdata.errors import UsageError
from clipdata.progress import Progress
from ingest.pictures.caption_formats import CaptionColumns
from ingest.updating.source import source_storage
from pipelines import pair_files
from pipelines.pair_columns import CLEAN
from pipelines.pair_files import PairFile, Texts
from pipelines.pair_settings import PairsSettings
from pipelines.pairs import PairsPipeline
from pipelines.results import PipelineResult

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

NEW = "new"
OWN_CONFIGS = ("small", "document")


@dataclass(frozen=True, kw_only=True)
class FromScratchSettings(PairsSettings):
    """What is trained from scratch, and on what. Without any pairs it is the built-in sample.

    Args:
        pairs: file with a caption and a path a line, or any file of captions that `clipdata ingest captions` reads.
        images: folder of the pictures, where paths do not lead there by themselves.
        test_pairs: the same of pairs to measure on; by default lines whose column `split` says test, or pictures that
            are held out where nothing does.
        texts, paths: two lists of equal length, or files with one a line, instead of `pairs`.
        caption_columns, path_column: of `pairs`, where they have no usual name.
        splits: for each of "train" and "test" a file that lists the names of its pictures.
        encoding: of the files.
        model_config: JSON file of a model; "small" for one that learns in minutes on two cores, "document" for the
            document's own size.
        tokenizer: folder or hub name; by default that of the config, else the starter's, which is DistilBERT's.
    """

    pairs: str | None = None
    images: str | None = None
    test_pairs: str | None = None
    texts: Texts | None = None
    paths: Texts | None = None
    caption_columns: Sequence[str] = ()
    path_column: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    model_config: str = "small"
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.texts is None) != (self.paths is None):
            given, lacking = ("texts", "paths") if self.texts is not None else ("paths", "texts")
            raise UsageError(f"--{given} is given without --{lacking}", hint="give both, line by line, or --pairs FILE")
        if self.texts is not None and self.pairs is not None:
            raise UsageError("--pairs and --texts are both given; expected one of them")
        if self.pairs is None:
            for name in ("test_pairs", "images"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name.replace('_', '-')} is given without --pairs", hint="--pairs FILE.csv")
        unknown = [name for name in self.splits if name not in ("train", "test")]
        if unknown:
            raise UsageError(f"--split {unknown[0]}=… is given; expected train=FILE and test=FILE")

    @property
    def columns(self) -> CaptionColumns:
        """Of the file of pairs."""
        return CaptionColumns(self.path_column, tuple(self.caption_columns))


def run_from_scratch(settings: FromScratchSettings, progress: Progress | None = None) -> PipelineResult:
    """Do all of it, or as much as is still to be done; see `Pipeline.run`."""
    return FromScratch(settings, progress).run()


class FromScratch(PairsPipeline[FromScratchSettings]):
    """Training from scratch, stage by stage."""

    name = "from-scratch"

    def stages(self) -> PipelineResult:
        """Pairs into a table, a model from a config, training, and what of it holds on pictures held out."""
        _ = self.config
        encoder = self.load()
        self.ingest()
        self.tidy()
        return self.finish(encoder)

    def recipe(self, **overrides: Any) -> cd.TrainConfig:
        """The recipe of the same name, on the captions as they are cleaned.

        Raises:
            UsageError: another one is asked for.
        """
        if self.settings.recipe is not None:
            raise UsageError(
                f"run from-scratch trains random weights by its own recipe, and not by {self.settings.recipe}",
                hint="--set and --config change it; train and fine-tune take others, for models that know something",
            )
        return cd.recipes.from_scratch(**{**overrides, "text": CLEAN})

    def load(self) -> Encoder:
        """A model with random weights, or the one that is named."""
        if self.settings.model != NEW:
            return super().load()
        given = self.settings
        config = read_model_config(given.model_config, tokenizer=given.tokenizer)
        self.progress.say(f"making {config.name or given.model_config} with random weights, seed {self.config.seed}")
        return cd.new_encoder(config, seed=self.config.seed, device=given.device)

    def ingest(self) -> None:
        """Pictures with their captions into a table: one row a picture, whatever its mode; bad ones are refused."""
        given, pairs = self.settings, self._pairs()
        done = ingest.from_captions(
            pairs.root,
            pairs.file,
            into=self.at("pairs.lance"),
            image_column=pairs.columns.image,
            caption_columns=pairs.columns.captions,
            splits=given.splits or None,
            encoding=given.encoding,
            **self.reach,
        )
        self.note(done, done.written.any)
        if not done.table.num_rows:
            raise UsageError(
                f"none of the pairs of {pairs.file} can be used", hint=f"clipdata rejects {done.table.uri}"
            )
        self.table = self.training = self.measured = done.table

    def _pairs(self) -> PairFile:
        given, listed = self.settings, self.settings.home / "pairs.jsonl"
        if given.texts is not None and given.paths is not None:
            return pair_files.of_lists(given.texts, given.paths, listed)
        if given.pairs is None:
            from pipelines.sample import layouts

            folder = layouts.caption_pairs(given.home / "sample")
            both = {split: PairFile(str(folder), str(folder / f"{split}.csv")) for split in layouts.SPLITS}
            return pair_files.of_several(both.items(), listed)
        reached = source_storage(given.storage, anonymous=given.anonymous)
        read: dict[str, Any] = {"images": given.images, "columns": given.columns, "encoding": given.encoding}
        read["storage"] = reached
        pairs = pair_files.of_file(given.pairs, **read)
        if given.test_pairs is None:
            return pairs
        test = pair_files.of_file(given.test_pairs, **read)
        both = {"train": pairs, "test": test}
        return pair_files.of_several(both.items(), listed, encoding=given.encoding, storage=reached)


def read_model_config(given: str | os.PathLike[str], *, tokenizer: str | None = None) -> ModelConfig:
    """The config of a model from a file, or one of the pipeline's own by its name.

    Args:
        given: path of a JSON file, "small" or "document".
        tokenizer: instead of the config's.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: lists every field that is wrong.
    """
    if given in OWN_CONFIGS:
        config = ModelConfig.from_json((files("pipelines.configs") / "models" / f"{given}.json").read_text("utf-8"))
    else:
        config = ModelConfig.read(Path(given).expanduser())
    if tokenizer is not None:
        return replace(config, tokenizer=tokenizer)
    if config.tokenizer is None and isinstance(config.text, HuggingFaceText) and _comes_without(config.text):
        from clipdata.encoder.starter import starter_tokenizer

        return replace(config, tokenizer=str(starter_tokenizer()))
    return config


def _comes_without(text: HuggingFaceText) -> bool:
    """Whether a text tower has no tokenizer of its own: a type of model, or a config in the file."""
    if not isinstance(text.architecture, str):
        return True
    from clipdata.encoder.parts.hugging_face import is_model_type

    return is_model_type(text.architecture)
