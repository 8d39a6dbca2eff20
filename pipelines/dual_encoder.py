"""Two towers that never met, joined by heads of their own: pictures of a Lance table, found by text.

The flow of Lance's example on Flickr8k: a table of pictures, each with several captions, is read as it lies; an image
backbone and a text backbone with weights of their own get a head each; three rates train them; at the end pictures are
searched by text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import clipdata as cd
from clipdata.encoder.model_config import ModelConfig
from clipdata.errors import UsageError
from clipdata.progress import Progress
from clipdata.training.objectives import objective_of
from clipdata.training.run import one_spelling
from pipelines.pair_columns import TRUNK
from pipelines.pair_settings import PairsSettings
from pipelines.pairs import PairsPipeline
from pipelines.results import PipelineResult

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

STARTER = "starter"
NEW = "new"
Losses = Literal["multi_positive", "soft_target", "contrastive", "siglip"]
_PICKS = {"longest": "longest", "random": "random", "each": "all"}


@dataclass(frozen=True, kw_only=True)
class DualEncoderSettings(PairsSettings):
    """What the dual encoder works on.

    Args:
        table: Lance table of pictures with captions, of whatever tool; the built-in sample by default. It gets columns
            and is never copied.
        test_table: another one to measure on; by default rows of the first whose `split` says test, or pictures that
            are held out where nothing does.
        image_model: timm's name of the image backbone, or "starter" for that of the starter model.
        image_weights: "pretrained" (timm's, from the hub), "random", or a file or folder.
        text_model: folder, hub name or model type of the text backbone, or "starter".
        text_weights: "pretrained", "random", or a folder or hub name; by default those of the folder or hub name.
        tokenizer: folder or hub name; by default the text backbone's own, else the starter's.
        embed_dim: of the space that both heads project into.
        image_size: side in pixels to which pictures are squashed.
        max_length: ids of a caption that are read.
        loss: of the training, instead of the config's.
        captions: which of a picture's captions a step takes, instead of the config's: "longest", "random" (another
            every epoch), or "each" of them.
    """

    table: str | None = None
    test_table: str | None = None
    image_model: str = STARTER
    image_weights: str | None = None
    text_model: str = STARTER
    text_weights: str | None = None
    tokenizer: str | None = None
    embed_dim: int = 256
    image_size: int = 128
    max_length: int = 18
    loss: Losses | None = None
    captions: Literal["longest", "random", "each"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_table is not None and self.table is None:
            raise UsageError("--test-table is given without --table", hint="give both, or neither for the sample")
        made = [name for name in ("image_model", "text_model") if getattr(self, name) != STARTER]
        if self.model != NEW and made:
            raise UsageError(f"--model {self.model} is given and --{made[0].replace('_', '-')}, too: it has its own")
        for side in ("image", "text"):
            if getattr(self, f"{side}_model") == STARTER and getattr(self, f"{side}_weights") is not None:
                raise UsageError(
                    f"--{side}-weights is given without --{side}-model", hint="name the architecture of the weights"
                )

    def model_config(self) -> ModelConfig:
        """The model as the document puts it together: two backbones, and a head of the same kind on each."""
        sections = {"image": self._image(), "text": self._text()}
        given: dict[str, Any] = {side: {**section, "head": "mlp"} for side, section in sections.items()}
        if self.tokenizer is not None or self._lacks_tokenizer:
            given["tokenizer"] = self.tokenizer or _starter_tokenizer()
        preprocessing = {"size": self.image_size, "resize_mode": "squash", "interpolation": "bilinear"}
        return ModelConfig.from_json(
            {
                **given,
                "embed_dim": self.embed_dim,
                "context_length": self.max_length,
                "preprocessing": {**preprocessing, "mean": 0.5, "std": 0.5},
                "name": f"{self.image_model} and {self.text_model}",
            }
        )

    def _image(self) -> Mapping[str, Any]:
        if self.image_model == STARTER:
            return {"kind": "clip", "weights": STARTER}
        return {"kind": "timm", "architecture": self.image_model, "weights": self.image_weights or "pretrained"}

    def _text(self) -> Mapping[str, Any]:
        if self.text_model == STARTER:
            return {"kind": "clip", "weights": STARTER}
        weights = {"weights": self.text_weights} if self.text_weights is not None else {}
        return {"kind": "hugging_face", "architecture": self.text_model, "pooling": "cls", **weights}

    @property
    def _lacks_tokenizer(self) -> bool:
        """Whether the text backbone comes without files: a type of model, or another model's."""
        from clipdata.encoder.parts.hugging_face import is_model_type

        return self.text_model == STARTER or is_model_type(self.text_model)


def run_dual_encoder(settings: DualEncoderSettings, progress: Progress | None = None) -> PipelineResult:
    """Do all of it, or as much as is still to be done; see `Pipeline.run`."""
    return DualEncoder(settings, progress).run()


class DualEncoder(PairsPipeline[DualEncoderSettings]):
    """The dual encoder, stage by stage."""

    name = "dual-encoder"

    def stages(self) -> PipelineResult:
        """The table as it lies, two towers, training, and what of it holds on pictures held out."""
        self.open()
        _ = self.config
        encoder = self.load()
        self.tidy()
        self.settle(encoder, self.training)
        self.lock(encoder)
        return self.finish(encoder)

    def recipe(self, **overrides: Any) -> cd.TrainConfig:
        """The recipe of the same name, on the captions as they are cleaned; the settings' own loss and captions win.

        A trunk of pictures that does not train is read from a column.
        """
        given = self.settings
        own: dict[str, Any] = {"text": "captions_clean", "image": self.image_in(self.training)}
        if given.loss is not None and given.loss != objective_of(overrides.get("objective", given.loss)).kind:
            of_the_other = {"normalise", "temperature", "same", "group"}
            overrides = {name: value for name, value in overrides.items() if name not in of_the_other}
        own |= {"objective": given.loss} if given.loss is not None else {}
        own |= {"captions": _PICKS[given.captions]} if given.captions is not None else {}
        config = self.asked.or_else(cd.recipes.dual_encoder, **{**overrides, **own})
        locked = not config.image_trunk_trains and "image_trunk" not in overrides
        return replace(config, image_trunk=TRUNK) if locked else config

    def open(self) -> None:
        """The tables, and their columns of pictures and captions."""
        given = self.settings
        if given.table is not None:
            where, where_test = given.table, given.test_table
        else:
            from pipelines.sample import layouts

            folder = given.home / "sample"
            where, where_test = (str(layouts.flickr_table(folder / f"flickr-{s}.lance", s)) for s in layouts.SPLITS)
        self.training = cd.open_table(where, storage=given.storage)
        self.measured = cd.open_table(where_test, storage=given.storage) if where_test else self.training
        if where_test and one_spelling(self.measured.uri) == one_spelling(self.training.uri):
            raise UsageError("--test-table and --table name the same table", hint="leave --test-table out")
        for table in (self.training, self.measured):
            self.image_in(table), self.captions_in(table)
        self.table = self.training

    def load(self) -> Encoder:
        """The model to begin with: the one that is named, or two towers put together."""
        if self.settings.model != NEW:
            return super().load()
        given = self.settings
        self.progress.say(f"putting together {given.image_model} and {given.text_model}, with a new head each")
        return cd.new_encoder(given.model_config(), seed=self.config.seed, device=given.device)


def _starter_tokenizer() -> str:
    from clipdata.encoder.starter import starter_tokenizer

    return str(starter_tokenizer())
