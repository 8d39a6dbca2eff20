"""Batches of several streams joined to one, row by row in a given order, as one stream would have made it.

It knows what entries a batch may hold; it must not know where the rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from clipdata.errors import UsageError
from clipdata.stream.assembly import Assembled, Batch
from clipdata.stream.columns import VectorLists
from clipdata.stream.shares import Work

_TEXT_ENTRIES = ("tokens", "text_index", "text_counts")


def join(pieces: Sequence[Assembled], part_of_row: np.ndarray) -> Assembled:
    """Join what each part gives to a batch.

    Args:
        pieces: of each part, its rows in its own order.
        part_of_row: int64 [B], which part gives each row of the joined batch.

    Returns:
        The batch, with an entry `part` (int64 [B]); rows left out are named (part, offset).

    Raises:
        UsageError: tensors of the parts have different sizes.
    """
    there_of_row = np.zeros(len(part_of_row), bool)  # rows that are not left out
    for part, piece in enumerate(pieces):
        there_of_row[np.flatnonzero(part_of_row == part)[piece.places]] = True
    part_B = part_of_row[there_of_row]
    batches = [piece.batch for piece in pieces]
    places = [np.flatnonzero(part_B == part) for part in range(len(pieces))]
    joined = Batch()
    for name in batches[0]:
        if name not in _TEXT_ENTRIES or "text_counts" not in batches[0]:
            joined[name] = _rows(name, [batch[name] for batch in batches], places)
    if "text_counts" in batches[0]:
        joined.update(_texts(batches, places))
    joined["part"] = torch.from_numpy(part_B)
    left_out: dict[str, list[tuple[int, int]]] = {}
    for part, piece in enumerate(pieces):
        for reason, offsets in piece.left_out.items():
            left_out.setdefault(reason, []).extend((part, offset) for offset in offsets)
    work = sum((piece.work for piece in pieces), Work())
    return Assembled(joined, np.flatnonzero(there_of_row).tolist(), left_out, work)


def _rows(name: str, values: Sequence[Any], places: Sequence[np.ndarray]) -> torch.Tensor | list[Any]:
    num_rows = sum(map(len, places))
    if not isinstance(values[0], torch.Tensor):
        joined: list[Any] = [None] * num_rows
        for of_part, rows in zip(values, places, strict=True):
            for place, value in zip(rows.tolist(), of_part, strict=True):
                joined[place] = value
        return VectorLists(joined, values[0].size) if isinstance(values[0], VectorLists) else joined
    filled = [tensor for tensor in values if len(tensor)] or values[:1]  # of no row, a picture's size is a guess
    if len({(tuple(tensor.shape[1:]), tensor.dtype) for tensor in filled}) > 1:
        found = " and ".join(f"{tensor.dtype} {list(tensor.shape[1:])}" for tensor in filled)
        raise UsageError(
            f"a row's {name!r} is {found} in the parts of a mix; expected the same",
            hint="give all parts the same prepare and the same tokenize",
        )
    # In the order their memory has: a picture is one stretch of it, whatever its channels' place.
    order = _memory_order(filled[0])
    joined_T = torch.empty([num_rows, *(filled[0].shape[axis] for axis in order[1:])], dtype=filled[0].dtype)
    for tensor, rows in zip(values, places, strict=True):
        if len(rows):
            joined_T.numpy()[rows] = tensor.permute(order).numpy()
    return joined_T.permute([order.index(axis) for axis in range(len(order))])


def _memory_order(tensor: torch.Tensor) -> list[int]:
    """Axes but the first, which stays in front, from the widest stride to the narrowest."""
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return [0, 2, 3, 1]
    return list(range(tensor.dim()))


def _texts(batches: Sequence[Batch], places: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    """Tokens of lists of texts: each distinct text of the joined batch once, in order of appearance."""
    tokens_NL = torch.cat([batch["tokens"] for batch in batches])
    texts_of_row: list[list[int]] = [[] for _ in range(sum(map(len, places)))]  # as places in tokens_NL
    before = 0
    for batch, rows in zip(batches, places, strict=True):
        texts = (batch["text_index"] + before).split(batch["text_counts"].tolist())
        for place, of_row in zip(rows.tolist(), texts, strict=True):
            texts_of_row[place] = of_row.tolist()
        before += len(batch["tokens"])
    number_of: dict[bytes, int] = {}
    first: list[int] = []
    keys = [row.tobytes() for row in tokens_NL.numpy()]
    index = []
    for text in (text for row in texts_of_row for text in row):
        if keys[text] not in number_of:
            number_of[keys[text]] = len(first)
            first.append(text)
        index.append(number_of[keys[text]])
    return {
        "tokens": tokens_NL[torch.tensor(first, dtype=torch.int64)],
        "text_index": torch.tensor(index, dtype=torch.int64),
        "text_counts": torch.tensor([len(row) for row in texts_of_row], dtype=torch.int64),
    }
