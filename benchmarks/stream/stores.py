"""The same pictures in each side's own format, written once; a store that is there is left alone.

python -m benchmarks.stream.stores FOLDER [--pictures 4000] [--size 500x375] [--times 1]

pictures/        <class>/<number>.jpg, for torchvision's ImageFolder; every other store is made of it
webdataset/      tar shards            arrow/ parquet/   Hugging Face datasets
litdata/         chunks of bytes       mds/              MosaicML shards
lancedb/         a LanceDB table       clipdata.lance/   this project's table, with prepared columns
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.stream.pictures import write_pictures, written

SHARDS = 8
"""Files of the formats that workers share out by the file."""


def _write_webdataset(pictures: Path, out: Path) -> None:
    import webdataset

    out.mkdir()
    rows = list(written(pictures))
    with webdataset.ShardWriter(str(out / "%03d.tar"), maxcount=-(-len(rows) // SHARDS), verbose=0) as sink:
        for path, label in rows:
            sink.write({"__key__": path.stem, "jpg": path.read_bytes(), "cls": label})


def _dataset(pictures: Path) -> Any:
    import datasets

    rows = list(written(pictures))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    columns = {"image": [{"bytes": path.read_bytes(), "path": None} for path, _ in rows], "label": [c for _, c in rows]}
    return datasets.Dataset.from_dict(columns, features=features)


def _write_arrow(pictures: Path, out: Path) -> None:
    _dataset(pictures).save_to_disk(str(out))


def _write_parquet(pictures: Path, out: Path) -> None:
    rows = _dataset(pictures)
    out.mkdir()
    for shard in range(SHARDS):
        rows.shard(SHARDS, shard, contiguous=True).to_parquet(str(out / f"{shard:03d}.parquet"))


def _lit_sample(row: tuple[Path, int]) -> dict[str, Any]:
    return {"image": row[0].read_bytes(), "label": row[1]}


def _write_litdata(pictures: Path, out: Path) -> None:
    import litdata

    rows = list(written(pictures))
    chunk = max(len(rows) // SHARDS, 1)
    litdata.optimize(_lit_sample, rows, str(out), chunk_size=chunk, num_workers=1, start_method="fork", verbose=False)


def _write_mds(pictures: Path, out: Path) -> None:
    from PIL import Image
    from streaming import MDSWriter

    with MDSWriter(out=str(out), columns={"image": "jpeg", "label": "int"}) as sink:
        for path, label in written(pictures):
            with Image.open(path) as image:
                sink.write({"image": image, "label": label})


def _write_lancedb(pictures: Path, out: Path) -> None:
    import lancedb
    import pyarrow as pa

    schema = pa.schema({"image": pa.large_binary(), "label": pa.int64()})
    table = lancedb.connect(str(out)).create_table("pictures", schema=schema)
    rows = list(written(pictures))
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        table.add(pa.table([[path.read_bytes() for path, _ in part], [c for _, c in part]], schema=schema))
    table.optimize()


def _write_clipdata(pictures: Path, out: Path) -> None:
    import ingest
    from benchmarks.stream.ours import add_prepared

    add_prepared(ingest.from_images(pictures, into=str(out)).table)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "webdataset": _write_webdataset,
    "arrow": _write_arrow,
    "parquet": _write_parquet,
    "litdata": _write_litdata,
    "mds": _write_mds,
    "lancedb": _write_lancedb,
    "clipdata.lance": _write_clipdata,
}


def folder_of(root: Path, num: int, size: tuple[int, int], times: int = 1) -> Path:
    """Where the stores of so many pictures of a size are, each picture so many times."""
    return root / f"{size[0]}x{size[1]}-{num}x{times}"


def size_of(text: str) -> tuple[int, int]:
    """(width, height) of a text like 500x375."""
    width, height = map(int, text.split("x"))
    return width, height


def write_stores(root: Path, num: int, size: tuple[int, int], times: int, names: list[str]) -> Path:
    """Write what is missing of some stores, and return their folder."""
    folder = folder_of(root, num, size, times)
    pictures = folder / "pictures"
    if times == 1:
        write_pictures(pictures, num, size)
    elif not pictures.exists():
        once, aside = write_stores(root, num, size, 1, []) / "pictures", pictures.with_suffix(".part")
        shutil.rmtree(aside, ignore_errors=True)
        for path, _ in written(once):
            (aside / path.parent.name).mkdir(parents=True, exist_ok=True)
            for copy in range(times):
                os.link(path, aside / path.parent.name / f"{path.stem}-{copy:02d}.jpg")
        aside.rename(pictures)
    for name in names:
        out, aside = folder / name, folder / f"{name}.part"
        if name != "pictures" and not out.exists():
            print(f"writing {out}", flush=True)
            shutil.rmtree(aside, ignore_errors=True)
            WRITERS[name](pictures, aside)
            aside.rename(out)
            shutil.rmtree(f"{aside}.state", ignore_errors=True)  # of the table, for maps that were cut off
    return folder


def main() -> None:
    """Write the stores that were asked for."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("--pictures", type=int, default=4000)
    words.add_argument("--size", type=size_of, default=(500, 375))
    words.add_argument("--times", type=int, default=1)
    words.add_argument("--stores", default=",".join(WRITERS))
    given = words.parse_args()
    write_stores(given.folder, given.pictures, given.size, given.times, [n for n in given.stores.split(",") if n])


if __name__ == "__main__":
    main()
