"""The sources that the contract is held to, each with a way to write one file of its kind.

Every file of a case is made of a name and a number, so that two of one name can hold other things.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import ingest
from ingest import Ingested
from tests.pictures import encoded
from tests.tars import member, write_shard

ROWS_A_FILE = 3


@dataclass(frozen=True)
class Case:
    """One kind of source.

    Args:
        name: of the kind.
        suffix: of its files.
        write: writes one file: its place and a number.
        run: takes a folder of such files into a table.
        rows: of one file.
        ragged: bytes that no file of the kind can be read from to its end; None where every file can.
        options: arguments that shape other rows.
    """

    name: str
    suffix: str
    write: Callable[[Path, int], None]
    run: Callable[..., Ingested]
    rows: int = ROWS_A_FILE
    breaks: bool = True
    options: dict[str, Any] | None = None

    def __str__(self) -> str:
        return self.name

    def put(self, folder: Path, name: str, number: int) -> Path:
        """Write the file of a name with what a number stands for."""
        place = folder / f"{name}{self.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        self.write(place, number)
        return place


def _picture(number: int) -> bytes:
    return encoded(number, ".png", height=12, width=16)


def _image(place: Path, number: int) -> None:
    place.write_bytes(_picture(number))


def _captioned(place: Path, number: int) -> None:
    """A picture, and the line that captions it in the folder's list."""
    _image(place, number)
    root = place
    while not (root.parent / "captions.csv").exists() and root.parent.name != "in" and root.parent != root:
        root = root.parent
    lines = root.parent / "captions.csv"
    names = lines.read_text().splitlines() if lines.exists() else ["image,caption"]
    entry = f"{place.relative_to(root.parent).as_posix()},caption of {place.stem}"
    if entry not in names:
        names.append(entry)
    lines.write_text("\n".join(names) + "\n")


def _rows(number: int) -> list[dict[str, Any]]:
    return [{"filename": f"{number}-{row}.jpg", "text": f"text {row}", "score": row / 2} for row in range(ROWS_A_FILE)]


def _csv(place: Path, number: int) -> None:
    rows = _rows(number)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    place.write_text("\n".join(lines) + "\n")


def _jsonl(place: Path, number: int) -> None:
    place.write_text("".join(json.dumps(row) + "\n" for row in _rows(number)))


def _parquet(place: Path, number: int) -> None:
    pq.write_table(pa.Table.from_pylist(_rows(number)), place)


def _embedded(place: Path, number: int) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    held = [{"bytes": _picture(10 * number + row), "path": f"{row}.png"} for row in range(ROWS_A_FILE)]
    pq.write_table(pa.table({"image": pa.array(held, kind), "label": list(range(ROWS_A_FILE))}), place)


def _shard(place: Path, number: int) -> None:
    parts = [
        member(f"{row:03d}.png", _picture(10 * number + row)) + member(f"{row:03d}.txt", b"a caption")
        for row in range(ROWS_A_FILE)
    ]
    write_shard(place, parts)


def _captions(folder: Path, into: Path, **options: Any) -> Ingested:
    return ingest.from_captions(folder, folder / "captions.csv", into=into, **options)


CASES = (
    Case("images", ".png", _image, lambda f, t, **o: ingest.from_images(f, into=t, **o), 1, True, {"reference": True}),
    Case("class-list", ".png", _image, lambda f, t, **o: ingest.from_class_list(f, into=t, **o), 1),
    Case("captions", ".png", _captioned, _captions, 1),
    Case(
        "csv",
        ".csv",
        _csv,
        lambda f, t, **o: ingest.from_parquet(f, into=t, **o),
        breaks=False,
        options={"required": "text"},
    ),
    Case("jsonl", ".jsonl", _jsonl, lambda f, t, **o: ingest.from_parquet(f, into=t, **o), breaks=False),
    Case(
        "parquet",
        ".parquet",
        _parquet,
        lambda f, t, **o: ingest.from_parquet(f, into=t, **o),
        options={"required": "text"},
    ),
    Case("embedded", ".parquet", _embedded, lambda f, t, **o: ingest.from_parquet(f, into=t, **o)),
    Case("shards", ".tar", _shard, lambda f, t, **o: ingest.from_shards(f, into=t, **o)),
)
