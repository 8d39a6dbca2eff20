"""Distillation: a student finds pictures and captions as alike as a teacher does, who is known by columns alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import LineageMismatchError, SchemaError
from clipdata.schema import is_of
from clipdata.storage import redact
from clipdata.training.objectives.pairs import Pairs
from clipdata.training.objectives.protocol import first_reason, holds_null

if TYPE_CHECKING:
    import torch

    from clipdata.lance_io.table import Table
    from clipdata.training.features import BatchFacts, Features


@dataclass(frozen=True)
class Distillation(Pairs):
    """A teacher's likeness of the batch's pictures and captions, and as much of `MultiPositive` as is wanted.

    The teacher's embeddings are columns, of any size, made beforehand by `map` with another model or brought along; no
    teacher is loaded. They are those of whole pictures: with `augment` the student sees parts of what they are of.

    Args:
        text: column of captions, one or a list a row.
        captions: which of a list: "all" of them, "random" draws one anew every epoch, "longest", "first".
        teacher_image: column of the teacher's embeddings of the pictures: vectors of one size.
        teacher_text: column of its embeddings of the captions: a vector a row, or of a list of captions a list of as
            many.
        teacher_scale: multiplies the teacher's cosines before they are compared, as its own logit scale does; 100 is
            that of most CLIP models.
        weight: of `MultiPositive`'s loss of the same features, which is added; 0 learns from the teacher alone.
        group: column of which equal values belong together, too; none by default.
        negatives: column of lists of captions that do not belong to the picture, for the loss that is added.
        normalise: L2-normalise features; False takes plain dot products.
    """

    kind: ClassVar[str] = "distillation"

    text: str = "caption"
    captions: Literal["all", "first", "longest", "random"] = "random"
    teacher_image: str = "teacher_image"
    teacher_text: str = "teacher_text"
    teacher_scale: float = 100.0
    weight: float = 1.0
    group: str | None = None
    negatives: str | None = None
    normalise: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The teacher's pictures, and what tells which rows belong together."""
        return (*super().columns, self.teacher_image)

    @property
    def columns_of_texts(self) -> tuple[str, ...]:
        """The teacher's captions."""
        return (self.teacher_text,)

    def check(self, table: Table) -> None:
        """Check captions and group, and that one teacher made both columns of what is there.

        Raises:
            SchemaError: a column is missing or of another type, or the two hold vectors of two sizes.
            LineageMismatchError: two models made them, or other captions or pictures were behind them.
        """
        super().check(table)
        for name in (self.teacher_image, self.teacher_text):
            table.require([name], verb="train", hint=self._fill(table, name))
        is_listed = is_of("texts", table.schema.field(self.text).type)
        image_size = self._vector_size(table, self.teacher_image, lists=False)
        text_size = self._vector_size(table, self.teacher_text, lists=is_listed)
        if image_size != text_size:
            raise SchemaError(
                f"train: {self.teacher_image!r} holds vectors of {image_size} numbers and {self.teacher_text!r} of "
                f"{text_size}; expected those of one teacher",
                hint=self._fill(table, self.teacher_text),
            )
        self._check_origin(table)

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Rows without a caption, without an embedding, or with another number of these than of captions."""
        image, text = batch.column(self.teacher_image), batch.column(self.teacher_text)
        faults = [
            (f"no {self.teacher_image}", pc.is_null(image)),
            (f"no {self.teacher_text}", pc.is_null(text)),
        ]
        if not pa.types.is_fixed_size_list(text.type):
            captions = batch.column(self.text)
            num_vectors, num_captions = pc.list_value_length(text), pc.list_value_length(captions)
            faults += [
                (f"another number of {self.teacher_text} than captions", pc.not_equal(num_vectors, num_captions)),
                (f"a null among its {self.teacher_text}", holds_null(text)),
            ]
        for name, column in ((self.teacher_image, image), (self.teacher_text, text)):
            faults.append((f"NaN or infinity in {name}", pa.array(~_is_finite(column))))
        return pc.coalesce(super().reasons(batch), first_reason(*faults))

    def tensor_of(self, name: str, values: Any) -> torch.Tensor:
        """The teacher's embeddings as unit vectors [B, E] or [J, E]; what else there is as of `Pairs`."""
        import torch

        if name not in (self.teacher_image, self.teacher_text):
            return super().tensor_of(name, values)
        vectors = values if isinstance(values, torch.Tensor) else values.end_to_end()
        return torch.nn.functional.normalize(vectors.float(), dim=-1)

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.distillation_loss` and `losses.multi_positive_loss`."""
        from clipdata.training.losses import distillation_loss, multi_positive_loss

        text_KD = features.text_TD.index_select(0, facts.text_index_K)
        learned = distillation_loss(
            features.image_BD,
            text_KD,
            features.logit_scale,
            teacher_image_BE=facts.columns[self.teacher_image],
            teacher_text_KE=facts.columns_of_texts[self.teacher_text],
            teacher_scale=self.teacher_scale,
        )
        if not self.weight:
            return learned
        own = multi_positive_loss(
            features.image_BD,
            text_KD,
            features.logit_scale,
            positive_BK=self.same_pairs(facts),
            wrong_BM=self.wrong_logits(features, facts),
        )
        return learned + self.weight * own

    def tells(self, table: Table) -> tuple[str, ...]:
        """Which teacher made the columns."""
        made = {name: table.lineage(name) for name in (self.teacher_image, self.teacher_text)}
        models = {lineage.model: lineage.model_name for lineage in made.values() if lineage is not None}
        names = " and ".join(map(repr, made))
        if len(models) != 1 or None in made.values():
            return (f"nobody knows which model made {' and '.join(repr(n) for n, one in made.items() if one is None)}",)
        identity, name = next(iter(models.items()))
        return (f"the teacher is {name or 'a model'} ({(identity or '')[:12]}), which made {names}",)

    def _vector_size(self, table: Table, name: str, *, lists: bool) -> int:
        found = table.schema.field(name).type
        kind = found
        if lists:
            kind = found.value_type if pa.types.is_list(found) or pa.types.is_large_list(found) else pa.null()
        if not (pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)):
            what = f"a list of vectors of one size, one for each of {self.text!r}" if lists else "vectors of one size"
            raise SchemaError(f"train: column {name!r} holds {found}; expected {what}", hint=self._fill(table, name))
        return int(kind.list_size)

    def _check_origin(self, table: Table) -> None:
        from clipdata.origin import changed_inputs

        made = {n: one for n in (self.teacher_image, self.teacher_text) if (one := table.lineage(n)) is not None}
        if len({one.model for one in made.values()}) > 1:
            listed = " and ".join(f"{name!r} by {one.model_name} ({one.model:.12})" for name, one in made.items())
            raise LineageMismatchError(
                f"train: {listed}; expected one teacher for both", hint=self._fill(table, self.teacher_text)
            )
        of_text = made.get(self.teacher_text)
        if of_text is not None and of_text.step == "TextEmbedding" and of_text.inputs != (self.text,):
            raise LineageMismatchError(
                f"train: {self.teacher_text!r} was made of {', '.join(of_text.inputs)}; the captions are {self.text!r}",
                hint=self._fill(table, f"{self.teacher_text}_2"),
            )
        for name, one in made.items():
            if changed := changed_inputs(table, one):
                raise LineageMismatchError(
                    f"train: column {name!r} holds embeddings of what was there before: {'; '.join(changed)}",
                    hint=self._fill(table, name) + " --overwrite",
                )

    def _fill(self, table: Table, column: str) -> str:
        """The command that makes a teacher's column."""
        command = f"clipdata map {redact(table.uri)}"
        if column == self.teacher_image:
            return f"{command} image-embedding {column} --model TEACHER"
        lists = " -p lists=true" if is_of("texts", table.schema.field(self.text).type) else ""
        return f"{command} text-embedding {column} -p text={self.text}{lists} --model TEACHER"

    def _problems(self) -> list[str]:
        problems = []
        if not 0 < self.teacher_scale < float("inf"):
            problems.append(f"teacher_scale is {self.teacher_scale}; expected a number above 0")
        if not 0 <= self.weight < float("inf"):
            problems.append(f"weight is {self.weight}; expected 0 or a number above it")
        if self.teacher_image == self.teacher_text:
            problems.append(f"teacher_image and teacher_text are both {self.teacher_text!r}; expected two columns")
        return problems


def _is_finite(column: pa.Array) -> np.ndarray:
    """Which rows hold numbers alone, in a vector or in a list of these; bool [B], True for a null."""
    if pa.types.is_fixed_size_list(column.type):
        finite = np.ones(len(column), bool)
        flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
        held = np.isfinite(flat).reshape(-1, column.type.list_size).all(axis=1)
        finite[column.is_valid().to_numpy(zero_copy_only=False)] = held
        return finite
    flat, parents = column.flatten(), pc.list_parent_indices(column).to_numpy()
    finite = np.ones(len(column), bool)
    finite[parents[~_is_finite(flat)]] = False
    return finite
