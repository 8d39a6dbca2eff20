"""Changes: what a merged table holds, beside what it is to hold. Digests are compared, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.deleted_rows import deleted_rows
from clipdata.lance_io.table import Table
from ingest.merging.column_names import ETAG, KEY
from ingest.merging.join_keys import key_texts
from ingest.merging.matching import narrow, positions_in
from ingest.updating.digests import DIGEST_BYTES, digests_of_texts

_READ_ROWS = 65_536
_COMPARED_ROWS = 1 << 20
EXAMPLES = 3


@dataclass(frozen=True)
class Changes:
    """What is to be written and removed.

    Args:
        wanted: int32 or int64, outputs that are new or whose content changed.
        is_new: bool, which of all outputs the table does not have yet.
        gone: int64, positions of the rows that the two sides no longer give, in the table as it was read.
        num_present: rows of that table.
        num_deleted: outputs that were deleted by hand with the same content, and are left out.
        num_doubled: rows that stay beside another of the same key, which a write by another tool left.
    """

    wanted: np.ndarray
    is_new: np.ndarray
    gone: np.ndarray
    num_present: int
    num_deleted: int = 0
    num_doubled: int = 0

    @property
    def num_new(self) -> int:
        """How many rows are new."""
        return int(self.is_new.sum())

    def without_removals(self) -> Changes:
        """The same, with every row that is there left there."""
        return replace(self, gone=self.gone[:0])

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(len(self.wanted) or len(self.gone))


def changes_of(present: Table | None, keys: np.ndarray, etags_of: Callable[[np.ndarray], np.ndarray]) -> Changes:
    """Compare the rows that a table has with those it is to have.

    Args:
        present: pinned; None for a table that is not there yet.
        keys: uint8 [N, 16], no two of them equal.
        etags_of: places among them, int [B] → digests of their etags, uint8 [B, 16].
    """
    present_keys, present_etags = _read(present)
    places = positions_in(present_keys, keys)
    is_new = places < 0
    is_same = ~is_new
    is_there = np.flatnonzero(is_same)
    for there in np.array_split(is_there, len(is_there) // _COMPARED_ROWS + 1):
        is_same[there] = (present_etags[places[there]] == etags_of(there)).all(axis=1)
    is_gone = np.ones(len(present_keys), np.bool_)
    is_gone[places[~is_new]] = False
    others = np.flatnonzero(is_gone)  # rows are removed by key, and one that shares it with a row that stays stays, too
    is_gone[others] = positions_in(keys, present_keys[others]) < 0
    is_deleted = is_new & _were_deleted(present, keys, etags_of)
    wanted = narrow(np.flatnonzero(~is_same & ~is_deleted))
    num_deleted = int(is_deleted.sum())
    gone = np.flatnonzero(is_gone)
    num_doubled = len(others) - len(gone)
    return Changes(wanted, is_new & ~is_deleted, gone, len(present_keys), num_deleted, num_doubled)


def _were_deleted(present: Table | None, keys: np.ndarray, etags_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Which outputs were deleted by hand with the same content; bool [N]."""
    found = np.zeros(len(keys), np.bool_)
    for _, rows in deleted_rows(present) if present is not None else ():
        gone = rows.combine_chunks()
        places = positions_in(packed_keys(gone.column("key").combine_chunks()), keys)
        there = np.flatnonzero(places >= 0)
        contents = digests_of_texts(gone.column("etag").combine_chunks())
        found[there] |= (contents[places[there]] == etags_of(there)).all(axis=1)
    return found


def num_without_successor(present: Table, changes: Changes, column: str, identities: np.ndarray) -> int:
    """How many of the rows that go have none that takes their place: a new row of the same image.

    Args:
        column: says what the image of a row is called, in the merged table.
        identities: uint8 [M, 16], digests of what the images of the new rows are called.
    """
    if column not in present.schema.names:
        return len(changes.gone)
    parts = [
        digests_of_texts(key_texts(present.take(places, [column]).column(0).combine_chunks(), where=column))
        for places in np.array_split(changes.gone, max(1, len(changes.gone) // _READ_ROWS))
        if len(places)
    ]
    gone = np.concatenate(parts) if parts else np.empty((0, DIGEST_BYTES), np.uint8)
    went, num_went = np.unique(_short(gone), return_counts=True)
    came, num_came = np.unique(_short(identities), return_counts=True)
    _, left, right = np.intersect1d(went, came, assume_unique=True, return_indices=True)
    return len(gone) - int(np.minimum(num_went[left], num_came[right]).sum())


def _read(present: Table | None) -> tuple[np.ndarray, np.ndarray]:
    """Keys and digests of etags of all rows, both uint8 [P, 16]."""
    keys, etags = [np.empty((0, DIGEST_BYTES), np.uint8)], [np.empty((0, DIGEST_BYTES), np.uint8)]
    if present is not None:
        columns = [KEY, *([ETAG] if ETAG in present.schema.names else [])]
        for batch in present.scan(columns, batch_rows=_READ_ROWS):
            keys.append(packed_keys(batch.column(0)))
            tags = batch.column(1) if len(columns) > 1 else pa.nulls(batch.num_rows, pa.string())
            etags.append(digests_of_texts(tags))
    return np.concatenate(keys), np.concatenate(etags)


def packed_keys(keys: pa.Array) -> np.ndarray:
    """Keys as bytes: ours are hexadecimal; another key becomes a digest, which is no row's of ours."""
    texts = keys.to_pylist()
    is_ours = pc.all(pc.match_substring_regex(keys, "^[0-9a-f]{32}$")).as_py()
    if is_ours is False:
        plain = [
            bytes.fromhex(text) if _is_hex(text) else digests_of_texts(pa.array([text])).tobytes() for text in texts
        ]
        return np.frombuffer(b"".join(plain), np.uint8).reshape(-1, DIGEST_BYTES)
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(-1, DIGEST_BYTES)


def _is_hex(text: str) -> bool:
    return len(text) == 2 * DIGEST_BYTES and all(letter in "0123456789abcdef" for letter in text)


def _short(digests: np.ndarray) -> np.ndarray:
    """Uint64 [N]: enough to count by."""
    return np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2)[:, 0].copy()
