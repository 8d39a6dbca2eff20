"""Low-rank additions to the attention of a live model's towers: LoRA (arXiv 2106.09685), as CLIP-LoRA places it.

    adapted = insert(model, rank=2, alpha=1.0, dropout=0.25)    # each of q, k and v gets a product of its own
    lock(model, "lora")                                         # and that trains, with the heads

A projection W x becomes W x + alpha / rank * B A dropout(x), where A is [rank, in] and B, zero at the start, is
[out, rank]. The parameters of the additions belong to the model, with names that end in `lora.q.a` and the like. Its
state dict does not hold them: it is that of the model with the additions merged into its weights, W + alpha / rank B A,
under the names that it always had, so that whatever writes a model writes a plain one.

It knows modules and nothing of training. Shapes: I and O = width before and behind a projection, R = rank,
L = positions, H = heads.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from clipdata.encoder.towers import image_tower, text_tower
from clipdata.encoder.towers.attention import Projection

_NAME = "lora"


@dataclass(frozen=True)
class Adapted:
    """What a model's towers were given.

    Args:
        num_image, num_text: projections of queries, keys or values with an addition, of each tower.
    """

    num_image: int
    num_text: int

    def __str__(self) -> str:
        counts = {"image": self.num_image, "text": self.num_text}
        told = [f"{count} projections of the {side} tower's attention" for side, count in counts.items() if count]
        bare = [
            f"the {side} tower has no attention of linear layers, so its head alone trains"
            for side, count in counts.items()
            if not count
        ]
        return "; ".join([f"low-rank additions to {' and '.join(told)}", *bare])


class LowRank(nn.Module):
    """What is added to one projection, from [..., I] to [..., O].

    Args:
        width_in, width_out: I and O.
        rank: R.
        scale: factor of the product.
        dropout: share of the input that is dropped in training.
        generator: draws A as torch draws the weights of a linear layer.
    """

    def __init__(
        self, width_in: int, width_out: int, *, rank: int, scale: float, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width_in)
        self.a = nn.Parameter(torch.empty(rank, width_in).uniform_(-bound, bound, generator=generator))
        self.b = nn.Parameter(torch.zeros(width_out, rank))
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return what is added, [..., O]."""
        return functional.linear(functional.linear(self.dropout(given), self.a), self.b) * self.scale

    def delta_OI(self) -> torch.Tensor:
        """What is added to the weight, as a matrix."""
        return self.scale * (self.b @ self.a)

    def squared(self) -> torch.Tensor:
        """The sum of that matrix's squares with gradients, without making it."""
        return self.scale**2 * ((self.b.T @ self.b) * (self.a @ self.a.T)).sum()


def places_in(model: nn.Module) -> Adapted:
    """What `insert` would give a model."""
    towers = image_tower(model), text_tower(model)
    return Adapted(*(sum(len(projection.parts) for projection in tower.attention()) for tower in towers))


def insert(model: nn.Module, *, rank: int, alpha: float, dropout: float, seed: int = 0) -> Adapted:
    """Put additions beside the queries, keys and values of both towers. The features stay as they were at first.

    Args:
        model: open_clip's CLIP, CustomTextCLIP or CoCa, or an AssembledModel; one without additions.
        rank: of each addition.
        alpha: over the rank, the factor of each addition.
        dropout: share of an addition's input that is dropped in training.
        seed: of the matrices A.
    """
    places, generator = places_in(model), torch.Generator().manual_seed(seed)
    for tower in (image_tower(model), text_tower(model)):
        for projection in list(tower.attention()):
            _insert(projection, rank, alpha / rank, dropout, generator)
    return places


def additions(model: nn.Module) -> Iterator[LowRank]:
    """All additions of a model, in its order."""
    return (module for module in model.modules() if isinstance(module, LowRank))


def _insert(projection: Projection, rank: int, scale: float, dropout: float, generator: torch.Generator) -> None:
    module: Any = projection.module
    if projection.prepare is not None:
        projection.prepare()
    assert not hasattr(module, _NAME)
    parts = nn.ModuleDict()
    for part, weight_OI in zip(projection.parts, _weights(module, len(projection.parts)), strict=True):
        width_out, width_in = weight_OI.shape
        added = LowRank(width_in, width_out, rank=rank, scale=scale, dropout=dropout, generator=generator)
        parts[part] = added.to(weight_OI.device)
    module.add_module(_NAME, parts)
    forward = _attention_forward if isinstance(module, nn.MultiheadAttention) else _linear_forward
    # A bound method, unlike a closure, follows its module through copy.deepcopy.
    module.__dict__["forward"] = types.MethodType(forward, module)
    module.register_state_dict_post_hook(_merge_in)


def _weights(module: Any, num_parts: int) -> tuple[torch.Tensor, ...]:
    """The weights [O, I] of the parts, as they lie in the module."""
    if not isinstance(module, nn.MultiheadAttention):
        return module.weight.chunk(num_parts)
    if module.in_proj_weight is not None:
        return module.in_proj_weight.chunk(3)
    return module.q_proj_weight, module.k_proj_weight, module.v_proj_weight


def _linear_forward(linear: Any, given: torch.Tensor) -> torch.Tensor:
    added = [part(given) for part in linear.lora.values()]
    return type(linear).forward(linear, given) + (added[0] if len(added) == 1 else torch.cat(added, dim=-1))


def _attention_forward(
    attention: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    average_attn_weights: bool = True,  # noqa: ARG001 - the signature of nn.MultiheadAttention
    is_causal: bool = False,  # noqa: ARG001 - the mask says so, too
) -> tuple[torch.Tensor, None]:
    """What nn.MultiheadAttention gives where no weights are asked for, with the additions."""
    assert key_padding_mask is None
    assert not need_weights
    given = [query, key, value] if attention.batch_first else [one.transpose(0, 1) for one in (query, key, value)]
    biases = attention.in_proj_bias.chunk(3) if attention.in_proj_bias is not None else (None, None, None)
    projected = [
        functional.linear(one, weight_OI, bias_O) + added(one)
        for one, weight_OI, bias_O, added in zip(
            given, _weights(attention, 3), biases, attention.lora.values(), strict=True
        )
    ]
    query_BHLI, key_BHLI, value_BHLI = (
        one.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for one in projected
    )
    attended_BHLI = functional.scaled_dot_product_attention(
        query_BHLI,
        key_BHLI,
        value_BHLI,
        attn_mask=_added_mask(attn_mask, projected[0], attention.num_heads),
        dropout_p=attention.dropout if attention.training else 0.0,
    )
    out = attention.out_proj(attended_BHLI.transpose(1, 2).flatten(2))
    return (out if attention.batch_first else out.transpose(0, 1)), None


def _added_mask(mask: torch.Tensor | None, like: torch.Tensor, num_heads: int) -> torch.Tensor | None:
    """A mask as it is added to the products of queries and keys; of torch's two kinds, True hides a key."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
    return (mask.unflatten(0, (-1, num_heads)) if mask.ndim == 3 else mask).to(like.dtype)


def _merge_in(module: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Put merged weights into a state dict, and take the additions out of it."""
    for name in [name for name in state if name.startswith(f"{prefix}{_NAME}.")]:
        del state[name]
    deltas = [added.delta_OI().detach() for added in module.lora.values()]
    separate = isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is None
    if separate:
        names = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    else:
        names = ["in_proj_weight" if isinstance(module, nn.MultiheadAttention) else "weight"]
        deltas = [torch.cat(deltas)]
    for name, delta_OI in zip(names, deltas, strict=True):
        state[prefix + name] = state[prefix + name].detach() + delta_OI
