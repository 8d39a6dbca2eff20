"""Lineage: what made a column, and the fingerprint that tells whether it would be made the same way again.

It travels in the column's own Arrow field metadata, so it survives compaction, renaming and copying, and anyone can
read it with Lance alone. This module knows Arrow metadata, and nothing of steps or tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.exact_values import ExactValues, Untold
from clipdata.json_parsing import parse_json
from clipdata.printable import printable

METADATA_KEY = b"clipdata.lineage"
_LISTED = 6  # entries of a list that a line for people shows


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
            empty where none of them was fine-tuned, None where nobody recorded it.
        tables: locations of the tables that the step read as a whole, "." for the column's own; no part of the
            fingerprint.
        inputs: columns read.
        upstream: fingerprints of those inputs that were made by a step themselves.
        table_version: version of the table read when the column was first filled.
        made_at: ISO time, UTC.
        made_by: version of this library.

    Raises:
        UsageError: a parameter is of a kind whose value nothing tells, such as a function.
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
    trained_on: tuple[Mapping[str, Any], ...] | None = ()
    tables: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the values: step, its version, parameters, model, inputs and their origin."""
        decisive = [self.step, self.step_version, _plain(self.parameters), self.model, list(self.inputs)]
        decisive.append(dict(self.upstream))
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with the fingerprint spelled out."""
        trained_on = None if self.trained_on is None else list(self.trained_on)
        lists = {"inputs": list(self.inputs), "trained_on": trained_on, "tables": list(self.tables)}
        return {**asdict(self), **lists, "parameters": _plain(self.parameters), "fingerprint": self.fingerprint}

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Lineage:
        """Read what `to_json` wrote, in this version of the library or in a later one that says more."""
        known = {entry.name for entry in fields(cls)}
        read = {name: value for name, value in parse_json(text).items() if name in known}
        trained_on = read.get("trained_on")  # earlier releases did not record it
        lists = {
            "inputs": tuple(read.get("inputs", ())),
            "trained_on": None if trained_on is None else tuple(trained_on),
            "tables": tuple(read.get("tables", ())),
        }
        return cls(**{**read, **lists})

    @classmethod
    def of(cls, column: pa.Field) -> Lineage | None:
        """Lineage of a column, or None when the column was not made by a map step."""
        text = (column.metadata or {}).get(METADATA_KEY)
        return cls.from_json(text) if text else None

    def differs_only_upstream(self, other: Lineage) -> bool:
        """Tell whether both would be equal if the columns they read had the same origin."""
        return replace(self, upstream={}).fingerprint == replace(other, upstream={}).fingerprint

    def describe(self) -> str:
        """One line for people: step, inputs, parameters, model."""
        parameters = [f"{name}={_short(value)}" for name, value in self.parameters.items()]
        model = f" with {self.model[:12]}" if self.model else ""
        return printable(f"{self.step}({', '.join([*self.inputs, *parameters])}){model}")

    def differences(self, other: Lineage) -> list[str]:
        """In what a column's lineage differs from that of a run, a line each; empty when the fingerprints are equal."""
        lines = [
            f"{name}: {mine!r} in the column, {its!r} in this run"
            for name, mine, its in (
                ("step", self.step, other.step),
                ("columns read", ", ".join(self.inputs), ", ".join(other.inputs)),
                ("model", self.model or "none", other.model or "none"),
            )
            if mine != its
        ]
        if self.step == other.step and self.step_version != other.step_version:
            lines.append(_versions_differ(self.step_version, other.step_version))
        mine, its = _plain(self.parameters), _plain(other.parameters)
        lines += [
            f"parameter {name}: {_said(mine, its, name)} in the column, {_said(its, mine, name)} in this run"
            for name in sorted({*mine, *its})
            if json.dumps(mine.get(name), sort_keys=True) != json.dumps(its.get(name), sort_keys=True)
            or (name in mine) != (name in its)
        ]
        if self.inputs == other.inputs:
            names = [name for name in self.inputs if self.upstream.get(name) != other.upstream.get(name)]
            lines += [f"column {name!r} that it reads was made anew, in another way, since" for name in names]
        return lines


def _short(value: Any) -> str:
    """A parameter for people: a number to six digits, and of a long list how it begins and how long it is."""
    if isinstance(value, float):
        return repr(float(f"{value:.6g}"))
    if isinstance(value, list | tuple) and len(value) > _LISTED:
        return f"[{', '.join(map(repr, value[:_LISTED]))}, … {len(value):,} in all]"
    return repr(value)


def _versions_differ(mine: str, its: str) -> str:
    """What another version of a step means: other code, or another Python that compiled it."""
    said = f"version of the step: {mine} in the column, {its} in this run"
    pythons = [version.rpartition("-")[0] for version in (mine, its)]
    if not all(name.startswith("python") for name in pythons):
        return said
    if pythons[0] != pythons[1]:
        return f"{said} (compiled by another Python; a version=… that you name holds for each)"
    return f"{said} (other code of the function, or other values that it closes over or names)"


def _said(parameters: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str:
    """A parameter exactly; of a long list where it first differs from the other one."""
    if name not in parameters:
        return "none"
    value, beside = parameters[name], other.get(name)
    if not isinstance(value, list) or not isinstance(beside, list) or max(len(value), len(beside)) <= _LISTED:
        return repr(value)
    shared = zip(value, beside, strict=False)
    place = next((n for n, (one, two) in enumerate(shared) if one != two), min(len(value), len(beside)))
    entry = repr(value[place]) if place < len(value) else "none"
    return f"{_short(value)} (entry {place}: {entry})"


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON that tells every one from every other; arrays and bytes by a digest of all they hold.

    Raises:
        UsageError: nothing tells the value of one of them.
    """
    try:
        return {name: ExactValues().told(value) for name, value in parameters.items()}
    except Untold as untold:
        raise UsageError(
            f"a parameter of a step is {type(untold.value).__name__} {untold.value!r:.80}; "
            "nothing tells its value from another's",
            hint="give texts, numbers, lists, dictionaries or arrays; what a function does belongs to a step's version",
        ) from untold
