"""The image side of a training: pictures, prepared pixels or features of a column, and whether they are the encoder's.

It knows tables, configs and encoders; it must not know batches or steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clipdata.encoder import Encoder
from clipdata.encoder.augmentation import Augmented
from clipdata.errors import LineageMismatchError, SchemaError
from clipdata.hints import merge_pictures
from clipdata.lance_io.table import Table
from clipdata.origin import changed_inputs
from clipdata.storage import redact
from clipdata.stream.columns import is_image
from clipdata.stream.prepared import PixelSource, pixel_source
from clipdata.training.config import TrainConfig
from clipdata.training.config_checks import AUTO


def pixels_asked(encoder: Encoder, config: TrainConfig, *, augmented: bool) -> dict[str, Any]:
    """Arguments for a Stream that say which pixels are wanted, and what they may be read from."""
    asked: dict[str, Any] = {"prepare": encoder.prepare.with_fidelity(config.fidelity)}
    asked["prepared"] = {AUTO: True, None: False}.get(config.prepared, config.prepared)
    if augmented and config.augment is not None:
        return asked | {"augment": config.augment}
    # Of a column that random crops are made of, nothing is measured unless it has the model's own size.
    return asked if config.augment is None or config.prepared is None else asked | {"prepared": True}


def pixels_read(table: Table, encoder: Encoder, config: TrainConfig, rows: np.ndarray) -> PixelSource | None:
    """Where the pixels of the rows to train on come from; None where features are read instead.

    Args:
        rows: int64 offsets.

    Raises:
        SchemaError: there is no column that `config.prepared` names.
        LineageMismatchError: it holds other pixels.
    """
    if config.image_trunk is not None:
        return None
    asked = pixels_asked(encoder, config, augmented=True)
    augment = asked.get("augment")
    prepare = asked["prepare"] if augment is None else Augmented(asked["prepare"], augment)
    return pixel_source(table, config.image, prepare, asked["prepared"], lambda: [rows])


def check_images(table: Table, encoder: Encoder, config: TrainConfig) -> None:
    """Check that the image side of a table is what an encoder needs.

    Raises:
        SchemaError: the column is missing or of another type.
        LineageMismatchError: other weights made the trunk column, or nobody can tell which.
    """
    if config.image_trunk is not None:
        _check_trunk(table, config.image_trunk, encoder)
        return
    joined = merge_pictures(table.uri, table.schema.names)
    table.require([config.image], verb="train", hint=f"{joined} joins pictures to it; or name them: --set image=COLUMN")
    found = table.schema.field(config.image).type
    if not is_image(found):
        lineage = table.lineage(config.image)
        reads = {"ImageTrunk": "image_trunk", "PreparedPixels": "prepared"}.get(lineage.step if lineage else "")
        raise SchemaError(
            f"train: column {config.image!r} holds {found}; expected the bytes of images",
            hint=f"--set {reads}={config.image} reads it" if reads else None,
        )


def _check_trunk(table: Table, column: str, encoder: Encoder) -> None:
    def fill(into: str) -> str:
        command = f"clipdata map {redact(table.uri)} image-trunk {into} --model {encoder.name}"
        return f"{command}; or --set image_trunk=none to decode the images"

    if column not in table.schema.names:
        raise SchemaError(f"train: {redact(table.uri)} has no column {column!r} of image features", hint=fill(column))
    found = table.schema.field(column).type
    if not (hasattr(found, "list_size") and found.list_size == encoder.trunk_dim):
        expected = f"the image trunk of {encoder.name} gives {encoder.trunk_dim} floats"
        raise SchemaError(f"train: column {column!r} holds {found}; {expected}", hint=fill(f"{column}_2"))
    lineage = table.lineage(column)
    if lineage is None or lineage.model != encoder.trunk_identity:
        made_by = f"the image trunk {(lineage.model or '')[:12]}" if lineage else "nobody knows which model"
        raise LineageMismatchError(
            f"train: column {column!r} was made by {made_by}; that of {encoder.name} is {encoder.trunk_identity[:12]}",
            hint=fill(f"{column}_2"),
        )
    if changed := changed_inputs(table, lineage):
        raise LineageMismatchError(
            f"train: column {column!r} holds features of other pictures: {'; '.join(changed)}",
            hint=fill(f"{column}_2"),
        )
