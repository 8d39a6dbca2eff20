"""What every objective tells: the columns it needs, the rows it cannot use and why, its loss, and what it measures.

The loop knows none of that. An objective is a frozen value; it knows columns and features, and neither towers nor the
order of rows, and its module imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import ConfigError, SchemaError
from clipdata.schema import is_of
from clipdata.training import settings

if TYPE_CHECKING:
    import torch

    from clipdata.lance_io.table import Table
    from clipdata.training.features import BatchFacts, Features
    from clipdata.training.figures import Measure


Captions = Literal["all", "first", "longest", "random"]
"""Which of a row's captions a step takes."""


@dataclass(frozen=True)
class Objective(ABC):
    """What a training run is about.

    A subclass is a frozen dataclass whose fields are plain values.

    Attributes:
        kind: its name in configs.
        shares: its loss compares the rows of a batch with each other, so that processes gather their features.
        normalise: its loss takes L2-normalised features.

    Raises:
        ConfigError: lists every field that is wrong.
    """

    kind: ClassVar[str]
    shares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        found = [
            f"{name} is {getattr(self, name)!r:.80}; expected {settings.describe(kind)}"
            for name, kind in settings.field_types(type(self)).items()
            if not settings.fits(getattr(self, name), kind)
        ]
        problems = found or self._problems()
        if problems:
            raise ConfigError(problems, what=f"objective {self.kind}", hint="clipdata train --help lists the fields")

    @property
    def texts(self) -> str | None:
        """The column of texts that the text tower reads, one or a list a row; None where there are only prompts."""
        return None

    @property
    def wrong_texts(self) -> str | None:
        """The column of lists of texts that belong to none of their row's pictures, and are encoded as well, if any."""
        return None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """All columns of texts that the text tower reads."""
        return tuple(name for name in (self.texts, self.wrong_texts) if name is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Further columns that a batch carries."""
        return ()

    @property
    def columns_of_texts(self) -> tuple[str, ...]:
        """Further columns, with a value for each of a row's texts; a step takes those of the texts that it takes."""
        return ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """Texts that are encoded in every step, whatever its rows."""
        return ()

    @property
    def picks(self) -> Captions:
        """Which of a row's texts a step takes."""
        return "all"

    @property
    def normalises(self) -> bool:
        """Whether its loss takes L2-normalised features."""
        return True

    @property
    def needs_bias(self) -> bool:
        """Whether its loss adds the model's logit bias."""
        return False

    def resolved(self, table: Table) -> Objective:
        """The same with what only a table can tell."""
        return self

    @abstractmethod
    def check(self, table: Table) -> None:
        """Check that a table has the columns, and that they are of the right types.

        Raises:
            SchemaError: a column is missing or of another type.
        """

    @abstractmethod
    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        """Why each row cannot be used: string [B], null for those that can."""

    def tensor_of(self, name: str, values: Any) -> torch.Tensor:
        """The values of one of `columns` as numbers, a tensor [B, …]; of `columns_of_texts` a tensor [J, …].

        Args:
            values: a tensor [B, …], or a list of B texts; of `columns_of_texts` also a list of B tensors.
        """
        import torch

        assert isinstance(values, torch.Tensor), name
        return values

    @abstractmethod
    def loss(self, features: Features, facts: BatchFacts) -> torch.Tensor:
        """Mean loss of a batch of at least one row, a scalar with gradients.

        Args:
            features: L2-normalised where `normalises`.
            facts: of the same rows.
        """

    def tells(self, table: Table) -> tuple[str, ...]:
        """What a person should know of a table's columns before a run, a line each."""
        return ()

    @abstractmethod
    def measure(self) -> Measure:
        """What gathers figures over held-out rows."""

    def to_json(self) -> dict[str, Any]:
        """Kind and fields as JSON values."""
        fields = {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}
        return {"kind": self.kind, **fields}

    def _problems(self) -> list[str]:
        return []


def require_texts(table: Table, column: str, *, lists: bool | None = None, hint: str | None = None) -> None:
    """Check that a column holds texts.

    Args:
        lists: True for lists of texts alone, False for one text a row alone; either by default.

    Raises:
        SchemaError: it does not, or is missing.
    """
    table.require([column], verb="train", hint=hint)
    found = table.schema.field(column).type
    fits = (lists is not False and is_of("texts", found)) or (lists is not True and is_of("text", found))
    if not fits:
        expected = {True: "lists of texts", False: "one text a row", None: "a text, or a list of texts, a row"}[lists]
        raise SchemaError(f"train: column {column!r} holds {found}; expected {expected}", hint=hint)


def first_reason(*reasons: tuple[str, pa.Array]) -> pa.Array:
    """The first reason whose condition holds for each row: string [B], or null."""
    conditions = pc.make_struct(
        *(pc.fill_null(condition, False) for _, condition in reasons), field_names=[name for name, _ in reasons]
    )
    return pc.case_when(conditions, *(pa.scalar(name) for name, _ in reasons))


def text_faults(texts: pa.Array, *, nothing: str, null: str) -> list[tuple[str, pa.Array]]:
    """Reasons for rows without a text, and for lists that hold a null.

    Args:
        texts: one or a list a row.
        nothing, null: the reasons.
    """
    if is_of("text", texts.type):
        return [(nothing, pc.or_kleene(pc.is_null(texts), pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)))]
    lengths = pc.fill_null(pc.list_value_length(texts), 0).cast(pa.int64())
    return [(nothing, pc.equal(lengths, 0)), (null, holds_null(texts))]


def holds_null(lists: pa.Array) -> pa.Array:
    """Which lists hold a null: bool [B]."""
    flat, parents = lists.flatten(), pc.list_parent_indices(lists)
    holds = np.zeros(len(lists), bool)
    holds[parents.filter(flat.is_null()).to_numpy()] = True
    return pa.array(holds)
