"""Lineage: what made a column, and the fingerprint that tells whether it would be made the same way again.

It travels in the column's own Arrow field metadata, so it survives compaction, renaming and copying, and anyone can
read it with Lance alone. This module knows Arrow metadata, and nothing of steps or tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa

METADATA_KEY = b"clipdata.lineage"


@dataclass(frozen=True)
class Lineage:
    """What made a column.

    Args:
        step: name of the step.
        step_version: version of the step's code.
        parameters: JSON values the step was built with.
        model: identity of the encoder used, or None.
        model_name: what the person called that encoder; no part of the fingerprint.
        trained_on: records of the rows that the models behind the values were trained on (`TrainedRows.to_record`);
            empty where none of them was fine-tuned here, or nobody knows.
        inputs: columns read.
        upstream: fingerprints of those inputs that were made by a step themselves.
        table_version: version of the table read when the column was first filled.
        made_at: ISO time, UTC.
        made_by: version of this library.
    """

    step: str
    step_version: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    inputs: tuple[str, ...] = ()
    upstream: Mapping[str, str] = field(default_factory=dict)
    table_version: int | None = None
    made_at: str | None = None
    made_by: str | None = None
    model_name: str | None = None
    trained_on: tuple[Mapping[str, Any], ...] = ()

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the values: step, its version, parameters, model, inputs and their origin."""
        decisive = [self.step, self.step_version, dict(self.parameters), self.model, list(self.inputs)]
        decisive.append(dict(self.upstream))
        return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with the fingerprint spelled out."""
        return {
            **asdict(self),
            "inputs": list(self.inputs),
            "trained_on": list(self.trained_on),
            "fingerprint": self.fingerprint,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), default=str)

    @classmethod
    def from_json(cls, text: str | bytes) -> Lineage:
        """Read what `to_json` wrote, in this version of the library or in a later one that says more."""
        known = {entry.name for entry in fields(cls)}
        read = {name: value for name, value in json.loads(text).items() if name in known}
        lists = {name: tuple(read.get(name, ())) for name in ("inputs", "trained_on")}
        return cls(**{**read, **lists})

    @classmethod
    def of(cls, column: pa.Field) -> Lineage | None:
        """Lineage of a column, or None when the column was not made by a map step."""
        text = (column.metadata or {}).get(METADATA_KEY)
        return cls.from_json(text) if text else None

    def describe(self) -> str:
        """One line for people: step, inputs, parameters, model."""
        parameters = [f"{k}={v:.6g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.parameters.items()]
        model = f" with {self.model[:12]}" if self.model else ""
        return f"{self.step}({', '.join([*self.inputs, *parameters])}){model}"
