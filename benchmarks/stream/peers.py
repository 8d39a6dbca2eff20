"""Other loaders' sides, each as its documentation has users write it, with open_clip's transform on Pillow's pixels.

The transform stops before floats; one side goes on to them, to show what they cost. Shuffled, `drop_last` where there
is such a thing, epochs told apart by a seed. Imports are inside, so that a side loads its own library alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.stream.sides import MEAN, SIZE, STD, Asked, Side

SHUFFLE_ROWS = 1000
"""Rows that a shuffle buffer holds, where a loader shuffles through one."""


def transform(*, floats: bool = False) -> Callable[[Any], Any]:
    """open_clip's transform of a Pillow image: whole, or up to the uint8 pixels that it would make floats of."""
    import open_clip
    from torchvision.transforms import Compose, PILToTensor

    whole = open_clip.image_transform((SIZE, SIZE), is_train=False, mean=MEAN, std=STD)
    return whole if floats else Compose([*whole.transforms[:-2], PILToTensor()])


class OfRow:
    """The transform on a row's image."""

    def __init__(self, image: str = "image") -> None:
        self._image, self._transform = image, transform()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"image": self._transform(_opened(row[self._image])), "label": row["label"]}


class OfRows:
    """The transform on the images of an Arrow batch, or of a dict of lists; a list of the rows of it."""

    def __init__(self) -> None:
        self._transform = transform()

    def __call__(self, batch: Any) -> list[Any]:
        return [self._transform(_opened(data)) for data in batch.column("image").to_pylist()]


def _opened(image: Any) -> Any:
    """A Pillow image of encoded bytes, or the one that a loader has opened."""
    from PIL import Image

    return Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image


def _loader(dataset: Any, asked: Asked, **more: Any) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=asked.batch_size, num_workers=asked.workers, drop_last=True, **more)


def _image_folder(*, floats: bool = False) -> Callable[[Asked, int], Iterable[Any]]:
    def epoch(asked: Asked, number: int) -> Iterator[Any]:  # noqa: ARG001
        from torchvision.datasets import ImageFolder

        dataset = ImageFolder(asked.place("pictures"), transform(floats=floats))
        for images, _ in _loader(dataset, asked, shuffle=True):
            yield images

    return epoch


def _webdataset(asked: Asked, number: int) -> Iterator[Any]:
    import webdataset

    shards = [f"{number:03d}.tar" for number in range(len(list((asked.folder / "webdataset").glob("*.tar"))))]
    place = str(asked.folder / "webdataset")
    if asked.bucket:  # the store's own addresses of objects; webdataset reads http through curl
        place = f"{asked.options['endpoint']}/{asked.bucket.removeprefix('gs://')}/webdataset"
    dataset = (
        webdataset.WebDataset([f"{place}/{shard}" for shard in shards], shardshuffle=100, seed=number)
        .shuffle(SHUFFLE_ROWS)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(transform(), int)
        .batched(asked.batch_size, partial=False)
    )
    for images, _ in webdataset.WebLoader(dataset, batch_size=None, num_workers=asked.workers):
        yield images


def _hf_map(asked: Asked, number: int) -> Iterator[Any]:  # noqa: ARG001
    import datasets

    asked.require_disk("its Arrow files are mapped into memory, so they have to be on disk")
    made = transform()

    def of_rows(rows: dict[str, Any]) -> dict[str, Any]:
        return {"image": [made(image) for image in rows["image"]], "label": rows["label"]}

    dataset = datasets.load_from_disk(asked.place("arrow")).with_transform(of_rows)
    for batch in _loader(dataset, asked, shuffle=True):
        yield batch["image"]


def _hf_streaming(asked: Asked, number: int) -> Iterator[Any]:
    import datasets

    options = None
    if asked.bucket:
        options = {"token": "anon", "endpoint_url": asked.options["endpoint"]}
    files = [f"{asked.place('parquet')}/{path.name}" for path in sorted((asked.folder / "parquet").glob("*"))]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, storage_options=options)
    rows = rows.shuffle(seed=number, buffer_size=SHUFFLE_ROWS).map(OfRow())
    for batch in _loader(rows, asked):
        yield batch["image"]


def _litdata(asked: Asked, number: int) -> Iterator[Any]:
    import litdata

    asked.require_disk("it downloads whole chunks to a cache on disk; the local figure is that of every later epoch")
    dataset = litdata.StreamingDataset(
        asked.place("litdata"), shuffle=True, drop_last=True, seed=number, transform=OfRow()
    )
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=asked.batch_size, num_workers=asked.workers, drop_last=True
    )
    for batch in loader:
        yield batch["image"]


def _mosaicml(asked: Asked, number: int) -> Iterator[Any]:
    import streaming
    from streaming.base.util import clean_stale_shared_memory

    asked.require_disk("it downloads whole shards to a cache on disk; the local figure is that of every later epoch")
    of_row = OfRow()

    class Pictures(streaming.StreamingDataset):
        def __getitem__(self, at: int) -> Any:
            return of_row(super().__getitem__(at))

    clean_stale_shared_memory()
    dataset = Pictures(
        local=asked.place("mds"), shuffle=True, shuffle_seed=number, batch_size=asked.batch_size, num_canonical_nodes=1
    )
    for batch in _loader(dataset, asked):
        yield batch["image"]


def _lancedb(of_rows: Callable[[], Callable[[Any], list[Any]]]) -> Callable[[Asked, int], Iterable[Any]]:
    def epoch(asked: Asked, number: int) -> Iterator[Any]:
        import lancedb
        from lancedb.streaming import StreamingDataLoader, StreamingDataset

        import clipdata

        storage = clipdata.Storage(anonymous=bool(asked.bucket), options=dict(asked.options))
        place = asked.place("lancedb")
        table = lancedb.connect(place, storage_options=storage.lance_options(place) or None).open_table("pictures")
        # On a bucket rows move in clumps, as this project's own do, or each of them would be a request.
        more = {"shuffle_clump_size": 32, "read_batch_size": 512} if asked.bucket else {}
        dataset = StreamingDataset(
            table, num_splits=max(asked.workers, 1), epoch=number, columns=["image"], transform=of_rows(), **more
        )
        context = "forkserver" if asked.workers else None
        loader = StreamingDataLoader(
            dataset, batch_size=asked.batch_size, num_workers=asked.workers, multiprocessing_context=context
        )
        for images in loader:
            yield images if images.shape[1] == 3 else images.permute(0, 3, 1, 2)

    return epoch


def _own_decoder() -> Callable[[Any], list[Any]]:
    from benchmarks.stream.ours import DecodeRows

    return DecodeRows()


_OPEN_CLIP = "open_clip.image_transform up to uint8"
SIDES = (
    Side("imagefolder", "torchvision", "pictures", f"shuffle=True, {_OPEN_CLIP}", _image_folder()),
    Side(
        "imagefolder-floats", "torchvision", "pictures", "shuffle=True, whole transform", _image_folder(floats=True), 0
    ),
    Side(
        "webdataset",
        "webdataset",
        "webdataset",
        f'8 shards, .shuffle({SHUFFLE_ROWS}).decode("pil"), {_OPEN_CLIP}, .batched(64); on a bucket http through curl',
        _webdataset,
        in_buckets=True,
    ),
    Side("hf-map", "datasets", "arrow", f"load_from_disk, with_transform, {_OPEN_CLIP}", _hf_map),
    Side(
        "hf-streaming",
        "datasets",
        "parquet",
        f"8 files, .shuffle(buffer_size={SHUFFLE_ROWS}).map, {_OPEN_CLIP}",
        _hf_streaming,
        in_buckets=True,
    ),
    Side("litdata", "litdata", "litdata", f"8 chunks of bytes, shuffle, {_OPEN_CLIP}", _litdata),
    Side("mosaicml", "mosaicml-streaming", "mds", f'"jpeg" column, shuffle (py1e), {_OPEN_CLIP}', _mosaicml),
    Side(
        "lancedb",
        "lancedb",
        "lancedb",
        f"StreamingDataset, rows shuffled one by one (on a bucket in clumps of 32), {_OPEN_CLIP}",
        _lancedb(OfRows),
        in_buckets=True,
    ),
    Side(
        "lancedb-our-decoder",
        "lancedb",
        "lancedb",
        'the same with clipdata\'s decoder and "fast" preparation as its transform',
        _lancedb(_own_decoder),
        in_buckets=True,
    ),
)
