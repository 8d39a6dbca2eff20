"""LabelNoise and ChoiceNoise: how probable the given label of a row is, and where the row stands among all.

They read the table beforehand, for thresholds and ranks belong to all rows. What is said of a label is in `confidence`,
how probabilities are made of embeddings in `discriminant`.

Shapes: B rows of a batch, C classes or choices, D numbers of an embedding.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.schema import is_text
from clipdata.step_protocol import INTEGER, LABEL, NUMBERS, BaseStep, check_types, require_names
from clipdata.steps.confidence import Gathered, Judged, judge, unfit
from clipdata.steps.discriminant import FoldedDiscriminant, bytes_needed
from clipdata.steps.vectors import padded, size_of, vectors_of

SCAN_ROWS = 4096
MOST_BYTES = 4 << 30
_NO_OTHERS = "its class has no pictures in the other folds"


class _Noise(BaseStep, ABC):
    """What both steps do once the probabilities are there."""

    name: str
    version = "1"
    reads: tuple[str, ...]
    returns: pa.DataType
    _gathered: Gathered

    def _begin(self, table: AnyTable) -> Table:
        """Check the columns, and hold the table at its newest version."""
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        return newest

    def _gather(self, table: Table, num_labels: int) -> None:
        """Read the probabilities of all rows."""
        self._gathered = Gathered(num_labels)
        for batch in table.scan(list(self.reads), batch_rows=SCAN_ROWS):
            shares_BC, given_B, reasons = self._probabilities(batch)
            good = [row for row, reason in enumerate(reasons) if reason is None]
            self._gathered.add(shares_BC[good, given_B[good]], given_B[good])
        self._gathered.close()
        self.num_suspect = 0

    @abstractmethod
    def _probabilities(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        """Probabilities [B, C], places of the given labels [B], and why a row cannot be judged."""

    def _suggested(self, judged: Judged) -> pa.Array:
        return pa.array(judged.suggested_B, pa.int32())

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """What is said of each row's label: struct [B]."""
        shares_BC, given_B, reasons = self._probabilities(batch)
        missing_B = np.array([reason is not None for reason in reasons], bool)
        if not shares_BC.shape[1]:
            return pa.nulls(len(reasons), self.returns), reasons
        judged = judge(shares_BC, np.where(missing_B, 0, given_B), self._thresholds(shares_BC.shape[1]))
        self.num_suspect += int((judged.suspect_B & ~missing_B).sum())
        values = [
            pa.array(judged.probability_B.astype(np.float32)),
            pa.array(judged.margin_B.astype(np.float32)),
            self._suggested(judged),
            pa.array(judged.suspect_B),
            pa.array(self._gathered.ranks(judged.probability_B)),
        ]
        fields = list(self.returns)
        return pa.StructArray.from_arrays(values, fields=fields, mask=pa.array(missing_B)), reasons

    def _thresholds(self, num_choices: int) -> np.ndarray:
        thresholds_C = self._gathered.thresholds
        return np.resize(thresholds_C, num_choices) if len(thresholds_C) == 1 else thresholds_C

    def notes(self) -> dict[str, Any]:
        """How many labels are suspect."""
        return {"suspect labels": self.num_suspect}


class LabelNoise(_Noise):
    """Probability of the given class, its margin, the class suggested, whether the label is suspect, and a rank.

    Rank 1 is the row whose class is least probable. A class is likely enough where it is as probable as it is on the
    rows that have it, by the mean; a label is suspect where the most probable of these is another one. A
    condition names a field with a dot: "noise.rank <= 100", "NOT noise.suspect".

    The probabilities are those of a column of scores, such as ClassScores makes; or they are learnt from a column of
    embeddings and the labels themselves, each picture judged by the pictures of other folds alone, so that no label
    vouches for itself. Equal pictures share a fold. All is decided over the rows there are when the step is made; rows
    that have a value keep it.

    On the sample's 1,800 drawings in 33 classes, a tenth of whose labels were swapped, by the starter model's trunk
    features (its embeddings): of the swapped labels 90 % (92 %) are suspect, of the suspect ones 27 % (23 %) were
    swapped, and of as many first ranks as were swapped 67 % (65 %) were. The model tells 64 % (57 %) of the drawings'
    classes, so many labels that are right look wrong to it: rank first, where a person looks at the rows.
    `python benchmarks/label_noise.py` measures it.

    Args:
        table: read twice for embeddings, once for scores; or the location of one. Takes 4 bytes of memory a row.
        label: column of classes: names or numbers; for scores the place of the class, as LabelIndex makes it.
        embedding: column of vectors.
        scores: column of probabilities, all classes of a row in one list.
        picture: column that is equal for equal pictures.
        folds: that the pictures are dealt into, two at least.
        seed: of the deal.

    Raises:
        UsageError: both or neither of embedding and scores are given, a number is none, or there is a single class.
        SchemaError: the table lacks a column, or one has another type.

    Source: confident learning (Northcutt et al. 2021, JAIR 70); the classifier of `clipdata.steps.discriminant`.
    """

    name = "LabelNoise"

    def __init__(
        self,
        table: AnyTable,
        label: str = "label_ind",
        *,
        embedding: str | None = None,
        scores: str | None = None,
        picture: str = "sha256",
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        require_names(self.name, label=label, embedding=embedding, scores=scores, picture=picture)
        check_count(folds, f"{self.name}: folds", least=2)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"{self.name}: seed is {seed!r:.80}; expected a whole number")
        if (embedding is None) == (scores is None):
            found = "neither embedding nor scores" if embedding is None else "embedding and scores"
            raise UsageError(
                f"{self.name}: {found} was given; expected one of them",
                hint="embedding=COLUMN learns from vectors, scores=COLUMN reads what class-scores made",
            )
        self.folds, self.seed = folds, seed
        self._by_scores = scores is not None
        if scores is not None:
            self.reads = (label, scores)
            self.takes = {label: INTEGER, scores: NUMBERS}
            self.returns = _struct(pa.int32())
            self._gather(self._begin(table), self._num_scores(as_table(table).latest(), scores))
        else:
            assert embedding is not None
            self.reads = (label, embedding, picture)
            self.takes = {label: LABEL, embedding: NUMBERS}
            self.parameters = {"folds": folds, "seed": seed}
            self._learn(self._begin(table), label, embedding)

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - it need not ask
        """As of every step; three inputs are those of embeddings."""
        names = ("label", "embedding", "picture") if len(lineage.inputs) > 2 else ("label", "scores")
        return {**lineage.parameters, **dict(zip(names, lineage.inputs, strict=True))}

    def _num_scores(self, table: Table, scores: str) -> int:
        """How many classes there are: as many as the longest list of scores has, and two at least."""
        lengths = [2]
        for batch in table.scan([scores], batch_rows=SCAN_ROWS):
            lengths.append(pc.max(pc.list_value_length(batch.column(0))).as_py() or 0)
        return max(lengths)

    def _learn(self, table: Table, label: str, embedding: str) -> None:
        """Learn the discriminants, and read what they say of all rows."""
        kind = table.schema.field(label).type
        self._size = size_of(table.schema, embedding, asker=self.name)
        self.returns = _struct(pa.string() if is_text(kind) else pa.int64())
        self._classes = _classes(table, label)
        if len(self._classes) < 2:
            raise UsageError(f"{self.name}: {label} names {len(self._classes)} classes; expected two at least")
        need = bytes_needed(self.folds, len(self._classes), self._size)
        if need > MOST_BYTES:
            raise UsageError(
                f"{self.name}: {label} names {len(self._classes):,} classes; with {self.folds:,} folds and vectors of "
                f"{self._size} numbers they take {need / 2**30:,.0f} GiB of memory",
                hint="captions are no classes; scores=COLUMN needs no classifier",
            )
        self._place_of = {name: place for place, name in enumerate(self._classes)}
        self._folded = FoldedDiscriminant(self.folds, len(self._classes), self._size)
        for batch in table.scan(list(self.reads), batch_rows=SCAN_ROWS):
            rows_BD, given_B, fold_B, reasons = self._read(batch)
            good = [row for row, reason in enumerate(reasons) if reason is None]
            self._folded.add(rows_BD[good], given_B[good], fold_B[good])
        self._folded.solve()
        self._gather(table, len(self._classes))

    def _read(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str | None]]:
        """Vectors [B, D], places of classes [B] and folds [B] of a batch, and why a row cannot be used."""
        labels, pictures = batch.column(0).to_pylist(), batch.column(2).to_pylist()
        rows_BD, reasons = vectors_of(batch.column(1), self._size)
        given_B = np.array([self._place_of.get(label, -1) for label in labels], np.int64)
        fold_B = np.array([int(_drawn(self.seed, picture) * self.folds) for picture in pictures], np.int64)
        told = zip(labels, given_B.tolist(), pictures, reasons, strict=True)
        return rows_BD, given_B, fold_B, [_unusable(*one) for one in told]

    def _probabilities(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        if self._by_scores:
            return _scored(batch.column(1), batch.column(0), self._num_known())
        rows_BD, given_B, fold_B, reasons = self._read(batch)
        others_B = self._folded.others(np.maximum(given_B, 0), fold_B)
        reasons = [reason or (None if num else _NO_OTHERS) for reason, num in zip(reasons, others_B, strict=True)]
        return self._folded.probabilities(rows_BD, fold_B), given_B, reasons

    def _num_known(self) -> int:
        return len(self._gathered.thresholds)

    def _suggested(self, judged: Judged) -> pa.Array:
        if self._by_scores:
            return super()._suggested(judged)
        names = pa.array(self._classes, self.returns.field("suggested").type)
        return names.take(pa.array(judged.suggested_B))


class ChoiceNoise(_Noise):
    """Probability of a row's given choice, its margin, the choice suggested, whether it is suspect, and a rank.

    As LabelNoise, for rows that each have choices of their own, such as five captions of which one is right: a choice
    is likely enough where it is as probable as the given one is by the mean over all rows.

    On the sample's 5,400 questions, a tenth of whose labels were swapped, by zero-shot scores of the starter model,
    which answers 43 % of them right: 80 % of the swapped ones are suspect, of the suspect ones 15 % were swapped, and
    of as many first ranks as were swapped 35 % were (`python benchmarks/label_noise.py`).

    Args:
        table: read once; or the location of one. Takes 4 bytes of memory a row.
        scores: column of probabilities, a list as long as the row's choices, as ChoiceScores makes it.
        label_index: column with the place of the given choice.

    Raises:
        UsageError: a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.

    Source: confident learning (Northcutt et al. 2021, JAIR 70) with one threshold, for places among choices are no
    classes.
    """

    name = "ChoiceNoise"

    def __init__(self, table: AnyTable, scores: str = "scores", label_index: str = "label_ind") -> None:
        require_names(self.name, scores=scores, label_index=label_index)
        self.reads = (scores, label_index)
        self.takes = {scores: NUMBERS, label_index: INTEGER}
        self.returns = _struct(pa.int32())
        self._gather(self._begin(table), 1)

    def _probabilities(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        return _scored(batch.column(0), batch.column(1), None)


def _struct(suggested: pa.DataType) -> pa.DataType:
    return pa.struct(
        [
            ("probability", pa.float32()),
            ("margin", pa.float32()),
            ("suggested", suggested),
            ("suspect", pa.bool_()),
            ("rank", pa.int64()),
        ]
    )


def _scored(
    scores: pa.Array, labels: pa.Array, num_classes: int | None
) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
    """Scores of a batch [B, C], -1 beyond each row's own, places of the labels [B], and why a row cannot be judged."""
    shares_BC, length_B = padded(scores, num_classes or 0, -1.0)
    given_B = pc.fill_null(labels.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    reasons = unfit(shares_BC, given_B, length_B)
    if num_classes is not None:
        other = [length != num_classes for length in length_B.tolist()]
        told = f"not {num_classes} scores, as other rows have"
        reasons = [reason or (told if differs else None) for reason, differs in zip(reasons, other, strict=True)]
    return np.nan_to_num(shares_BC, nan=-1.0), given_B, reasons


def _classes(table: Table, label: str) -> list[Any]:
    """The distinct labels in order."""
    found: set[Any] = set()
    for batch in table.scan([label], batch_rows=SCAN_ROWS):
        found.update(pc.unique(batch.column(0)).to_pylist())
    return sorted(found - {None})


def _drawn(seed: Any, picture: Any) -> float:
    """A number from 0 to 1 that depends on the seed and the picture alone."""
    digest = hashlib.blake2b(f"{seed}\x00{picture}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def _unusable(label: Any, place: int, picture: Any, reason: str | None) -> str | None:
    if label is None:
        return "no label"
    if place < 0:
        return "a class that was not there when the step was made"
    return "no picture" if picture is None else reason
