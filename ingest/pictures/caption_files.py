"""Images with captions that lie in another file: Flickr8k and 30k, COCO, CSV. Joined on the file name."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from clipdata import images
from clipdata.errors import NotFoundError, UsageError
from clipdata.storage import Storage, absolute, redact
from ingest.pictures.caption_formats import Captioned, read_captions
from ingest.pictures.listed_images import ListedImages, listed, read_names, refused
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, source_storage


class CaptionFiles(ListedImages):
    """Images of a folder with the captions that a file has for them.

    One row an image, with the list `captions`; or one row a caption, with the text `caption` and the key `image.jpg#k`
    (then equal `sha256` tells the rows of one image). With `splits`, a column `split`.

    Args:
        root: folder of the images.
        captions: file of captions; see `ingest.pictures.caption_formats`.
        rows: "image" or "caption": what a row is.
        file_format: "flickr", "csv" or "coco"; by default what the file looks like.
        splits: for each split a file that lists the names of its images, such as `Flickr_8k.trainImages.txt`.
        storage: how to reach all of them.
        limits: of one image.

    Raises:
        NotFoundError: a file or the folder does not exist, or they have nothing in common.
        UsageError: the file is no file of captions.
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
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
    ) -> None:
        super().__init__(root, storage=storage, limits=limits)
        if rows not in ("image", "caption"):
            raise UsageError(f"rows={rows!r}; expected 'image' or 'caption'")
        self.captions = absolute(captions)
        self.rows = rows
        self.file_format = file_format
        self.splits = dict(splits or {})
        said = pa.field("captions", pa.list_(pa.string())) if rows == "image" else pa.field("caption", pa.string())
        self.columns = (said, *([pa.field("split", pa.string())] if self.splits else []))
        self._counts: dict[str, Any] = {}

    def notes(self) -> dict[str, Any]:
        """Images without a caption, and names in two splits."""
        return {**super().notes(), **self._counts}

    def items(self) -> Iterator[Item]:
        """The captioned images by path, then what the file has and the folder has not."""
        files = list(super().items())
        matched, unmatched = self._match(files)
        if not matched:
            wanted = f"{unmatched[0].key!r}" if unmatched else "nothing"
            raise NotFoundError(
                f"no captioned image is under {redact(self.origin)}: {redact(self.captions)} names {wanted}, "
                f"the folder has {files[0].key!r}",
                hint="name the folder of the images that the captions are of",
            )
        splits = self._split_of_name()
        alone = [item.key for item in files if item.key not in matched]
        if alone:
            self._counts["images without a caption, left out"] = f"{len(alone):,} (such as {alone[0]})"
        for item in files:
            if item.key in matched:
                yield from self._rows_of(item, matched[item.key], splits)
        yield from unmatched

    def _match(self, files: list[Item]) -> tuple[dict[str, list[Captioned]], list[Item]]:
        """Captions by path of the image, and refusals for those without an image."""
        paths = {item.key for item in files}
        by_filename: dict[str, list[str]] = {}
        for item in files:
            by_filename.setdefault(PurePosixPath(item.key).name, []).append(item.key)
        matched: dict[str, list[Captioned]] = {}
        unmatched: list[Item] = []
        repeats: Tally[str] = Tally()
        for found in read_captions(self.captions, file_format=self.file_format, storage=self.storage):
            key = f"{found.image}#{found.number}"
            repeats[key] += 1
            key = key if repeats[key] == 1 else f"{key}-{repeats[key]}"
            if found.fault:
                name = PurePosixPath(self.captions).name
                unmatched.append(refused(f"{name}#{found.image}#{found.number}", "bad_caption", found.fault))
                continue
            candidates = [found.image] if found.image in paths else by_filename.get(PurePosixPath(found.image).name, [])
            if len(candidates) == 1:
                matched.setdefault(candidates[0], []).append(found)
            elif candidates:
                unmatched.append(refused(key, "ambiguous", f"{', '.join(candidates[:3])} have this name"))
            else:
                unmatched.append(refused(key, "missing", f"there is no image {found.image!r}"))
        return matched, unmatched

    def _rows_of(self, item: Item, captions: list[Captioned], splits: Mapping[str, str]) -> Iterator[Item]:
        name = PurePosixPath(item.key).name
        split = {"split": splits.get(item.key, splits.get(name))} if self.splits else {}
        captions = sorted(captions, key=lambda found: found.number)
        if self.rows == "image":
            yield listed(item, item.key, {"captions": [found.caption for found in captions], **split})
            return
        for found in captions:
            yield listed(item, f"{item.key}#{found.number}", {"caption": found.caption, **split})

    def _split_of_name(self) -> dict[str, str]:
        splits: dict[str, str] = {}
        twice: list[str] = []
        for split, where in self.splits.items():
            for name in read_names(where, self.storage):
                if splits.setdefault(name, split) != split:
                    twice.append(name)
        if twice:
            self._counts["images in two splits, kept in the first"] = f"{len(twice):,} (such as {twice[0]})"
        return splits


def from_captions(
    images: str | os.PathLike[str],
    captions: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    rows: Literal["image", "caption"] = "image",
    file_format: str | None = None,
    splits: Mapping[str, str] | None = None,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in images with captions from a Flickr8k, COCO or CSV file.

    Args:
        images: folder of the images.
        captions: file of captions.
        into: location of the table.
        rows: one row an "image" with a list of captions, or one row a "caption".
        file_format: "flickr", "csv" or "coco"; by default what the file looks like.
        splits: for each split a file of image names.
        anonymous: the source is public.
        storage: how to reach all.
        options: of `ingest.updating.job.ingest`.
    """
    reached = source_storage(storage, anonymous=anonymous)
    source = CaptionFiles(images, captions, rows=rows, file_format=file_format, splits=splits, storage=reached)
    parameters = {"captions": redact(source.captions), "rows": rows}
    return ingest(source, into, storage=storage, parameters=parameters, **options)
