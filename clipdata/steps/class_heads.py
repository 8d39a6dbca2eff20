"""ClassHead: what was fitted on embeddings to tell classes apart, as a value and as a folder.

    head.safetensors    `weight` float32 [classes, numbers of an embedding]
    head.json           classes, the model whose embeddings it takes, how it was fitted; written last
    trained_rows/       digests of the rows that it was fitted on

It knows files, and neither tables nor models. Shapes: B rows, C classes, D numbers of an embedding.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clipdata.disk import sync_above, sync_below
from clipdata.errors import NotFoundError, StorageError, UsageError
from clipdata.folder_lock import alone_at
from clipdata.json_parsing import parse_json
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.trained_rows import FOLDER, TrainedRows

WEIGHTS, RECORD = "head.safetensors", "head.json"


@dataclass(frozen=True, eq=False)
class ClassHead:
    """A linear classifier on the embeddings of one model.

    Args:
        classes: names, or places.
        weight_CD: float32; an embedding's products with it are the logits of the classes.
        model: identity of the encoder whose embeddings it takes.
        model_name: what the person called that encoder.
        trained_on: rows that it was fitted on.
        fitted: JSON values: table, columns, prompts and rows, and what the fit came to.
        name: what the person calls it: the folder that it was read from.
    """

    classes: tuple[str | int, ...]
    weight_CD: np.ndarray = field(repr=False)
    model: str
    model_name: str
    trained_on: tuple[TrainedRows, ...] = field(default=(), repr=False)
    fitted: Mapping[str, Any] = field(default_factory=dict)
    name: str = "head"

    @cached_property
    def identity(self) -> str:
        """Hex digest of all that decides what it says of an embedding."""
        told = hashlib.sha256(json.dumps([self.model, list(self.classes), self.weight_CD.shape[1]]).encode())
        told.update(self.weight_CD.astype("<f4").tobytes())
        return told.hexdigest()

    def probabilities(self, embedding_BD: np.ndarray) -> np.ndarray:
        """Softmax over the classes: float32 [B, C].

        Args:
            embedding_BD: float, L2-normalised.
        """
        logits_BC = embedding_BD.astype(np.float64) @ self.weight_CD.T.astype(np.float64)
        shares_BC = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True))
        probability_BC: np.ndarray = (shares_BC / shares_BC.sum(axis=1, keepdims=True)).astype(np.float32)
        return probability_BC

    def save(self, folder: str | os.PathLike[str]) -> ClassHead:
        """Write it into a folder, in place of a head that is there; returns it under the folder's name.

        Raises:
            UsageError: the folder holds something else.
            TransientError: another process writes there.
            StorageError: it cannot be written.
        """
        path = Path(folder)
        if path.exists() and not (path / RECORD).is_file() and not _is_half_written(path):
            raise UsageError(f"{path} is there and holds no head", hint="choose a folder that does not exist yet")
        with alone_at(path, "fit-head"):
            try:
                self._write(path)
            except OSError as error:
                raise StorageError(f"the head cannot be written to {path}: {error}") from error
        return replace(self, name=os.fspath(folder))

    def _write(self, path: Path) -> None:
        from safetensors.numpy import save

        from clipdata.encoder.layout import write_json

        (path / FOLDER).mkdir(parents=True, exist_ok=True)
        for rows in self.trained_on:
            (path / FOLDER / f"{rows.digest}.arrow").write_bytes(rows.to_bytes())
        (path / RECORD).unlink(missing_ok=True)  # half a head is none
        (path / WEIGHTS).write_bytes(save({"weight": np.ascontiguousarray(self.weight_CD, np.float32)}))
        write_json(path / RECORD, self.to_dict())
        for half in path.glob(f".{RECORD}.*"):  # of one who was killed
            half.unlink(missing_ok=True)
        sync_below(path)
        sync_above(path)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ClassHead:
        """Read what `save` wrote.

        Raises:
            NotFoundError: the folder holds no head.
            StorageError: it cannot be read, or was changed.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = Path(folder)
        hint = "clipdata fit-head TABLE --out DIR makes one"
        try:
            said = parse_json((path / RECORD).read_text(encoding="utf-8"))
            weight_CD = load((path / WEIGHTS).read_bytes())["weight"]
            rows = [TrainedRows.from_bytes((path / FOLDER / f"{one}.arrow").read_bytes()) for one in said["trained_on"]]
            head = cls(
                tuple(said["classes"]),
                weight_CD,
                said["model"],
                said["model_name"],
                tuple(rows),
                said["fitted"],
                str(path),
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{path} is no head: it has no {Path(str(error.filename)).name}", hint=hint) from error
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise StorageError(f"the head in {path} cannot be read: {error}", hint=hint) from error
        if head.weight_CD.shape[:1] != (len(head.classes),) or head.identity != said["identity"]:
            raise StorageError(f"the head in {path} was changed: it is {head.identity[:12]} now", hint=hint)
        return head

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the weights."""
        return {
            "identity": self.identity,
            "classes": list(self.classes),
            "model": self.model,
            "model_name": self.model_name,
            "trained_on": [rows.digest for rows in self.trained_on],
            "fitted": dict(self.fitted),
        }

    def __str__(self) -> str:
        rows = f" on {counted(self.fitted['rows'], 'row')}" if "rows" in self.fitted else ""
        return printable(
            f"head {self.identity[:12]} of {len(self.classes):,} classes, fitted{rows} for embeddings of "
            f"{self.model_name} ({self.model[:12]})"
        )


def _is_half_written(path: Path) -> bool:
    """Whether a folder holds nothing but what a `save` that was killed left there."""
    own = (FOLDER, WEIGHTS)
    return path.is_dir() and all(one.name in own or one.name.startswith(f".{RECORD}.") for one in path.iterdir())
