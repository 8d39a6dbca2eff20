"""Images with captions that lie in another file: Flickr's, COCO's and Karpathy's, tables. Joined on the file name."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from clipdata import images
from clipdata.errors import NotFoundError, UsageError
from clipdata.storage import Storage, absolute, redact
from ingest.pictures.caption_formats import CaptionColumns, CaptionFile
from ingest.pictures.caption_spool import CaptionSpool
from ingest.pictures.captioned import AS_THEY_COME, Captioned
from ingest.pictures.image_reading import ImageItem
from ingest.pictures.list_text import names
from ingest.pictures.listed_images import ListedImages, ListedItem, listed, refused
from ingest.pictures.name_index import SEVERAL, NameIndex
from ingest.updating.digests import digest
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, source_storage
from ingest.updating.spool import Spool

_AT_ONCE = 4096


class CaptionFiles(ListedImages):
    """Images of a folder with the captions that a file has for them.

    One row an image, with the list `captions`; or one row a caption, with the text `caption` and the key `image.jpg#k`
    (then equal `sha256` tells the rows of one image). With `splits`, or where the file has them, a column `split`.

    Args:
        root: folder of the images.
        captions: file of captions; see `ingest.pictures.caption_formats`.
        rows: "image" or "caption": what a row is.
        file_format: "flickr", "csv", "jsonl", "coco" or "karpathy"; by default what the file looks like.
        splits: for each split a file that lists the names of its images, such as `Flickr_8k.trainImages.txt`.
        image_column: column of a table with the image's name.
        caption_columns: columns of a table with captions.
        encoding: of the captions and the lists.
        storage: how to reach all of them.
        limits: of one image.
        follow_links: see `ImageFiles`.

    Raises:
        NotFoundError: a file or the folder does not exist, or they have nothing in common.
        UsageError: the file is no file of captions, or a list of a split names no image at all.
    """

    kind = "captions"

    def __init__(
        self,
        root: str | os.PathLike[str],
        captions: str | os.PathLike[str],
        *,
        rows: Literal["image", "caption"] = "image",
        file_format: str | None = None,
        splits: Mapping[str, str] | None = None,
        image_column: str | None = None,
        caption_columns: Sequence[str] = (),
        encoding: str = "utf-8",
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
        follow_links: bool = False,
    ) -> None:
        super().__init__(root, storage=storage, limits=limits, follow_links=follow_links)
        if rows not in ("image", "caption"):
            raise UsageError(f"rows={rows!r}; expected 'image' or 'caption'")
        self.captions, self.rows, self.encoding = absolute(captions), rows, encoding
        self.splits = dict(splits or {})
        self._file = CaptionFile(
            self.captions,
            file_format=file_format,
            columns=CaptionColumns(image_column, tuple(caption_columns)),
            encoding=encoding,
            storage=self.storage,
        )
        self._counts: dict[str, Any] = {}

    @property
    def columns(self) -> tuple[pa.Field, ...]:  # type: ignore[override]
        """The captions, and the split where something says it."""
        by_image = self.rows == "image"
        said = pa.field("captions", pa.list_(pa.string())) if by_image else pa.field("caption", pa.string())
        return (said, *([pa.field("split", pa.string())] if self._has_splits else []))

    @property
    def options(self) -> Mapping[str, Any]:
        """What shapes or refuses rows."""
        columns = self._file.columns
        return {
            **super().options,
            "captions": redact(self.captions),
            "rows": self.rows,
            "file_format": self._file.wanted,
            "image_column": columns.image,
            "caption_columns": list(columns.captions),
            "splits": {split: redact(where) for split, where in self.splits.items()},
            "encoding": self.encoding,
        }

    def notes(self) -> dict[str, Any]:
        """Images without a caption, names in two splits or in another spelling."""
        return {**super().notes(), **self._counts}

    def items(self) -> Iterator[Item]:
        """The captioned images by path, then what the file has and the folder has not."""
        self._counts = {}
        index = NameIndex(self._listed(), by_name=True)
        captions, unmatched = CaptionSpool(), Spool()
        self._match(index, captions, unmatched)
        if not len(captions):
            wanted = f"{next(iter(unmatched)).key!r}" if len(unmatched) else "nothing"
            raise NotFoundError(
                f"no captioned image is under {redact(self.origin)}: {redact(self.captions)} names {wanted}, "
                f"the folder has {index.first!r}",
                hint="name the folder of the images that the captions are of",
            )
        splits = self._split_of_file(index)
        yield from self._captioned(index, captions, splits)
        self._counts |= index.notes()
        yield from unmatched

    @property
    def _has_splits(self) -> bool:
        return bool(self.splits) or self._file.has_splits

    def _match(self, index: NameIndex, captions: CaptionSpool, unmatched: Spool) -> None:
        """Find the image of every caption; what has none is refused."""
        found = self._file.read()
        while chunk := list(islice(found, _AT_ONCE)):
            numbers = index.find([caption.image for caption in chunk])
            for caption, number in zip(chunk, numbers.tolist(), strict=True):
                if caption.fault:
                    key = f"{PurePosixPath(self.captions).name}#{caption.place}"
                    unmatched.append(refused(key, "bad_caption", caption.fault))
                elif number >= 0:
                    captions.add(number, caption)
                else:
                    unmatched.append(_without_image(caption, several=number == SEVERAL))

    def _captioned(self, index: NameIndex, captions: CaptionSpool, splits: list[str | None]) -> Iterator[ListedItem]:
        groups = captions.groups()
        number, group = next(groups, (-1, []))
        num_alone, first_alone = 0, ""
        for place, file in enumerate(index):
            if place != number and file.refusal is not None:
                yield refused(file.key, file.refusal.reason, file.refusal.detail)
                continue
            if place != number:
                num_alone, first_alone = num_alone + 1, first_alone or file.key
                continue
            yield from self._rows_of(file, group, splits[place] if splits else None)
            number, group = next(groups, (-1, []))
        if num_alone:
            self._counts["images without a caption, left out"] = f"{num_alone:,} (such as {first_alone})"

    def _rows_of(self, file: ImageItem, group: list[tuple[int, str, str]], split: str | None) -> Iterator[ListedItem]:
        told = {"split": split or group[0][2] or None} if self._has_splits else {}
        if self.rows == "image":
            yield listed(file, file.key, {"captions": [caption for _, caption, _ in group], **told})
            return
        taken: Tally[str] = Tally()
        for number, caption, _ in group:
            # By what it says where the file gives no number: another one before it must not make it another row.
            name = digest(caption)[:8] if number == AS_THEY_COME else str(number)
            again = f"-{taken[name]}" if taken[name] else ""
            taken[name] += 1
            yield listed(file, f"{file.key}#{name}{again}", {"caption": caption, **told})

    def _split_of_file(self, index: NameIndex) -> list[str | None]:
        """The split of each file by its number, from the lists; empty without lists.

        Raises:
            UsageError: a list has nothing in common with the images.
        """
        if not self.splits:
            return []
        found: list[str | None] = [None] * len(index)
        twice: list[str] = []
        nowhere: list[str] = []
        for split, where in self.splits.items():
            entries, num_taken = names(where, self.storage, self.encoding), 0
            first = ""
            while chunk := list(islice(entries, _AT_ONCE)):
                first = first or chunk[0]
                numbers = index.find(chunk)
                for name, number in zip(chunk, numbers.tolist(), strict=True):
                    num_taken += number >= 0
                    if number < 0:
                        nowhere.append(name)
                    elif (found[number] or split) != split:
                        twice.append(name)
                    else:
                        found[number] = split
            if first and not num_taken:
                raise UsageError(
                    f"the list of the split {split!r}, {redact(where)}, names no image of {redact(self.origin)}: it "
                    f"has {first!r}, the folder {index.first!r}",
                    hint="name the list whose entries are the images' names, with or without a suffix",
                )
        self._tell("images in two splits, kept in the first", twice)
        self._tell("names in the lists of splits that are no image", nowhere)
        return found

    def _tell(self, words: str, of: list[str]) -> None:
        if of:
            self._counts[words] = f"{len(of):,} (such as {of[0]})"


def _without_image(caption: Captioned, *, several: bool) -> ListedItem:
    numbered = f"#{caption.number}" if caption.number != AS_THEY_COME else f" ({caption.place})"
    if several:
        return refused(f"{caption.image}{numbered}", "ambiguous", f"several images may be {caption.image!r}")
    return refused(f"{caption.image}{numbered}", "missing", f"there is no image {caption.image!r}")


def from_captions(
    images: str | os.PathLike[str],
    captions: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    rows: Literal["image", "caption"] = "image",
    file_format: str | None = None,
    splits: Mapping[str, str] | None = None,
    image_column: str | None = None,
    caption_columns: Sequence[str] = (),
    encoding: str = "utf-8",
    follow_links: bool = False,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in images with captions from a file: Flickr8k's, COCO's or Karpathy's, a table, JSON lines.

    Args:
        images: folder of the images.
        captions: file of captions.
        into: location of the table.
        rows: one row an "image" with a list of captions, or one row a "caption".
        file_format: "flickr", "csv", "jsonl", "coco" or "karpathy"; by default what the file looks like.
        splits: for each split a file of image names.
        image_column: column of a table with the image's name.
        caption_columns: columns of a table with captions.
        encoding: of the captions and the lists.
        follow_links: take what links point to outside a local folder.
        anonymous: the source is public.
        storage: how to reach all.
        options: of `ingest.updating.job.ingest`.
    """
    source = CaptionFiles(
        images,
        captions,
        rows=rows,
        file_format=file_format,
        splits=splits,
        image_column=image_column,
        caption_columns=caption_columns,
        encoding=encoding,
        follow_links=follow_links,
        storage=source_storage(storage, anonymous=anonymous),
    )
    parameters = {"captions": redact(source.captions), "rows": rows}
    return ingest(source, into, storage=storage, parameters=parameters, **options)
