"""Image files under a folder or a bucket's prefix, one row each: listed first, read later, many at a time.

A row holds the file's bytes, or with `reference=True` only where they are; then no more than the first 64 KiB are read.
Suffixes say which files to look at, the bytes what they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import pyarrow as pa

from clipdata import images
from clipdata.errors import NotFoundError
from clipdata.objects.listing import list_objects
from clipdata.objects.stamps import Stamp
from clipdata.plurals import counted
from clipdata.schema import image_schema
from clipdata.storage import Storage, absolute, is_remote, join, redact
from ingest.pictures.folder_walk import FolderWalk, Refusal, printable
from ingest.pictures.image_reading import ImageItem, ImageReading
from ingest.pictures.left_out import SHOWN, LeftOut
from ingest.updating.batches import batches_of
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, source_storage

# So many things that cannot be used are kept in mind before the first that can.
_FIRST_REFUSALS = 1000


class ImageFiles:
    """Images under a root, found by their suffix and checked by their content.

    Pictures that no reader here takes, such as a JPEG XL or a camera's raw file, are listed too, and refused by name.

    Args:
        root: folder, or URL of a bucket's prefix.
        storage: how to reach it.
        limits: of one image.
        reference: leave the bytes where they are; the row's `uri` says where.
        follow_links: take what links point to outside a local folder, under the links' own names.
        suffixless: look at files without a suffix, too.

    Raises:
        NotFoundError: the root does not exist, or holds no image file at all.
    """

    kind = "images"
    grain: Literal["row"] = "row"
    place: ClassVar[Literal["uri"]] = "uri"
    owner: ClassVar[str | None] = None
    key = "path"

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
        reference: bool = False,
        follow_links: bool = False,
        suffixless: bool = False,
    ) -> None:
        self.origin = absolute(root)
        self.storage = storage or Storage()
        self.limits = limits or images.ImageLimits()
        self.reference, self.follow_links, self.suffixless = reference, follow_links, suffixless
        self._left_out = self._nothing_left_out()

    @property
    def options(self) -> Mapping[str, Any]:
        """What shapes or refuses rows."""
        return {
            "reference": self.reference,
            "follow_links": self.follow_links,
            "suffixless": self.suffixless,
            "limits": asdict(self.limits),
        }

    def covers(self, where: str) -> bool:
        """Whether a file that is, or was, there is one that would be listed."""
        return where.startswith(self._root) and self._left_out.wants(where.removeprefix(self._root))

    def schema(self) -> pa.Schema:
        """The contract's image row."""
        return image_schema()

    def notes(self) -> dict[str, Any]:
        """Files that were left out, by kind; and where files without a suffix are pictures, how to take them."""
        found = self._left_out.notes()
        pictures = [path for path in self._left_out.without_suffix if self._is_picture(path)]
        if pictures:
            found["pictures without a suffix, left out"] = (
                f"{len(pictures):,} of the first {len(self._left_out.without_suffix):,} files without one (such as "
                f"{pictures[0]}): --suffixless (suffixless=True) looks at them too"
            )
        if self._left_out.about_images:
            found["columns of the images lie beside them"] = "; ".join(
                _how_to_join(join(redact(self.origin), path)) for path in self._left_out.about_images[:SHOWN]
            )
        return found

    def _is_picture(self, path: str) -> bool:
        """Whether a local file is a picture by its first bytes; of an object nobody knows without a request."""
        if is_remote(self.origin):
            return False
        try:
            with open(join(self.origin, path), "rb") as file:
                return images.sniff_format(file.read(256)) is not None
        except OSError:
            return False

    def items(self) -> Iterator[Item]:
        """List the image files, sorted by path; what cannot be read is an item that is refused when its turn comes."""
        return self._listed()

    def _listed(self) -> Iterator[ImageItem]:
        self._left_out = self._nothing_left_out()
        listing, first = self._all_listed(), []
        for item in listing:
            first.append(item)
            if item.refusal is None or len(first) == _FIRST_REFUSALS:
                break
        else:
            self._hold_some(first)
        yield from first
        yield from listing

    def _hold_some(self, found: list[ImageItem]) -> None:
        """Raise where there is nothing to look at, or nothing but links that lead away."""
        if any(item.refusal is None or item.refusal.reason != "link_outside" for item in found):
            return
        where = redact(self.origin)
        if found:
            first = found[0]
            assert first.refusal is not None, "only refused ones are left"
            raise NotFoundError(
                f"{where} holds no image itself, but {counted(len(found), 'link')} that lead out of it ({first.key}: "
                f"{first.refusal.detail.partition(';')[0]})",
                hint="--follow-links (follow_links=True) takes what links point to",
            )
        others = "; ".join(f"{words}: {kinds}" for words, kinds in self._left_out.notes().items())
        suffixes = ", ".join(sorted(images.IMAGE_SUFFIXES))
        raise NotFoundError(
            f"no image under {where}{f' ({others})' if others else ''}; expected files ending in {suffixes}",
            hint="name the folder that holds the images (its folders inside are searched too)",
        )

    def _all_listed(self) -> Iterator[ImageItem]:
        for where, found in self._files():
            key = printable(where.removeprefix(self._root))
            if isinstance(found, Refusal):
                yield ImageItem(key, f"{found.reason}: {found.detail}", None, where, refusal=found)
            else:
                etag = f"{found.etag}{self._etag_mark(key)}"
                yield ImageItem(key, etag, found.size, where, {"mtime": found.mtime}, found)

    def _etag_mark(self, key: str) -> str:
        """What beside a file's content decides what becomes of it."""
        missing = images.reader_missing_for(os.path.splitext(key)[1])
        return (";reference" if self.reference else "") + (f";no {missing} reader" if missing else "")

    def _files(self) -> Iterator[tuple[str, Stamp | Refusal]]:
        if not is_remote(self.origin):
            yield from FolderWalk(self.origin, self._left_out, follow_links=self.follow_links)
            return
        for where, stamp in list_objects(self.storage, self.origin):
            if self._left_out.takes(where.removeprefix(self._root)):
                yield where, stamp

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read and check files, many at a time, in order.

        Raises:
            TransientError: the store is down; what was read before has been yielded.
            CredentialsError: the store refuses access.
        """
        reading = ImageReading(self.limits, self.reference)
        remote = is_remote(self.origin)
        outcomes = reading.objects(self.storage, items, refuse) if remote else reading.files(items)
        yield from batches_of(outcomes, self.schema(), refuse)

    @property
    def _root(self) -> str:
        return f"{self.origin.rstrip('/')}/"

    def _nothing_left_out(self) -> LeftOut:
        return LeftOut(images.IMAGE_SUFFIXES | images.OTHER_SUFFIXES.keys(), suffixless=self.suffixless)


def _how_to_join(metadata: str) -> str:
    """Commands that give images what a file beside them says of each, by its path from where the file is."""
    folder = metadata.rpartition("/")[0]
    read = f"clipdata ingest parquet {metadata} --required file_name --into meta.lance"
    merged = "clipdata merge images.lance meta.lance --on path --metadata-on file_name --into both.lance"
    return f"{read}; clipdata ingest images {folder} --into images.lance; {merged}"


def from_images(
    images: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    reference: bool = False,
    follow_links: bool = False,
    suffixless: bool = False,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the images under a folder or a bucket's prefix.

    Args:
        images: folder or URL, searched with everything inside it.
        into: location of the table.
        reference: leave the bytes where they are: `image` stays null, and is read from `uri` whenever it is needed,
            with the storage that the table is opened with.
        follow_links: take what links point to outside a local folder, as a hub's cache has them.
        suffixless: look at files without a suffix, too.
        anonymous: the source is public; the table is reached with `storage` as it is.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest` (`retry_rejects`, `max_rejects`, `progress`).
    """
    source = ImageFiles(
        images,
        reference=reference,
        follow_links=follow_links,
        suffixless=suffixless,
        storage=source_storage(storage, anonymous=anonymous),
    )
    if reference and not is_remote(into):  # the table's handle is what reads the images later
        storage = source.storage
    return ingest(source, into, storage=storage, parameters={"reference": reference}, **options)
