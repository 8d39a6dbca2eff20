"""Prompts: texts made of other columns by templates, as "a photo of {label}"."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.step_protocol import BaseStep

_HINT = 'write a column in braces: "a photo of {label}"'


class Prompt(BaseStep):
    """A text, or a list of texts, made by filling columns into templates.

    Args:
        template: text with the names of columns in braces, or several.

    Raises:
        UsageError: there is no template, one names no column, or its braces do not match.
    """

    name = "Prompt"
    version = "1"

    def __init__(self, template: str | Sequence[str] = "a photo of {label}") -> None:
        _require_templates(template)
        self.templates = (template,) if isinstance(template, str) else tuple(template)
        self.returns: pa.DataType = pa.string() if isinstance(template, str) else pa.list_(pa.string())
        self.reads: tuple[str, ...] = tuple(dict.fromkeys(n for one in self.templates for n in _names(one)))
        self.parameters = {"template": template if isinstance(template, str) else list(template)}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Fill the templates of each row: string or list<string> [B]."""
        filled: list[list[str] | None] = []
        reasons: list[str | None] = []
        for row in batch.to_pylist():
            try:
                filled.append([one.format(**row) for one in self.templates])
                reasons.append(None)
            except (ValueError, TypeError, LookupError) as error:  # the format is none for this row's value
                filled.append(None)
                reasons.append(f"the template does not fit: {error}")
        if pa.types.is_string(self.returns):
            return pa.array([texts and texts[0] for texts in filled], pa.string()), reasons
        return pa.array(filled, self.returns), reasons


def _require_templates(template: Any) -> None:
    listed = isinstance(template, list | tuple) and template and all(isinstance(one, str) for one in template)
    if not (isinstance(template, str) or listed):
        raise UsageError(
            f"Prompt: the template is {template!r:.80}; expected a text, or a list of texts that is not empty",
            hint=_HINT,
        )


def _names(template: str) -> list[str]:
    """The columns that a template names, also within a format such as `{label:>{width}}`."""
    names: list[str] = []
    try:
        for _, name, form, _ in string.Formatter().parse(template):
            if name is not None:
                names += [name, *(_names(form) if form and "{" in form else [])]
    except ValueError as error:
        raise UsageError(f"template {template!r}: {error}", hint=_HINT) from error
    if not names:
        raise UsageError(f"template {template!r} names no column", hint=_HINT)
    for name in names:
        if not name or name.isdigit() or "." in name or "[" in name:
            raise UsageError(f"template {template!r}: {{{name}}} is not the name of a column", hint=_HINT)
    return names
