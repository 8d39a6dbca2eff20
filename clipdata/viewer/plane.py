"""The plane: rows as points, by two columns or by the two main axes of a column of vectors; and points inside a lasso.

Source: the axes are the eigenvectors of the vectors' covariance with the two largest eigenvalues (PCA).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.viewer.columns import family_of
from clipdata.viewer.orders import numbers_of, require_family
from clipdata.viewer.sources.protocol import Source

BATCH_ROWS = 65_536
_SAMPLED = 20_000


def points_of(source: Source, x: str, y: str | None) -> np.ndarray:
    """Where each row lies, float32 [N, 2]; NaN where it has no place.

    Args:
        x: column of numbers; or of vectors, where there is no `y`.

    Raises:
        SchemaError: a column is not there, or holds something else.
    """
    if y is not None:
        for name in (x, y):
            require_family(source, name, ("number",))
        rows = source.read(list(dict.fromkeys([x, y])))
        return np.stack([numbers_of(rows.column(x)), numbers_of(rows.column(y))], axis=1).astype(np.float32)
    require_family(source, x, ("vector",))
    return _main_axes(source, x)


def inside(points_N2: np.ndarray, corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """Which points lie inside a polygon, bool [N], by the number of its edges that a ray to the right meets."""
    x_N, y_N = points_N2[:, 0].astype(np.float64), points_N2[:, 1].astype(np.float64)
    inside_N = np.zeros(len(points_N2), bool)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y1 == y2:
            continue
        crosses_N = (y1 > y_N) != (y2 > y_N)
        inside_N ^= crosses_N & (x_N < (x2 - x1) * (y_N - y1) / (y2 - y1) + x1)
    return inside_N & np.isfinite(x_N) & np.isfinite(y_N)


def _main_axes(source: Source, name: str) -> np.ndarray:
    """Vectors on their two main axes, which a sample of them tells."""
    if family_of(source.schema.field(name).type) != "vector":
        raise SchemaError(f"column {name!r} holds no vectors")
    random = np.random.default_rng(0)
    chosen = np.arange(source.num_rows)
    if source.num_rows > _SAMPLED:
        chosen = np.sort(random.choice(source.num_rows, _SAMPLED, replace=False))
    sample_SD = _vectors(source.take(chosen, [name]).column(0))
    sample_SD = sample_SD[np.isfinite(sample_SD).all(axis=1)]
    if not len(sample_SD):
        return np.full((source.num_rows, 2), np.nan, np.float32)
    mean_D = sample_SD.mean(axis=0)
    centred_SD = sample_SD - mean_D
    _, vectors_DD = np.linalg.eigh(centred_SD.T @ centred_SD)
    axes_D2 = vectors_DD[:, : -1 - min(2, len(mean_D)) : -1]
    axes_D2 = axes_D2 * np.sign(axes_D2[np.abs(axes_D2).argmax(axis=0), range(axes_D2.shape[1])])
    points_N2 = np.full((source.num_rows, 2), 0, np.float32)
    for start in range(0, source.num_rows, BATCH_ROWS):
        batch = np.arange(start, min(start + BATCH_ROWS, source.num_rows))
        vector_BD = _vectors(source.take(batch, [name]).column(0))
        points_N2[batch, : axes_D2.shape[1]] = (vector_BD - mean_D) @ axes_D2
    return points_N2


def _vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Float32 [B, D]; NaN where there is none."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    size = array.type.list_size
    vector_BD = np.full((len(array), size), np.nan, np.float32)
    valid_B = np.asarray(array.is_valid())
    if valid_B.any():
        flat = array.drop_null().flatten()
        vector_BD[valid_B] = flat.cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, size)
    return vector_BD
