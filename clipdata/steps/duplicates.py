"""NearDuplicates and EmbeddingDuplicates: which pictures are versions of one another, as the id of their cluster.

A cluster is a centre and the values near to it; see `clipdata.duplicates.stars`. It is called after its centre, so that
its id stays whatever rows come. Which values there are is read off one column of the whole table: 8 bytes a row are
held for it, and of values that are new, and of centres, the values themselves.

This module knows tables and steps; how near values are found it leaves to `clipdata.duplicates`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.duplicates import CosineSearch, HammingSearch, star_clusters
from clipdata.duplicates.cosine import PROBES
from clipdata.duplicates.hamming import MAX_RADIUS
from clipdata.duplicates.pairs import NearSearch
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.schema import is_list
from clipdata.step_protocol import NUMBERS, TEXT, BaseStep, Kind, check_types, require_names
from clipdata.steps.earlier import digest_of, made_alike
from clipdata.steps.hash_texts import hash_texts, hashes_in, is_hash
from clipdata.steps.shuffled import shuffled

SCAN_ROWS = 8192
RADIUS = 8
LEAST_COSINE = 0.95
_LATE = "a value that was not there when the clusters were found"


class _ValueClusters(BaseStep):
    """A column with the id of the cluster that a row's value belongs to; equal values are of one cluster.

    Attributes:
        num_clusters: of more than one row.
    """

    name: str
    version: str
    returns = pa.string()

    def _begin(self, table: AnyTable, source: str, kind: Kind, column: str | None, parameters: dict[str, Any]) -> None:
        self.reads: tuple[str, ...] = (source,)
        self.takes = {source: kind}
        self.parameters = parameters
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        self.num_clusters = self.num_rows_in_clusters = self.num_bridges = 0
        self._value_V, self._cluster_V = self._decide(newest, column)
        self.decided = digest_of(self._value_V, self._cluster_V)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Name the cluster of each row: string [B]."""
        key_B, usable_B, why = self._keys(batch.column(0))
        place_B = np.minimum(np.searchsorted(self._value_V, key_B), max(len(self._value_V) - 1, 0))
        known_B = usable_B & (self._value_V[place_B] == key_B) if len(self._value_V) else np.zeros_like(usable_B)
        texts = hash_texts(self._cluster_V[place_B][:, None]) if len(self._value_V) else pa.nulls(len(key_B))
        reasons = [None if known else _LATE if usable else why for known, usable in zip(known_B, usable_B, strict=True)]
        return texts.take(pa.array(np.arange(len(key_B)), mask=~known_B)).cast(pa.string()), reasons

    def notes(self) -> dict[str, Any]:
        """How many clusters of several rows there are, and how many new values lie near to several older clusters."""
        bridges = {"new values near to several clusters, put to the nearest": self.num_bridges}
        return {
            "clusters of several rows": self.num_clusters,
            "rows in them": self.num_rows_in_clusters,
            **(bridges if self.num_bridges else {}),
        }

    def _decide(self, table: Table, column: str | None) -> tuple[np.ndarray, np.ndarray]:
        """uint64 [V], the keys of all values, sorted; and uint64 [V], the key of the cluster of each."""
        key_N, given_N, is_given_N = self._read(table, column)
        value_V, of_value_N, num_rows_V = np.unique(key_N, return_inverse=True, return_counts=True)
        cluster_V, is_given_V = np.zeros(len(value_V), np.uint64), np.zeros(len(value_V), bool)
        cluster_V[of_value_N[is_given_N]] = given_N[is_given_N]
        is_given_V[of_value_N[is_given_N]] = True
        known_K = _known_centres(value_V, cluster_V, np.flatnonzero(is_given_V))
        new = np.flatnonzero(~is_given_V)
        if len(new):
            wanted = np.concatenate([known_K, new])
            search = self._search(table, value_V, wanted)
            stars = star_clusters(search, shuffled(value_V[wanted]), num_known=len(known_K))
            id_W = np.concatenate([cluster_V[known_K], value_V[new]])
            cluster_V[new] = id_W[stars.centre_N[len(known_K) :]]
            self.num_bridges = stars.num_bridges
        self._count(cluster_V, num_rows_V)
        return value_V, cluster_V

    def _count(self, cluster_V: np.ndarray, num_rows_V: np.ndarray) -> None:
        _, of_cluster_V = np.unique(cluster_V, return_inverse=True)
        num_rows_C = np.bincount(of_cluster_V, weights=num_rows_V) if len(cluster_V) else np.zeros(0)
        self.num_clusters = int((num_rows_C > 1).sum())
        self.num_rows_in_clusters = int(num_rows_C[num_rows_C > 1].sum())

    def _read(self, table: Table, column: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the N rows with a value: uint64 keys; uint64 keys of clusters; bool, whether an earlier run named one."""
        earlier = [column] if column is not None and made_alike(self, table, column) else []
        keys, given, is_given = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [np.empty(0, bool)]
        for batch in table.scan([*self.reads, *earlier], batch_rows=SCAN_ROWS):
            key_B, usable_B, _ = self._keys(batch.column(0))
            cluster_B, named_B = np.zeros(batch.num_rows, np.uint64), np.zeros(batch.num_rows, bool)
            if earlier:
                named_B = is_hash(batch.column(1), 1)
                cluster_B[named_B] = hashes_in(batch.column(1).filter(pa.array(named_B)), 1)[:, 0]
            keys.append(key_B[usable_B])
            given.append(cluster_B[usable_B])
            is_given.append(named_B[usable_B])
        return np.concatenate(keys), np.concatenate(given), np.concatenate(is_given)

    def _batches_of(self, table: Table, value_V: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[Any, ...]]:
        """Rows whose value is wanted: place among the wanted [B], and the column."""
        place_V = np.full(len(value_V), -1, np.int64)
        place_V[wanted] = np.arange(len(wanted))
        for batch in table.scan(self.reads, batch_rows=SCAN_ROWS):
            key_B, usable_B, _ = self._keys(batch.column(0))
            found_B = np.minimum(np.searchsorted(value_V, key_B), len(value_V) - 1)
            row_B = np.flatnonzero(usable_B & (value_V[found_B] == key_B) & (place_V[found_B] >= 0))
            yield place_V[found_B[row_B]], batch.column(0).take(pa.array(row_B))

    @abstractmethod
    def _keys(self, values: pa.Array) -> tuple[np.ndarray, np.ndarray, str]:
        """uint64 [B], what tells values apart; bool [B], which rows have one; and why another has none."""

    @abstractmethod
    def _search(self, table: Table, value_V: np.ndarray, wanted: np.ndarray) -> NearSearch:
        """Search among the wanted values."""


class NearDuplicates(_ValueClusters):
    """The cluster of pictures that look alike, by a perceptual hash: the id is the same for all of them.

    A cluster is a centre and the hashes that differ from it in `radius` bits at most: never a chain of near ones. With
    hashes that hold the mirror image's too, a flipped copy is near as well. New rows join the clusters that are there,
    and rows that have a cluster keep it; a new picture that is near to several joins the nearest, and `notes` counts
    it.

    At the default radius, of drawings of 64 pixels with planted versions (200 that the radius was not chosen by), these
    are in the cluster of their original: flipped 99 %, resized 96 %, WebP 89 %, brightened 89 %, JPEG of quality 50
    88 %, cropped by 5 % 64 %; of the pairs in a cluster 98 % are right (`benchmarks/planted_duplicates.py`).

    Args:
        table: all of it is read once, to find the clusters; or the location of one.
        picture_hash: column of `PerceptualHash`, or other 64-bit hashes as 16 hex digits.
        radius: most bits that may differ, 0 to 16.
        column: where an earlier run with the same parameters wrote clusters; what others wrote there, or what was
            made of other inputs, does not count. None decides all rows anew.

    Raises:
        UsageError: the radius is none, or a name of a column is no text.
        SchemaError: the table lacks the column, or it holds no texts.
    """

    name = "NearDuplicates"
    version = "1"

    def __init__(
        self,
        table: AnyTable,
        picture_hash: str = "perceptual_hash",
        *,
        radius: int = RADIUS,
        column: str | None = "near_duplicates",
    ) -> None:
        require_names(self.name, picture_hash=picture_hash, column=column)
        if isinstance(radius, bool) or not isinstance(radius, int) or not 0 <= radius <= MAX_RADIUS:
            raise UsageError(f"{self.name}: radius is {radius!r:.80}; expected a number of bits from 0 to {MAX_RADIUS}")
        self._radius = radius
        self._begin(table, picture_hash, TEXT, column, {"radius": radius})

    def _keys(self, values: pa.Array) -> tuple[np.ndarray, np.ndarray, str]:
        texts = values.cast(pa.string())
        key_B, usable_B = np.zeros(len(texts), np.uint64), np.zeros(len(texts), bool)
        for variants in (1, 2):
            fits_B = is_hash(texts, variants)
            if fits_B.any():
                hash_NV = hashes_in(texts.filter(pa.array(fits_B)), variants)
                key_B[fits_B] = hash_NV[:, 0] if variants == 1 else hash_NV[:, 0] ^ shuffled(hash_NV[:, 1])
            usable_B |= fits_B
        return key_B, usable_B, "no hash of 16 or 32 hex digits"

    def _search(self, table: Table, value_V: np.ndarray, wanted: np.ndarray) -> NearSearch:
        hash_W2 = np.zeros((len(wanted), 2), np.uint64)
        has_mirrored = False
        for place_B, values in self._batches_of(table, value_V, wanted):
            texts = values.cast(pa.string())
            for variants in (1, 2):
                fits_B = is_hash(texts, variants)
                if fits_B.any():
                    has_mirrored |= variants == 2
                    hash_NV = hashes_in(texts.filter(pa.array(fits_B)), variants)
                    hash_W2[place_B[fits_B]] = hash_NV if variants == 2 else np.repeat(hash_NV, 2, axis=1)
        return HammingSearch(hash_W2 if has_mirrored else hash_W2[:, :1], self._radius)


class EmbeddingDuplicates(_ValueClusters):
    """The cluster of pictures (or texts) whose embeddings are alike, by their cosine: the id is the same for all.

    A cluster is a centre and the vectors whose cosine with it reaches `least_cosine`: never a chain of near ones. New
    rows join the clusters that are there, and rows that have a cluster keep it; a new vector that is near to several
    joins the nearest, and `notes` counts it. Vectors are compared as half-precision numbers: 2 bytes a number are held
    of each new one. Of more than 8,192 vectors, those are compared that share a cell of a k-means clustering; of the
    planted pairs among 100,000 vectors of 512 numbers 99.4 % are found (`benchmarks/deduplicate.py`).

    At the default cosine, with the starter model, of drawings of 64 pixels with planted versions (80 that nothing was
    chosen by), these are in the cluster of their original: flipped 100 %, cropped by 5 % 95 %, resized 89 %, brightened
    80 %, WebP 69 %, JPEG of quality 50 8 %; at 0.94: 100, 99, 92, 81, 80 and 16 %. All pairs in a cluster are right at
    both (`benchmarks/planted_duplicates.py`).

    Args:
        table: all of it is read twice, to find the clusters; or the location of one.
        embedding: column of vectors, such as `ImageEmbedding` makes; they need not be normalised.
        least_cosine: from which on two are alike, above 0 to 1.
        probes: cells that each vector is looked for in; more find more of the pairs, and take longer.
        column: where an earlier run with the same parameters wrote clusters; what others wrote there, or what was
            made of other inputs, does not count. None decides all rows anew.

    Raises:
        UsageError: a parameter is none that can be, or a name of a column is no text.
        SchemaError: the table lacks the column, or it holds no lists of numbers.
    """

    name = "EmbeddingDuplicates"
    version = "1"

    def __init__(
        self,
        table: AnyTable,
        embedding: str = "image_embedding",
        *,
        least_cosine: float = LEAST_COSINE,
        probes: int = PROBES,
        column: str | None = "embedding_duplicates",
    ) -> None:
        require_names(self.name, embedding=embedding, column=column)
        require_cosine(self.name, least_cosine)
        if isinstance(probes, bool) or not isinstance(probes, int) or probes < 1:
            raise UsageError(f"{self.name}: probes is {probes!r:.80}; expected a number of cells, at least 1")
        self._least, self._probes = float(least_cosine), probes
        self._size = vector_size(as_table(table).latest(), embedding)
        parameters = {"least_cosine": self._least, "probes": probes}
        self._begin(table, embedding, NUMBERS, column, parameters)

    def _keys(self, values: pa.Array) -> tuple[np.ndarray, np.ndarray, str]:
        vectors, usable_B = vectors_in(values, self._size)
        key_B = np.zeros(len(usable_B), np.uint64)
        key_B[usable_B] = vector_keys(vectors)
        return key_B, usable_B, "no direction: the vector is missing, of another length, zero or not finite"

    def _search(self, table: Table, value_V: np.ndarray, wanted: np.ndarray) -> NearSearch:
        held: np.ndarray | None = None
        for place_B, values in self._batches_of(table, value_V, wanted):
            vectors, _ = vectors_in(values, self._size)
            if held is None:
                held = np.zeros((len(wanted), vectors.shape[1]), np.float16)
            held[place_B] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert held is not None
        return CosineSearch(held, self._least, probes=self._probes)


def require_cosine(step: str, least_cosine: Any) -> None:
    """Hold what a step was given to be the cosine of vectors that are alike.

    Raises:
        UsageError: it is no number above 0 to 1.
    """
    is_number = isinstance(least_cosine, int | float) and not isinstance(least_cosine, bool)
    if not is_number or not 0 < least_cosine <= 1:
        raise UsageError(f"{step}: least_cosine is {least_cosine!r:.80}; expected a cosine above 0 to 1")


def vector_size(table: Table, column: str) -> int:
    """How many numbers the vectors of a column have: as many as the first that has any; 0 where there is none."""
    kind = table.schema.field(column).type if column in table.schema.names else None
    if kind is None or not is_list(kind):
        return 0  # which the check of the step's columns tells
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in table.scan([column], batch_rows=SCAN_ROWS):
        lengths = pc.list_value_length(batch.column(0)).drop_null().to_numpy(zero_copy_only=False)
        if (lengths > 0).any():
            return int(lengths[lengths > 0][0])
    return 0


def vectors_in(values: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of a column of lists of numbers.

    Args:
        size: of all vectors of the table, from `vector_size`.

    Returns:
        float32 [M, D] of the rows that have one; and bool [B], which rows those are. A row has none where it is null,
        of another length, zero, or holds what is no number.
    """
    length_B = np.asarray(pc.fill_null(pc.list_value_length(values), -1))
    usable_B = (length_B == size) & (size > 0)
    flat = pc.list_flatten(values.filter(pa.array(usable_B)))
    vector_MD = flat.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False).reshape(int(usable_B.sum()), size)
    with np.errstate(over="ignore", invalid="ignore"):
        norm_M = np.linalg.norm(vector_MD, axis=1)
    directed_M = np.isfinite(norm_M) & (norm_M > 0)
    usable_B[usable_B] = directed_M
    return vector_MD[directed_M], usable_B


def vector_keys(vector_MD: np.ndarray) -> np.ndarray:
    """uint64 [M], 64-bit digests of vectors' bytes."""
    rows = (hashlib.blake2b(row, digest_size=8).digest() for row in np.ascontiguousarray(vector_MD))
    return np.frombuffer(b"".join(rows), np.uint64)


def _known_centres(value_V: np.ndarray, cluster_V: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Place of each earlier cluster's centre among the values; of one whose centre is gone, of its first value.

    Args:
        member: places of the values that have an earlier cluster.
    """
    is_centre_M = value_V[member] == cluster_V[member]
    member = member[np.lexsort((value_V[member], ~is_centre_M, cluster_V[member]))]
    _, first = np.unique(cluster_V[member], return_index=True)
    return member[first]
