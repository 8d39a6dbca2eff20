"""What is asked of a comparison, with every default resolved against the tables' columns and lineage. Reads no row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipdata.answers import is_number, is_place
from clipdata.arguments import check_condition
from clipdata.comparison.codes import alike, is_nameable
from clipdata.comparison.provenance import Provenance, trace
from clipdata.comparison.records import Side
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io.naming_column import naming_column
from clipdata.schema import image_column, is_list, is_text
from clipdata.storage import redact

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

_PICTURES = (("sha256", "path"), ("image_id", "filename", "file_name", "image_path"))


@dataclass(frozen=True)
class Request:
    """Columns and clauses of one comparison, all of which exist.

    Args:
        table: table of the after side, of the clauses, clusters and groups.
        table_before: table of the before side when it is another one (or another version).
        key: column that pairs two tables.
        before: column of values.
        after: column of values.
        where: clause that selects rows of `table`.
        by: column of groups.
        cluster: columns whose first non-null value names the cluster; empty when rows are resampled.
        scores_before: column of score lists.
        scores_after: column of score lists.
        label_index: column with the index of the right choice.
        trained_where: clause that selects the training rows; a hint, where the models have no record.
        trained_where_given: whether the caller named it.
        origin_before: what is behind `before`.
        origin_after: what is behind `after`.
        calibration: whether the lists are held against what came true, as probabilities.
        of_label: whether the columns are numbers that are probabilities of a label, 1 or 0 in `label_index`.
        ranks: whether ranks are wanted.
    """

    table: Table
    before: str
    after: str
    table_before: Table | None = None
    key: str | None = None
    where: str | None = None
    by: str | None = None
    cluster: tuple[str, ...] = ()
    scores_before: str | None = None
    scores_after: str | None = None
    label_index: str | None = None
    trained_where: str | None = None
    trained_where_given: bool = False
    origin_before: Provenance = field(default_factory=Provenance)
    origin_after: Provenance = field(default_factory=Provenance)
    calibration: bool = False
    of_label: bool = False
    ranks: bool = False

    @property
    def judged(self) -> bool:
        """Whether right and wrong answers can be told."""
        return bool(self.scores_before and self.scores_after and self.label_index)

    def columns(self) -> list[str]:
        """Columns to read of `table`."""
        names = [self.after, *self.cluster, self.by, self.label_index, self.scores_after]
        if self.table_before is None:
            names += [self.before, self.scores_before]
        return list(dict.fromkeys(name for name in names if name))

    def sides(self) -> tuple[Side, Side]:
        """Who is compared with whom."""
        return (
            _side(self.table_before or self.table, self.before, self.scores_before, self.origin_before),
            _side(self.table, self.after, self.scores_after, self.origin_after),
        )


def resolve(
    table: Table,
    before: str,
    after: str,
    *,
    table_before: Table | None,
    on: str | None,
    where: str | None,
    by: str | None,
    cluster: str | None,
    scores_before: str | None,
    scores_after: str | None,
    label_index: str | None,
    trained_where: str | None,
    calibration: bool = False,
    ranks: bool = False,
) -> Request:
    """Check the columns and fill in what was not said.

    Raises:
        SchemaError: a column does not exist, or holds no numbers.
        UsageError: both sides are the same column; two tables have no key to pair them by; or the sides were picked by
            two columns of places.
        LineageMismatchError: a column was made from another one than the table has now; or scores that are given were
            made by another model than the column.
    """
    for clause in (where, trained_where):
        check_condition(clause)
    other = table_before or table
    require_texts(before=before, after=after, on=on, where=where, by=by, cluster=cluster, scores_before=scores_before,
                  scores_after=scores_after, label_index=label_index, trained_where=trained_where)  # fmt: skip
    other.require([name for name in (before, scores_before) if name], verb="compare")
    table.require([name for name in (after, scores_after, by, cluster, label_index) if name], verb="compare")
    if table_before is None and before == after:
        raise UsageError(
            f"compare: {before!r} is compared with itself",
            hint=f"name another column, another version of it ({before}@12), or another table: table_before=…",
        )
    for purpose, name in (("by", by), ("cluster", cluster)):
        _require_nameable(table, name, purpose)
    origins = trace(other, before), trace(table, after)
    place = label_index or _places(table, before, after, origins)
    holds_lists = _check_both(((other, before), (table, after)), place)
    scores_before = _scores(other, before, scores_before, origins[0])
    scores_after = _scores(table, after, scores_after, origins[1])
    of_label = bool(calibration and label_index and not holds_lists and not (scores_before and scores_after))
    if of_label:
        scores_before, scores_after = before, after
    judged = bool(scores_before and scores_after and place)
    if place and (judged or holds_lists):
        _require_places(table, place)
    if calibration and not judged:
        raise _not_judged(before, after, scores_before, scores_after, place)
    return Request(
        table=table,
        before=before,
        after=after,
        table_before=table_before,
        key=_pairing_key(table, table_before, on) if table_before else table.key,
        where=where,
        by=by,
        cluster=(cluster,) if cluster else _image_clusters(table),
        scores_before=scores_before if judged else None,
        scores_after=scores_after if judged else None,
        label_index=place if judged or holds_lists else None,
        trained_where=trained_where or _train_split(table),
        trained_where_given=trained_where is not None,
        origin_before=origins[0],
        origin_after=origins[1],
        calibration=calibration,
        of_label=of_label,
        ranks=ranks,
    )


def _not_judged(
    before: str, after: str, scores_before: str | None, scores_after: str | None, place: str | None
) -> UsageError:
    sides = ((before, scores_before, "scores_before"), (after, scores_after, "scores_after"))
    lacking = [f"lists of scores behind {name!r} ({word}=…)" for name, scores, word in sides if not scores]
    lacking += [] if place else ["the place of the right choice (label_index=…)"]
    return UsageError(
        f"compare: calibration needs {' and '.join(lacking)}",
        hint="compare the columns of lists themselves; where the numbers are probabilities of a label that is 0 or 1, "
        "name it: --label-index COLUMN",
    )


def require_texts(**given: object) -> None:
    """Check that names and clauses are texts.

    Raises:
        UsageError: one is not.
    """
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"compare: {name}={value!r:.80}; expected one text, not a value of {type(value).__name__}")


def _image_clusters(table: Table) -> tuple[str, ...]:
    """The columns that name a row's picture, best first, as far as their types can; in others' tables the first."""
    schema = table.schema
    own, others = ([n for n in names if n in schema.names and is_nameable(schema.field(n).type)] for names in _PICTURES)
    return tuple(own or (others[:1] if image_column(schema) else ()))


def is_picture(cluster: str | None) -> bool:
    """Whether rows of a cluster are rows of a picture."""
    return cluster is not None and set(cluster.split(", ")) <= {name for names in _PICTURES for name in names}


def _require_nameable(table: Table, column: str | None, purpose: str) -> None:
    kind = table.schema.field(column).type if column else None
    if kind is not None and not is_nameable(kind):
        raise SchemaError(
            f"compare: {purpose}={column!r} holds {kind}; expected one text, number, date or truth value a row",
            hint=f"map a column of such values, and name it: {purpose}=…",
        )


def _check_both(sides: tuple[tuple[Table, str], tuple[Table, str]], place: str | None) -> bool:
    """Whether both columns hold lists of numbers, not a number a row; see `_check_values`.

    Raises:
        SchemaError: they are not of one kind.
    """
    lists = [_check_values(table, column, place) for table, column in sides]
    if lists[0] != lists[1]:
        before, after = (f"{column!r} holds {table.schema.field(column).type}" for table, column in sides)
        raise SchemaError(
            f"compare: {before} and {after}; expected two columns of one kind",
            hint="pick a number from the lists first: clipdata map … pick, or name two columns of lists",
        )
    return lists[0]


def _check_values(table: Table, column: str, place: str | None) -> bool:
    """Whether a column holds lists of numbers, not a number a row.

    Raises:
        SchemaError: it holds neither, or lists and nothing says which entry is the right one.
    """
    kind = table.schema.field(column).type
    if is_number(kind):
        return False
    if is_list(kind) and is_number(kind.value_type) and place:
        return True
    expected = "numbers, or lists of numbers beside a column with the right index (label_index=…)"
    raise SchemaError(f"compare: column {column!r} holds {kind}; expected {expected}")


def _places(table: Table, before: str, after: str, origins: tuple[Provenance, Provenance]) -> str | None:
    """The column of right places that the values were picked by, else the usual one.

    Raises:
        UsageError: the two sides were picked by two columns.
    """
    named = [origin.index for origin in origins if origin.index]
    if len(set(named)) > 1:
        raise UsageError(
            f"compare: {before!r} was picked by {named[0]!r} and {after!r} by {named[1]!r}; expected one column of "
            "right places on both sides",
            hint="pick both by one column, or say which one tells right from wrong: label_index=…",
        )
    wanted = named[0] if named else "label_ind"
    return wanted if wanted in table.schema.names else None


def _require_places(table: Table, column: str) -> None:
    kind = table.schema.field(column).type
    if not is_place(kind):
        into = "label_ind" if column != "label_ind" else "label_place"
        raise SchemaError(
            f"compare: label_index {column!r} holds {kind}; expected whole numbers, the places of the right choices",
            hint=f"make them: clipdata map {redact(table.uri)} label-index {into} -p label={column}; "
            f"then label_index={into!r}",
        )


def _scores(table: Table, column: str, given: str | None, origin: Provenance) -> str | None:
    """The score lists behind a column: those given, itself, or those that it was picked from.

    Raises:
        SchemaError: those given are no lists of numbers.
        LineageMismatchError: those given were made by another model than the column.
    """
    if given is None:
        return column if is_list(table.schema.field(column).type) else origin.scores
    kind = table.schema.field(given).type
    if not (is_list(kind) and is_number(kind.value_type)):
        raise SchemaError(f"compare: {given!r} holds {kind}, expected lists of scores")
    model = trace(table, given).model
    if origin.model and model and model != origin.model:
        raise LineageMismatchError(
            f"compare: {given!r} was made by the model {model}, and {column!r} by {origin.model}; expected one model",
            hint="name the scores that the column was made from",
        )
    return given


def _pairing_key(table: Table, other: Table, on: str | None) -> str:
    key = on or table.key or other.key or naming_column(table)
    if key is None:
        raise UsageError(
            "compare: neither table has a key column to pair their rows by",
            hint="name a column that tells rows apart in both: --on COLUMN (on=…)",
        )
    for side in (table, other):
        side.require([key], verb="compare")
    one, two = table.schema.field(key).type, other.schema.field(key).type
    if alike(one, two) is None:
        raise SchemaError(
            f"compare: {key!r} holds {one} in {redact(table.uri)} and {two} in {redact(other.uri)}; "
            "expected texts on both sides, or whole numbers on both",
            hint="name a column that holds the same values in both tables: on=…",
        )
    return key


def _train_split(table: Table) -> str | None:
    if "split" in table.schema.names and is_text(table.schema.field("split").type):
        return "split = 'train'"
    return None


def _side(table: Table, column: str, scores: str | None, origin: Provenance) -> Side:
    return Side(
        column=column,
        uri=redact(table.uri),
        version=table.version,
        made_by=origin.made_by,
        model=origin.model,
        scores=scores,
        model_name=origin.model_name,
    )
