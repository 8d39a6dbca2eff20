"""Prompts: texts made of other columns by templates, as "a photo of {label}"."""

from __future__ import annotations

import string
from collections.abc import Sequence

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.step_protocol import BaseStep


class Prompt(BaseStep):
    """A text, or a list of texts, made by filling columns into templates.

    Args:
        template: text with the names of columns in braces, or several.

    Raises:
        UsageError: a template names no column, or its braces do not match.
    """

    name = "Prompt"
    version = "1"

    def __init__(self, template: str | Sequence[str] = "a photo of {label}") -> None:
        self.templates = (template,) if isinstance(template, str) else tuple(template)
        self.returns: pa.DataType = pa.string() if isinstance(template, str) else pa.list_(pa.string())
        self.reads: tuple[str, ...] = tuple(dict.fromkeys(n for one in self.templates for n in _names(one)))
        self.parameters = {"template": template if isinstance(template, str) else list(template)}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> pa.Array:
        """Fill the templates of each row: string or list<string> [B]."""
        filled = [[one.format(**row) for one in self.templates] for row in batch.to_pylist()]
        if pa.types.is_string(self.returns):
            return pa.array([texts[0] for texts in filled], pa.string())
        return pa.array(filled, self.returns)


def _names(template: str) -> list[str]:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(
            f"template {template!r}: {error}", hint='write a column in braces: "a photo of {label}"'
        ) from error
    if not names or not all(name.isidentifier() for name in names):
        raise UsageError(
            f"template {template!r} names no column", hint='write a column in braces: "a photo of {label}"'
        )
    return names
