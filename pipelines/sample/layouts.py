"""The sample in the formats of the documents that the pipelines come from: for their defaults, their guides, and tests.

    class_folders(folder)    train/bird/google-1f985.png, test/…: the original files
    class_lists(folder)      images/bird/google-1f985.jpg, and meta/train.txt, meta/test.txt: bird/google-1f985
    caption_pairs(folder)    images/google-1f985.png, and captions.csv: caption,path; the same of each split
    flickr_table(uri)        a Lance table as Lance's own Flickr8k example writes it: image_id, image, captions
    url_list(folder, url)    train.csv, test.csv: text,url,filename, in Chinese

Each makes its folder the first time, as a whole or not at all, and leaves it alone afterwards. Every split is that of
the sample: no picture and no name is on both sides. It knows files, and no pipeline.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines import sample

JPEG_QUALITY = 92
SPLITS = ("train", "test")
Row = Mapping[str, Any]


def class_folders(folder: str | os.PathLike[str]) -> Path:
    """Lay the pictures out as `split/class/name.png`, bytes unchanged; returns the folder."""

    def make(into: Path) -> None:
        for row in _rows():
            _write(into / row["split"] / row["class_name"] / row["filename"], _bytes_of(row))

    return _once(Path(folder), make)


def class_lists(folder: str | os.PathLike[str]) -> Path:
    """Lay the pictures out as `images/class/name.jpg`, with a list of each split in `meta`; returns the folder.

    A line names a picture without its suffix, to which the document adds `.jpg`: so they are JPEGs here, encoded anew
    at quality 92 on white, for the drawings are transparent around their edges.
    """

    def make(into: Path) -> None:
        for row in _rows():
            _write(into / "images" / f"{_entry(row)}.jpg", _as_jpeg(_bytes_of(row)))
        for split in SPLITS:
            lines = "".join(f"{_entry(row)}\n" for row in _rows(split))
            _write(into / "meta" / f"{split}.txt", lines.encode())

    return _once(Path(folder), make)


def caption_pairs(folder: str | os.PathLike[str]) -> Path:
    """Lay the pictures out in `images`, with `caption,path` files, a line a caption; returns the folder.

    `captions.csv` holds all of them, `train.csv` and `test.csv` those of a split, whose pictures `train.txt` and
    `test.txt` list. Paths are relative to the folder.
    """

    def make(into: Path) -> None:
        _copy_to(into / "images")
        for name, split in (("captions", None), *zip(SPLITS, SPLITS, strict=True)):
            lines = [(text, f"images/{row['filename']}") for row in _rows(split) for text in row["captions"]]
            _write(into / f"{name}.csv", _csv(("caption", "path"), lines))
        for split in SPLITS:
            _write(into / f"{split}.txt", "".join(f"images/{row['filename']}\n" for row in _rows(split)).encode())

    return _once(Path(folder), make)


def flickr_table(uri: str | os.PathLike[str], split: str | None = None) -> Path:
    """Write a Lance table of pictures, each with all its captions; a caption ends in a newline. Returns its location.

    Args:
        uri: folder of the table.
        split: "train" or "test"; all pictures by default.

    Source: https://lancedb.github.io/lance/examples/python/flickr8k_dataset_creation.html
    """
    import lance
    import pyarrow as pa

    def make(into: Path) -> None:
        rows = _rows(split)
        columns = {
            "image_id": pa.array([row["filename"] for row in rows]),
            "image": pa.array([_bytes_of(row) for row in rows], pa.binary()),
            "captions": pa.array([[f"{text}\n" for text in row["captions"]] for row in rows], pa.list_(pa.string())),
        }
        lance.write_dataset(pa.table(columns), str(into))

    return _once(Path(uri), make)


def url_list(folder: str | os.PathLike[str], base_url: str | None = None) -> Path:
    """Write a `text,url,filename` CSV of each split, anew each time, with Chinese names; returns the folder.

    Args:
        folder: to write to.
        base_url: where a server of `sample.images_path()` listens; without it the pictures are put into `images` under
            their file names, as if they had been downloaded before.
    """

    folder = Path(folder)
    for split in SPLITS:
        lines = [(row["caption_zh"], _url(row, base_url), row["filename"]) for row in _rows(split)]
        _write(folder / f"{split}.csv", _csv(("text", "url", "filename"), lines))
    if base_url is None:
        _once(folder / "images", _copy_to)
    return folder


def _copy_to(folder: Path) -> None:
    """The pictures under their file names."""
    for row in _rows():
        _write(folder / row["filename"], _bytes_of(row))


def _rows(split: str | None = None) -> list[Row]:
    """The pictures by filename."""
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(sample.names_path()).to_pylist()
    return [row for row in rows if split in (None, row["split"])]


def _source(row: Row) -> Path:
    return sample.images_path() / str(row["drawn_by"]) / str(row["filename"])


def _bytes_of(row: Row) -> bytes:
    return _source(row).read_bytes()


def _entry(row: Row) -> str:
    return f"{row['class_name']}/{Path(row['filename']).stem}"


def _url(row: Row, base_url: str | None) -> str:
    if base_url is None:
        return _source(row).as_uri()
    return f"{base_url.rstrip('/')}/{row['drawn_by']}/{quote(row['filename'])}"


def _as_jpeg(data: bytes) -> bytes:
    """A picture on white."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        drawn = opened.convert("RGBA")
    white = Image.new("RGBA", drawn.size, "white")
    encoded = io.BytesIO()
    Image.alpha_composite(white, drawn).convert("RGB").save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()


def _csv(header: Sequence[str], lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *lines])
    return text.getvalue().encode()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder aside and put it in its place; one that is there stays."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
        made = Path(aside) / folder.name
        make(made)
        try:
            made.rename(folder)
        except OSError:  # somebody else was faster, or the folder cannot be written
            if not folder.exists():
                raise
    return folder
