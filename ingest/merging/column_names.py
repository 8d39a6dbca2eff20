"""Names of a merged table's columns: what each column of the two sides is called there.

A column keeps its name where it can. Where the name is taken, it gets one that says which side it is of: `meta_width`,
`image_id`, and `meta_width_2` where that is taken too. Names are given once: a merge that comes later calls the columns
as the first one did, or one column would hold the values of two. The names of the columns that say where a picture is
are given to none, so that rows may refer to pictures at any time. It knows names, and nothing of tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from clipdata.lance_io.pictures import ROW, TABLE

KEY = "id"
ETAG = "etag"
_OF_IMAGES, _OF_METADATA = "image", "meta"


@dataclass(frozen=True)
class ColumnNames:
    """What the columns of both sides are called in the merged table: own name → name there."""

    images: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def renamed(self) -> dict[str, str]:
        """Columns of the metadata that are called otherwise."""
        return {name: new for name, new in self.metadata.items() if name != new}

    @property
    def renamed_images(self) -> dict[str, str]:
        """Columns of the images that are called otherwise."""
        return {name: new for name, new in self.images.items() if name != new}

    def without(self, left_out: Collection[str]) -> ColumnNames:
        """The columns but for those of some names in the merged table."""
        sides = [
            {name: new for name, new in side.items() if new not in left_out} for side in (self.images, self.metadata)
        ]
        return ColumnNames(*sides)


def named(images: Iterable[str], metadata: Iterable[str], *, kept: Collection[str], before: ColumnNames) -> ColumnNames:
    """Name the columns of both sides.

    Args:
        images: columns that come from the images.
        metadata: columns that come from the metadata.
        kept: names in the merged table that neither side may have: those of columns that `map` made, and their reasons.
        before: the names that an earlier merge gave.
    """
    taken = {name.casefold() for name in (KEY, ROW, TABLE, *kept)}
    given = {name.casefold() for name in (*before.images.values(), *before.metadata.values())}
    pictures = _side(images, _OF_IMAGES, before.images, taken, given)
    facts = _side(
        metadata, _OF_METADATA, before.metadata, taken | {ETAG} | {n.casefold() for n in pictures.values()}, given
    )
    return ColumnNames(pictures, facts)


def _side(
    columns: Iterable[str], word: str, before: Mapping[str, str], taken: Collection[str], given: Collection[str]
) -> dict[str, str]:
    columns, taken = list(columns), set(taken)
    names = {name: before[name] for name in columns if name in before and before[name].casefold() not in taken}
    taken |= {name.casefold() for name in names.values()} | set(given)
    for name in columns:  # those that can keep their names do so before others look for one
        if name not in names and name.casefold() not in taken:
            names[name] = name
            taken.add(name.casefold())
    for name in columns:
        if name not in names:
            names[name] = _free(f"{word}_{name}", taken)
            taken.add(names[name].casefold())
    return {name: names[name] for name in columns}


def _free(wish: str, taken: Collection[str]) -> str:
    if wish.casefold() not in taken:
        return wish
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wish}_{number}").casefold() not in taken)
