"""Class names and the prompts made of them: from lists, from files, or as a person types them.

A name is shown to a model with spaces for underscores, as folders are called `apple_pie`. This module must not know
models or tables.
"""

from __future__ import annotations

import os
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipdata.errors import NotFoundError, UsageError
from clipdata.file_kinds import kind_of_file
from clipdata.json_parsing import parse_json

Classes = str | os.PathLike[str] | Sequence[str | int]
Templates = str | os.PathLike[str] | Sequence[str]

TEMPLATE = "a photo of {}"


def class_names(given: Any, *, asker: str) -> tuple[str | int, ...]:
    """Class names in order.

    Args:
        given: a list of names or numbers; a file with one a line, or with a JSON list; or a text, as on a command line,
            of names with commas between or of a JSON list.
        asker: who was given them, for messages.

    Raises:
        NotFoundError: there is no such file.
        UsageError: they are no names, there is none, or one is there twice.
    """
    names = _listed(given, asker)
    if not all(isinstance(name, str | int) and not isinstance(name, bool) for name in names):
        raise _no_classes(given, asker)
    distinct = len({_shown(name) for name in names})
    if not names or distinct != len(names):
        twice = [name for name, times in Counter(map(_shown, names)).items() if times > 1]
        found = f"{', '.join(map(repr, twice[:5]))} twice" if twice else "none"
        raise UsageError(f"{asker}: the list of classes names {found}; expected distinct names, one or more")
    return names


def _listed(given: Any, asker: str) -> tuple[Any, ...]:
    if isinstance(given, str | os.PathLike):
        listed = _lines(given) if _is_file(given) else _json_list(given) if isinstance(given, str) else None
        if listed is None and isinstance(given, str) and "," in given:
            listed = [name.strip() for name in given.split(",")]
        if listed is None:
            raise NotFoundError(
                f"{asker}: classes is {os.fspath(given)!r:.80}; expected a list of names, and there is no such file",
                hint='a file with one name a line, names with commas between, or a JSON list: ["cat", "dog"]',
            )
        return tuple(listed)
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise _no_classes(given, asker)
    return tuple(given)


def _no_classes(given: Any, asker: str) -> UsageError:
    return UsageError(
        f"{asker}: classes is {given!r:.80}; expected a list of names", hint='classes=["cat", "dog"], or a file'
    )


def prompt_templates(given: Any, *, asker: str) -> tuple[str, ...]:
    """Templates of prompts, in each of which braces stand for a class.

    Args:
        given: a text is one template, whatever commas it holds; several are a list, a JSON list as a text, or a file
            with one a line.
        asker: who was given them, for messages.

    Raises:
        UsageError: one is no text, or has no braces to put a class into; or there is none.
    """
    templates: Sequence[Any] | None = None
    if isinstance(given, str):
        templates = _json_list(given)
        if templates is None:
            templates = [given] if "{" in given or not _is_file(given) else _lines(given)
    elif isinstance(given, os.PathLike) and _is_file(given):
        templates = _lines(given)
    elif isinstance(given, Sequence) and not isinstance(given, bytes):
        templates = given
    if not templates or not all(isinstance(one, str) for one in templates):
        raise UsageError(
            f"{asker}: templates is {given!r:.80}; expected a text, a list of texts or a file of them",
            hint=f'templates="{TEMPLATE}"',
        )
    for template in templates:
        _parts(template, asker)
    return tuple(templates)


def class_prompts(names: Sequence[str | int], templates: Sequence[str]) -> list[str]:
    """All prompts, class by class: those of the first class in the order of the templates, then of the next."""
    return [_filled(template, _shown(name)) for name in names for template in templates]


class ClassPlaces:
    """Places of labels in a list of classes.

    A label is a class's name as it stands, or else that name but for underscores and capitals.

    Args:
        names: as `class_names` gives them.
    """

    def __init__(self, names: Sequence[str | int]) -> None:
        self._exact = {str(name): place for place, name in enumerate(names)}
        self._alike: dict[str, int | None] = {}
        for place, name in enumerate(names):
            alike = _alike(name)
            self._alike[alike] = None if alike in self._alike else place

    def of(self, label: str | int) -> int | None:
        """The place of a label's class; None where there is none, or several are like it."""
        place = self._exact.get(str(label))
        return place if place is not None else self._alike.get(_alike(label))


def _alike(name: str | int) -> str:
    return " ".join(_shown(name).split()).casefold()


def _shown(name: str | int) -> str:
    return str(name).replace("_", " ")


def _filled(template: str, name: str) -> str:
    return "".join(literal + ("" if field is None else name) for literal, field in _parts(template, ""))


def _parts(template: str, asker: str) -> list[tuple[str, str | None]]:
    """Literal texts of a template, each with the name in the braces after it."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"{asker}: template {template!r:.80}: {error}", hint=f'write "{TEMPLATE}"') from error
    named = {field for _, field, _, _ in parsed if field is not None}
    plain = not any(form or conversion for _, _, form, conversion in parsed)
    if len(named) != 1 or not plain or not all(not field or field.isidentifier() for field in named):
        raise UsageError(
            f"{asker}: template {template!r:.80} has {sorted(named) or 'no braces'}; expected one name in braces, or "
            "empty ones, where the class goes",
            hint=f'write "{TEMPLATE}"; columns are filled in by the step prompt',
        )
    return [(literal, field) for literal, field, _, _ in parsed]


def _is_file(given: str | os.PathLike[str]) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # a text that can be no name of a file
        return False


def _json_list(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        found = parse_json(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, str | int) for one in found) else None


def _lines(file: str | os.PathLike[str]) -> list[Any]:
    """Entries of a file: a line each without blanks around, or those of a JSON list."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if (kind := kind_of_file(file)) is not None:
            raise UsageError(f"{os.fspath(file)} is {kind.name}; expected UTF-8 text", hint=kind.mend) from error
        raise UsageError(f"{os.fspath(file)} cannot be read as UTF-8 text: {error}") from error
    listed = _json_list(text)
    return listed if listed is not None else [line.strip() for line in text.splitlines() if line.strip()]
