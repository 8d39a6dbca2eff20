"""SemanticDeduplication: which rows say something that the others of their neighbourhood do not.

It knows tables and steps; the method is `clipdata.duplicates.semantic`.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.arguments import check_count
from clipdata.duplicates.semantic import Keep, novel
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.step_protocol import LABEL, NUMBERS, BaseStep, check_types, require_names
from clipdata.steps.duplicates import LEAST_COSINE, require_cosine, vector_size, vectors_in
from clipdata.steps.earlier import digest_of, made_alike
from clipdata.steps.shuffled import shuffled
from clipdata.trained_rows import digests

SCAN_ROWS = 8192
ROWS_PER_CELL = 1000


class SemanticDeduplication(BaseStep):
    """True for rows to keep: false where a row before it in its cell (of k-means) says the same (SemDeDup).

    Within a cell rows stand in the order of their cosine with the centroid, the least first, so that of rows that say
    the same the most unusual is kept (or the most usual). Unlike clusters of `EmbeddingDuplicates`, one left-out row
    may leave out the next: it thins what is dense. Rows that are decided stay so, and come before those that are
    added. Two bytes are held for each number of each vector.

    Args:
        table: all of it is read once; or the location of one.
        embedding: column of vectors, such as `ImageEmbedding` makes; they need not be normalised.
        key: column that is different for every row; by default the table's key.
        least_cosine: from which on two rows say the same, above 0 to 1 (1 - ε of the paper).
        cells: of the clustering; by default one for every 1,000 rows.
        keep: "hard" keeps the row least like its centroid, "easy" the one most like it.
        column: where an earlier run with the same parameters wrote it; what others wrote there, or what was
            made of other inputs, does not count. None decides all rows anew.

    Raises:
        UsageError: a parameter is none that can be, or the table has no key, or rows share theirs.
        SchemaError: the table lacks a column, or one has another type.

    Source: Abbas, Tirumala, Simig, Ganguli, Morcos: SemDeDup (arXiv 2303.09540).
    """

    name = "SemanticDeduplication"
    version = "1"
    returns = pa.bool_()

    def __init__(
        self,
        table: AnyTable,
        embedding: str = "image_embedding",
        key: str | None = None,
        *,
        least_cosine: float = LEAST_COSINE,
        cells: int | None = None,
        keep: Keep = "hard",
        column: str | None = "novel",
    ) -> None:
        require_names(self.name, embedding=embedding, key=key, column=column)
        require_cosine(self.name, least_cosine)
        if cells is not None:
            check_count(cells, f"{self.name}: cells", least=1)
        if keep not in get_args(Keep):
            raise UsageError(f"{self.name}: keep is {keep!r:.80}; expected {' or '.join(map(repr, get_args(Keep)))}")
        newest = as_table(table).latest()
        own = key or newest.key
        if own is None:
            raise UsageError(
                f"{self.name}: the table declares no key, so that nothing tells its rows apart",
                hint="name a column that is different for every row: -p key=…",
            )
        self.tables = (newest.uri,)
        self.reads: tuple[str, ...] = (embedding, own)
        self.takes = {embedding: NUMBERS, own: LABEL}
        self.parameters = {"least_cosine": float(least_cosine), "cells": cells, "keep": keep}
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        self._key_N, self._is_kept_N = self._decide(newest, column, cells, keep)
        self.decided = digest_of(self._key_N, self._is_kept_N)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Say of each row whether it is kept: bool [B]."""
        key_B = digests(batch.column(1).cast(pa.string()))
        place_B = np.minimum(np.searchsorted(self._key_N, key_B), max(len(self._key_N) - 1, 0))
        if not len(self._key_N):
            known_B = kept_B = np.zeros(len(key_B), bool)
        else:
            known_B, kept_B = self._key_N[place_B] == key_B, self._is_kept_N[place_B]
        why = "no direction: the vector is of another length, zero or not finite, or came later"
        return pa.array(kept_B, mask=~known_B), [None if known else why for known in known_B.tolist()]

    def notes(self) -> dict[str, Any]:
        """How many rows are not kept."""
        return {"rows not kept": int((~self._is_kept_N).sum())}

    def _decide(self, table: Table, column: str | None, cells: int | None, keep: Keep) -> tuple[np.ndarray, np.ndarray]:
        """uint64 [N], the digest of each row's key, sorted; and bool [N], whether it is kept."""
        key_N, vector_ND, said_N = self._read(table, column)
        if len(key_N) > (num_keys := len(np.unique(key_N))):
            raise UsageError(
                f"{self.name}: {self.reads[1]} has {num_keys:,} values in {len(key_N):,} rows; expected another one "
                "for every row",
                hint="name a column that is different for every row: -p key=…",
            )
        order = np.argsort(said_N < 0, kind="stable")  # those that are decided first
        num_known = int((said_N >= 0).sum())
        is_kept_N = novel(
            vector_ND[order] if num_known else vector_ND,
            self.parameters["least_cosine"],
            num_cells=cells or max(1, round(len(key_N) / ROWS_PER_CELL)),
            keep=keep,
            order_N=shuffled(key_N[order]),
            num_known=num_known,
        )
        is_kept_N[:num_known] = said_N[order][:num_known] > 0
        key_N = key_N[order]
        by_key = np.argsort(key_N, kind="stable")
        return key_N[by_key], is_kept_N[by_key]

    def _read(self, table: Table, column: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Digests of keys, float16 vectors of length 1, and what an earlier run said: 1 kept, 0 not, -1 nothing."""
        earlier = column if made_alike(self, table, column) else None
        keys, said = [np.empty(0, np.uint64)], [np.empty(0, np.int8)]
        held = np.empty((0, 0), np.float16)
        num, size = 0, vector_size(table, self.reads[0])
        for batch in table.scan([*self.reads, *([earlier] if earlier else [])], batch_rows=SCAN_ROWS):
            vector_MD, usable_B = vectors_in(batch.column(0), size)
            usable_B &= batch.column(1).is_valid().to_numpy(zero_copy_only=False)
            if not len(vector_MD):
                continue
            if not held.size:
                held = np.empty((table.num_rows, vector_MD.shape[1]), np.float16)
            rows = batch.filter(pa.array(usable_B))
            vector_MD, _ = vectors_in(rows.column(0), size)
            held[num : num + len(vector_MD)] = vector_MD / np.linalg.norm(vector_MD, axis=1, keepdims=True)
            num += len(vector_MD)
            keys.append(digests(rows.column(1).cast(pa.string())))
            said_B = np.full(rows.num_rows, -1, np.int8)
            if earlier:
                said_B = pc.fill_null(rows.column(earlier).cast(pa.int8()), -1).to_numpy(zero_copy_only=False)
            said.append(said_B)
        return np.concatenate(keys), held[:num], np.concatenate(said)
