"""Small tar archives for tests, good and hostile, made byte by byte where `tarfile` would refuse to make them."""

from __future__ import annotations

import bz2
import gzip
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.updating.source import BrokenFile, Item, Reject
from tests.pictures import encoded

END = bytes(1024)


def picture(number: int = 0) -> bytes:
    """A small PNG file, another one for each number."""
    return encoded(number, ".png", height=16, width=24)


def header(name: str | bytes, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """One 512-byte ustar header with a right checksum, whatever it claims."""
    info = tarfile.TarInfo("x")
    info.type, info.linkname = kind, link
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    block[:100] = raw[:100].ljust(100, b"\0")
    if 0 <= size < 8**11:
        block[124:136] = b"%011o\0" % size
    else:
        block[124:136] = b"\x80" + size.to_bytes(11, "big") if size >= 0 else b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str | bytes, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """A header and its padded data."""
    return header(name, len(data), kind, link) + data + bytes(-len(data) % 512)


def pax(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header with these raw records."""
    return member("pax", records, kind)


def pax_record(keyword: str, value: str) -> bytes:
    """One record in the form that pax wants: its own length first."""
    rest = f" {keyword}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def sample(key: str, number: int = 0, caption: str | None = None, record: dict[str, Any] | None = None) -> bytes:
    """The members of one sample: png, and txt and json where given."""
    members = member(f"{key}.png", picture(number))
    if caption is not None:
        members += member(f"{key}.txt", caption.encode())
    if record is not None:
        members += member(f"{key}.json", json.dumps(record).encode())
    return members


def write_shard(place: Path, parts: Iterable[bytes], end: bytes = END) -> Path:
    """Write a shard made of members."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"".join(parts) + end)
    return place


def compressed(data: bytes, suffix: str) -> bytes:
    """Data as a file of this suffix holds it."""
    if suffix in (".tar.gz", ".tgz"):
        return gzip.compress(data)
    if suffix == ".tar.bz2":
        return bz2.compress(data)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, {".tar.zst": "zstd", ".tar.lz4": "lz4"}[suffix]) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def read_files(source: Any) -> tuple[list[dict[str, Any]], list[Reject]]:
    """The rows and the refusals of a source of files; a file that breaks is refused by its own key."""
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for item in list(source.items()):
        try:
            for batch in source.read_file(item, rejects.append):
                rows += batch.to_pylist()
        except BrokenFile as error:
            rejects.append(_broken(item, error))
    return rows, rejects


def _broken(item: Item, error: BrokenFile) -> Reject:
    return Reject(item.key, "" if error.passing else item.etag, error.reason, error.detail)
