"""BestOfCluster: which row of each cluster is the one to keep.

It knows tables and steps; what a cluster is, it leaves to the column: any one that is equal for rows of a kind will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.step_protocol import LABEL, NUMBER, BaseStep, Kind, check_types, require_names
from clipdata.steps.earlier import digest_of, made_alike
from clipdata.trained_rows import digests

SCAN_ROWS = 8192
_COLUMNS = ("cluster", "key", "highest", "times")
Rule = Literal["largest", "highest", "first"]
_EXPECTED = {
    "largest": "the product of two columns, width and height",
    "highest": "the value of the column highest",
    "first": "the key alone",
}


class BestOfCluster(BaseStep):
    """True for the one row of each cluster to keep, false for the others: `WHERE kept` leaves one row a cluster.

    Where several rows show one picture, as questions about it do, `key="sha256"` keeps or drops all of them together.

    The best row has the largest picture, or the highest value of a column; of equally good ones it is the first by key.
    A row that stands alone is the best of its cluster. What was decided stays: a new row of a cluster whose best was
    chosen earlier is not kept, however good; of a cluster whose best was deleted, the best new row is, and until one
    comes none: `notes` counts such clusters, and `column=None` chooses anew. About 60 bytes are held for each
    row of a cluster of several, and 9 for every other one.

    Args:
        table: all of it is read once; or the location of one.
        cluster: column that is equal for rows of a cluster: `near_duplicates`, `sha256`, a caption.
        key: column that tells what is kept or dropped: rows that share its value stand and fall together. By default
            the table's key, which is different for every row.
        highest: column of numbers; for the rule "largest" by default `width`.
        times: column that `highest` is multiplied with for the rule "largest"; by default `height`.
        rule: "largest" (highest × times), "highest" (of one column) or "first" (by key).
        column: where an earlier run with the same parameters wrote it; what others wrote there, or what was
            made of other inputs, does not count. None decides all rows anew.

    Raises:
        UsageError: the rule is none, or does not go with the columns; or the table has no key.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "BestOfCluster"
    version = "1"
    returns = pa.bool_()

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - it need not ask
        """As of every step; which of the last ones are left out, the rule says."""
        return {**lineage.parameters, **dict(zip(_COLUMNS, lineage.inputs, strict=False))}

    def __init__(
        self,
        table: AnyTable,
        cluster: str = "near_duplicates",
        key: str | None = None,
        highest: str | None = None,
        times: str | None = None,
        *,
        rule: Rule = "largest",
        column: str | None = "kept",
    ) -> None:
        require_names(self.name, cluster=cluster, key=key, highest=highest, times=times, column=column)
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        factors = _factors(rule, highest, times)
        own = key or newest.key
        if own is None:
            raise UsageError(
                f"{self.name}: the table declares no key, so that nothing tells its rows apart",
                hint="name a column that tells what is kept or dropped: -p key=…",
            )
        self.reads: tuple[str, ...] = (cluster, own, *factors)
        if twice := [name for name in self.reads if self.reads.count(name) > 1]:
            raise UsageError(f"{self.name}: column {twice[0]!r} is named twice; expected one for each purpose")
        self.takes: dict[str, Kind] = {cluster: LABEL, own: LABEL, **dict.fromkeys(factors, NUMBER)}
        self.parameters = {"rule": rule}
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        self.num_clusters = self.num_dropped = self.num_without_best = 0
        self._key_N, self._is_kept_N = self._decide(newest, column)
        self.decided = digest_of(self._key_N, self._is_kept_N)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Say of each row whether it is kept: bool [B]."""
        key_B = digests(_texts(batch.column(1)))
        place_B = np.minimum(np.searchsorted(self._key_N, key_B), max(len(self._key_N) - 1, 0))
        known_B = self._key_N[place_B] == key_B if len(self._key_N) else np.zeros(len(key_B), bool)
        kept_B = self._is_kept_N[place_B] if len(self._key_N) else known_B
        late = "a row that was not there when the best were chosen"
        return pa.array(kept_B, mask=~known_B), [None if known else late for known in known_B.tolist()]

    def notes(self) -> dict[str, Any]:
        """How many clusters there are, how many rows are not kept, and in how many clusters none is."""
        without = {"clusters whose best row is gone": self.num_without_best} if self.num_without_best else {}
        return {"clusters": self.num_clusters, "rows not kept": self.num_dropped, **without}

    def _decide(self, table: Table, column: str | None) -> tuple[np.ndarray, np.ndarray]:
        """uint64 [N], the digests of all keys, sorted; and bool [N], whether each is kept."""
        cluster_N, every_key_N, said_N = self._read(table, column)
        key_N, first_N, of_key_N = np.unique(every_key_N, return_index=True, return_inverse=True)
        earlier_N = np.full(len(key_N), -1, np.int8)
        np.maximum.at(earlier_N, of_key_N, said_N)
        of_cluster, num_keys = np.unique(cluster_N[first_N], return_inverse=True, return_counts=True)[1:]
        is_kept_N = earlier_N > 0
        has_best = np.zeros(len(num_keys), bool)
        has_best[of_cluster[is_kept_N]] = True
        is_open_N = (earlier_N < 0) & ~has_best[of_cluster]
        is_kept_N |= is_open_N & (num_keys[of_cluster] == 1)
        among = np.flatnonzero(is_open_N & (num_keys[of_cluster] > 1))
        among = among[np.argsort(first_N[among])]
        if len(among):
            is_kept_N[among[self._best(table, of_cluster[among], first_N[among])]] = True
        self.num_clusters, self.num_dropped = len(num_keys), int((~is_kept_N[of_key_N]).sum())
        self.num_without_best = int((np.bincount(of_cluster[is_kept_N], minlength=len(num_keys)) == 0).sum())
        return key_N, is_kept_N

    def _read(self, table: Table, column: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Digests of clusters and keys, and what an earlier run said: 1 kept, 0 not, -1 nothing."""
        earlier = column if made_alike(self, table, column) else None
        parts: list[tuple[np.ndarray, ...]] = [(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int8))]
        for batch in self._rows(table, [self.reads[0], self.reads[1], *([earlier] if earlier else [])]):
            said_B = np.full(batch.num_rows, -1, np.int8)
            if earlier:
                said_B = pc.fill_null(batch.column(earlier).cast(pa.int8()), -1).to_numpy(zero_copy_only=False)
            parts.append((digests(_texts(batch.column(0))), digests(_texts(batch.column(1))), said_B))
        cluster_N, key_N, earlier_N = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cluster_N, key_N, earlier_N

    def _best(self, table: Table, of_cluster_M: np.ndarray, among: np.ndarray) -> np.ndarray:
        """The first of each cluster among M rows, the best first.

        Args:
            among: places of these rows among the N that `_read` gave.
        """
        goods, keys, start = [], [], 0
        for batch in self._rows(table, list(self.reads)):
            here = among[(among >= start) & (among < start + batch.num_rows)] - start
            start += batch.num_rows
            chosen = batch.take(pa.array(here))
            good_B = np.ones(len(here))
            for name in self.reads[2:]:
                good_B = good_B * chosen.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
            goods.append(np.nan_to_num(good_B, nan=-np.inf, posinf=np.inf, neginf=-np.inf))
            keys.append(chosen.column(1))
        rows = pa.table({"cluster": of_cluster_M, "good": np.concatenate(goods), "key": pa.chunked_array(keys)})
        order = [("cluster", "ascending"), ("good", "descending"), ("key", "ascending")]
        order_M = pc.sort_indices(rows, order).to_numpy()
        sorted_M = of_cluster_M[order_M]
        is_first_M = np.concatenate([[True], sorted_M[1:] != sorted_M[:-1]])
        return np.asarray(order_M[is_first_M])

    def _rows(self, table: Table, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Rows that have all of what the step reads."""
        present = " AND ".join(f"`{name}` IS NOT NULL" for name in self.reads)
        return table.scan(columns, where=present, batch_rows=SCAN_ROWS)


def _factors(rule: Any, highest: str | None, times: str | None) -> tuple[str, ...]:
    """Columns whose product is highest for the best row.

    Raises:
        UsageError: the rule is none, or does not go with the columns.
    """
    if rule not in get_args(Rule):
        raise UsageError(f"BestOfCluster: rule is {rule!r:.80}; expected {', '.join(map(repr, get_args(Rule)))}")
    if rule == "largest":
        return (highest or "width", times or "height")
    if times is not None or (highest is None) != (rule == "first"):
        raise UsageError(
            f"BestOfCluster: rule {rule!r} goes by {_EXPECTED[rule]}; "
            f"highest is {highest or 'not given'}, times is {times or 'not given'}",
            hint="rule=highest highest=COLUMN, or rule=first, or rule=largest",
        )
    return (highest,) if highest is not None else ()


def _texts(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else values.cast(pa.string())
