"""Prepared pixels: the column that is read in place of a column of pictures, when what it holds is what is wanted.

A column fits when the preparation in its lineage gives the pixels that the stream would make, and nothing it was made
of was made anew since. It knows tables, lineages and preparations; it must not know models, batches or training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipdata.encoder.augmentation import Augmentation, Augmented
from clipdata.encoder.preparation import Preparation
from clipdata.encoder.prepared_column import PreparedColumn
from clipdata.errors import LineageMismatchError, UsageError
from clipdata.lance_io.presence import field_ids
from clipdata.lance_io.table import Table
from clipdata.origin import changed_inputs
from clipdata.plurals import counted
from clipdata.storage import redact

OFFSETS_AT_ONCE = 2**20
Offsets = Callable[[], Iterable[np.ndarray]]
"""Gives the offsets of the rows to be read, int64, some at a time."""


@dataclass(frozen=True)
class PixelSource:
    """Where the pixels of a column of pictures come from.

    Args:
        image: column of pictures that was asked for.
        column: of prepared pixels that is read in its place, or None.
        holds: what that column holds.
        passed_over: why other columns of prepared pixels are not read, a line each.
    """

    image: str
    column: str | None = None
    holds: PreparedColumn | None = None
    passed_over: tuple[str, ...] = ()

    def to_json(self) -> dict[str, str]:
        """JSON values by which the source is known again: column, kind, and digest of what it holds."""
        if self.column is None or self.holds is None:
            return {"column": self.image, "kind": "decoded"}
        return {"column": self.column, "kind": self.holds.kind, "identity": self.holds.preparation.identity[:12]}

    def __str__(self) -> str:
        if self.column is None or self.holds is None:
            why = f" ({'; '.join(self.passed_over)})" if self.passed_over else ""
            return f"pixels come from column {self.image!r}, decoded{why}"
        return f"pixels come from column {self.column!r} ({self.holds.describe()})"


def augmented(prepare: Any, augment: Augmentation) -> Augmented:
    """A preparation that draws.

    Raises:
        UsageError: what prepares is no preparation of a model, or `augment` no augmentation.
    """
    if not isinstance(prepare, Preparation):
        raise UsageError(
            f"augment needs the preparation of a model, and prepare is {prepare!r:.80}",
            hint="prepare=encoder.prepare; a function of your own may draw by itself",
        )
    return Augmented(prepare, augment)


def pixel_sources(
    table: Table, images: Sequence[str], prepare: Any, prepared: bool | str, offsets: Offsets | None = None
) -> tuple[PixelSource, ...]:
    """Choose where the pixels of each column of pictures come from; see `pixel_source`.

    Raises:
        UsageError: a column is named, and no picture is asked for.
    """
    if not isinstance(prepared, bool | str):
        raise UsageError(f"prepared is {prepared!r:.80}; expected true, false or the name of a column")
    if not isinstance(prepared, str):
        return tuple(pixel_source(table, image, prepare, prepared, offsets) for image in images)
    if not images:
        raise UsageError(f"prepared is {prepared!r}, and no column of images is asked for", hint="prepared=False")
    table.require([prepared], verb="stream")
    holds = PreparedColumn.of(table.lineage(prepared))
    of = holds.image if holds is not None and holds.image in images else images[0]
    return tuple(pixel_source(table, image, prepare, prepared if image == of else True, offsets) for image in images)


def pixel_source(
    table: Table, image: str, prepare: Any, prepared: bool | str, offsets: Offsets | None = None
) -> PixelSource:
    """Choose where the pixels of a column of pictures come from.

    Args:
        table: pinned to a version.
        image: column of pictures.
        prepare: what would make pixels of them.
        prepared: False for the pictures themselves; True for a column that fits, if every fragment of the rows has it;
            or the name of one, which is held to fit.
        offsets: of the rows to be read; None for all.

    Raises:
        SchemaError: there is no column of the name.
        LineageMismatchError: the one named holds other pixels, says why.
        UsageError: one is named, and nothing tells what `prepare` would make.
    """
    if prepared is False:
        return PixelSource(image)
    wanted = prepare.preparation if isinstance(prepare, Augmented) else prepare
    if isinstance(prepared, str):
        table.require([prepared], verb="stream")
        return PixelSource(image, prepared, _held(table, image, prepare, prepared))
    if not isinstance(wanted, Preparation):
        return PixelSource(image)
    fitting: list[tuple[str, PreparedColumn]] = []
    passed_over = []
    for name in table.schema.names:
        holds = PreparedColumn.of(table.lineage(name))
        if holds is None or holds.image != image:
            continue
        problems = _problems(table, name, holds, prepare) or _reserves(table, name, holds, prepare, offsets)
        passed_over += [f"{name!r}: {problem}" for problem in problems[:1]]
        fitting += [] if problems else [(name, holds)]
    if not fitting:
        return PixelSource(image, passed_over=tuple(passed_over))
    # Raw before JPEG, and of larger ones for random crops the smallest.
    return PixelSource(image, *min(fitting, key=lambda one: (one[1].kind != "raw", one[1].num_levels)))


def _held(table: Table, image: str, prepare: Any, name: str) -> PreparedColumn:
    """What a column that was named holds, once it fits."""
    wanted = prepare.preparation if isinstance(prepare, Augmented) else prepare
    if not isinstance(wanted, Preparation):
        raise UsageError(
            f"prepared is {name!r}, and prepare is {prepare!r:.80}, of which nothing tells whether it fits",
            hint="prepare=encoder.prepare, or prepared=False",
        )
    lineage = table.lineage(name)
    holds = PreparedColumn.of(lineage)
    fill = f"clipdata map {redact(table.uri)} prepared-pixels {name}_2 --model MODEL, or prepared=False to decode"
    if holds is None:
        made_by = f"was made by {lineage.describe()}" if lineage is not None else "came with the data"
        raise LineageMismatchError(f"column {name!r} {made_by}; expected prepared pixels of this release", hint=fill)
    problems = [f"made of column {holds.image!r}; expected {image!r}"] if holds.image != image else []
    problems += _problems(table, name, holds, prepare)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise LineageMismatchError(f"column {name!r} holds other pixels than the stream is to make:{listed}", hint=fill)
    return holds


def _problems(table: Table, name: str, holds: PreparedColumn, prepare: Preparation | Augmented) -> list[str]:
    """Why a column cannot be read for a preparation, a line each."""
    if isinstance(prepare, Augmented):
        crops = prepare.augmentation.scale is not None
        problems = holds.differences(prepare.preparation, larger=crops)
    else:
        problems = holds.differences(prepare)
    lineage = table.lineage(name)
    assert lineage is not None, "it says what the column holds"
    if table.schema.field(name).type != holds.type:
        problems.append(f"type {table.schema.field(name).type}; expected {holds.type}")
    return problems + changed_inputs(table, lineage)


def _reserves(
    table: Table,
    name: str,
    holds: PreparedColumn,
    prepare: Preparation | Augmented,
    offsets: Offsets | None,
) -> list[str]:
    """Why a column that fits is not read unless it is named."""
    wanted = prepare.preparation if isinstance(prepare, Augmented) else prepare
    if holds.kind == "jpeg" and wanted.fidelity == "exact":
        return ["holds JPEGs, which are not exact"]
    cropped = isinstance(prepare, Augmented) and prepare.augmentation.scale is not None
    if cropped and holds.preparation.size == wanted.size:
        return ["is no larger than the model's input, and crops of it would be enlarged"]
    missing = _fragments_without(table, name, offsets)
    return [f"was never filled in {counted(missing, 'fragment')} of the table"] if missing else []


def _fragments_without(table: Table, name: str, offsets: Offsets | None) -> int:
    """Fragments of some rows in which a column was never filled, which the manifest tells."""
    fragments = table.dataset.get_fragments()
    fields = field_ids(table.dataset, [name])
    lacks_F = np.array([not any(fields & set(file.fields) for file in one.metadata.files) for one in fragments], bool)
    if offsets is None or not lacks_F.any():
        return int(lacks_F.sum())
    stops_F = np.cumsum([one.count_rows() for one in fragments])
    asked_F = np.zeros(len(fragments), bool)
    for some in offsets():
        asked_F[np.unique(np.searchsorted(stops_F, some, side="right"))] = True
    return int((lacks_F & asked_F).sum())
