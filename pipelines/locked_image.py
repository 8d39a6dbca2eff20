"""Locked-image tuning: a text tower in another language learns to read what an image tower sees.

The flow of CLIP-Chinese: pairs of a text and a picture's address are downloaded, or found where they were downloaded to
before; the image tower of a CLIP is held still, so what it makes of each picture is computed once, into a column; a
BERT is trained against that column, and no picture is decoded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clipdata as cd
from clipdata.encoder.model_config import ModelConfig
from clipdata.errors import NotFoundError, TransientError, UsageError
from clipdata.json_parsing import parse_json
from clipdata.progress import Progress
from clipdata.storage import redact
from pipelines import configs
from pipelines.listed_pairs import PairList
from pipelines.pair_columns import CLEAN, PICTURE, TRUNK
from pipelines.pair_settings import PairsSettings
from pipelines.pairs import PairsPipeline
from pipelines.results import Evaluation, PipelineResult
from pipelines.stages import TEST, TRAIN
from pipelines.train_arguments import TrainArguments

if TYPE_CHECKING:
    from clipdata.encoder.brought import Brought
    from clipdata.encoder.model import Encoder
    from clipdata.encoder.tower_exports import ExportedTowers
    from clipdata.lance_io.table import Table

RANDOM = "random"
_SHOWN = 6
_OF_THE_FILE = {
    "out": "output_dir",
    "train_file": "train_file",
    "test_file": "test_file",
    "images": "image_path",
    "model": "clip_pretrain_path",
    "bert": "bert_pretrain_path",
    "whole": "load_from_bert_clip",
    "length": "max_seq_length",
}
"""Settings of the pipeline that a `train_clip.json` says, too, and what it calls them."""


@dataclass(frozen=True, kw_only=True)
class LockedImageSettings(PairsSettings):
    """What locked-image tuning works on.

    Args:
        arguments: what a `train_clip.json` says; settings that differ from their defaults win over it.
        train_file: list of the pairs to train on, with a text, an address and a file name each; the built-in sample's,
            in Chinese, by default.
        test_file: the same of pairs to measure; by default pictures of the first are held out.
        images: folder of the pictures, by their file names; by default they are downloaded into the table.
        download: do so though a folder is named.
        text, url, filename: columns of both lists.
        encoding: of both lists.
        model: the CLIP whose image tower is taken, with its projection and scale.
        bert: the text tower: a folder or hub name in transformers' format, another model's as "starter", or "random": a
            small one over the characters of the texts.
        whole: go on with both towers of `model`, which an earlier run made.
        length: most tokens of a text.
        layers, width: of a random text tower.
        allow_private: hosts of a private network that may be downloaded from.
    """

    arguments: TrainArguments | None = None
    train_file: str | None = None
    test_file: str | None = None
    images: str | None = None
    download: bool = False
    text: str = "text"
    url: str = "url"
    filename: str = "filename"
    encoding: str = "utf-8"
    model: str = "starter"
    bert: str = RANDOM
    whole: bool = False
    length: int = 100
    layers: int = 2
    width: int = 128
    allow_private: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.arguments is not None:
            self._take_from(self.arguments)
        super().__post_init__()
        if self.train_file is None and (self.test_file is not None or self.images is not None):
            given = "--test-file" if self.test_file is not None else "--images"
            raise UsageError(f"{given} is given without --train-file", hint="leave both out for the built-in sample")
        if self.test_file is not None and self.test_file == self.train_file:
            raise UsageError(
                f"--train-file and --test-file are both {redact(self.test_file)}; expected two lists",
                hint="leave --test-file out: then pictures are held out by --test-share",
            )
        for name, least in (("length", 3), ("layers", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.width < 32 or self.width % 32:
            raise UsageError(f"width is {self.width}; expected a multiple of 32")
        if self.whole and self.bert != RANDOM and self.arguments is None:
            raise UsageError("--whole takes both towers of --model, and --bert names another one")

    def _take_from(self, arguments: TrainArguments) -> None:
        """Fill what is at its default with what the file says."""
        if self.config is not None:
            raise UsageError("--train-args-file and --config both say how to train; expected one of them")
        defaults = {one.name: one.default for one in fields(self)}
        for name, theirs in _OF_THE_FILE.items():
            said = getattr(arguments, theirs)
            if said is not None and getattr(self, name) == defaults[name]:
                object.__setattr__(self, name, said)
        if self.device is None:
            object.__setattr__(self, "device", arguments.device)

    @property
    def on_gpu(self) -> bool:
        """Whether the model will be on one."""
        import torch

        return (self.device or ("cuda" if torch.cuda.is_available() else "cpu")).startswith("cuda")


def run_locked_image(settings: LockedImageSettings, progress: Progress | None = None) -> PipelineResult:
    """Do all of it, or as much as is still to be done; see `Pipeline.run`."""
    return LockedImage(settings, progress).run()


class LockedImage(PairsPipeline[LockedImageSettings]):
    """Locked-image tuning, stage by stage."""

    name = "locked-image"

    def stages(self) -> PipelineResult:
        """Pairs, features of the locked tower, training, and what of it holds on pictures held out."""
        self.check()
        self.ingest()
        self.tidy()
        encoder = self.load()
        self.settle(encoder, self.training, heads_alone=True)
        self.lock(encoder)
        return self.finish(encoder)

    def check(self) -> None:
        """Hold config and models to what will be needed, before anything is written.

        Raises:
            ConfigError: lists every setting that is wrong.
            NotFoundError: there is no such model.
        """
        given = self.settings
        for note in given.arguments.notes(on_gpu=given.on_gpu) if given.arguments is not None else ():
            self.progress.say(note)
        if given.arguments is None and self._said_fp16 and not given.on_gpu:
            self.progress.say("precision is fp16 and the model runs on a CPU: it computes in fp32")
        _ = self.config
        with _instead("--model starter (clip_pretrain_path)"):
            _ = self.brought
        with _instead("--bert random (bert_pretrain_path)"):
            self.text_tower(None)

    @property
    def _said_fp16(self) -> bool:
        said = configs.read(self.settings.config, self.name) | dict(self.settings.training)
        return said.get("precision") == "fp16"

    def recipe(self, **overrides: Any) -> cd.TrainConfig:
        """The recipe of the same name, or what a `train_clip.json` says; on the locked tower's column."""
        given = self.settings
        said: dict[str, Any] = {}
        if given.arguments is not None:
            said = {**configs.read(configs.DOCUMENT, self.name), **given.arguments.to_train_config(on_gpu=given.on_gpu)}
        said |= overrides
        if said.get("precision") == "fp16" and not given.on_gpu:
            said["precision"] = "fp32"
        config = self.asked.or_else(cd.recipes.locked_image, **{"text": CLEAN, **said})
        return config if config.image_trunk_trains or "image_trunk" in said else replace(config, image_trunk=TRUNK)

    def ingest(self) -> None:
        """The pairs into tables of their own; a picture that cannot be had or read is among the rejects."""
        given = self.settings
        train_file, test_file, images = given.train_file, given.test_file, given.images
        if train_file is None:
            from pipelines.sample.layouts import url_list

            folder = url_list(given.home / "sample")
            train_file, test_file, images = (str(folder / name) for name in ("train.csv", "test.csv", "images"))
        part = {"limit": given.limit, "sample": given.sample, "seed": self.config.seed}
        self.training = self.measured = self._take_in(train_file, images, "train", part)
        if test_file is not None:
            self.measured = self._take_in(test_file, images, "test", {"sample": given.most_held_out})

    def _take_in(self, listed: str, images: str | None, side: str, part: Mapping[str, Any]) -> Table:
        given = self.settings
        pairs = PairList(
            None if given.download else images,
            **{name: getattr(given, name) for name in ("text", "url", "filename", "encoding")},
            allow_private=tuple(given.allow_private),
        )
        done = pairs.take_in(listed, self.at(f"{side}.lance"), **self.reach, **part)
        self.note(done, done.written.any)
        return done.table

    @cached_property
    def brought(self) -> Brought:
        """What the CLIP brings beside its image trunk."""
        from clipdata.encoder.brought import brought_by

        return brought_by(self.settings.model)

    def load(self) -> Encoder:
        """The model to begin with: an image tower and a text tower with weights of their own, or a whole one."""
        from clipdata.encoder.brought import is_transformers_folder

        given = self.settings
        if given.whole and not is_transformers_folder(given.model):
            encoder = super(PairsPipeline, self).load()
            if encoder.context_length != given.length:
                self.progress.say(f"{given.model} reads {encoder.context_length} tokens of a text, as it was made to")
            return encoder
        towers = "both towers" if given.whole else f"the image tower of {given.model}, text tower {given.bert}"
        self.progress.say(f"loading {towers}")
        brought = self.brought
        own = {"kind": "own" if brought.embed_dim is not None else "linear"}
        config = {
            "image": {"kind": "clip", "weights": given.model, "head": own},
            "text": self.text_tower(self._texts()),
            "embed_dim": brought.embed_dim or 512,
            "context_length": given.length,
            "seed": self.config.seed,
            "name": given.model if given.whole else f"{given.model} and {given.bert}",
        }
        scale = {"logit_scale": brought.logit_scale} if brought.logit_scale is not None else {}
        return cd.new_encoder(ModelConfig.from_json({**config, **scale}), device=given.device)

    def text_tower(self, texts: Iterator[str] | None) -> Mapping[str, Any]:
        """The section of the text tower in the model's config.

        Args:
            texts: to make the vocabulary of a random tower of; None only sees whether there is such a tower.
        """
        from clipdata.encoder import brought, characters

        given = self.settings
        if given.whole:
            return {"kind": "clip", "weights": given.model, "head": "own" if self.brought.has_texts else "linear"}
        if given.bert != RANDOM:
            if not brought.is_transformers_folder(given.bert):
                return {"kind": "clip", "weights": given.bert}
            pooling = "pooler" if brought.has_pooler(given.bert) else "cls"
            return {"kind": "hugging_face", "architecture": given.bert, "pooling": pooling}
        folder = Path(given.home) / "characters"
        if texts is not None:
            shape = {"layers": given.layers, "width": given.width, "length": given.length}
            characters.bert_of_characters(texts, folder, **shape)
        return {"kind": "hugging_face", "architecture": str(folder), "weights": RANDOM, "pooling": "pooler"}

    def _texts(self) -> Iterator[str]:
        """The texts to train on."""
        for batch in self.training.scan([CLEAN], where=f"{TRAIN} AND {CLEAN} IS NOT NULL"):
            for texts in batch.column(0).to_pylist():
                yield from texts

    def shown(self, encoder: Encoder) -> Mapping[str, Evaluation]:
        """The tuned model's towers alone, and what it finds alike among some held-out pictures and texts."""
        rows = self._examples_with_pictures()
        folder = self.settings.home / "shown"
        folder.mkdir(parents=True, exist_ok=True)
        places = []
        for row in rows:
            places.append(str(folder / Path(row["filename"]).name))
            Path(places[-1]).write_bytes(row["image"])
        texts = list(self.settings.search) or list(dict.fromkeys(row[CLEAN][0] for row in rows))
        found = cd.similar(encoder, texts=texts, images=places, top=self.settings.top)
        return {"similar": found, "towers": self._towers(encoder)}

    def _examples_with_pictures(self) -> list[dict[str, Any]]:
        """A few held-out rows of different pictures, the same every time."""
        where = f"{TEST} AND {CLEAN} IS NOT NULL"
        digests = sorted(set(self.measured.to_table([PICTURE], where=where).column(0).to_pylist()))[:_SHOWN]
        listed = ", ".join(f"'{digest}'" for digest in digests)
        rows = self.measured.to_table(
            [PICTURE, "filename", "image", CLEAN], where=f"{where} AND {PICTURE} IN ({listed})"
        )
        return list({row[PICTURE]: row for row in rows.to_pylist()}.values())

    def _towers(self, encoder: Encoder) -> ExportedTowers:
        """The towers alone, for the libraries they belong to; written once for each tuned model."""
        from clipdata.encoder.tower_exports import TOWERS, ExportedTowers, export_towers

        folder = self.settings.home / "towers"
        with suppress(OSError, ValueError):
            record = parse_json((folder / TOWERS).read_text(encoding="utf-8"))
            if record["made_from"] == encoder.identity:
                return ExportedTowers(**{one.name: record[one.name] for one in fields(ExportedTowers)})
        self.changed = True
        return export_towers(encoder, folder, overwrite=True)


@contextmanager
def _instead(setting: str) -> Iterator[None]:
    """Say of a tower that cannot be had what needs no hub."""
    try:
        yield
    except (UsageError, NotFoundError, TransientError) as error:
        near = f"{error.hint}; " if error.hint and "did you mean" in error.hint else ""
        error.hint = f"{near}name a folder with its files, or take {setting}, which needs no hub"
        raise
