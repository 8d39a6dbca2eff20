"""Images of a folder that another file names: what the listing and the folder have in common becomes rows.

An entry of the listing without a file is an item too, one that is refused when its turn comes; so it is counted, kept
among the rejects, and taken up by itself once the file is there. A file of several rows is read once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from clipdata.schema import image_schema
from ingest.pictures.image_files import ImageFiles
from ingest.pictures.image_reading import ImageItem
from ingest.updating.batches import BATCH_BYTES
from ingest.updating.source import Item, Refuse, Reject


@dataclass(frozen=True)
class ListedItem(Item):
    """One row to be: a file, and what the listing says of it.

    Args:
        file: the file as the folder's listing has it; None for an entry that cannot become a row.
        values: what the listing says, by column.
        refusal: reason and detail, for an entry that cannot become a row.
    """

    file: ImageItem | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    refusal: tuple[str, str] = ("", "")


class ListedImages(ImageFiles):
    """Base of the sources whose rows are named by a list.

    Attributes:
        columns: what the list says of an image.
    """

    columns: tuple[pa.Field, ...] = ()

    def schema(self) -> pa.Schema:
        """The contract's image row, and what the list says."""
        return image_schema(self.columns)

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read each file once, whose rows follow each other; refuse the entries that have none."""
        under_way: dict[str, list[ListedItem]] = {}

        def files() -> Iterator[Item]:
            for item in items:
                assert isinstance(item, ListedItem), "the job reads what this source listed"
                if item.file is None:
                    refuse(Reject(item.key, item.etag, *item.refusal))
                elif item.file.key in under_way:
                    under_way[item.file.key].append(item)
                else:
                    # The rows before it may still be joined to the file last given out, so that one stays back.
                    if held:
                        yield held.pop()
                    under_way[item.file.key] = [item]
                    held.append(item.file)
            yield from held

        def refuse_rows(reject: Reject) -> None:
            for item in under_way.pop(reject.key):
                etag = _etag(reject.etag, item.values) if reject.etag else ""
                refuse(Reject(item.key, etag, reject.reason, reject.detail))

        held: list[Item] = []
        for batch in super().read(files(), refuse_rows):
            yield from _spread(batch, under_way)
            for path in batch.column("path").to_pylist():
                del under_way[path]


def refused(key: str, reason: str, detail: str) -> ListedItem:
    """An item for an entry that cannot become a row."""
    return ListedItem(key, f"{reason}: {detail}", None, "", refusal=(reason, detail))


def listed(file: ImageItem, key: str, values: Mapping[str, Any]) -> ListedItem:
    """An item for a file and what the list says of it; another saying makes another etag."""
    return ListedItem(key, _etag(file.etag, values), file.size, file.where, file=file, values=values)


def _etag(etag: str, values: Mapping[str, Any]) -> str:
    said = repr(sorted(values.items())).encode("utf-8", "surrogatepass")
    return f"{etag};{hashlib.blake2b(said, digest_size=8).hexdigest()}"


def _spread(batch: pa.RecordBatch, by_path: Mapping[str, list[ListedItem]]) -> Iterator[pa.RecordBatch]:
    """The rows of images as the rows that the list makes of them, in batches that stay bounded."""
    sizes = batch.column("bytes").to_pylist()
    chosen: list[int] = []
    items: list[ListedItem] = []
    size = 0
    for place, path in enumerate(batch.column("path").to_pylist()):
        for item in by_path[path]:
            chosen.append(place)
            items.append(item)
            size += sizes[place]
            if size >= BATCH_BYTES:
                yield _with_values(batch, chosen, items)
                chosen, items, size = [], [], 0
    if chosen:
        yield _with_values(batch, chosen, items)


def _with_values(batch: pa.RecordBatch, chosen: list[int], items: list[ListedItem]) -> pa.RecordBatch:
    taken = batch.take(pa.array(chosen)) if chosen != list(range(batch.num_rows)) else batch
    etags = taken.column("etag").to_pylist()  # a file that changed since it was listed has a newer one
    own: dict[str, list[Any]] = {
        "path": [item.key for item in items],
        "etag": [_etag(etag, item.values) for etag, item in zip(etags, items, strict=True)],
    }
    for name in items[0].values:
        own[name] = [item.values[name] for item in items]
    arrays = [pa.array(own[f.name], f.type) if f.name in own else taken.column(f.name) for f in batch.schema]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
