"""search(): rows of a table that answer texts, pictures, other rows or words. Knows tables, encoders and records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipdata.arguments import PROGRESS, check_able, check_condition, check_count
from clipdata.errors import UsageError
from clipdata.lance_io.indices import index_of, indices
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.named_rows import check_groups
from clipdata.progress import Progress, Silent
from clipdata.similarity.found import Answer, Found, Way
from clipdata.similarity.hits import hits_of, shown_columns
from clipdata.similarity.nearby import nearby
from clipdata.similarity.queries import Query, checked_texts, picture_queries, row_queries, text_queries
from clipdata.similarity.ranks import Ranked, fused
from clipdata.similarity.searched_column import model_of, searched_column, texts_column
from clipdata.similarity.texts import answers, by_index, by_reading
from clipdata.similarity.vectors import groups_of
from clipdata.similarity.words import Words
from clipdata.storage import Storage

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

Texts = str | Sequence[str]
Places = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_FUSED_DEPTH = 100


def search(
    table: AnyTable,
    *,
    text: Texts = (),
    image: Places = (),
    like: Texts = (),
    words: Texts = (),
    column: str | None = None,
    model: Encoder | str | None = None,
    where: str | None = None,
    top: int = 10,
    exact: bool = False,
    distinct: str | None = None,
    like_column: str | None = None,
    words_column: str | None = None,
    columns: Sequence[str] | None = None,
    device: str | None = None,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Found:
    """Find the rows that answer texts, pictures, other rows of the table, or words. No picture of the table is read.

    A text or picture is held against a column of embeddings by cosine. The column, and the model for the queries, are
    those that lineage tells, checked by their weights. Words are searched in texts; given together with other queries,
    both orders are fused by rank. An index answers where one helps (`index` makes it), every row is read otherwise.

    Args:
        table: or its location; another tool's will do, with `column` and `model`.
        text: to search by; one or several.
        image: files, folders or URLs of pictures to search by.
        like: rows of the table to search by, named by key, picture's name, or "#12", the number among the rows; a row
            is no answer to itself.
        words: that texts must hold, any of them.
        column: of vectors.
        model: that made the column, or its name; by default the one that lineage names.
        where: SQL condition on the rows, which holds before anything is searched.
        top: rows of each query.
        exact: read every row, also where there is an index.
        distinct: column of whose equal values only the best row counts, such as filename or sha256; with `like`, rows
            with the row's own value do not count.
        like_column: of the vectors of the rows of `like`, where it is not `column`: the pictures' to find texts.
        words_column: of texts or lists of texts.
        columns: to show of each row; by default its picture's name and its text.
        device: for the model.
        storage: how to reach the table and the pictures.
        progress: watches.

    Raises:
        UsageError: nothing to search for is given, a query is empty, a row's name is ambiguous, or several columns or
            no model may be meant.
        NotFoundError: there is no such table, row, picture or model.
        SchemaError: there is no column of vectors or texts, or the model makes vectors of another size.
        LineageMismatchError: the model has other weights than those that made the column.
        TooManyRejectsError: none of the pictures can be used.
    """
    texts, rows, terms = checked_texts(text, "text"), checked_texts(like, "like"), checked_texts(words, "words")
    places = checked_texts(image, "image")
    if not (texts or places or rows or terms):
        raise UsageError(
            "nothing is given to search for",
            hint='--text "a red house", --image FILE, --like ROW or --words "red house" (text=, image=, like=, words=)',
        )
    check_count(top, "search: top", least=1)
    check_condition(where)
    check_able(progress, "search: progress", ("task", "say"), PROGRESS)
    asked_words = [_words_of(one) for one in terms]
    opened, watched = as_table(table, storage=storage), progress or Silent()
    if distinct is not None:
        check_groups(opened, distinct)
    scope = _Scope(opened, where, top, exact, distinct, watched)
    texts_in = texts_column(opened, words_column, scope.indexed_texts()) if terms else None
    if texts_in is not None and not (texts or places or rows):
        return scope.by_words_alone(texts_in, asked_words, shown_columns(opened, columns, [texts_in]))
    searched = searched_column(opened, column, model)
    encoder = model_of(searched, model, device) if texts or places else None
    notes = [f"--column {name} would search that instead" for name in searched.others]
    queries = row_queries(opened, rows, searched, like_column, distinct) if rows else []
    if encoder is not None:
        by_pictures = picture_queries(places, encoder, storage or opened.storage, watched, notes) if places else []
        queries = [*(text_queries(texts, encoder, notes) if texts else []), *by_pictures, *queries]
    inputs = searched.lineage.inputs if searched.lineage is not None else ()
    shown = shown_columns(opened, columns, [texts_in, *inputs])
    both = (texts_in, _words_of(" ".join(terms))) if texts_in is not None else None
    ways, told = scope.by_vectors(searched.name, queries, both, shown)
    name, identity = (encoder.name, encoder.identity) if encoder is not None else (None, None)
    return Found(opened.uri, opened.version, name, identity, ways, told, notes)


@dataclass(frozen=True)
class _Scope:
    """What holds for all queries of one call; see `search`."""

    table: Table
    where: str | None
    top: int
    exact: bool
    distinct: str | None
    progress: Progress

    def indexed_texts(self) -> list[str]:
        """Columns with a full-text index."""
        return [one.column for one in indices(self.table) if one.use == "words"]

    def by_words_alone(self, column: str, asked: Sequence[Words], shown: Sequence[str]) -> Found:
        """What each query of words finds."""
        found = [self._by_words(column, words, self.top) for words in asked]
        told = [
            Answer("words", words.text, None, hits_of(self.table, ranked, shown, None))
            for words, (ranked, _) in zip(asked, found, strict=True)
        ]
        return Found(self.table.uri, self.table.version, None, None, _distinct_ways([way for _, way in found]), told)

    def by_vectors(
        self, column: str, queries: Sequence[Query], words: tuple[str, Words] | None, shown: Sequence[str]
    ) -> tuple[list[Way], list[Answer]]:
        """What each query finds, with the words where there are some, and how it was looked for."""
        depth = self.top if words is None else max(self.top, _FUSED_DEPTH)
        near, way = nearby(
            self.table, column, [one.asked for one in queries], depth,
            where=self.where, distinct=self.distinct, exact=self.exact, progress=self.progress,
        )  # fmt: skip
        if words is None:
            hits = [hits_of(self.table, ranked, shown, ranked, is_cosine=True) for ranked in near]
            told = [Answer(one.by, one.name, None, found) for one, found in zip(queries, hits, strict=True)]
            return [way], told
        matched, how = self._by_words(*words, depth)
        told = []
        for one, ranked in zip(queries, near, strict=True):
            counted = self._without(matched, one)
            aligned = self._aligned(ranked, counted)
            both = fused([aligned.row_K, counted.row_K], self.top)
            told.append(Answer(one.by, one.name, words[1].text, hits_of(self.table, both, shown, aligned)))
        return [way, how], told

    def _by_words(self, column: str, words: Words, most: int) -> tuple[Ranked, Way]:
        """The rows whose texts hold words, and how they were looked for."""
        index, why = index_of(self.table, column, "words"), None
        if index is not None and not self.exact and answers(index, words):
            found = by_index(
                self.table, column, index, words, most, self.where, lambda ranked: self._first_of_each(ranked, most)
            )
            if found is not None:
                return found, Way(column, index.kind, index.covered + index.outside, index.outside)
            why = "its index finds parts of the words in too many rows"
        elif index is not None:
            why = "as was asked" if self.exact else f"its index ({index.splits}) misses words inside such texts"
        depth = most if self.distinct is None else self.table.num_rows
        found, num_rows = by_reading(self.table, column, words, depth, self.where, self.progress)
        return self._first_of_each(found, most), Way(column, None, num_rows, why=why)

    def _without(self, matched: Ranked, query: Query) -> Ranked:
        """Rows that hold words, without the one that is asked about and those of its value of `distinct`."""
        if query.asked.skips_row is None:
            return matched
        counts_K = matched.row_K != np.uint64(query.asked.skips_row)
        if query.asked.skips_group is not None and len(matched):
            counts_K &= np.array([group != query.asked.skips_group for group in self._groups(matched.row_K)], bool)
        return matched.kept(counts_K)

    def _groups(self, row_K: np.ndarray) -> list[Any]:
        """Values of `distinct`."""
        assert self.distinct is not None
        return list(groups_of(self.table.take_ids(row_K, [self.distinct]).column(self.distinct)))

    def _first_of_each(self, ranked: Ranked, most: int) -> Ranked:
        """The first rows; of those with one value of `distinct` only the best."""
        if self.distinct is None:
            return ranked.kept(np.arange(min(most, len(ranked))))
        kept: list[int] = []
        seen: set[Any] = set()
        for start in range(0, len(ranked), step := max(4 * most, 256)):
            for place, group in enumerate(self._groups(ranked.row_K[start : start + step]), start=start):
                if group is None or group not in seen:
                    kept.append(place)
                seen.add(group)
            if len(kept) >= most:
                break
        return ranked.kept(np.array(kept[:most], np.int64))

    def _aligned(self, ranked: Ranked, matched: Ranked) -> Ranked:
        """Rows near a query, each by the row of its value of `distinct` that holds the words, where one does.

        So a picture that stands in several rows is one in both orders: near by any of them, named by one of them.
        """
        if self.distinct is None or not (len(ranked) and len(matched)):
            return ranked
        named = {
            group: row
            for group, row in zip(self._groups(matched.row_K), matched.row_K.tolist(), strict=True)
            if group is not None
        }
        groups = zip(self._groups(ranked.row_K), ranked.row_K.tolist(), strict=True)
        return Ranked(np.array([named.get(group, row) for group, row in groups], np.uint64), ranked.score_K)


def _distinct_ways(ways: Sequence[Way]) -> list[Way]:
    return [way for place, way in enumerate(ways) if way not in ways[:place]]


def _words_of(text: str) -> Words:
    words = Words.of(text)
    if not words:
        raise UsageError(f"search: words is {text!r:.80}, which holds no word", hint='such as --words "red house"')
    return words
