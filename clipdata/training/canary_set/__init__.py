"""The canary's own pictures and classes: photographs of single things, with their names in English and in Chinese.

    set.json      class, author, licence and source of each picture; names of the classes

It knows files, and no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from clipdata.images import decode

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "en": ("a photo of a {}.", "a {}."),
    "zh": ("一张{}的照片。", "{}。"),
}
"""Prompts by language, in the order in which they are tried."""


@dataclass(frozen=True)
class CanarySet:
    """Pictures with their classes.

    Args:
        names: language → names of the C classes.
        files: names of the P pictures' files.
        label_P: int64, place of each picture's class.
        digest: of all that decides a score.
    """

    names: Mapping[str, tuple[str, ...]]
    files: tuple[str, ...]
    label_P: np.ndarray
    digest: str

    @property
    def num_classes(self) -> int:
        """C."""
        return len(next(iter(self.names.values())))

    @property
    def best_constant(self) -> float:
        """Share of the pictures that whoever always says the same class gets right at best."""
        return float(np.bincount(self.label_P).max() / len(self.label_P))

    def prompts(self, language: str) -> list[str]:
        """All prompts, class by class."""
        return [template.format(name) for name in self.names[language] for template in TEMPLATES[language]]

    def pixels(self) -> Iterator[np.ndarray]:
        """The pictures, uint8 RGB [H, W, 3]."""
        folder = files(__name__) / "pictures"
        for file in self.files:
            yield decode((folder / file).read_bytes())


def canary_set() -> CanarySet:
    """The set that is shipped."""
    text = (files(__name__) / "set.json").read_text(encoding="utf-8")
    told = json.loads(text)
    names = {language: tuple(one[language] for one in told["classes"]) for language in TEMPLATES}
    place_of = {name: place for place, name in enumerate(names["en"])}
    labels = [place_of[one["class"]] for one in told["pictures"]]
    decisive = text + json.dumps(TEMPLATES, sort_keys=True)
    return CanarySet(
        names=names,
        files=tuple(one["file"] for one in told["pictures"]),
        label_P=np.array(labels, np.int64),
        digest=hashlib.sha256(decisive.encode()).hexdigest(),
    )
