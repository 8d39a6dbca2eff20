"""Tag files: read one by one, so that one that is damaged stops no other; on a disk written aside and renamed.

Lance writes over them in place: on a full disk it leaves an empty file where the tag was, says nothing, and no tag of
the table can be read any more. In a bucket an object is replaced whole, and Lance does it.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata import hints
from clipdata.disk import sync
from clipdata.errors import StorageError
from clipdata.json_parsing import parse_json
from clipdata.lance_io.version_numbers import FOLDER, named_versions
from clipdata.objects.faults import as_clipdata_error
from clipdata.storage import Storage, is_remote, join, redact

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

TAGS = "_refs/tags"
_SUFFIX = ".json"
_VERSION = re.compile(rb'"version"\s*:\s*(\d+)\s*[,}\n]')


@dataclass(frozen=True)
class TagFile:
    """The file of one tag.

    Args:
        name: of the tag.
        version: that it names; of a damaged one what is left of it says, None where nothing does.
        fault: why Lance cannot read it; None when it can.
    """

    name: str
    version: int | None
    fault: str | None

    @property
    def file(self) -> str:
        """Its path inside the table."""
        return f"{TAGS}/{self.name}{_SUFFIX}"


def tag_files(uri: str, storage: Storage) -> Iterator[TagFile]:
    """All tag files of a table, by name.

    Args:
        uri: absolute, of the table.

    Raises:
        CredentialsError: the store refused access.
        TransientError: the store did not answer.
    """
    fs, root = storage.filesystem(join(uri, TAGS))
    fs.invalidate_cache()
    try:
        entries = fs.ls(root, detail=True) if fs.exists(root) else []
        kinds = {str(entry["name"]).rstrip("/").rpartition("/")[2]: entry["type"] for entry in entries}
        for name in sorted(one for one in kinds if one.endswith(_SUFFIX)):
            tag = name.removesuffix(_SUFFIX)
            if kinds[name] == "directory":
                yield TagFile(tag, None, "it is a folder")
                continue
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                yield _read(tag, fs.cat_file(f"{root.rstrip('/')}/{name}"))
    except OSError as error:
        raise as_clipdata_error(error, f"reading the tags of {redact(uri)}", storage) from error


def settle_tag(table: Table, name: str) -> None:
    """Have the disk hold what was done to a tag. A store holds what it took.

    Raises:
        OSError: the disk does not take it.
    """
    if not is_remote(table.uri):
        folder = Path(table.uri, *TAGS.split("/"))
        for path in (folder / f"{name}{_SUFFIX}", folder, folder.parent, folder.parent.parent):
            with suppress(FileNotFoundError):  # the tag was deleted
                sync(path)


def move_tag(table: Table, name: str, version: int) -> None:
    """Let a tag that is there name another version.

    Raises:
        StorageError: the disk is full, or the folder cannot be written; the tag names what it named.
    """
    if (file := _on_disk(table, name)) is None:
        table.dataset.tags.update(name, version)
        return
    said = json.loads(file.read_bytes())
    said |= {"version": version, "updatedAt": _now(), "manifestSize": _manifest_size(table, version)}
    _replace(table, file, said)


def note_on_tag(table: Table, name: str, noted: Mapping[str, str]) -> None:
    """Note something with a tag that is there, instead of what was noted before.

    Raises:
        StorageError: the disk is full, or the folder cannot be written; the tag is what it was.
    """
    if (file := _on_disk(table, name)) is None:
        table.dataset.tags.replace_metadata(name, dict(noted))
        return
    _replace(table, file, json.loads(file.read_bytes()) | {"updatedAt": _now(), "metadata": dict(noted)})


def write_tag_again(table: Table, name: str, version: int) -> None:
    """Write a damaged tag's file anew, so that it names a version that is there.

    Raises:
        StorageError: the disk is full, or the folder cannot be written; the file is what it was.
    """
    now, size = _now(), _manifest_size(table, version)
    said: dict[str, Any] = {
        "branch": None,
        "version": version,
        "createdAt": now,
        "updatedAt": now,
        "manifestSize": size,
        "metadata": {},
    }
    if (file := _on_disk(table, name)) is not None:
        _replace(table, file, said)
        return
    fs, path = table.storage.filesystem(join(table.uri, f"{TAGS}/{name}{_SUFFIX}"))
    fs.pipe_file(path, json.dumps(said, indent=2).encode())


def _on_disk(table: Table, name: str) -> Path | None:
    file = Path(table.uri, *TAGS.split("/"), f"{name}{_SUFFIX}")
    return None if is_remote(table.uri) or not file.is_file() else file


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _manifest_size(table: Table, version: int) -> int:
    manifest = join(table.uri, f"{FOLDER}/{named_versions(table.uri, table.storage)[version]}")
    fs, path = table.storage.filesystem(manifest)
    return int(fs.info(path)["size"])


def _read(name: str, data: bytes) -> TagFile:
    found = _VERSION.search(data)
    left = int(found[1]) if found and _is_size(int(found[1])) else None
    if not data:
        return TagFile(name, None, "it is empty")
    try:
        said: Any = parse_json(data)
    except ValueError:
        return TagFile(name, left, "it is cut short, or no JSON")
    wanted = ("version", "manifestSize")
    if not isinstance(said, dict) or not all(type(said.get(one)) is int for one in wanted):
        return TagFile(name, left, f"it does not hold {' and '.join(wanted)}")
    wrong = [one for one, fits in _FIELDS.items() if one in said and not fits(said[one])]
    fault = f"its {wrong[0]} is {json.dumps(said[wrong[0]])[:60]}" if wrong else None
    return TagFile(name, left if wrong else said["version"], fault)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _is_time(value: Any) -> bool:
    try:
        return value is None or datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


# What Lance takes for each; of any other it reads no tag of the table at all.
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "version": _is_size,
    "manifestSize": _is_size,
    "branch": lambda value: value is None or isinstance(value, str),
    "createdAt": _is_time,
    "updatedAt": _is_time,
    "metadata": _are_texts,
}


def _replace(table: Table, file: Path, said: Mapping[str, Any]) -> None:
    aside = file.parent.parent / f".{file.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        try:
            aside.write_text(json.dumps(said, indent=2), encoding="utf-8")
            sync(aside)
            os.replace(aside, file)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"tagging {redact(table.uri)}: {redact(str(error))}", hint=hints.ROOM) from error
