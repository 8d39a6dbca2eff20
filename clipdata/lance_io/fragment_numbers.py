"""Numbers of fragments: the highest that a table ever gave, which Lance keeps in its manifest and does not say.

A number that is given twice would have an index take the rows of one fragment for those of another that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lance

# Of `Manifest` in Lance's `table.proto`; absent while a table has had no fragment.
_MAX_FRAGMENT_ID = 11
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5


def highest_number(dataset: lance.LanceDataset) -> int:
    """The highest number that a fragment of the table has, or had; -1 where there was none."""
    manifest = bytes(dataset._ds.serialized_manifest())
    found = [value for number, value in _integers(manifest) if number == _MAX_FRAGMENT_ID]
    return max([*found, *(fragment.fragment_id for fragment in dataset.get_fragments())], default=-1)


def _integers(message: bytes) -> Iterator[tuple[int, int]]:
    """Number and value of each field of a protobuf message that is an integer."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == _COUNTED:
            size, at = _varint(message, at)
            at += size
        else:
            at += {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}[kind]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
