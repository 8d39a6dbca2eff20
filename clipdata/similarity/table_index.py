"""index(): makes the index of a column, brings it up to date, and measures what it finds beside reading every row.

It knows tables and arrays, and no model. Shapes: Q queries, D size of a vector.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clipdata import hints
from clipdata import schema as schemas
from clipdata.arguments import PROGRESS, check_able, check_count
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io.history import Properties
from clipdata.lance_io.indices import (
    NGRAMS,
    Index,
    Use,
    index_of,
    make_vectors,
    make_words,
    searchable_kind,
    update,
)
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.similarity.candidates import Best
from clipdata.similarity.nearby import EXACT_ROWS, by_index
from clipdata.similarity.texts import splits_for
from clipdata.similarity.vectors import search_all, vectors_of
from clipdata.storage import Storage, redact

Did = Literal["made", "updated", "kept", "none"]
KINDS = ("IVF_SQ", "IVF_RQ", "IVF_PQ", "IVF_HNSW_SQ", "IVF_FLAT")
DEFAULT_KIND = KINDS[0]
REMADE_FROM = 0.3
"""Share of rows outside an index from which it is made anew: its partitions were chosen without them."""
AT = 10
WANTED = 0.95
_SEED = 0


@dataclass(frozen=True)
class Measured:
    """What an index finds beside reading every row.

    Args:
        queries: rows of the table whose vectors were searched for.
        recall: share of the ten nearest rows that the index finds; a row as near as the tenth counts as one of them.
        index_ms: of a query by the index, milliseconds.
        exact_ms: of a query by reading every row, milliseconds.
    """

    queries: int
    recall: float
    index_ms: float
    exact_ms: float

    def __str__(self) -> str:
        few = "" if self.recall >= WANTED else f"; below {WANTED:.2f}: try another --kind, or search with --exact"
        return (
            f"recall@{AT} {self.recall:.3f} on {counted(self.queries, 'row')} as queries; "
            f"{self.index_ms:,.1f} ms a query by the index, {self.exact_ms:,.1f} ms by reading every row{few}"
        )


@dataclass(frozen=True)
class Indexed:
    """What became of the index of a column.

    Args:
        table: location.
        column: that it is of.
        did: made, updated, kept as it is, or none made because reading every row is as fast.
        kind: Lance's, of the index; None where there is none.
        splits: how texts are split, as Lance calls it; None of vectors.
        covered: rows inside.
        outside: rows outside.
        version: of the table, afterwards.
        seconds: making or updating took.
        dry_run: whether nothing was written; the rest says what would be done.
        measured: what it finds; None of texts, and where there is none.
    """

    table: str
    column: str
    did: Did
    kind: str | None
    splits: str | None
    covered: int
    outside: int
    version: int
    seconds: float
    dry_run: bool
    measured: Measured | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        split = {None: "", NGRAMS: " (characters and pairs of them)"}.get(self.splits, f" (words by {self.splits})")
        named = f"index {self.kind}{split} of {self.column}"
        would = {"made": "would be made", "updated": "would be updated"} if self.dry_run else {}
        said = {
            "made": f"{named} {would.get('made', 'was made')} in {self.seconds:.1f} s",
            "updated": f"{named} {would.get('updated', 'was updated')} in {self.seconds:.1f} s",
            "kept": f"{named} is as it was",
            "none": f"{self.column} needs no index: up to {EXACT_ROWS:,} rows are read as fast; --kind makes one",
        }[self.did]
        said = said.partition(" in ")[0] if self.dry_run else said
        rows = f"; {counted(self.covered, 'row')} inside, {self.outside:,} outside" if self.did != "none" else ""
        return printable(said + rows) + (f"\n{self.measured}" if self.measured is not None else "")


def index(
    table: AnyTable,
    column: str,
    *,
    kind: str | None = None,
    remake: bool = False,
    check: bool = False,
    dry_run: bool = False,
    queries: int = 100,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Indexed:
    """Make the index of a column of vectors or texts, or bring it up to date; then measure what it finds.

    What is up to date stays, and no version is written. Rows outside are taken in by the partitions that there are;
    where they are many, or another kind is asked for, the index is made anew. Up to 20,000 rows no index of vectors is
    made unless a kind is named.

    Args:
        table: or its location.
        column: of vectors that are lists of one length, or of texts or lists of texts.
        kind: of an index of vectors, one of `KINDS`.
        remake: make it anew in any case.
        check: write nothing, and only measure the index that is there.
        dry_run: write nothing, and say what would be done.
        queries: rows of the table to measure with; 0 measures nothing.
        storage: how to reach the table.
        progress: watches.

    Raises:
        SchemaError: there is no such column, or it can have no index.
        UsageError: the kind is unknown or not for this column, another tool's index stands in the way, or no row has a
            vector to find.
        NotFoundError: there is no table, or with `check` no index.
    """
    check_count(queries, "index: queries")
    check_able(progress, "index: progress", ("task", "say"), PROGRESS)
    opened = as_table(table, storage=storage)
    opened = opened if check else opened.latest()
    use = _use_of(opened, column, kind)
    found = index_of(opened, column, use)
    if check and found is None:
        raise NotFoundError(
            f"column {column!r} of {redact(opened.uri)} has no index to measure", hint=hints.index(opened.uri, column)
        )
    did = "kept" if check else _to_do(opened, found, use, kind, remake)
    if use == "vectors" and did == "made":
        _require_vectors(opened, column)
    splits = splits_for(opened, column) if use == "words" and did == "made" else None
    chosen = kind or (found.kind if found is not None and found.kind in KINDS else DEFAULT_KIND)
    watched, began = progress or Silent(), time.perf_counter()
    if not dry_run and did in ("made", "updated"):
        watched.say(f"{'making' if did == 'made' else 'updating'} an index of {opened.num_rows:,} rows of {column}")
        opened = _written(opened, column, use, did, found, chosen, splits)
        if isinstance(table, Table):
            table.move_to(opened)
    seconds = time.perf_counter() - began
    now = found if dry_run else index_of(opened, column, use)
    measured = (
        _measured(opened, column, now, queries, watched) if now is not None and use == "vectors" and queries else None
    )
    shown = "Inverted" if use == "words" else chosen
    return Indexed(
        table=opened.uri,
        column=column,
        did=did,
        kind=None if did == "none" else shown if now is None or dry_run else now.kind,
        splits=splits or (now.splits if now is not None else None),
        covered=now.covered if now is not None else 0,
        outside=now.outside if now is not None else opened.num_rows,
        version=opened.version,
        seconds=seconds if not dry_run and did in ("made", "updated") else 0.0,
        dry_run=dry_run,
        measured=measured if not dry_run else None,
    )


def _use_of(table: Table, column: str, kind: str | None) -> Use:
    table.require([column], verb="index")
    found = table.schema.field(column).type
    if kind is not None and kind not in KINDS:
        raise UsageError(f"index: there is no kind {kind!r}; expected {', '.join(KINDS)}")
    if schemas.is_of("captions", found) and not pa.types.is_dictionary(found):
        if kind is not None:
            raise UsageError(
                f"index: {kind} is of vectors, and column {column!r} holds {found}", hint="leave --kind out"
            )
        return "words"
    if searchable_kind(found):
        return "vectors"
    what = "vectors that are lists of one length, or texts"
    if schemas.is_list(found) and pa.types.is_floating(found.value_type):
        raise SchemaError(
            f"index: column {column!r} is {found}, lists that may differ in length; expected {what}",
            hint=f"write it as lists of one length, such as {pa.list_(found.value_type, 512)}: "
            "@clipdata.step(reads=…, returns=…) makes such a column; clipdata search reads this one without an index",
        )
    raise SchemaError(f"index: column {column!r} is {found}; expected {what}")


def _require_vectors(table: Table, column: str) -> None:
    """Check that an index would hold something: reads up to the first vector that can be found.

    Raises:
        UsageError: no row has one.
    """
    size = table.schema.field(column).type.list_size
    if not any(len(vectors_of(batch.column(column), size)[0]) for batch in table.scan([column])):
        raise UsageError(
            f"index: none of {table.num_rows:,} rows of {redact(table.uri)} has a vector in column {column!r} that can "
            "be found; expected one that is neither null nor zeros alone, and holds no NaN or infinity",
            hint="fill the column first: clipdata map",
        )


def _to_do(table: Table, found: Index | None, use: Use, kind: str | None, remake: bool) -> Did:
    """What an index needs."""
    if found is None or remake:
        small = use == "vectors" and table.num_rows <= EXACT_ROWS and kind is None and found is None
        return "none" if small else "made"
    if use == "vectors" and found.metric != "cosine":
        raise UsageError(
            f"the index {found.name!r} of column {found.column!r} answers for {found.metric}; a search is by cosine",
            hint=f"{hints.index(table.uri, found.column)} --remake replaces it",
        )
    if kind is not None and kind != found.kind:
        return "made"
    if not found.outside:
        return "kept"
    return "made" if found.outside > REMADE_FROM * (found.covered + found.outside) else "updated"


def _written(
    table: Table, column: str, use: Use, did: Did, found: Index | None, kind: str, splits: str | None
) -> Table:
    parameters: Mapping[str, Any] = {"column": column, "did": did, "kind": kind if use == "vectors" else "words"}
    properties = Properties("index", parameters, {"rows": table.num_rows}, first_version=table.version)
    if did == "updated":
        assert found is not None
        return update(table, found.name, replace(properties, rows={"rows": found.outside}))
    if use == "words":
        options = {"base_tokenizer": splits, "stem": splits != NGRAMS, "remove_stop_words": False}
        ngrams = {"min_ngram_length": 1, "max_ngram_length": 2} if splits == NGRAMS else {}
        return make_words(table, column, options | ngrams, properties)
    size = table.schema.field(column).type.list_size
    sub_vectors = next(size // width for width in (8, 4, 2, 1) if size % width == 0)
    return make_vectors(table, column, kind, {"num_sub_vectors": sub_vectors} if kind == "IVF_PQ" else {}, properties)


def _measured(table: Table, column: str, found: Index, queries: int, progress: Progress) -> Measured | None:
    """Recall of an index on rows of the table as queries, the same ones every time."""
    size = table.schema.field(column).type.list_size
    places = np.random.default_rng(_SEED).permutation(table.num_rows)[: 2 * queries]
    held = table.take(np.sort(places), [column]).column(column)
    vector_MD = vectors_of(held.combine_chunks() if held.num_chunks != 1 else held.chunk(0), size)[0][:queries]
    if not len(vector_MD) or found.metric != "cosine":
        return None
    best = [Best(AT) for _ in vector_MD]
    search_all(table, column, vector_MD, best, where=None, distinct=None, progress=progress)
    began = time.perf_counter()
    search_all(table, column, vector_MD[:1], [Best(AT)], where=None, distinct=None, progress=Silent())
    exact_s = time.perf_counter() - began
    by_index(table, column, vector_MD[0], AT, None)  # opens the index
    began = time.perf_counter()
    told = [by_index(table, column, one, AT, None).score_K for one in vector_MD]
    index_s = (time.perf_counter() - began) / len(vector_MD)
    right = [
        (cosine_K >= exact.score_K[-1] - 1e-5).sum() / len(exact.score_K)
        for cosine_K, exact in zip(told, best, strict=True)
    ]
    return Measured(len(vector_MD), float(np.mean(right)), 1e3 * index_s, 1e3 * exact_s)
