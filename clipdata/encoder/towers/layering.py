"""The layers of a trunk from its input to its head: what trains with the last blocks, how fast, what is made again.

It must know no architecture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from torch import nn


@dataclass(frozen=True)
class Layers:
    """A trunk's parameters in layers.

    Args:
        stem: parameters before the first block: embeddings, or the first convolutions.
        blocks: parameters of each block; norms and poolings behind the last one belong to it.
        modules: the blocks that are modules, whose forward can be called again.
    """

    stem: tuple[nn.Parameter, ...]
    blocks: tuple[tuple[nn.Parameter, ...], ...]
    modules: tuple[nn.Module, ...]

    def last(self, num_blocks: int) -> Iterator[nn.Parameter]:
        """Parameters of so many blocks at the end, or of all if there are fewer."""
        return chain.from_iterable(self.blocks[-num_blocks:])

    def distances(self) -> Iterator[tuple[nn.Parameter, int]]:
        """Each parameter, and how many layers lie from it to the head: 1 for the last block, the most for the stem."""
        for distance, layer in enumerate((*reversed(self.blocks), self.stem), start=1):
            yield from ((parameter, distance) for parameter in layer)


def layers_in_order(parameters: Iterable[nn.Parameter], blocks: Sequence[nn.Module]) -> Layers:
    """Cut parameters that are declared in the order of the trunk, by the blocks among them."""
    place_of = {id(parameter): place for place, block in enumerate(blocks) for parameter in block.parameters()}
    stem: list[nn.Parameter] = []
    layers: list[list[nn.Parameter]] = [[] for _ in blocks]
    behind = stem
    for parameter in parameters:
        place = place_of.get(id(parameter))
        if place is not None:
            layers[place].append(parameter)
            behind = layers[-1]
        else:
            behind.append(parameter)
    return Layers(tuple(stem), tuple(map(tuple, layers)), tuple(blocks))
