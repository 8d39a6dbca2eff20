"""Matching: which metadata row goes with which image, and what the merged rows are called.

It works on digests of the columns that tables are joined on, 16 bytes a row, and reads and writes nothing itself; so
what it needs is in proportion to the rows and not to what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.updating.digests import DIGEST_BYTES, digests_of_bytes

_NAMED_AT_ONCE = 65_536


@dataclass(frozen=True)
class Found:
    """The image of each metadata row.

    Args:
        images: int64 [R], position of the image; -1 where there is none.
        ambiguous: for keys that belong to several images: a metadata row that names it, and the images' positions.
    """

    images: np.ndarray
    ambiguous: list[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class Matches:
    """Output rows: an image each, with one metadata row or several; those of one image are neighbours.

    Args:
        images: int32 or int64 [N], positions of the images.
        starts: int64 [N + 1], where the metadata rows of each output begin in `members`; None where each has one.
        members: int32 or int64 [M], positions of metadata rows, in the metadata's own order for one image.
    """

    images: np.ndarray
    starts: np.ndarray | None
    members: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def only(self, outputs: np.ndarray) -> Matches:
        """Some of the outputs.

        Args:
            outputs: int64, ascending.
        """
        members, starts = self.members_of(outputs)
        return Matches(self.images[outputs], None if self.starts is None else starts, narrow(members))

    def first_members(self) -> np.ndarray:
        """Position of the first metadata row of each output: int [N]."""
        return self.members if self.starts is None else self.members[self.starts[:-1]]

    def members_of(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metadata rows of some outputs, one output after the other.

        Args:
            outputs: int64 [B].

        Returns:
            positions int64 [M'], and int64 [B + 1] where each output's begin among them.
        """
        if self.starts is None:
            return self.members[outputs].astype(np.int64), np.arange(len(outputs) + 1)
        counts = self.starts[outputs + 1] - self.starts[outputs]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        within = np.arange(ends[-1]) - np.repeat(ends[:-1], counts)
        return self.members[np.repeat(self.starts[outputs], counts) + within].astype(np.int64), ends


def find(image_keys: np.ndarray, metadata_keys: np.ndarray, *, named: np.ndarray | None, naming: np.ndarray) -> Found:
    """Find the image of each metadata row: the one whose key is equal.

    Args:
        image_keys: uint8 [I, 16], digests of what the images are joined on.
        metadata_keys: uint8 [R, 16], of what the metadata is joined on.
        named: bool [I], images that have a key; None for all of them.
        naming: bool [R], metadata rows that have a key.
    """
    halves = _halves(image_keys)
    order = narrow(np.lexsort((halves[:, 1], halves[:, 0])))
    if named is not None:
        order = order[named[order]]
    first, second = halves[order, 0], halves[order, 1]
    wanted = _halves(metadata_keys)
    places = np.searchsorted(first, wanted[:, 0])
    inside = np.minimum(places, max(len(order) - 1, 0))
    is_found = naming & (places < len(order))
    if not is_found.any():
        return Found(np.full(len(wanted), -1, np.int64), [])
    while len(wrong := np.flatnonzero(is_found & (second[inside] != wanted[:, 1]) & (first[inside] == wanted[:, 0]))):
        inside[wrong] += 1  # two keys that share half of their digest: the one looked for may be the next
        is_found[wrong] &= inside[wrong] < len(order)
        inside[wrong] = np.minimum(inside[wrong], len(order) - 1)
    is_found &= (first[inside] == wanted[:, 0]) & (second[inside] == wanted[:, 1])
    several = np.zeros(len(order), np.bool_)
    several[:-1] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    rows = np.flatnonzero(is_found & several[inside])
    distinct, which = np.unique(inside[rows], return_index=True)
    ambiguous = [
        (int(rows[row]), _run(order, first, second, int(place))) for place, row in zip(distinct, which, strict=True)
    ]
    return Found(np.where(is_found, order[inside], -1), ambiguous)


def arranged(images: np.ndarray, rank: np.ndarray | None, *, group: bool) -> Matches:
    """Put the output rows in order.

    Args:
        images: int64 [R], position of each metadata row's image, -1 for none.
        rank: int [I], place of each image in the order wanted; None for the order they have.
        group: one output an image, instead of one a metadata row.
    """
    members = narrow(np.flatnonzero(images >= 0))
    places = narrow(images[members])
    order = np.argsort(places if rank is None else rank[places], kind="stable")
    members, places = members[order], places[order]
    if not group:
        return Matches(places, None, members)
    firsts = np.flatnonzero(np.diff(places, prepend=-1))
    return Matches(places[firsts], np.append(firsts, len(places)), members)


def keys_of(matches: Matches, identities: np.ndarray, digests: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Keys of output rows, one a metadata row: they change when the image or the metadata does.

    Args:
        identities: uint8 [I, 16], digests of what images are called.
        digests: uint8 [R, 16], of the metadata rows.
        numbers: int32 [R], which of several equal metadata rows each is.

    Returns:
        uint8 [N, 16].
    """
    keys = np.empty((len(matches), DIGEST_BYTES), np.uint8)
    for first in range(0, len(matches), _NAMED_AT_ONCE):
        outputs = slice(first, first + _NAMED_AT_ONCE)
        members = matches.members[outputs]
        counted = numbers[members].astype("<i4").view(np.uint8).reshape(-1, 4)
        parts = [identities[matches.images[outputs]], digests[members], counted]
        keys[outputs] = digests_of_bytes(np.concatenate(parts, axis=1))
    return keys


def keys_of_groups(
    matches: Matches, identities: np.ndarray, etags: np.ndarray, digests: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keys and etags of output rows, one an image: the key is of the image alone, the metadata rows decide the etag.

    Args:
        identities: uint8 [I, 16], digests of what images are called.
        etags: uint8 [I, K], digests of the images' etags.
        digests: uint8 [R, 16], of the metadata rows.

    Returns:
        both uint8 [N, 16].
    """
    assert matches.starts is not None, "groups have starts"
    keys = digests_of_bytes(identities[matches.images])
    tags = np.empty_like(keys)
    for place, image in enumerate(matches.images):
        members = matches.members[matches.starts[place] : matches.starts[place + 1]]
        content = np.concatenate([etags[image], digests[members].reshape(-1)])
        tags[place] = digests_of_bytes(content[np.newaxis])[0]
    return keys, tags


def positions_in(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of some digests is among distinct others.

    Args:
        keys: uint8 [N, 16], no two of them equal.
        wanted: uint8 [M, 16].

    Returns:
        int64 [M], -1 for those that are not there.
    """
    return find(keys, wanted, named=None, naming=np.ones(len(wanted), np.bool_)).images


def _halves(digests: np.ndarray) -> np.ndarray:
    """Uint64 [N, 2]."""
    return np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2)


def narrow(places: np.ndarray) -> np.ndarray:
    """Positions in half the memory, where there are less than two thousand million."""
    return places.astype(np.int32) if len(places) < 2**31 else places


def _run(order: np.ndarray, first: np.ndarray, second: np.ndarray, place: int) -> np.ndarray:
    """All positions whose digest is the one at a place of the sorted ones."""
    stop = place + 1
    while stop < len(order) and first[stop] == first[place] and second[stop] == second[place]:
        stop += 1
    return np.sort(order[place:stop])
