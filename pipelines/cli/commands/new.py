"""`clipdata new`: a model that does not exist yet, of an architecture or of two towers with weights of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipdata.errors import UsageError
from clipdata.hints import typed
from clipdata.plurals import counted
from pipelines.cli.json_output import NUMBER, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import Overwrite
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.encoder import Encoder

MADE = record(
    model=TEXT,
    name=TEXT,
    identity=TEXT,
    class_name=TEXT,
    embed_dim=WHOLE,
    image_size=listed(WHOLE),
    image_trunk=WHOLE,
    image_parameters=WHOLE,
    text_trunk=WHOLE,
    text_parameters=WHOLE,
    context_length=WHOLE,
    logit_scale=NUMBER,
    logit_bias=maybe(NUMBER),
    not_for_open_clip=listed(TEXT),
)

_CONFIGS = """A config is an object of two towers and what stands around them:
  {"image": {"kind": "vit", "layers": 8, "width": 768, "heads": 6,
             "patch_size": 16, "head": "linear+layernorm"},
   "text": {"kind": "hugging_face", "architecture": "distilbert",
            "pooling": "cls", "head": "linear+layernorm"},
   "tokenizer": "FOLDER", "embed_dim": 256, "context_length": 77,
   "logit_scale": 0.142857, "seed": 0,
   "preprocessing": {"size": 224, "resize_mode": "squash",
                     "mean": 0.5, "std": 0.5}}

Image towers:
  vit           layers, width, heads, patch_size, mlp_ratio: a plain vision
                transformer, random
  timm          architecture; weights: random, pretrained, or a file or
                folder; pool; options
  open_clip     architecture (RN50, ViT-B-32, or a vision_cfg); weights:
                random, a tag such as openai, or a file
  clip          weights: the tower of another model (whatever --model takes,
                or a CLIP of transformers)
Text towers:
  hugging_face  architecture: a folder or hub name, a type such as distilbert,
                or a config with its model_type; weights: pretrained, random,
                or another folder; pooling: cls, mean or pooler
  open_clip     as above, with text_cfg
  clip          as above
Heads: linear, linear+layernorm, mlp, none, own; or an object with kind, bias
and dropout. Also: logit_bias, name. open_clip's own config files work too.
"""


@verb(
    "new",
    found=MADE,
    more_help=lambda: _CONFIGS,
    examples=["clipdata new model.json --out models/mine", "clipdata new RN50 --out models/rn50 --seed 1"],
)
def new(
    terminal: Terminal,
    what: Annotated[str, typer.Argument(help="JSON file of a model's config, or an open_clip architecture.")],
    *,
    out: Annotated[str, typer.Option("--out", help="Folder of the model; every verb takes it as --model.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of random weights; the config's by default, or 0.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model, which lineage shows.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a model to train: random towers, or towers with weights of their own that never met."""
    from clipdata.encoder import export, new_encoder
    from clipdata.encoder.layout import is_model_folder

    folder = Path(out).expanduser()
    if is_model_folder(folder) and not overwrite:
        raise UsageError(f"{out} holds a model already", hint="--overwrite replaces it, or choose another folder")
    encoder = new_encoder(what, seed=seed, name=name, device="cpu")
    path = export(encoder.model, encoder, folder)
    found = _found(encoder, path)
    terminal.result(_text(found), found)
    terminal.hint(f"clipdata train TABLE --model {typed(out)} --out RUN")


def _found(encoder: Encoder, path: Path) -> dict[str, Any]:
    model = encoder.model
    numbers = {True: 0, False: 0}
    for parameter_name, parameter in model.named_parameters():
        numbers[parameter_name.startswith("visual.")] += parameter.numel()
    bias = getattr(model, "logit_bias", None)
    return {
        "model": str(path),
        "name": encoder.name,
        "identity": encoder.identity,
        "class_name": type(model).__name__,
        "embed_dim": encoder.embed_dim,
        "image_size": list(encoder.prepare.size),
        "image_trunk": encoder.towers.image_trunk_dim,
        "image_parameters": numbers[True],
        "text_trunk": encoder.towers.text_trunk_dim,
        "text_parameters": numbers[False],
        "context_length": encoder.context_length,
        "logit_scale": encoder.logit_scale,
        "logit_bias": None if bias is None else float(bias.detach()),
        "not_for_open_clip": list(getattr(model, "why_not", ())),
    }


def _text(found: dict[str, Any]) -> str:
    height, width = found["image_size"]
    bias = "" if found["logit_bias"] is None else f", logit bias {found['logit_bias']:g}"
    reasons = "; ".join(found["not_for_open_clip"])
    return "\n".join(
        (
            f"{found['name']} ({found['identity'][:12]}) in {found['model']}",
            f"  image  {counted(found['image_parameters'], 'parameter')}, {height} x {width} pixels, "
            f"{found['image_trunk']} features -> {found['embed_dim']}",
            f"  text   {counted(found['text_parameters'], 'parameter')}, {found['context_length']} ids, "
            f"{found['text_trunk']} features -> {found['embed_dim']}",
            f"  logit scale {found['logit_scale']:.4g}{bias}",
            f"  opens with clipdata alone: {reasons}" if reasons else "  opens with open_clip too",
        )
    )
