"""Indices of a table: which there are, what they cover, how one is made and brought up to date, and what one finds.

Lance takes out of an index every fragment whose column was written anew and every column that was dropped, and reads
the rows that lie outside beside it; so an index never answers with values that are gone, and what it costs to be behind
is time. A new index of vectors is one commit with the verb's properties. Other changes are Lance's own commits,
closed by one that carries them. It knows columns of vectors and of texts, and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.column_names import quoted
from clipdata.errors import ClipdataError, CredentialsError, TransientError
from clipdata.lance_io.conditions import asked
from clipdata.lance_io.faults import said_by, translated, with_retries
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.rows import close_verb
from clipdata.lance_io.table import Table, open_table

if TYPE_CHECKING:
    import lance

Use = Literal["vectors", "words", "other"]
_LOADED_BYTES = 16 << 20  # that stay of an index which is loaded part by part
_WORDS = ("Inverted", "INVERTED", "FTS")
NGRAMS = "ngram"
SPACED = "icu/split"
"""How texts are split: into characters and pairs of them, or into words, also at apostrophes and hyphens."""


@dataclass(frozen=True)
class Index:
    """An index of a table's version.

    Args:
        name: Lance's, of the index.
        column: that it is of.
        kind: as Lance calls it, such as "IVF_RQ" or "Inverted".
        use: what it answers: which vectors are near, in which texts words stand, or else.
        metric: of vectors: "cosine", "l2" or "dot"; None of others.
        splits: how texts are split, as Lance calls it: "icu", "ngram", "simple"; None of others.
        covered: live rows inside.
        outside: live rows that were added or written since; they are read beside it.
        num_bytes: it takes.
    """

    name: str
    column: str
    kind: str
    use: Use
    metric: str | None
    splits: str | None
    covered: int
    outside: int
    num_bytes: int

    def __str__(self) -> str:
        behind = f", {self.outside:,} outside" if self.outside else ""
        told = self.metric or self.splits
        return f"{self.column}: {self.kind}{f' ({told})' if told else ''}, {self.covered:,} rows{behind}"


def indices(table: Table) -> list[Index]:
    """The indices of a table's version, by column; those that Lance keeps for itself are left out."""
    with translated(table.uri, "reading the indices of"):
        found = table.dataset.describe_indices()
        num_rows = table.num_rows if found else 0
    return sorted(
        (_index(one, num_rows) for one in found if len(one.field_names) == 1), key=lambda one: (one.column, one.name)
    )


def damaged_indices(table: Table) -> Iterator[tuple[str, str, Use, str]]:
    """Indices whose files cannot be read: name, column, use, and what was found. Each is loaded.

    Raises:
        CredentialsError: the store refused access.
        TransientError: the store did not answer.
    """
    import lance

    options = table.storage.lance_options(table.uri) or None
    for index in indices(table):
        try:
            with translated(table.uri, f"loading the index {index.name} of"):
                dataset = lance.dataset(
                    table.uri, version=table.version, storage_options=options, index_cache_size_bytes=_LOADED_BYTES
                )
                with_retries(partial(dataset.prewarm_index, index.name))
        except (CredentialsError, TransientError):
            raise
        except ClipdataError as error:
            yield index.name, index.column, index.use, said_by(error.__cause__ or error)


def index_of(table: Table, column: str, use: Use) -> Index | None:
    """The index of a column that answers a kind of question; None when there is none."""
    return next((one for one in indices(table) if (one.column, one.use) == (column, use)), None)


def _index(found: Any, num_rows: int) -> Index:
    kind, details = str(found.index_type), found.details or {}
    is_words = kind in _WORDS
    is_vectors = "metric_type" in details
    covered = min(int(found.num_rows_indexed or 0), num_rows)
    return Index(
        name=found.name,
        column=found.field_names[0],
        kind=kind,
        use="words" if is_words else "vectors" if is_vectors else "other",
        metric=str(details["metric_type"]).lower() if is_vectors else None,
        splits=str(details.get("base_tokenizer", "simple")) if is_words else None,
        covered=covered,
        outside=num_rows - covered,
        num_bytes=int(found.total_size_bytes or 0),
    )


def make_vectors(table: Table, column: str, kind: str, options: Mapping[str, Any], properties: Properties) -> Table:
    """Make an index of all vectors of a column, in place of the one that it has, by one commit.

    Args:
        kind: as Lance calls it.
        options: of Lance's own.
        properties: carried by the commit.
    """
    import lance

    def operation(dataset: lance.LanceDataset) -> Any:
        before = index_of(Table(table.uri, dataset.version, table.storage, dataset), column, "vectors")
        fragments = [fragment.fragment_id for fragment in dataset.get_fragments()]
        built = dataset.create_index_uncommitted(
            column, kind, name=_name(before, column, "vectors"), metric="cosine", replace=True, fragment_ids=fragments,
            **options,
        )  # fmt: skip
        return lance.LanceOperation.CreateIndex([built], _segments(dataset, before.name) if before is not None else [])

    return commit(table, operation, properties)[0]


def make_words(table: Table, column: str, options: Mapping[str, Any], properties: Properties) -> Table:
    """Make a full-text index of a column, in place of the one that it has.

    Args:
        options: of Lance's own.
        properties: carried by the commit that closes Lance's.
    """

    def attempt() -> None:
        newest = open_table(table.uri, storage=table.storage)
        name = _name(index_of(newest, column, "words"), column, "words")
        newest.dataset.create_scalar_index(column, "INVERTED", name=name, replace=True, **options)

    with translated(table.uri, "making an index of"):
        with_retries(attempt, attempts=10)
    return close_verb(table, properties)


def _name(before: Index | None, column: str, use: Use) -> str:
    return before.name if before is not None else f"{column}_{use}"


def _segments(dataset: lance.LanceDataset, name: str) -> list[Any]:
    """What a commit names to take an index out."""
    from lance.dataset import Index as Segment

    return [
        Segment(
            uuid=str(segment.uuid),
            name=one.name,
            fields=list(one.fields),
            dataset_version=segment.dataset_version_at_last_update,
            fragment_ids=segment.fragment_ids,
            index_version=segment.index_version,
        )
        for one in dataset.describe_indices()
        if one.name == name
        for segment in one.segments
    ]


def update(table: Table, name: str, properties: Properties) -> Table:
    """Take the rows outside into an index, by the partitions that it has."""

    def attempt() -> None:
        newest = open_table(table.uri, storage=table.storage)
        newest.dataset.optimize.optimize_indices(index_names=[name])

    with translated(table.uri, "updating an index of"):
        with_retries(attempt, attempts=10)
    return close_verb(table, properties)


def nearest(table: Table, column: str, query_D: np.ndarray, k: int, probes: int, where: str | None) -> np.ndarray:
    """Rows that an index takes for near a vector, and all that are as near among those outside it.

    Lance tells distances in other units inside an index than outside, and in half precision of half-precision vectors;
    so they are not given.

    Args:
        query_D: float.
        k: rows at most.
        probes: partitions to look into at the least.
        where: SQL condition, which holds before anything is searched.

    Returns:
        Lance's numbers of the rows, uint64 [K].
    """

    def ask(most: int) -> pa.Table:
        wanted = {"column": column, "q": query_D, "k": most, "metric": "cosine", "minimum_nprobes": probes}
        return table.dataset.scanner(
            columns=[], with_row_id=True, nearest=wanted, filter=plain, prefilter=plain is not None
        ).to_table()

    with asked(table, where, "searching") as plain:
        rows: np.ndarray = _present(table, ask, k).column("_rowid").to_numpy()
    return rows


def matching(table: Table, column: str, words: str, k: int, where: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows in whose texts the index finds any of some words, the best first.

    Returns:
        Lance's numbers of the rows, uint64 [K], and BM25 scores, float64 [K].
    """
    from lance.query import MatchQuery

    def ask(most: int) -> pa.Table:
        return table.dataset.scanner(
            columns=[], with_row_id=True, full_text_query=MatchQuery(words, column), limit=most, filter=plain,
            prefilter=plain is not None,
        ).to_table()  # fmt: skip

    with asked(table, where, "searching the words of", said=[words]) as plain:
        found = _present(table, ask, k)
    return found.column("_rowid").to_numpy(), found.column("_score").to_numpy().astype(np.float64)


def _present(table: Table, ask: Callable[[int], pa.Table], k: int) -> pa.Table:
    """The first rows of an answer that are still there: Lance 14 names deleted ones too, once they are compacted away.

    Args:
        ask: gives the best so many rows, or fewer when there are no more.
        k: rows at most.
    """
    wanted = k
    while True:
        found = ask(wanted)
        if not found.num_rows:
            return found
        there = table.dataset._take_rows(found.column("_rowid").to_pylist(), columns=["_rowid"]).column("_rowid")
        held = found if len(there) == found.num_rows else found.filter(pc.is_in(found.column("_rowid"), there))
        if held.num_rows >= k or found.num_rows < wanted:
            return held.slice(0, k)
        wanted *= 4


def tokens_of(text: str) -> list[str]:
    """A text's words in lower case, without accents and English endings; unspaced scripts split by ICU's dictionary.

    Source: Unicode Standard Annex 29 (word boundaries), ICU's dictionaries; Porter's stemmer (Snowball, English).
    """
    import lance

    found = lance.tokenize(text, base_tokenizer=SPACED, stem=True, remove_stop_words=False)
    return [token.text for token in found]


def searchable_kind(kind: pa.DataType) -> bool:
    """Tell whether Lance can index vectors of a type: lists of one length of floats."""
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))


def equals(column: str, value: Any) -> str:
    """The SQL condition that a column holds a text or whole number."""
    shown = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
    return f"{quoted(column)} = {shown}"
