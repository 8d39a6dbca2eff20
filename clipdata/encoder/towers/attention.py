"""Where the attention of a trunk makes its queries, keys and values.

It knows the names that libraries give these layers, and nothing of what is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

# Separate linear layers: BERT and its kin, DistilBERT, CLIP and Llama and their kin, MPNet and T5 and timm, DeBERTa.
_SEPARATE = (
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("q_proj", "k_proj", "v_proj"),
    ("q", "k", "v"),
    ("query_proj", "key_proj", "value_proj"),
)
# One linear layer that makes several, end to end: timm, ModernBERT; timm's attention pooling has its queries apart.
_FUSED = {"qkv": ("q", "k", "v"), "Wqkv": ("q", "k", "v"), "kv": ("k", "v")}


@dataclass(frozen=True)
class Projection:
    """A module that makes queries, keys and values, or some of them.

    Args:
        module: nn.Linear, or torch's own nn.MultiheadAttention.
        parts: which of "q", "k" and "v" it makes; a linear layer makes them end to end, of equal width.
        prepare: has the library call the module, where it takes the weight past it; changes the model.
    """

    module: nn.Linear | nn.MultiheadAttention
    parts: tuple[str, ...]
    prepare: Callable[[], None] | None = None


def projections_in(trunk: nn.Module) -> Iterator[Projection]:
    """All projections of a trunk's attention layers, in its order; attention by convolutions has none."""
    for module in trunk.modules():
        if isinstance(module, nn.MultiheadAttention):
            if module.bias_k is None and not module.add_zero_attn:
                yield Projection(module, ("q", "k", "v"))
            continue
        layers = {name: child for name, child in module.named_children() if isinstance(child, nn.Linear)}
        for names in _SEPARATE:
            if layers.keys() >= set(names):
                yield from (Projection(layers[name], (part,)) for name, part in zip(names, "qkv", strict=True))
        for name, parts in _FUSED.items():
            if name in layers and layers[name].out_features % len(parts) == 0:
                yield Projection(layers[name], parts)
        if {"q", "kv"} <= layers.keys():
            yield Projection(layers["q"], ("q",))
