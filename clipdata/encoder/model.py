"""The Encoder: a pair of towers with their preprocessing and tokenizer, ready to turn pictures and texts into vectors.

It must know nothing of where models come from (loading.py) or go to (exporting.py), nor of tables and training.

Shapes: B = batch, C = 3 channels, H, W = the model's input in pixels, L = ids of a text, T = trunk, D = shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import nn

from clipdata.encoder.allocation import keep_freed_memory
from clipdata.encoder.identity import architecture, digest_of, digest_tensors, mutation_count
from clipdata.encoder.preparation import Preparation
from clipdata.encoder.tokenization import TextTokenizer
from clipdata.encoder.towers import TowerSplit, split
from clipdata.errors import UsageError
from clipdata.trained_rows import TrainedRows

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Pictures and texts that go through a tower at once. More than these are no faster on a CPU, and take more memory.
_IMAGES_AT_ONCE_CPU = 8
_IMAGES_AT_ONCE = 256
_TEXTS_AT_ONCE_CPU = 64
_TEXTS_AT_ONCE = 1024


class Encoder:
    """An image tower and a text tower that share a space, with one identity.

    `prepare` and `tokenize` are callables that pickle without the model, so that data workers can carry them. The
    encoder itself pickles as the name that loads it, or with its weights; see `sending`.

    Args:
        model: open_clip's CLIP, CustomTextCLIP or CoCa, or an AssembledModel, with float32 weights.
        name: what the person called it; shown in lineage, no part of the identity.
        model_cfg: open_clip's `model_cfg` of the model, or our own config of an assembled one.
        prepare: makes uint8 [3, H, W] of a decoded picture.
        tokenize: makes int64 [B, L] of texts.
        device: where the model runs, such as "cpu" or "cuda:0".
        precision: "fp32", or the type the towers compute in under autocast.
        trained_on: rows that the model was trained on, in each of its trainings that clipdata knows of.

    Raises:
        UsageError: the precision is unknown, or the device has no such precision.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        model_cfg: Mapping[str, Any],
        prepare: Preparation,
        tokenize: TextTokenizer,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        trained_on: Iterable[TrainedRows] = (),
    ) -> None:
        self.device = torch.device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.precision = _checked_precision(precision, self.device)
        self.model = model.float().to(self.device).eval()
        self.name = name
        self.model_cfg = dict(model_cfg)
        self.prepare = prepare
        self.tokenize = tokenize
        self.trained_on = tuple(trained_on)
        self._digests: tuple[Any, dict[str, str]] = (None, {})
        self._known_by_name: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        from clipdata.encoder.sending import packed

        return packed(self)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, identity={self.identity[:12]}, device={self.device}, {self.precision})"

    @property
    def is_known_by_name(self) -> bool:
        """Whether `load_encoder` gives this very model by its name on any machine."""
        return self._known_by_name is not None and self._known_by_name == mutation_count(self.model)

    def named_for_all(self) -> Encoder:
        """Say that `load_encoder` gives this model by its name on any machine, while its weights stay as they are."""
        self._known_by_name = mutation_count(self.model)
        return self

    @cached_property
    def towers(self) -> TowerSplit:
        """The model's towers as functions that carry gradients."""
        return split(self.model)

    @property
    def image_size(self) -> int:
        """Side of the model's input in pixels (the height, where it is not square)."""
        return self.prepare.size[0]

    @property
    def embed_dim(self) -> int:
        """Length D of a vector in the shared space."""
        return int(self.model_cfg["embed_dim"])

    @property
    def trunk_dim(self) -> int:
        """Length T of the image trunk's features."""
        return self.towers.image_trunk_dim

    @property
    def context_length(self) -> int:
        """Number of ids L that a text is cut or padded to."""
        return self.tokenize.context_length

    @property
    def logit_scale(self) -> float:
        """What the model multiplies a cosine by before a softmax: exp of its trained parameter."""
        return float(self.model.get_parameter("logit_scale").detach().exp().cpu())

    @property
    def identity(self) -> str:
        """Hex digest over weights, architecture, preprocessing, tokenizer and precision."""
        return self._digest("whole", lambda _: True, self.tokenize.identity)

    @property
    def trunk_identity(self) -> str:
        """Hex digest of what decides the image trunk's features; training only heads leaves it as it was."""
        heads = set(self.towers.image_head_names)
        return self._digest("trunk", lambda name: name.startswith("visual.") and name not in heads, None)

    @property
    def text_trunk_identity(self) -> str:
        """Hex digest of what decides the text trunk's features; training only heads leaves it as it was."""
        not_of_it = {*self.towers.text_head_names, "logit_scale", "logit_bias"}
        return self._digest(
            "text trunk", lambda name: not name.startswith("visual.") and name not in not_of_it, self.tokenize.identity
        )

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Count the texts whose end the model does not see, because they are longer than its context."""
        return self.tokenize.count_truncated(texts)

    def are_truncated(self, texts: Sequence[str]) -> list[bool]:
        """Tell of each text whether the model does not see its end."""
        return self.tokenize.are_truncated(texts)

    def normalise(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Move uint8 [B, 3, H, W] to the model's device and turn it into the model's float input."""
        return self.prepare.normalise(image_BCHW.to(self.device, non_blocking=True))

    def encode_images(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised float32 [B, D] on the model's device, from uint8 [B, 3, H, W] that prepare() made."""
        return self.project_trunk(self.image_trunk(image_BCHW))

    def image_trunk(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Return float32 features [B, T] before the projection, from uint8 [B, 3, H, W]."""
        if not len(image_BCHW):
            return torch.zeros((0, self.trunk_dim), device=self.device)
        chunks = image_BCHW.split(_IMAGES_AT_ONCE_CPU if self.device.type == "cpu" else _IMAGES_AT_ONCE)
        return self._forward(lambda chunk: self.towers.image_trunk(self.normalise(chunk)), chunks)

    def project_trunk(self, trunk_BT: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised float32 [B, D] from the image trunk's features [B, T]."""
        features_BD = self._forward(self.towers.image_head, [trunk_BT.to(self.device)])
        return nn.functional.normalize(features_BD, dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised float32 [B, D] on the model's device, one row a text."""
        return self.encode_tokens(self.tokenize(texts))

    def encode_tokens(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised float32 [B, D] on the model's device, from int64 [B, L] that tokenize() made."""
        if not len(tokens_BL):
            return torch.zeros((0, self.embed_dim), device=self.device)
        # Texts of about one length share a chunk, so that little padding goes through the tower.
        order = torch.argsort((tokens_BL != tokens_BL[:, -1:]).sum(dim=1), stable=True)
        chunks = [
            self.towers.trim_tokens(chunk).to(self.device)
            for chunk in tokens_BL[order].split(_TEXTS_AT_ONCE_CPU if self.device.type == "cpu" else _TEXTS_AT_ONCE)
        ]
        features_BD = self._forward(lambda chunk: self.towers.text_head(self.towers.text_trunk(chunk)), chunks)
        return nn.functional.normalize(features_BD[torch.argsort(order).to(self.device)], dim=-1)

    def _forward(
        self, function: Callable[[torch.Tensor], torch.Tensor], chunks: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        with _in_eval(self.model), torch.inference_mode(), self.autocast():
            done = [function(chunk).float() for chunk in chunks]
        # Leaving inference mode with a copy: the result may become the input of something that trains.
        return torch.cat(done)

    def autocast(self) -> torch.autocast:
        """Compute in the encoder's precision."""
        dtype = _DTYPES.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _digest(self, what: str, chosen: Callable[[str], bool], tokenizer: str | None) -> str:
        now = (mutation_count(self.model), self.prepare)
        if self._digests[0] != now:
            self._digests = (now, {})
        known = self._digests[1]
        if what not in known:
            tensors = ((name, tensor) for name, tensor in self.model.state_dict().items() if chosen(name))
            tower = getattr(getattr(self.model, "text", None), "config", None)
            facts = {
                "weights": digest_tensors(tensors),
                "architecture": architecture(self.model_cfg, tower, whole=tokenizer is not None),
                "preparation": self.prepare.facts(),
                "tokenizer": tokenizer,
                "precision": self.precision,
            }
            known[what] = digest_of(facts)
        return known[what]


def _checked_precision(precision: str, device: torch.device) -> str:
    if precision not in get_args(Precision):
        raise UsageError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
    supported = torch.amp.is_autocast_available(device.type)
    if precision == "bf16" and device.type == "cuda":
        supported = torch.cuda.is_bf16_supported()
    if precision != "fp32" and not supported:
        raise UsageError(f"precision {precision!r} is not supported on {device}", hint="use precision='fp32'")
    return precision


@contextmanager
def _in_eval(model: nn.Module) -> Iterator[None]:
    """Hold dropout and batch statistics still for one call, also in the middle of training."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
