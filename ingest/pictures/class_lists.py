"""Images in class folders, with lists of which belong to which split: `apple_pie/134` in `train.txt`.

The layout of Food-101 and its many relatives: an entry may lack its suffix, may hold dots and spaces, and its folder is
its class unless the line names another one. Folders may be split instead: `train/apple_pie/134.jpg`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata import images
from clipdata.errors import NotFoundError, UsageError
from clipdata.storage import Storage, absolute, join, redact
from ingest.pictures.list_text import names
from ingest.pictures.listed_images import ListedImages, listed, refused
from ingest.pictures.name_index import NO_FILE, SEVERAL, NameIndex
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, source_storage
from ingest.updating.spool import Spool

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LIST_FILES = ("train.txt", "val.txt", "valid.txt", "validation.txt", "test.txt")
_HEADERS = frozenset(
    {"image", "image_name", "image_id", "file_name", "filename", "filepath", "file", "path", "name", "id"}
)
_ENTRIES_AT_ONCE = 4096


class ClassLists(ListedImages):
    """Images as `class/name.jpg` and lists of `class/name`, or of `name label`.

    Columns: `class_name` is the folder as it is, `label` the same with spaces for underscores, `split` the list's name.

    Args:
        root: folder of the class folders.
        lists: list of each split by name; or the folder that holds `train.txt`, `val.txt`, `test.txt`; without it every
            image is taken, and `split` is the folder around the class folder, or null.
        encoding: of the lists.
        storage: how to reach both.
        limits: of one image.
        follow_links: see `ImageFiles`.

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
        encoding: str = "utf-8",
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
        follow_links: bool = False,
    ) -> None:
        super().__init__(root, storage=storage, limits=limits, follow_links=follow_links)
        self.encoding = encoding
        self.lists = self._find_lists(lists)
        self._counts: dict[str, Any] = {}

    @property
    def options(self) -> Mapping[str, Any]:
        """What shapes or refuses rows."""
        lists = {split: redact(where) for split, where in self.lists.items()}
        return {**super().options, "lists": lists, "encoding": self.encoding}

    def notes(self) -> dict[str, Any]:
        """Files in no list, and entries listed more than once."""
        return {**super().notes(), **self._counts}

    def items(self) -> Iterator[Item]:
        """The listed images by path, then the entries without one; without lists, all images by path."""
        self._counts = {}
        index = NameIndex(self._listed(), by_name=False)
        splits = _split_folders(index)
        if self.lists:
            yield from self._entries(index, splits)
            return
        for item in index:
            class_name, split = _class_of(item.key, splits)
            if item.refusal is not None:
                yield refused(item.key, item.refusal.reason, item.refusal.detail)
            elif class_name:
                yield listed(item, item.key, _columns(class_name, split))
            else:
                yield refused(item.key, "no_class", "the image is in no class folder")

    def _entries(self, index: NameIndex, splits: frozenset[str]) -> Iterator[Item]:
        found = _Found(len(index), list(self.lists))
        for split, where in self.lists.items():
            entries = _without_header(names(where, self.storage, self.encoding))
            while chunk := list(islice(entries, _ENTRIES_AT_ONCE)):
                self._take(chunk, split, where, index, found)
        if not found.num_taken:
            raise self._nothing_in_common(found, index.first)
        for place, item in enumerate(index):
            if item.refusal is not None:
                yield refused(item.key, item.refusal.reason, item.refusal.detail)
                continue
            if not (said := found.split_of(place)):
                found.unlisted.add(item.key)
                continue
            class_name = found.class_of(place, _class_of(item.key, splits)[0])
            if class_name:
                yield listed(item, item.key, _columns(class_name, said))
            else:
                yield refused(item.key, "no_class", f"a list names {item.key!r}; expected class/name, or name label")
        self._counts = {**found.notes(), **index.notes()}
        yield from found.unmatched

    def _take(self, entries: list[str], split: str, where: str, index: NameIndex, found: _Found) -> None:
        """Note of each entry which file it means."""
        numbers = index.find(entries, exactly=True)
        labels = [""] * len(entries)
        open_ = np.flatnonzero(numbers == NO_FILE)
        parted = [_name_and_label(entries[place]) for place in open_]
        again = index.find([name for name, _ in parted], exactly=True)
        for place, number, (_, label) in zip(open_, again, parted, strict=True):
            numbers[place], labels[place] = number, label if number >= 0 else ""
        open_ = np.flatnonzero(numbers == NO_FILE)
        numbers[open_] = index.find([entries[place] for place in open_])
        shown = PurePosixPath(where).name
        for entry, number, label in zip(entries, numbers.tolist(), labels, strict=True):
            if number >= 0:
                found.take(number, split, entry, label)
            elif number == SEVERAL:
                found.leave(entry, "ambiguous", f"{shown} names {entry!r}, and several images may be meant")
            else:
                found.leave(entry, "missing", f"{shown} names {entry!r}, and there is no such image")

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
        for name in _LIST_FILES:
            split = SPLIT_NAMES[name.removesuffix(".txt")]
            if split not in found and fs.exists(join(path, name)):
                found[split] = join(folder, name)
        if not found:
            raise NotFoundError(
                f"{redact(folder)} holds none of {', '.join(_LIST_FILES)}",
                hint="name each list: --split train=my_train_list.txt (lists={'train': 'my_train_list.txt', …})",
            )
        return found

    def _nothing_in_common(self, found: _Found, first: str) -> NotFoundError:
        wanted = repr(found.first_left) if found.first_left else "nothing"
        return NotFoundError(
            f"no listed image is under {redact(self.origin)}: the lists name {wanted}, the folder has {first!r}",
            hint="name the folder that the entries of the lists start from",
        )


class _Count:
    """How many, and the first of them."""

    def __init__(self) -> None:
        self.num, self.first = 0, ""

    def add(self, name: str) -> None:
        self.first = self.first or name
        self.num += 1


class _Found:
    """What the lists say of each file, by its number, in 6 bytes a file; entries without one wait on disk."""

    def __init__(self, num_files: int, splits: list[str]) -> None:
        self._splits = splits
        self._codes = np.zeros(num_files, np.uint16)
        self._label_of = np.zeros(num_files, np.uint32)
        self._labels: dict[str, int] = {"": 0}
        self._in_order: list[str] = []
        self.unmatched = Spool()
        self.num_taken, self.first_left = 0, ""
        self.unlisted, self._twice, self._leaking = _Count(), _Count(), _Count()

    def take(self, number: int, split: str, entry: str, label: str) -> None:
        self.num_taken += 1
        code = self._splits.index(split) + 1
        if self._codes[number]:
            (self._twice if self._codes[number] == code else self._leaking).add(entry)
            return
        self._codes[number] = code
        self._label_of[number] = self._labels.setdefault(label, len(self._labels))

    def leave(self, entry: str, reason: str, detail: str) -> None:
        key = entry if PurePosixPath(entry).suffix.lower() in images.IMAGE_SUFFIXES else f"{entry}.jpg"
        self.first_left = self.first_left or key
        self.unmatched.append(refused(key, reason, detail))

    def split_of(self, number: int) -> str:
        code = int(self._codes[number])
        return self._splits[code - 1] if code else ""

    def class_of(self, number: int, folder: str) -> str:
        """The label that a list gives; the folder where it gives none, or a mere number."""
        label = self._words()[self._label_of[number]]
        return folder if folder and (not label or label.isdigit()) else label

    def _words(self) -> list[str]:
        if len(self._in_order) != len(self._labels):
            self._in_order = list(self._labels)
        return self._in_order

    def notes(self) -> dict[str, Any]:
        counted = {
            "images in no list, left out": self.unlisted,
            "entries that repeat one of the same list": self._twice,
            "entries of a later list that an earlier one has, left out": self._leaking,
        }
        return {words: f"{count.num:,} (such as {count.first})" for words, count in counted.items() if count.num}


def _split_folders(files: NameIndex) -> frozenset[str]:
    """Folders at the top that are splits, not classes: all are called so, or two of them and more."""
    named = {top for top, has_folders in files.folders.items() if has_folders and top.lower() in SPLIT_NAMES}
    return frozenset(named if len(named) > 1 or named == files.folders.keys() else ())


def _class_of(path: str, splits: frozenset[str]) -> tuple[str, str | None]:
    """Class and split that a path names; an empty class where it is in no class folder."""
    *folders, _ = path.split("/")
    if folders and folders[0] in splits:
        return (folders[1] if len(folders) > 1 else ""), SPLIT_NAMES[folders[0].lower()]
    return (folders[0] if folders else ""), None


def _name_and_label(line: str) -> tuple[str, str]:
    """`name label`, `name<TAB>label`, `name,label`: the last field is the label, as names may hold spaces."""
    for delimiter in ("\t", ",", ";", " "):
        name, found, label = line.rpartition(delimiter)
        if found and name.strip():
            return name.strip().strip('"'), label.strip().strip('"')
    return line, ""


def _without_header(entries: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(entries):
        name, label = _name_and_label(line)
        if number or not label or name.lower() not in _HEADERS:
            yield line


def _columns(class_name: str, split: str | None) -> dict[str, Any]:
    return {"label": class_name.replace("_", " "), "class_name": class_name, "split": split}


def from_class_list(
    images: str | os.PathLike[str],
    lists: Mapping[str, str] | str | os.PathLike[str] | None = None,
    *,
    into: str | os.PathLike[str],
    encoding: str = "utf-8",
    follow_links: bool = False,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in images in class folders, with the lists that split them.

    Args:
        images: folder of the class folders.
        lists: folder of `train.txt`, `val.txt`, `test.txt`, or a list's location by split; None takes every image.
        into: location of the table.
        encoding: of the lists.
        follow_links: take what links point to outside a local folder.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest`.
    """
    reached = source_storage(storage, anonymous=anonymous)
    source = ClassLists(images, lists, encoding=encoding, storage=reached, follow_links=follow_links)
    named = {split: redact(where) for split, where in source.lists.items()}
    return ingest(source, into, storage=storage, parameters={"lists": named}, **options)
