"""The rows a run trains on: which can be used, how many cannot and why, their distinct texts, and a digest of them all.

One pass over the cheap columns, before the first step. It knows tables and Arrow, and nothing of models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.table import Table
from clipdata.schema import error_column
from clipdata.storage import redact
from clipdata.stream.assembly import fill_command
from clipdata.stream.columns import is_texts

# Columns that say whether an image is still the same, cheaper to read than the image.
_CONTENT = ("sha256", "etag")


@dataclass(frozen=True)
class ChosenRows:
    """Rows that can be trained on.

    Args:
        offsets: int64, ascending, among the live rows of the table's version.
        refused: number of rows left out, by reason.
        texts: their distinct texts in sorted order, or None when there are more than asked for.
        digest: over what the rows hold in the columns that matter; equal for equal rows, in any version of a table.
    """

    offsets: np.ndarray
    refused: Mapping[str, int]
    texts: tuple[str, ...] | None
    digest: str

    def describe(self) -> str:
        """One line for people."""
        refused = ", ".join(f"{count:,} with {reason}" for reason, count in self.refused.items())
        return f"{len(self.offsets):,} rows" + (f"; left out {refused}" if refused else "")


def choose_rows(
    table: Table, *, choices: str, label: str, where: str | None = None, features: str | None = None, max_texts: int = 0
) -> ChosenRows:
    """Find the rows whose label names one of their choices.

    Args:
        choices: column of lists of texts.
        label: column of integers, places in those lists.
        where: SQL condition.
        features: column that `map` has filled; rows on which it failed are left out.
        max_texts: most distinct texts to collect.

    Raises:
        SchemaError: a column is missing, of another type, or not filled yet.
        UsageError: no row is left.
    """
    _check_columns(table, choices, label)
    content = [name for name in _CONTENT if name in table.schema.names][:1]
    digest, texts = _Digest(), _Texts(max_texts)
    offsets: list[np.ndarray] = []
    refused = _without_features(table, features, where) if features else {}
    condition = _both(where, f"`{features}` is not null") if features else where
    for batch in table.scan([choices, label, *content, "_rowoffset"], where=condition):
        reason_B = _reasons(batch.column(choices), batch.column(label))
        for counted in pc.value_counts(reason_B.drop_null()).to_pylist():
            refused[counted["values"]] = refused.get(counted["values"], 0) + counted["counts"]
        kept = batch.filter(pc.is_null(reason_B))
        offsets.append(kept.column("_rowoffset").to_numpy().astype(np.int64))
        texts.add(kept.column(choices))
        digest.add([kept.column(name) for name in (choices, label, *content)])
    if features:
        lineage = table.lineage(features)
        digest.note(f"{features}: {lineage.fingerprint if lineage else None}")
    if not content:  # nothing tells whether the images are still the same
        digest.note(f"version {table.version}")
    chosen = np.concatenate(offsets) if offsets else np.empty(0, np.int64)
    _require_some(table, chosen, refused, where)
    return ChosenRows(chosen, dict(sorted(refused.items())), texts.sorted(), digest.hex())


def _without_features(table: Table, features: str, where: str | None) -> dict[str, int]:
    """Count the rows on which a map failed.

    Raises:
        SchemaError: there are rows that it has not reached.
    """
    table.require([features], verb="train")
    missing, failed = f"`{features}` is null", "false"
    if error_column(features) in table.schema.names:
        failed = f"`{error_column(features)}` is not null"
    num_missing = table.count_rows(_both(where, missing))
    num_failed = table.count_rows(_both(_both(where, missing), failed)) if num_missing else 0
    if num_missing > num_failed:
        raise SchemaError(
            f"train: {num_missing - num_failed:,} of {table.count_rows(where):,} rows hold no {features!r} yet",
            hint=fill_command(table, features),
        )
    return {f"no {features}": num_failed} if num_failed else {}


def _require_some(table: Table, chosen: np.ndarray, refused: Mapping[str, int], where: str | None) -> None:
    # A scan yields rows in ascending order; a stream relies on it.
    assert np.all(np.diff(chosen) > 0)
    if not len(chosen):
        listed = ", ".join(f"{count:,} with {reason}" for reason, count in refused.items())
        found = f"left out {listed}" if refused else "none passes the filter"
        filtered = f" where {where}" if where else ""
        raise UsageError(f"train: {redact(table.uri)} has no row to train on{filtered}: {found}")


def _both(first: str | None, second: str) -> str:
    return f"({first}) and {second}" if first else second


def _check_columns(table: Table, choices: str, label: str) -> None:
    table.require([choices], verb="train")
    command = f"clipdata map {redact(table.uri)} label-index"
    table.require([label], verb="train", hint=f"{command} {label} -p label=COLUMN_OF_THE_ANSWERS")
    found = table.schema.field(choices).type
    if not is_texts(found):
        raise SchemaError(f"train: column {choices!r} holds {found}; expected lists of texts to choose from")
    found = table.schema.field(label).type
    if not pa.types.is_integer(found):
        raise SchemaError(
            f"train: column {label!r} holds {found}; expected the place of the right choice, from 0",
            hint=f"{command} label_ind -p label={label}; then --set label=label_ind",
        )


def _reasons(choices: pa.Array, labels: pa.Array) -> pa.Array:
    """Why a row cannot be trained on, or null: the first reason that holds."""
    num_choices = pc.fill_null(pc.list_value_length(choices), 0).cast(pa.int64())
    place = labels.cast(pa.int64())
    outside = pc.or_(pc.less(place, 0), pc.greater_equal(place, num_choices))
    reasons = [
        ("no choices", pc.equal(num_choices, 0)),
        ("a null among its choices", _holds_null(choices)),
        ("no label", pc.is_null(labels)),
        ("a label outside its choices", pc.fill_null(outside, False)),
    ]
    conditions = pc.make_struct(*(condition for _, condition in reasons), field_names=[name for name, _ in reasons])
    return pc.case_when(conditions, *(pa.scalar(name) for name, _ in reasons))


def _holds_null(choices: pa.Array) -> pa.Array:
    flat, parents = choices.flatten(), pc.list_parent_indices(choices)
    holds = np.zeros(len(choices), bool)
    holds[parents.filter(flat.is_null()).to_numpy()] = True
    return pa.array(holds)


class _Texts:
    """Distinct texts, up to a number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: set[str] | None = set() if most else None

    def add(self, choices: pa.Array) -> None:
        if self._found is None:
            return
        self._found.update(choices.flatten().unique().to_pylist())
        if len(self._found) > self._most:
            self._found = None

    def sorted(self) -> tuple[str, ...] | None:
        return None if self._found is None else tuple(sorted(self._found))


class _Digest:
    """Digest of columns that does not depend on how their rows are cut into batches."""

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}
        self._notes: list[str] = []

    def add(self, columns: Sequence[pa.Array]) -> None:
        for number, column in enumerate(columns):
            for name, part in _streams(column, str(number)):
                self._parts.setdefault(name, hashlib.sha256()).update(part)

    def note(self, text: str) -> None:
        self._notes.append(text)

    def hex(self) -> str:
        whole = hashlib.sha256()
        for name, part in sorted(self._parts.items()):
            whole.update(f"{name} {part.hexdigest()}\n".encode())
        whole.update("\n".join(self._notes).encode())
        return whole.hexdigest()


def _streams(column: pa.Array, name: str) -> Iterator[tuple[str, bytes]]:
    """Byte streams that, each concatenated over the batches, tell the values of a column."""
    kind = column.type
    yield f"{name} present", column.is_valid().to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield f"{name} lengths", _int64(pc.list_value_length(column))
        yield from _streams(column.flatten(), f"{name} items")
    elif pa.types.is_integer(kind):
        yield f"{name} values", _int64(column)
    else:
        texts = column.cast(pa.large_string()).fill_null("")
        yield f"{name} lengths", _int64(pc.binary_length(texts))
        yield f"{name} values", "".join(texts.to_pylist()).encode()


def _int64(column: pa.Array) -> bytes:
    return column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
