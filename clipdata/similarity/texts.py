"""Search of a column's texts for words: by Lance's full-text index where that answers the query, by reading all else.

What counts as a word is the same both ways (`words.py`). It knows tables and texts, and no vectors.
Shapes: N rows of a batch, W words, M rows that hold one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata import schema as schemas
from clipdata.lance_io.indices import NGRAMS, SPACED, Index, matching
from clipdata.lance_io.table import Table
from clipdata.progress import Progress
from clipdata.similarity.ranks import Ranked, filled
from clipdata.similarity.words import Words, is_unspaced

K1, B = 1.2, 0.75
_BATCH_ROWS = 8192


def answers(index: Index | None, words: Words) -> bool:
    """Tell whether an index finds all rows that hold a word of a query.

    One that splits unspaced texts by a dictionary misses a word where the dictionary saw another.
    """
    return index is not None and (index.splits == NGRAMS or not words.unspaced)


def by_index(
    table: Table,
    column: str,
    index: Index,
    words: Words,
    most: int,
    where: str | None,
    counting: Callable[[Ranked], Ranked],
) -> Ranked | None:
    """The best rows by an index; None when too many candidates do not count, so that all must be read.

    Args:
        counting: leaves out rows that hold a word and do not count either.
    """

    def rank(wanted: int) -> Ranked:
        return Ranked(*matching(table, column, words.sought, wanted, where))

    def keep(found: Ranked) -> Ranked:
        if index.splits != NGRAMS:
            return counting(found)
        texts = table.take_ids(found.row_K, [column]).column(column)
        return counting(found.kept(np.array([bool(words.counts(one)) for one in _texts_of(texts)], bool)))

    found, complete = filled(rank, keep, most)
    return found if complete else None


def by_reading(
    table: Table, column: str, words: Words, most: int, where: str | None, progress: Progress
) -> tuple[Ranked, int]:
    """The best rows by BM25 over all of them, and how many were read. Of a row that holds a word 14 + 2 W bytes stay.

    A row's length is that of its texts in characters.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; k1 1.2, b 0.75, and
        the weight of a word as Lucene has it, ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """
    rows, lengths, times = (
        [np.empty(0, np.uint64)],
        [np.empty(0, np.uint32)],
        [np.empty((0, len(words.all)), np.uint16)],
    )
    num_rows, total = 0, 0
    with progress.task("searching", table.num_rows if where is None else None, "rows") as counter:
        for batch in table.scan([column, "_rowid"], where=where, batch_rows=_BATCH_ROWS):
            row_M, length_M, times_MW, length = _held(batch.column("_rowid").to_numpy(), batch.column(column), words)
            rows.append(row_M)
            lengths.append(length_M)
            times.append(times_MW)
            num_rows += batch.num_rows - batch.column(column).null_count
            total += length
            counter.advance(batch.num_rows)
    row_M, length_M, times_MW = np.concatenate(rows), np.concatenate(lengths), np.concatenate(times)
    score_M = _bm25(times_MW.astype(np.float64), length_M, num_rows, total)
    order = np.argsort(-score_M, kind="stable")[:most]
    return Ranked(row_M[order], score_M[order]), num_rows


def _bm25(times_MW: np.ndarray, length_M: np.ndarray, num_rows: int, total: int) -> np.ndarray:
    held_W = (times_MW > 0).sum(axis=0)
    weight_W = np.log1p((num_rows - held_W + 0.5) / (held_W + 0.5))
    slowed_M = K1 * (1 - B + B * length_M / max(total / max(num_rows, 1), 1e-9))
    scores: np.ndarray = (weight_W * times_MW * (K1 + 1) / (times_MW + slowed_M[:, None])).sum(axis=1)
    return scores


def _held(row_N: np.ndarray, column: pa.Array, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Of the rows that hold a word: numbers, lengths and how often each word stands; and the length of all rows."""
    texts, parents = _flat(column)
    if len(texts) == 0:
        return row_N[:0], np.empty(0, np.uint32), np.empty((0, len(words.all)), np.uint16), 0
    length_T = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
    length_N = np.bincount(parents, weights=length_T, minlength=len(row_N))
    may_hold = pc.fill_null(_may_hold(texts, words), False).to_numpy(zero_copy_only=False)
    place_M = np.unique(parents[may_hold])
    counts = [words.counts(one) for one in _texts_of(column.take(pa.array(place_M)))]
    times_MW = np.array([[min(count[word], 65_535) for word in words.all] for count in counts], np.uint16)
    times_MW = times_MW.reshape(len(counts), len(words.all))
    holds_M = times_MW.any(axis=1)
    place_M = place_M[holds_M]
    return row_N[place_M], length_N[place_M].astype(np.uint32), times_MW[holds_M], int(length_N.sum())


def _flat(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """All texts of a batch, and the row that each is of, int64."""
    if schemas.is_text(column.type):
        return _decoded(column), np.arange(len(column), dtype=np.int64)
    held = column.drop_null() if column.null_count else column
    places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    return _decoded(pc.list_flatten(held)), places[pc.list_parent_indices(held).to_numpy(zero_copy_only=False)]


def _decoded(texts: pa.Array) -> pa.Array:
    return texts.cast(texts.type.value_type) if pa.types.is_dictionary(texts.type) else texts


def _may_hold(texts: pa.Array, words: Words) -> pa.Array:
    """Which texts may hold a word: cheap, and never wrong about one that does.

    The English endings that are cut off, and those that are put in their place, are the last two letters of what is
    left at the most; what accents hide is not looked for.
    """
    found = pc.invert(pc.string_is_ascii(texts)) if words.spaced else pa.array(np.zeros(len(texts), bool))
    for word in words.unspaced:
        found = pc.or_kleene(found, pc.match_substring(texts, word, ignore_case=True))
    for word in words.spaced:
        found = pc.or_kleene(found, pc.match_substring(texts, word[: max(len(word) - 2, 1)], ignore_case=True))
    return found


def _texts_of(column: pa.Array | pa.ChunkedArray) -> Iterator[Sequence[str]]:
    """The texts of each row, none for a null."""
    for value in column.to_pylist():
        yield [value] if isinstance(value, str) else [text for text in value or () if text is not None]


def splits_for(table: Table, column: str) -> str:
    """How an index should split a column's texts, judged by the first thousand that there are."""
    held = table.to_table([column], where=f"`{column}` IS NOT NULL", limit=1000).column(column)
    rows = list(_texts_of(held))
    return NGRAMS if 50 * sum(any(map(is_unspaced, one)) for one in rows) > len(rows) else SPACED
