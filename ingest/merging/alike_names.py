"""Names that are not equal and yet of one thing: they join where exactly one candidate is left.

The names of metadata rows without an image are compared with those of all images, rule by rule (`join_keys.RULES`). The
first rule by which a name has a candidate decides. It works on batches of texts and knows no table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.merging.join_keys import RULES, has_suffix, is_inside

EXAMPLES = 5
# Numbers of the rules that leave out a suffix and folders; what they fold, the rules before them have folded.
_STEM = [rule.name for rule in RULES].index("missing suffix")
_FOLDER = [rule.name for rule in RULES].index("folder")


@dataclass(frozen=True)
class Doubt:
    """Names of which nobody can say which is meant.

    Args:
        names: of the metadata.
        images: positions of the images that they may mean.
        rule: in what they differ.
    """

    names: tuple[str, ...]
    images: tuple[int, ...]
    rule: str


@dataclass
class Alike:
    """What was found.

    Args:
        images: name → position of its image.
        rule_of: name → the rule.
        examples: a few of them: name, position of the image, and the rule.
        doubts: names with several candidates, or several names with one.
    """

    images: dict[str, int] = field(default_factory=dict)
    rule_of: dict[str, str] = field(default_factory=dict)
    examples: list[tuple[str, int, str]] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


def find_alike(
    names: pa.Array, batches: Iterable[pa.Array], taken: np.ndarray, *, across_folders: bool = True
) -> Alike:
    """Find images for the names that no image bears.

    Args:
        names: large_string [L], distinct and not null.
        batches: names of all images, large_string, batch by batch in their order.
        taken: bool [I], images that another name has found; images found here are added.
        across_folders: a name may leave out folders, or say more of them. Of whole paths it may not: a picture in
            another folder is another picture.
    """
    folded = _Folded(names)
    candidates: list[list[tuple[int, int]]] = [[] for _ in RULES]
    start = 0
    for batch in batches:
        for pairs, here in zip(candidates, folded.candidates_in(batch, start), strict=True):
            pairs += here
        start += len(batch)
    spelled, found, left = names.to_pylist(), Alike(), set(range(len(names)))
    for number, (rule, pairs) in enumerate(zip(RULES, candidates, strict=True)):
        if number == _FOLDER and not across_folders:
            continue
        of_name: dict[int, set[int]] = {}
        of_image: dict[int, set[int]] = {}
        for name, image in pairs:
            if name in left and not (rule.is_guess and taken[image]):
                of_name.setdefault(name, set()).add(image)
                of_image.setdefault(image, set()).add(name)
        for name, images in of_name.items():
            left.discard(name)
            rivals = of_image[min(images)] if rule.is_guess else {name}
            if len(images) > 1 or len(rivals) > 1:
                if name == min(rivals):
                    found.doubts.append(
                        Doubt(tuple(spelled[n] for n in sorted(rivals)), tuple(sorted(images)), rule.name)
                    )
                continue
            (image,) = images
            found.images[spelled[name]] = image
            found.rule_of[spelled[name]] = rule.name
            taken[image] = True
            if len(found.examples) < EXAMPLES:
                found.examples.append((spelled[name], image, rule.name))
    return found


class _Folded:
    """The names that are looked for, as each rule folds them, and which of them are then one."""

    def __init__(self, names: pa.Array) -> None:
        self.suffixed = has_suffix(names).to_numpy(zero_copy_only=False)
        self.forms = [names, *_forms(names)]
        self.classes: list[pa.Array] = []
        self.members: list[tuple[np.ndarray, np.ndarray]] = []
        for before, folded in pairwise(self.forms):
            if self.classes and folded is before:
                self.classes.append(self.classes[-1])
                self.members.append(self.members[-1])
                continue
            distinct = folded.unique()
            which = pc.index_in(folded, value_set=distinct).to_numpy()
            order = np.argsort(which, kind="stable")
            self.classes.append(distinct)
            self.members.append((order, np.searchsorted(which[order], np.arange(len(distinct) + 1))))

    def candidates_in(self, batch: pa.Array, start: int) -> list[list[tuple[int, int]]]:
        """Pairs of a name and an image, for each rule those that it is the first to make one.

        Args:
            batch: names of images, the first of which is the one at position `start`.
        """
        suffixed = has_suffix(batch).fill_null(False).to_numpy(zero_copy_only=False)
        forms = [batch, *_forms(batch)]
        seen: set[tuple[int, int]] = set()
        found: list[list[tuple[int, int]]] = [[] for _ in RULES]
        for number, (before, folded) in enumerate(pairwise(forms)):
            if number and folded is before and self.classes[number] is self.classes[number - 1]:
                continue  # neither side looks otherwise than under the rule before
            which = pc.index_in(folded, value_set=self.classes[number], skip_nulls=True)
            rows = np.flatnonzero(which.is_valid().to_numpy(zero_copy_only=False))
            order, starts = self.members[number]
            for row, place in zip(rows.tolist(), which.drop_null().to_pylist(), strict=True):
                for name in order[starts[place] : starts[place + 1]].tolist():
                    both_suffixed = bool(self.suffixed[name] and suffixed[row])
                    if (name, row) not in seen and self._may_be(number, name, forms, row, both_suffixed):
                        seen.add((name, row))
                        found[number].append((name, start + row))
        return found

    def _may_be(self, number: int, name: int, forms: list[pa.Array], row: int, both_suffixed: bool) -> bool:
        """Whether what the rules fold away can be the whole difference between a name and an image's."""
        if number >= _STEM and both_suffixed:
            ours, theirs = self.forms[_STEM][name].as_py(), forms[_STEM][row].as_py()
            if ours.rpartition(".")[2] != theirs.rpartition(".")[2]:
                return False
        if number != _FOLDER:
            return True
        return is_inside(self.forms[_FOLDER][name].as_py(), forms[_FOLDER][row].as_py())


def _forms(texts: pa.Array) -> list[pa.Array]:
    """Texts under each rule; where one changes nothing, the very same array again."""
    forms = []
    for rule in RULES:
        folded = rule.fold(texts)
        texts = texts if folded.equals(texts) else folded
        forms.append(texts)
    return forms
