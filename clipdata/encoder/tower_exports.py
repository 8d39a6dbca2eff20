"""Writes a model's towers for the libraries they belong to, each in a folder that opens without clipdata.

    vision/   transformers' CLIPVisionModel, or a file and config for timm
    text/     transformers' BertModel, DistilBertModel … or CLIPTextModel, with its tokenizer
    whole/    transformers' CLIPModel or VisionTextDualEncoderModel

What a library has no class for is not written nearly right: the reason is said instead.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clipdata.current_folder import absolute_path
from clipdata.encoder.exporting import begin_folder, put_in_place, save_tensors
from clipdata.encoder.layout import TOWER_CONFIG, write_json
from clipdata.encoder.parts import clip_format
from clipdata.encoder.parts.other_model import image_of_encoder, text_of_encoder
from clipdata.encoder.parts.protocol import Part
from clipdata.encoder.quiet import quiet_libraries
from clipdata.encoder.tower_kinds import Head
from clipdata.errors import NotFoundError, StorageError, UsageError
from clipdata.json_parsing import parse_json

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

TOWERS = "towers.json"
_WEIGHTS = "model.safetensors"
_RESAMPLING = {"bicubic": 3, "bilinear": 2}

_README = """# The towers of {name}

Exported by clipdata; each folder opens by itself.
"""


@dataclass(frozen=True)
class ExportedTowers:
    """What was written.

    Args:
        path: folder of it all.
        opens: what to type, by the name of what was written: "vision", "text", "whole".
        not_written: why something was not, by the same names.
        notes: what else is to be known, by the same names.
    """

    path: str
    opens: dict[str, str]
    not_written: dict[str, str]
    notes: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"the towers are in {self.path}"]
        lines += [f"  {name:6} {code}" for name, code in self.opens.items()]
        lines += [f"  {name:6} not written: {reason}" for name, reason in self.not_written.items()]
        return "\n".join(lines + [f"  {name}: {note}" for name, note in self.notes.items()])


def export_towers(encoder: Encoder, path: str | os.PathLike[str], *, overwrite: bool = False) -> ExportedTowers:
    """Write the towers of a model for transformers and timm.

    The folder appears whole or not at all; towers of the same model that are there already are replaced.

    Args:
        encoder: the model.
        path: local folder to write.
        overwrite: replace towers of another model, too.

    Raises:
        UsageError: the path holds something else, or another model's towers.
        NotFoundError: transformers is not installed.
        StorageError: the folder cannot be written.
    """
    target = absolute_path(path)
    if target.exists() and not (target.is_dir() and ((target / TOWERS).is_file() or not any(target.iterdir()))):
        raise UsageError(f"{target} exists and holds no exported towers", hint="choose a path that does not exist yet")
    if not overwrite and (target / TOWERS).is_file() and _made_from(target) != encoder.identity:
        raise UsageError(
            f"{target} holds the towers of another model", hint="choose another folder, or --overwrite (overwrite=True)"
        )
    try:
        aside = begin_folder(target)
        try:
            with quiet_libraries():
                done = _Writer(encoder, aside, target).write()
            put_in_place(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if isinstance(error, NotFoundError):
            raise
        raise StorageError(f"cannot write the towers to {target}: {error}") from error
    return done


def _made_from(folder: Path) -> str | None:
    """Identity of the model whose towers a folder holds; None where its record cannot be read."""
    try:
        made_from = parse_json((folder / TOWERS).read_text(encoding="utf-8"))["made_from"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return str(made_from)


class _Writer:
    """Writes one model's towers into a folder that will be renamed to `target`."""

    def __init__(self, encoder: Encoder, folder: Path, target: Path) -> None:
        try:
            import transformers
        except ImportError as error:
            raise NotFoundError(
                "the package 'transformers' is not installed", hint="pip install 'clipdata[starter]'"
            ) from error
        self._transformers = transformers
        self._encoder, self._folder, self._target = encoder, folder, target
        self._done = ExportedTowers(str(target), {}, {}, {})

    def write(self) -> ExportedTowers:
        """Write what can be written."""
        image, text = (self._part(name) for name in ("vision", "text"))
        vision_config = self._vision(image) if isinstance(image, Part) else image
        text_config = self._text(text) if isinstance(text, Part) else text
        self._whole(image, vision_config, text, text_config)
        lines = [_README.format(name=self._encoder.name)]
        lines += [f"`{name}/`\n\n    {code}\n" for name, code in self._done.opens.items()]
        lines += [f"`{name}` was not written: {reason}.\n" for name, reason in self._done.not_written.items()]
        lines += [f"`{name}/`: {note}.\n" for name, note in self._done.notes.items()]
        (self._folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
        made_of = {"name": self._encoder.name, "made_from": self._encoder.identity}
        write_json(self._folder / TOWERS, {"format": 1, **made_of, **asdict(self._done)})
        self._folder.chmod(0o755)
        for entry in self._folder.rglob("*"):
            entry.chmod(0o755 if entry.is_dir() else 0o644)
        return self._done

    def _part(self, name: str) -> Part | str:
        """A copy of a tower, or why there is none."""
        take: Any = image_of_encoder if name == "vision" else text_of_encoder
        try:
            return take(self._encoder, Head("none"), embed_dim=self._encoder.embed_dim)
        except UsageError as error:
            self._done.not_written[name] = error.message
            return error.message

    def _vision(self, image: Part) -> Any:
        """Write the image tower; return transformers' config of it, or why there is none."""
        folder = self._folder / "vision"
        if image.section["kind"] == "timm":
            folder.mkdir()
            self._write_timm(image, folder)
            return "its image tower is timm's"
        facts = clip_format.transformers_vision(
            image.section["architecture"], bool(image.quick_gelu), self._encoder.embed_dim
        )
        if isinstance(facts, str):
            self._done.not_written["vision"] = facts
            return facts
        config = self._transformers.CLIPVisionConfig(**facts)
        folder.mkdir()
        renamed = clip_format.to_transformers(image.trunk.state_dict(), "vision")
        self._save(folder, config, "CLIPVisionModel", {f"vision_model.{name}": t for name, t in renamed.items()})
        self._write_processor(folder)
        self._done.opens["vision"] = f'transformers.CLIPVisionModel.from_pretrained("{self._target / "vision"}")'
        return config

    def _write_timm(self, image: Part, folder: Path) -> None:
        trunk: Any = image.trunk
        save_tensors(trunk.state_dict(), folder / _WEIGHTS)
        name = image.section["architecture"].removeprefix("timm/")
        pool, options = image.section.get("pool"), image.section.get("options", {})
        size = list(self._encoder.prepare.size)
        write_json(
            folder / TOWER_CONFIG,
            {
                "architecture": name,
                "num_classes": 0,
                "num_features": image.trunk_dim,
                **({"global_pool": pool} if pool else {}),
                "pretrained_cfg": {
                    "num_classes": 0,
                    "input_size": [3, *size],
                    "mean": list(self._encoder.prepare.mean),
                    "std": list(self._encoder.prepare.std),
                    "interpolation": self._encoder.prepare.interpolation,
                    "first_conv": trunk.pretrained_cfg.get("first_conv"),
                    "classifier": trunk.pretrained_cfg.get("classifier"),
                },
            },
        )
        more = "".join(f", {key}={value!r}" for key, value in options.items())
        more += f", global_pool={pool!r}" if pool else ""
        more += f", img_size={tuple(size)}" if trunk.pretrained_cfg.get("fixed_input_size") else ""
        file = self._target / "vision" / _WEIGHTS
        self._done.opens["vision"] = (
            f'timm.create_model("{name}", pretrained=True, num_classes=0{more}, '
            f'pretrained_cfg_overlay=dict(file="{file}", num_classes=0))'
        )

    def _text(self, text: Part) -> Any:
        """Write the text tower; return transformers' config of it, or why there is none."""
        folder = self._folder / "text"
        if text.section["kind"] == "hugging_face":
            transformer: Any = text.trunk.transformer
            config, kind = copy.deepcopy(transformer.config), type(transformer).__name__
            tensors = transformer.state_dict()
            more = ", add_pooling_layer=False" if getattr(transformer, "pooler", self) is None else ""
            if more:
                self._done.notes["text"] = (
                    f"the model takes the {text.section['pooling']} of last_hidden_state, and has no pooler"
                )
        else:
            facts = clip_format.transformers_text(
                text.section["architecture"], bool(text.quick_gelu), self._encoder.embed_dim
            )
            if isinstance(facts, str):
                self._done.not_written["text"] = facts
                return facts
            config, kind, more = self._transformers.CLIPTextConfig(**facts), "CLIPTextModel", ""
            renamed = clip_format.to_transformers(text.trunk.state_dict(), "text")
            tensors = {f"text_model.{name}": tensor for name, tensor in renamed.items()}
        folder.mkdir()
        self._save(folder, config, kind, tensors)
        self._encoder.tokenize.save(folder)
        self._done.opens["text"] = f'transformers.{kind}.from_pretrained("{self._target / "text"}"{more})'
        return config

    def _whole(self, image: Part | str, vision_config: Any, text: Part | str, text_config: Any) -> None:
        """Write the whole model for transformers."""
        reason = self._why_not_whole(image, vision_config, text, text_config)
        if reason:
            self._done.not_written["whole"] = reason
            return
        assert isinstance(image, Part)
        assert isinstance(text, Part)
        scale: dict[str, Any] = {
            "logit_scale_init_value": float(self._encoder.model.get_parameter("logit_scale").detach().cpu())
        }
        dims: dict[str, Any] = {"projection_dim": self._encoder.embed_dim, **scale}
        if text_config.model_type == "clip_text_model":
            config = self._transformers.CLIPConfig(
                text_config=text_config.to_dict(), vision_config=vision_config.to_dict(), **dims
            )
            kind = "CLIPModel"
            text_tensors = clip_format.to_transformers(text.trunk.state_dict(), "text")
        else:
            config = self._transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
                vision_config, text_config, **dims
            )
            kind = "VisionTextDualEncoderModel"
            text_tensors = dict(text.trunk.transformer.state_dict())  # type: ignore[operator, union-attr]
        vision_tensors = clip_format.to_transformers(image.trunk.state_dict(), "vision")
        tensors = {f"vision_model.{name}": tensor for name, tensor in vision_tensors.items()}
        tensors |= {f"text_model.{name}": tensor for name, tensor in text_tensors.items()}
        for name, head in (("visual_projection", self._matrix("image")), ("text_projection", self._matrix("text"))):
            assert head is not None
            tensors[f"{name}.weight"] = head
        tensors["logit_scale"] = self._encoder.model.get_parameter("logit_scale").detach().reshape(())
        folder = self._folder / "whole"
        folder.mkdir()
        self._save(folder, config, kind, tensors)
        self._encoder.tokenize.save(folder)
        self._write_processor(folder)
        self._done.opens["whole"] = f'transformers.{kind}.from_pretrained("{self._target / "whole"}")'

    def _why_not_whole(self, image: Part | str, vision_config: Any, text: Part | str, text_config: Any) -> str:
        if isinstance(vision_config, str):
            return f"transformers' whole models have CLIP's image tower, and {vision_config}"
        if isinstance(text_config, str):
            return text_config
        if isinstance(text, Part) and text.section.get("pooling", "pooler") != "pooler":
            return (
                "transformers' VisionTextDualEncoderModel takes the text tower's pooler, and this model the "
                f"{text.section['pooling']} of its features (text.pooling 'pooler' would fit)"
            )
        if any(self._matrix(side) is None for side in ("image", "text")):
            return "transformers' whole models have heads of the kind 'linear' without bias"
        if getattr(self._encoder.model, "logit_bias", None) is not None:
            return "transformers' whole models have no logit bias"
        return ""

    def _matrix(self, side: str) -> torch.Tensor | None:
        """[D, T] of a head that is a plain matrix, or None."""
        towers = self._encoder.towers
        names = towers.image_head_names if side == "image" else towers.text_head_names
        if len(names) != 1:
            return None
        weight = self._encoder.model.get_parameter(names[0]).detach().cpu()
        # open_clip's own towers keep the matrix the other way round, outside of a layer.
        return weight if names[0].endswith(".weight") else weight.T.contiguous()

    def _save(self, folder: Path, config: Any, kind: str, tensors: Mapping[str, torch.Tensor]) -> None:
        config.architectures = [kind]
        config.dtype = torch.float32
        config.save_pretrained(str(folder))
        save_tensors(tensors, folder / _WEIGHTS)

    def _write_processor(self, folder: Path) -> None:
        """Say how pictures are prepared, where transformers can do it so."""
        prepare = self._encoder.prepare
        height, width = prepare.size
        shape = {"height": height, "width": width}
        if prepare.resize_mode == "longest":
            self._done.notes[folder.name] = "transformers cannot pad pictures as this model wants them"
            return
        crops = prepare.resize_mode == "shortest"
        write_json(
            folder / "preprocessor_config.json",
            {
                "image_processor_type": "CLIPImageProcessor",
                "do_resize": True,
                "size": {"shortest_edge": height} if crops else shape,
                "resample": _RESAMPLING[prepare.interpolation],
                "do_center_crop": crops,
                "crop_size": shape,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": list(prepare.mean),
                "image_std": list(prepare.std),
                "do_convert_rgb": True,
            },
        )
