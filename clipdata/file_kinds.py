"""Kinds of files that are no text, told from their first bytes, and what takes each: for errors of who expected text.

It knows what formats begin with and the words of the command line, and nothing of who reads.
"""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass

from clipdata import hints
from clipdata.images.formats import sniff_format

HEAD_BYTES = 512
"""How much of a file tells its kind."""
_TAR_AT, _TAR = 257, b"ustar"
_LANCE = b"LANC"  # the last bytes of a file of Lance
_UNPACK = "unpack it first, and name what comes out"
_CONVERT = "convert it to parquet, CSV or JSON lines, which clipdata ingest parquet takes"


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    Args:
        name: with its article, "a parquet file".
        mend: what to type, or to do first.
    """

    name: str
    mend: str


_KINDS = {
    b"ARROW1": FileKind("a file of Arrow or Feather", _CONVERT),
    b"FEA1": FileKind("a file of Feather", _CONVERT),
    b"PK\x03\x04": FileKind("a zip archive", f"{_UNPACK}: unzip FILE"),
    b"\x1f\x8b": FileKind("packed by gzip", f"{_UNPACK}: gunzip < FILE > UNPACKED; ingest shards takes packed tars"),
    b"BZh": FileKind("packed by bzip2", f"{_UNPACK}: bunzip2 < FILE > UNPACKED"),
    b"\xfd7zXZ\0": FileKind("packed by xz", f"{_UNPACK}: unxz < FILE > UNPACKED"),
    b"\x28\xb5\x2f\xfd": FileKind("packed by zstandard", f"{_UNPACK}: unzstd < FILE > UNPACKED"),
    b"7z\xbc\xaf\x27\x1c": FileKind("a 7z archive", f"{_UNPACK}: 7z x FILE"),
    b"SQLite format 3\0": FileKind("a database of SQLite", _CONVERT),
    b"\x89HDF\r\n\x1a\n": FileKind("a file of HDF5", _CONVERT),
    b"\x93NUMPY": FileKind("an array of numpy", _CONVERT),
    b"%PDF": FileKind("a PDF", "expected a text file"),
}


def kind_of_binary(data: bytes, location: str | os.PathLike[str] = "FILE") -> FileKind | None:
    """What a file is that is no text; None where its bytes do not say.

    Args:
        data: its first `HEAD_BYTES`, or more.
        location: of it, for the command that takes it.
    """
    where = os.fspath(location)
    if _is_text(data):  # a header line may begin like a format
        return None
    if data.startswith(b"PAR1"):
        return FileKind("a parquet file", _mend_parquet(where))
    for magic, kind in _KINDS.items():
        if data.startswith(magic):
            return FileKind(kind.name, kind.mend.replace("FILE", hints.typed(where)))
    if data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return FileKind("a tar archive", f"clipdata ingest shards {hints.typed(where)} --into TABLE.lance")
    if data.endswith(_LANCE):
        return FileKind("a file of a Lance table", "the table is the folder above, which ends in .lance")
    if (found := sniff_format(data)) is not None:
        return FileKind(f"a picture ({found})", "a folder of them: clipdata ingest images FOLDER --into TABLE.lance")
    return None


def _mend_parquet(where: str) -> str:
    """The verb goes by the name, where it has a suffix of another format."""
    if where.lower().endswith((".parquet", ".pq")):
        return hints.ingest_file(where)
    named = f"{os.path.splitext(where)[0]}.parquet"
    return f"call it what it is: mv {hints.typed(where)} {hints.typed(named)} && {hints.ingest_file(named)}"


def _is_text(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # which may end inside a letter
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def kind_of_file(path: str | os.PathLike[str]) -> FileKind | None:
    """What a file of this machine is that is no text; None where its bytes do not say, or it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(-min(os.fstat(file.fileno()).st_size, len(_LANCE)), os.SEEK_END)
            return kind_of_binary(head + file.read(), path)
    except OSError:
        return None
