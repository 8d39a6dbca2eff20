"""Images of a folder that another file names: what the listing and the folder have in common becomes rows.

An entry of the listing without a file is an item too, one that is refused when its turn comes; so it is counted, kept
among the rejects, and taken up by itself once the file is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from clipdata.errors import CredentialsError, NotFoundError, UsageError
from clipdata.schema import image_schema
from clipdata.storage import Storage, absolute, redact
from ingest.image_files import ImageFiles
from ingest.source import Item, Refuse, Reject

MAX_LIST_BYTES = 1 << 30
_REFUSED = "refused"


class ListedImages(ImageFiles):
    """Base of the sources whose rows are named by a list.

    Attributes:
        columns: what the list says of an image.
    """

    columns: tuple[pa.Field, ...] = ()

    def schema(self) -> pa.Schema:
        """The contract's image row, and what the list says."""
        return image_schema(self.columns)

    def read(self, items: Sequence[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read the files; refuse the entries that have none."""
        there = []
        for item in items:
            if _REFUSED in item.extra:
                reason, detail = item.extra[_REFUSED]
                refuse(Reject(item.key, item.etag, reason, detail))
            else:
                there.append(item)
        yield from super().read(there, refuse)


def refused(key: str, reason: str, detail: str) -> Item:
    """An item that stands for an entry which cannot become a row."""
    return Item(key, f"{reason}: {detail}", None, "", {_REFUSED: (reason, detail)})


def listed(item: Item, key: str, values: Mapping[str, Any]) -> Item:
    """A file of the folder with what the list says of it; another saying makes another etag."""
    said = hashlib.blake2b(repr(sorted(values.items())).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return Item(key, f"{item.etag};{said}", item.size, item.where, {**item.extra, **values})


def read_text(where: str, storage: Storage) -> str:
    """A whole text file.

    Raises:
        NotFoundError: there is none.
        UsageError: it is not UTF-8, or too large for a list.
    """
    location = absolute(where)
    fs, path = storage.filesystem(location)
    try:
        size = fs.info(path)["size"]
        if size is not None and size > MAX_LIST_BYTES:
            raise UsageError(f"{redact(location)} has {size:,} bytes; expected a list of at most {MAX_LIST_BYTES:,}")
        data: bytes = fs.cat_file(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"there is no file {redact(location)}") from error
    except PermissionError as error:
        raise CredentialsError(f"reading {redact(location)}: {redact(str(error))}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{redact(location)} is not UTF-8: {error.reason} at byte {error.start:,}"
        raise UsageError(found, hint="convert it: iconv -f latin1 -t utf8") from error


def read_names(where: str, storage: Storage) -> list[str]:
    """The lines of a list of names, without blank ones and without space around them."""
    lines = (line.strip() for line in read_text(where, storage).split("\n"))
    return [line.removeprefix("./") for line in lines if line]
