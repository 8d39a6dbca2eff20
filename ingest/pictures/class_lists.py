"""Images in class folders, with lists of which belong to which split: `apple_pie/134` in `train.txt`.

The layout of Food-101 and its many relatives. An entry has no suffix, may hold dots, and its folder is its class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from clipdata import images
from clipdata.errors import NotFoundError, UsageError
from clipdata.storage import Storage, absolute, join, redact
from ingest.pictures.listed_images import ListedImages, listed, read_names, refused
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, source_storage

# Which of two files of one stem is meant: the document's own suffix first.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_SPLIT_FILES = {
    "train.txt": "train",
    "val.txt": "val",
    "valid.txt": "val",
    "validation.txt": "val",
    "test.txt": "test",
}


class ClassLists(ListedImages):
    """Images as `class/name.jpg` and lists of `class/name`.

    Columns: `class_name` is the folder as it is, `label` the same with spaces for underscores, `split` the list's name.

    Args:
        root: folder of the class folders.
        lists: list of each split by name; or the folder that holds `train.txt`, `val.txt`, `test.txt`; without it every
            image is taken, and `split` is null.
        storage: how to reach both.
        limits: of one image.

    Raises:
        NotFoundError: a list or the folder does not exist, or they have nothing in common.
    """

    kind = "class lists"
    columns = (
        pa.field("label", pa.string()),
        pa.field("class_name", pa.string()),
        pa.field("split", pa.string()),
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        lists: Mapping[str, str] | str | os.PathLike[str] | None = None,
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
    ) -> None:
        super().__init__(root, storage=storage, limits=limits)
        self.lists = self._find_lists(lists)
        self._counts: dict[str, Any] = {}

    def notes(self) -> dict[str, Any]:
        """Files in no list, and entries listed more than once."""
        return {**super().notes(), **self._counts}

    def items(self) -> Iterator[Item]:
        """The listed images by split, in the order of the lists; without lists, all images by path."""
        files = list(super().items())
        if not self.lists:
            for item in files:
                name, slash, _ = item.key.partition("/")
                if slash:
                    yield listed(item, item.key, _columns(name, None))
                else:
                    yield refused(item.key, "no_class", "the image is in no class folder")
            return
        yield from self._entries(files)

    def _entries(self, files: list[Item]) -> Iterator[Item]:
        by_name = _by_name(files)
        taken: dict[str, str] = {}
        twice: list[str] = []
        leaking: list[str] = []
        items: list[Item] = []
        num_missing = 0
        for split, where in self.lists.items():
            for entry in read_names(where, self.storage):
                found = by_name.get(entry)
                key = found.key if found else (entry if _has_suffix(entry) else f"{entry}.jpg")
                if key in taken:
                    (twice if taken[key] == split else leaking).append(entry)
                    continue
                taken[key] = split
                if found is None:
                    num_missing += 1
                    items.append(
                        refused(key, "missing", f"{Path(where).name} names {entry!r}, and there is no such image")
                    )
                elif "/" not in entry:
                    items.append(refused(key, "no_class", f"{Path(where).name} names {entry!r}; expected class/name"))
                else:
                    items.append(listed(found, key, _columns(entry.partition("/")[0], split)))
        if num_missing == len(items):
            raise self._nothing_in_common(items, files)
        self._count(files, taken, twice, leaking)
        yield from items

    def _count(self, files: list[Item], taken: Mapping[str, str], twice: list[str], leaking: list[str]) -> None:
        unlisted = [item.key for item in files if item.key not in taken]
        counted = {
            "images in no list, left out": unlisted,
            "entries that repeat one of the same list": twice,
            "entries of a later list that an earlier one has, left out": leaking,
        }
        self._counts = {words: f"{len(names):,} (such as {names[0]})" for words, names in counted.items() if names}

    def _find_lists(self, lists: Mapping[str, str] | str | os.PathLike[str] | None) -> dict[str, str]:
        if lists is None:
            return {}
        if isinstance(lists, Mapping):
            if not lists:
                raise UsageError("no list is named; expected the location of each split's list by name")
            return {split: absolute(where) for split, where in lists.items()}
        folder = absolute(lists)
        fs, path = self.storage.filesystem(folder)
        found: dict[str, str] = {}
        for name, split in _SPLIT_FILES.items():
            if split not in found and fs.exists(join(path, name)):
                found[split] = join(folder, name)
        if not found:
            raise NotFoundError(
                f"{redact(folder)} holds none of {', '.join(_SPLIT_FILES)}",
                hint="name each list: lists={'train': 'my_train_list.txt', …}",
            )
        return found

    def _nothing_in_common(self, items: list[Item], files: list[Item]) -> NotFoundError:
        wanted = f"{items[0].key!r}" if items else "nothing"
        return NotFoundError(
            f"no listed image is under {redact(self.origin)}: the lists name {wanted}, the folder has {files[0].key!r}",
            hint="name the folder that the entries of the lists start from",
        )


def _columns(class_name: str, split: str | None) -> dict[str, Any]:
    return {"label": class_name.replace("_", " "), "class_name": class_name, "split": split}


def _has_suffix(entry: str) -> bool:
    return Path(entry).suffix.lower() in images.IMAGE_SUFFIXES


def _by_name(files: list[Item]) -> dict[str, Item]:
    """Files by path with and without the suffix; where two share a stem, the likelier suffix has it."""

    def rank(item: Item) -> int:
        suffix = Path(item.key).suffix
        return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)

    named = {item.key: item for item in files}
    for item in sorted(files, key=rank):
        named.setdefault(item.key[: -len(Path(item.key).suffix)], item)
    return named


def from_class_list(
    images: str | os.PathLike[str],
    lists: Mapping[str, str] | str | os.PathLike[str] | None = None,
    *,
    into: str | os.PathLike[str],
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in images in class folders, with the lists that split them.

    Args:
        images: folder of the class folders.
        lists: folder of `train.txt`, `val.txt`, `test.txt`, or a list's location by split; None takes every image.
        into: location of the table.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest`.
    """
    source = ClassLists(images, lists, storage=source_storage(storage, anonymous=anonymous))
    named = {split: redact(where) for split, where in source.lists.items()}
    return ingest(source, into, storage=storage, parameters={"lists": named}, **options)
