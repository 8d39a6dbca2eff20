"""Prompts: texts made by templates, of other columns as "a photo of {label}", or of the names of classes."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.step_protocol import INTEGER, BaseStep, require_names
from clipdata.steps.class_prompts import TEMPLATE, Classes, Templates, class_names, class_prompts, prompt_templates

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


class ClassPrompt(BaseStep):
    """The prompts of each row's class: a text, or a list of texts where there are several templates.

    Args:
        label_index: column with the place of the class.
        classes: list of names; or a file with one a line.
        templates: text with braces for the class, commas allowed: "a photo of {}, a kind of food"; or several.

    Raises:
        UsageError: the classes or templates are not such, or the name of the column is no text.
        NotFoundError: there is no file of classes.
    """

    name = "ClassPrompt"
    version = "1"

    def __init__(self, label_index: str, classes: Classes, templates: Templates = TEMPLATE) -> None:
        require_names(self.name, label_index=label_index)
        names = class_names(classes, asker=self.name)
        filled = prompt_templates(templates, asker=self.name)
        self.reads: tuple[str, ...] = (label_index,)
        self.takes = {label_index: INTEGER}
        self.parameters = {"classes": list(names), "templates": list(filled)}
        prompts, size = class_prompts(names, filled), len(filled)
        self.returns: pa.DataType = pa.string() if size == 1 else pa.list_(pa.string())
        by_class = prompts if size == 1 else [prompts[start : start + size] for start in range(0, len(prompts), size)]
        self._by_class = pa.array(by_class, self.returns)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Take the prompts of each row's class: string or list<string> [B]."""
        places: list[int | None] = []
        reasons: list[str | None] = []
        for place in batch.column(0).to_pylist():
            fits = place is not None and 0 <= place < len(self._by_class)
            outside = f"index outside the classes: {place} of {len(self._by_class)}"
            places.append(place if fits else None)
            reasons.append(None if fits else f"no {self.reads[0]}" if place is None else outside)
        return self._by_class.take(pa.array(places, pa.int64())), reasons


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
