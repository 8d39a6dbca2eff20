"""ClassPrompts: each picture's class among all classes, which are told by prompts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError, UsageError
from clipdata.schema import is_of
from clipdata.steps.class_prompts import TEMPLATE, ClassPlaces, class_prompts, prompt_templates
from clipdata.training.objectives.protocol import Objective, first_reason

if TYPE_CHECKING:
    import torch

    from clipdata.lance_io.table import Table
    from clipdata.training.features import BatchFacts, Features
    from clipdata.training.figures import Measure

MAX_CLASSES = 100_000


@dataclass(frozen=True)
class ClassPrompts(Objective):
    """Softmax over all classes; each is the mean of its prompts' features.

    Args:
        label: column of class names, which may differ from `classes` in capitals and underscores, or of their places.
        classes: names of all classes; by default the distinct values of the column, sorted. Underscores are spaces to
            the model.
        templates: prompts with braces for the name, "a photo of {}".
    """

    kind: ClassVar[str] = "class_prompts"

    label: str = "class_name"
    classes: tuple[str, ...] = ()
    templates: tuple[str, ...] = (TEMPLATE,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The class of each row."""
        return (self.label,)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Of every class in turn, its prompts."""
        return tuple(class_prompts(self.classes, self.templates))

    def resolved(self, table: Table) -> ClassPrompts:
        """The same with the table's classes, where none are given."""
        if self.classes:
            return self
        self.check(table)
        return replace(self, classes=classes_in(table, self.label))

    def check(self, table: Table) -> None:
        """Check the class column."""
        check_classes(table, self.label, verb="train", hint="--set label=COLUMN")

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Rows without a class, or of one that is not in the list."""
        label = batch.column(self.label)
        if is_of("text", label.type):
            distinct = label.unique().to_pylist()
            found = [name for name in distinct if name is not None and self._places.of(name) is not None]
            known = pc.is_in(label.cast(pa.string()), pa.array(found, pa.string()))
        else:
            place = label.cast(pa.int64(), safe=False)
            known = pc.and_(pc.greater_equal(place, 0), pc.less(place, len(self.classes)))
        return first_reason(("no class", pc.is_null(label)), ("a class that is not in the list", pc.invert(known)))

    def tensor_of(self, name: str, values: Any) -> torch.Tensor:
        """The place of each row's class."""
        import torch

        if isinstance(values, torch.Tensor):
            return values.long()
        return torch.tensor([self._places.of(one) for one in values], dtype=torch.int64)

    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """See `losses.class_prompt_loss`."""
        from clipdata.training.losses import class_prompt_loss

        class_CD = self.class_features(features)
        return class_prompt_loss(features.image_BD, class_CD, features.logit_scale, facts.columns[self.label])

    def class_features(self, features: Features) -> torch.Tensor:
        """Features of each class: float [C, D], L2-normalised."""
        import torch

        from clipdata.training.losses import class_embeddings

        places = torch.arange(len(self.classes), device=features.text_TD.device)
        return class_embeddings(features.text_TD, places.repeat_interleave(len(self.templates)), len(self.classes))

    @cached_property
    def _places(self) -> ClassPlaces:
        return ClassPlaces(self.classes)

    def measure(self) -> Measure:
        """How often the right class is first, or among the first five."""
        from clipdata.training.measures import ClassMeasure

        return ClassMeasure(self)

    def _problems(self) -> list[str]:
        problems = [] if self.templates else ["templates is empty; expected at least one, such as 'a photo of {}'"]
        for template in self.templates:
            try:
                prompt_templates([template], asker=self.kind)
            except UsageError as error:
                problems.append(error.message)
        if len(self.classes) == 1:
            problems.append(f"classes names {self.classes[0]!r:.80} alone; expected two or more")
        doubled = sorted(name for name, times in Counter(self.classes).items() if times > 1)
        if doubled:
            problems.append(f"classes names {', '.join(doubled[:5])} twice")
        return problems


def check_classes(table: Table, label: str, *, verb: str, hint: str) -> None:
    """Hold a column of classes to what can be one.

    Args:
        label: of names of classes, or of their places.
        verb: that reads it.
        hint: how to name another one.

    Raises:
        SchemaError: there is none, or it holds something else.
    """
    table.require([label], verb=verb, hint=hint)
    found = table.schema.field(label).type
    if not (is_of("text", found) or pa.types.is_integer(found)):
        raise SchemaError(
            f"{verb}: column {label!r} holds {found}; expected names of classes, or their places from 0", hint=hint
        )


def classes_in(table: Table, label: str, *, hint: str = "--set label=COLUMN") -> tuple[str, ...]:
    """Distinct names in a column of classes, sorted.

    Args:
        hint: how to name another one.

    Raises:
        UsageError: the column holds numbers, or too many values to be classes.
    """
    if not is_of("text", table.schema.field(label).type):
        raise UsageError(
            f"column {label!r} holds numbers, and nothing says what they are called",
            hint="name the classes: --classes FILE (classes=), or for train --set classes=cat,dog",
        )
    found: set[str] = set()
    for batch in table.scan([label]):
        found.update(name for name in batch.column(0).unique().to_pylist() if name and name.strip())
        if len(found) > MAX_CLASSES:
            raise UsageError(
                f"column {label!r} holds more than {MAX_CLASSES:,} distinct values; expected classes", hint=hint
            )
    return tuple(sorted(found))
