"""The regular files inside a tar stream, read once, forwards, in bounded memory, whoever wrote the archive.

Nothing is ever extracted to disk. `tarfile` parses the 512-byte headers; what follows a header (long names, pax
records, sparse maps) is read here under limits, because `tarfile` would read as much of it as the archive claims. This
module knows nothing of images or tables.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from clipdata.errors import ConfigError
from clipdata.plurals import counted
from ingest.shards.blocks import BLOCK, MAX_NAME, ArchiveBroken, Blocks, Readable, printable
from ingest.shards.inflating import plain

# Codes of refusal that only archives have; the others are those of `clipdata.images.REASONS`.
ARCHIVE_REASONS: dict[str, str] = {
    "unsafe_name": "the member's name is absolute, climbs out of the archive, or is not text",
    "duplicate": "the archive holds this name or this sample twice",
    "sparse": "the member is stored as a sparse file",
    "not_a_tar": "the file is not a tar archive",
}

_MAX_EXTENSIONS = 4
_FILE_TYPES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_KINDS: Mapping[bytes, str] = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a pipe",
}
_PAX_TYPES = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})

RefuseMember = Callable[[str, str, str], None]


@dataclass(frozen=True)
class TarLimits:
    """What an archive may cost before it is refused.

    Args:
        max_member_bytes: one file; larger ones are passed over.
        max_header_bytes: a long name or a set of pax records.
        max_expansion: bytes that come out of a compressed archive for each that goes in; pictures give about 1.

    Raises:
        ConfigError: a limit is not positive.
    """

    max_member_bytes: int = 64 * 2**20
    max_header_bytes: int = 64 * 2**10
    max_expansion: int = 200

    def __post_init__(self) -> None:
        problems = [f"{name} is {value}; expected at least 1" for name, value in vars(self).items() if value < 1]
        if problems:
            raise ConfigError(problems, what="tar limits")


@dataclass(frozen=True)
class Member:
    """One regular file of an archive: its name with slashes, its bytes, its time in seconds since 1970."""

    name: str
    data: bytes
    mtime: float


def read_members(stream: Readable, limits: TarLimits, refuse: RefuseMember) -> Iterator[Member]:
    """Yield the regular files of a tar stream, plain or compressed.

    Args:
        stream: an open binary file.
        limits: what it may cost.
        refuse: called with name, reason and detail of each member that is passed over.

    Raises:
        ArchiveBroken: the stream ends early, or is no tar from some point on.
    """
    source = Blocks(plain(stream, limits.max_expansion))
    is_first = True
    while True:
        header = _next_header(source, limits, is_first=is_first)
        is_first = False
        if header is None:
            return
        problem = header.problem or _name_problem(header.name) or _size_problem(header.size, limits)
        if header.kind == tarfile.DIRTYPE:
            continue
        if header.kind in _KINDS:
            refuse(printable(header.name), "not_a_file", f"the archive holds {_KINDS[header.kind]} here")
            continue
        if problem or header.kind not in _FILE_TYPES:
            reason, detail = problem or ("unsupported_format", f"tar member of type {header.kind!r}")
            refuse(printable(header.name), reason, detail)
            source.skip(_padded(header.size), header.name)
            continue
        data = source.read(_padded(header.size), header.name)[: header.size]
        yield Member(header.name.removeprefix("./"), data, header.mtime)


@dataclass(frozen=True)
class _Header:
    name: str
    size: int
    kind: bytes
    mtime: float
    problem: tuple[str, str] | None = None


def _next_header(source: Blocks, limits: TarLimits, *, is_first: bool) -> _Header | None:
    """The next member's header with its long name and pax records applied, or None at the end of the archive."""
    long_name: str | None = None
    pax: dict[str, str] = {}
    for _ in range(_MAX_EXTENSIONS + 1):
        block = source.read_block()
        if len(block) < BLOCK:
            raise _short_block(block, is_first=is_first)
        if block.count(0) == BLOCK:
            return None
        info = _parse(block, is_first=is_first)
        is_first = False
        if info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = _text(_extension(source, info, limits).rstrip(b"\0"))
        elif info.type in _PAX_TYPES:
            pax |= _pax_records(_extension(source, info, limits))
        elif info.type in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            _extension(source, info, limits)
        else:
            return _applied(source, info, block, long_name, pax)
    raise ArchiveBroken("corrupt", f"more than {_MAX_EXTENSIONS} extension headers before one member")


def _applied(
    source: Blocks, info: tarfile.TarInfo, block: bytes, long_name: str | None, pax: dict[str, str]
) -> _Header:
    name = pax.get("path", long_name or info.name)
    size = _whole(pax["size"]) if "size" in pax else info.size
    problem = None
    if any(key.startswith("GNU.sparse.") for key in pax):
        problem = ("sparse", "expected the bytes of an image, found a map of holes")
    kind = info.type
    if kind == tarfile.GNUTYPE_SPARSE:
        problem, kind = ("sparse", "expected the bytes of an image, found a map of holes"), tarfile.REGTYPE
        _skip_sparse_map(source, block, name)
    if kind == tarfile.AREGTYPE and name.endswith("/"):
        kind = tarfile.DIRTYPE
    if kind not in _KINDS and kind != tarfile.DIRTYPE and size < 0:
        raise ArchiveBroken("corrupt", f"{printable(name)!r} has a negative size")
    return _Header(name, size, kind, float(info.mtime), problem)


def _parse(block: bytes, *, is_first: bool) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ArchiveBroken("not_a_tar" if is_first else "corrupt", f"bad header: {error}") from error


def _short_block(block: bytes, *, is_first: bool) -> ArchiveBroken:
    if is_first:
        return ArchiveBroken("empty" if not block else "not_a_tar", f"{len(block)} bytes")
    return ArchiveBroken("truncated", "the archive has no end mark: members may be missing")


def _extension(source: Blocks, info: tarfile.TarInfo, limits: TarLimits) -> bytes:
    if not 0 <= info.size <= limits.max_header_bytes:
        found = f"an extension header claims {counted(info.size, 'byte')}; the limit is {limits.max_header_bytes:,}"
        raise ArchiveBroken("too_large", found)
    return source.read(_padded(info.size), info.name)[: info.size]


def _pax_records(data: bytes) -> dict[str, str]:
    """Parse `length keyword=value` records, each ended by a newline."""
    records: dict[str, str] = {}
    while data.strip(b"\0"):
        digits, space, _ = data.partition(b" ")
        length = _whole(_text(digits)) if space and len(digits) <= 7 else 0
        record, data = data[len(digits) + 1 : length], data[length:]
        if length <= len(digits) + 1 or not record.endswith(b"\n") or b"=" not in record:
            raise ArchiveBroken("corrupt", "a pax header is not made of 'length keyword=value' records")
        keyword, _, value = record[:-1].partition(b"=")
        records[_text(keyword)] = _text(value)
    return records


def _skip_sparse_map(source: Blocks, block: bytes, name: str) -> None:
    is_extended = block[482:483] not in (b"\0", b"")
    while is_extended:
        is_extended = source.read(BLOCK, name)[504:505] != b"\0"


def _name_problem(name: str) -> tuple[str, str] | None:
    if not name or len(name) > MAX_NAME:
        return "unsafe_name", f"a name of {counted(len(name), 'character')}; expected 1 to {MAX_NAME:,}"
    slashed = name.replace("\\", "/")
    if slashed.startswith("/") or slashed[1:2] == ":" or ".." in slashed.split("/") or "\0" in name:
        return "unsafe_name", "expected a name inside the archive"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "unsafe_name", "the name is not UTF-8"
    return None


def _size_problem(size: int, limits: TarLimits) -> tuple[str, str] | None:
    if size <= limits.max_member_bytes:
        return None
    return "too_large", f"{counted(size, 'byte')}; the limit is {limits.max_member_bytes:,}"


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ArchiveBroken("corrupt", f"expected a whole number in a pax header, found {text[:20]!r}")
    return int(text)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
