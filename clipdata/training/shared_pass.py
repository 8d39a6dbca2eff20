"""SharedPass: held-out rows read once, to measure several models on.

What models share is computed once: pictures through an image trunk that none of them changed, read from its column
where there is one, and texts through an equal text trunk. So a model of which only the heads were trained costs two
matrix products a row. It knows features, columns and objectives, and nothing of runs.

Shapes: N rows, P distinct pictures, W features of the image trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch

from clipdata.encoder import Encoder
from clipdata.lance_io.table import Table
from clipdata.progress import Progress
from clipdata.stream import Stream
from clipdata.training.config import TrainConfig
from clipdata.training.evaluation import evaluate, figures_of, in_words_of_evaluating
from clipdata.training.figures import Evaluation
from clipdata.training.forward import Forward, PictureIds, require_bias
from clipdata.training.image_side import check_images
from clipdata.training.left_out import LeftOut, left_out_of
from clipdata.training.objectives import Objective
from clipdata.training.overlap import overlap_of
from clipdata.training.recipe_facts import find_trunk
from clipdata.training.text_cache import TextFeatures, encode_once
from clipdata.training.usable_rows import ChosenRows, choose_rows

_MOST_TEXTS = 200_000
_MOST_BYTES = 2**31  # of an image trunk's features; above it, each model is measured by itself
_KEPT = 2  # the model that all began with, and the last one
_AT_ONCE = 256
_FEATURES = " features"  # names no column

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class _Pictures:
    """Features of the rows whose pictures can be used.

    Args:
        place_N: int64, of these rows among all.
        feature_N: int64, of each one's features; rows of one picture share them.
        trunk_PW: float32.
    """

    place_N: np.ndarray
    feature_N: np.ndarray
    trunk_PW: torch.Tensor


@dataclass(frozen=True)
class SharedPass:
    """Rows to measure several models on.

    Args:
        table: pinned.
        objective: what is measured, resolved.
        where: SQL condition on the rows.
        image: column of pictures.
        image_trunk: column of features that models are to be measured from; rows without any are left out for all.
        progress: watches.

    Raises:
        SchemaError: the table lacks a column, or it has another type.
        UsageError: no row can be measured.
    """

    table: Table
    objective: Objective
    where: str
    progress: Progress
    image: str = "image"
    image_trunk: str | None = None
    _pictures: dict[str, _Pictures] = field(default_factory=dict, repr=False)
    _texts: dict[str, TextFeatures] = field(default_factory=dict, repr=False)

    @cached_property
    def rows(self) -> ChosenRows:
        """The rows."""
        with in_words_of_evaluating():
            return choose_rows(
                self.table,
                self.objective,
                image=self.image,
                where=self.where,
                features=self.image_trunk,
                max_texts=_MOST_TEXTS,
            )

    def measure(self, encoder: Encoder) -> Evaluation:
        """Figures of one model.

        Raises:
            UsageError: the objective adds a bias, and the model has none.
            TooManyRejectsError: more than a tenth of the pictures cannot be decoded.
        """
        rows = self.rows
        if rows.texts is None or len(rows.offsets) * encoder.trunk_dim * 4 > _MOST_BYTES:
            return self._by_itself(encoder)
        require_bias(encoder, self.objective)
        pictures = _kept(self._pictures, encoder.trunk_identity, partial(self._seen, encoder))
        config = TrainConfig(objective=self.objective, image_trunk=_FEATURES)
        forward = Forward(encoder.model, encoder, config, PictureIds(rows.offsets, rows.pictures_N))
        with encoder.autocast():
            forward.texts = _kept(
                self._texts,
                encoder.text_trunk_identity,
                lambda: encode_once(rows.texts or (), encoder, encoder.towers, self.progress),
            )
            return figures_of(self._batches(pictures), partial(forward, every_text=True), self.objective)

    def num_seen(self, encoder: Encoder) -> int:
        """How many of the rows, or of their pictures, a model was trained on, by its own records."""
        return overlap_of(self.rows, self.rows.none(), encoder.trained_on).rows_seen_earlier

    def _by_itself(self, encoder: Encoder) -> Evaluation:
        """The same without keeping anything."""
        trunk = self._column_of(encoder)
        where = self.where if self.image_trunk is None else f"({self.where}) AND `{self.image_trunk}` IS NOT NULL"
        return evaluate(
            self.table,
            encoder,
            self.objective,
            where=where,
            image=self.image,
            image_trunk=trunk,
            progress=self.progress,
        ).evaluation

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        """What a batch holds beside pictures, of all rows: tensors and lists of N."""
        objective = self.objective
        columns = [*objective.columns, *([objective.texts] if objective.texts is not None else [])]
        if not columns:
            return {}
        batches = list(self._stream(self.rows.offsets, columns=list(dict.fromkeys(columns))))
        return {name: _joined([batch[name] for batch in batches]) for name in columns}

    def _seen(self, encoder: Encoder) -> _Pictures:
        """The image trunk's features of the rows, from its column, or from each distinct picture."""
        column = self._column_of(encoder)
        config = TrainConfig(objective=self.objective, image=self.image, image_trunk=column, fidelity="exact")
        check_images(self.table, encoder, config)
        asked: dict[str, Any] = {"columns": [column or self.image]}
        if column is None:
            asked |= {"prepare": encoder.prepare.with_fidelity("exact"), "on_bad_image": "leave_out"}
        one_each_P, picture_N = _distinct(self.rows.pictures_N)
        left_out = LeftOut("pictures to measure", len(one_each_P), config.max_bad_share)
        offsets, features = [], []
        with self.progress.task("see held-out pictures", len(one_each_P), "pictures") as counter:
            for batch in self._stream(self.rows.offsets[one_each_P], **asked):
                left_out.add(left_out_of(batch))
                offsets.append(batch["offsets"].numpy())
                values = batch[column or self.image]
                features.append(values.float() if column is not None else encoder.image_trunk(values).cpu())
                counter.advance(len(offsets[-1]) + len(left_out_of(batch)))
        used_P = np.isin(self.rows.offsets[one_each_P], np.concatenate(offsets))
        place_N = np.flatnonzero(used_P[picture_N])
        return _Pictures(place_N, (np.cumsum(used_P) - 1)[picture_N[place_N]], torch.cat(features))

    def _column_of(self, encoder: Encoder) -> str | None:
        """The column that holds features of an encoder's image trunk for all of the rows; None where there is none."""
        where, asked = self.where, self.image_trunk
        if asked is not None:
            where = f"({where}) AND `{asked}` IS NOT NULL"
            lineage = self.table.lineage(asked)
            if lineage is not None and lineage.model == encoder.trunk_identity:
                return asked
        return find_trunk(self.table, encoder, self.image, where)

    def _stream(self, offsets: np.ndarray, **asked: Any) -> Stream:
        fixed: dict[str, Any] = {"shuffle": False, "drop_last": False, "rank": 0, "world_size": 1}
        return Stream(self.table, rows=offsets, batch_size=_AT_ONCE, **fixed, **asked)

    def _batches(self, pictures: _Pictures) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(pictures.place_N), _AT_ONCE):
            place_B = pictures.place_N[start : start + _AT_ONCE]
            batch = {name: _taken(values, place_B) for name, values in self._facts.items()}
            batch["offsets"] = torch.from_numpy(self.rows.offsets[place_B])
            yield batch | {_FEATURES: _taken(pictures.trunk_PW, pictures.feature_N[start : start + _AT_ONCE])}


def shared_pass(
    table: Table, objective: Objective, where: str, configs: Sequence[TrainConfig], progress: Progress
) -> SharedPass:
    """Rows to measure models on that were trained in several ways.

    Args:
        configs: their trainings'; columns of pictures and of features are those that they name.
    """
    trunk = next((config.image_trunk for config in configs if config.image_trunk is not None), None)
    found = SharedPass(table, objective.resolved(table), where, progress, configs[0].image, trunk)
    _ = found.rows
    return found


def _distinct(pictures_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of one row of each distinct picture, ascending, and for every row which of these shows its picture.

    Args:
        pictures_N: uint64, 0 where nothing tells, which is no other row's picture.
    """
    own_N = np.arange(len(pictures_N))
    known_N = pictures_N != 0
    _, first_K, inverse_K = np.unique(pictures_N[known_N], return_index=True, return_inverse=True)
    shown_N = own_N.copy()
    shown_N[known_N] = own_N[known_N][first_K][inverse_K]
    one_each_P, picture_N = np.unique(shown_N, return_inverse=True)
    return one_each_P, picture_N


def _kept(known: dict[str, Kept], key: str, make: Callable[[], Kept]) -> Kept:
    """A value that is kept for the next model; of too many the one before the last goes."""
    if key not in known:
        if len(known) == _KEPT:
            known.popitem()
        known[key] = make()
    return known[key]


def _joined(parts: Sequence[Any]) -> Any:
    return torch.cat(list(parts)) if isinstance(parts[0], torch.Tensor) else [one for part in parts for one in part]


def _taken(values: Any, place_B: np.ndarray) -> Any:
    return values[torch.from_numpy(place_B)] if isinstance(values, torch.Tensor) else [values[at] for at in place_B]
