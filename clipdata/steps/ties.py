"""Ties: what makes rows hang together, as 64-bit digests of values, and the groups that follow from them.

A tie is a value that a row has: of a picture's digest, of a cluster, of a caption. Rows that share one hang together,
directly or through other rows. 12 bytes are held for each. It knows Arrow and numpy, and no table.

Shapes: N rows, P ties of one kind, V distinct values of one kind.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.schema import is_binary, is_list, is_text
from clipdata.steps.captions import alike
from clipdata.trained_rows import digests


@dataclass(frozen=True)
class Tied:
    """Values of some rows.

    Args:
        row_P: int64, the row that each value is of, ascending.
        value_P: uint64, digest of the value.
    """

    row_P: np.ndarray
    value_P: np.ndarray

    def first_of(self, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """uint64 [N], the first value of each row; and bool [N], whether it has one."""
        value_N, has_N = np.zeros(num_rows, np.uint64), np.zeros(num_rows, bool)
        value_N[self.row_P[::-1]] = self.value_P[::-1]
        has_N[self.row_P] = True
        return value_N, has_N


def tied_by(values: pa.Array) -> Tied:
    """What a column ties its rows to: each value, or each entry of a list.

    Texts are compared with capitals and blanks making no difference; blank ones and nulls tie nothing.

    Args:
        values: texts, numbers, or lists of these [N].
    """
    row_P = np.arange(len(values), dtype=np.int64)
    if is_list(values.type):
        row_P = pc.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)
        values = pc.list_flatten(values)
    present_P = values.is_valid().to_numpy(zero_copy_only=False)
    values, row_P = values.drop_null(), row_P[present_P]
    if not len(values):
        return Tied(row_P, np.empty(0, np.uint64))
    if not is_text(values.type):
        return Tied(row_P, digests(values if is_binary(values.type) else values.cast(pa.string())))
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    texts = [alike(text) for text in encoded.dictionary.cast(pa.string()).to_pylist()]
    says_D = np.array([bool(text) for text in texts], bool)
    value_D = digests(pa.array(texts, pa.string()))
    place_P = encoded.indices.to_numpy(zero_copy_only=False)
    kept_P = says_D[place_P]
    return Tied(row_P[kept_P], value_D[place_P[kept_P]])


@dataclass(frozen=True)
class Groups:
    """Rows that hang together.

    Args:
        group_N: int32, group of each row.
        values: of each kind of tie, uint64 [V], the distinct values, sorted.
        group_of_value: of each kind, int32 [V], the group of each.
    """

    group_N: np.ndarray
    values: Sequence[np.ndarray]
    group_of_value: Sequence[np.ndarray]

    @property
    def num_groups(self) -> int:
        """How many there are."""
        return int(self.group_N.max()) + 1 if len(self.group_N) else 0

    @property
    def rows_G(self) -> np.ndarray:
        """int64, rows of each group."""
        return np.bincount(self.group_N, minlength=self.num_groups)

    @property
    def name_G(self) -> np.ndarray:
        """uint64, what a group is known by in whatever order its rows stand: its least value of the first kind."""
        name_G = np.full(self.num_groups, np.iinfo(np.uint64).max)
        for values_V, group_V in reversed(list(zip(self.values, self.group_of_value, strict=True))):
            least_G = np.full(self.num_groups, np.iinfo(np.uint64).max)
            np.minimum.at(least_G, group_V, values_V)
            has_G = np.bincount(group_V, minlength=self.num_groups) > 0
            name_G[has_G] = least_G[has_G]
        return name_G


@dataclass
class Ties:
    """Ties of many rows, added batch by batch.

    Args:
        num_kinds: columns that tie rows.
    """

    num_kinds: int
    num_rows: int = 0
    _parts: list[list[Tied]] = field(default_factory=list)

    def add(self, tied: Sequence[Tied], num_rows: int) -> None:
        """Take in the rows of a batch: their ties of each kind."""
        assert len(tied) == self.num_kinds
        self._parts.append([Tied(one.row_P + self.num_rows, one.value_P) for one in tied])
        self.num_rows += num_rows

    def groups(self, kinds: int | None = None) -> Groups:
        """Find what hangs together.

        Args:
            kinds: the first so many kinds tie rows; all by default.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        used = self.num_kinds if kinds is None else kinds
        rows, values, codes = [], [], []
        num_nodes = self.num_rows
        for kind in range(used):
            row_P = np.concatenate([np.empty(0, np.int64), *(part[kind].row_P for part in self._parts)])
            value_P = np.concatenate([np.empty(0, np.uint64), *(part[kind].value_P for part in self._parts)])
            value_V, of_value_P = np.unique(value_P, return_inverse=True)
            rows.append(row_P)
            codes.append(of_value_P + num_nodes)
            values.append(value_V)
            num_nodes += len(value_V)
        row_T, code_T = np.concatenate(rows), np.concatenate(codes)
        tied = coo_array((np.ones(len(row_T), bool), (row_T, code_T)), shape=(num_nodes, num_nodes))
        component_M = connected_components(tied, directed=False)[1]
        # A group is numbered by its first row; values come behind, and each has a row.
        _, group_M = np.unique(component_M, return_inverse=True)
        edges = np.cumsum([self.num_rows, *map(len, values)])
        of_value = [group_M[start:stop] for start, stop in itertools.pairwise(edges)]
        return Groups(group_M[: self.num_rows], values, of_value)
