"""Samples of a WebDataset shard: neighbouring members that share a name up to the first dot of its last part.

Knows the names of members, and what the texts among them say; nothing of images or tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from clipdata.errors import ImageRefused
from clipdata.plurals import counted
from ingest.metadata.json_fields import load
from ingest.shards.members import Member, RefuseMember

CAPTION = "caption"

# Source: webdataset's `base_plus_ext`; open_clip splits names with the same expression.
_NAME = re.compile(r"^((?:.*/|)[^./]+)[.]([^/]*)$", re.DOTALL)
MAX_SAMPLE_BYTES = 256 * 2**20
MAX_SAMPLE_MEMBERS = 64


@dataclass
class Sample:
    """Members of one sample by what follows the first dot, in lower case."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of all members."""
        return sum(len(member.data) for member in self.members.values())

    def first(self, suffixes: Iterable[str]) -> Member | None:
        """The member with the first suffix that is there."""
        return next((self.members[suffix] for suffix in suffixes if suffix in self.members), None)


def group_samples(members: Iterable[Member], refuse: RefuseMember) -> Iterator[Sample]:
    """Gather members into samples.

    Args:
        members: in the order of the archive.
        refuse: called with the key of a sample or the name of a member that is left out, a reason and a detail.
    """
    seen: set[str] = set()
    sample: Sample | None = None
    problem: tuple[str, str] | None = None
    for member in members:
        split = _NAME.match(member.name)
        if split is None:
            refuse(member.name, "unsupported_format", "a member without a suffix belongs to no sample")
            continue
        key, suffix = split.group(1), split.group(2).lower()
        if sample is None or key != sample.key:
            if sample is not None and problem is None:
                yield sample
            sample, problem = Sample(key), None
            if key in seen:
                problem = _refused(refuse, key, "duplicate", "the shard holds another sample of this name before")
            seen.add(key)
        if problem is not None:
            continue
        if suffix in sample.members:
            problem = _refused(refuse, key, "duplicate", f"two members end in .{suffix}")
        elif len(sample.members) >= MAX_SAMPLE_MEMBERS or sample.num_bytes + len(member.data) > MAX_SAMPLE_BYTES:
            limits = f"{MAX_SAMPLE_MEMBERS} members and {counted(MAX_SAMPLE_BYTES, 'byte')}"
            problem = _refused(refuse, key, "too_large", f"a sample may have {limits}")
        else:
            sample.members[suffix] = member
        if problem is not None:
            sample.members.clear()
    if sample is not None and problem is None:
        yield sample


def _refused(refuse: RefuseMember, key: str, reason: str, detail: str) -> tuple[str, str]:
    refuse(key, reason, detail)
    return reason, detail


def fields_of(sample: Sample) -> dict[str, Any]:
    """Fields of the JSON beside the image, and the class number where there is one.

    Raises:
        ImageRefused: they cannot be read.
    """
    member = sample.members.get("json")
    fields = load(member.data) if member else {}
    if "cls" in sample.members and "cls" not in fields:
        text = _text(sample.members["cls"].data, "cls").strip()
        fields["cls"] = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
    return fields


def caption_of(sample: Sample, fields: dict[str, Any]) -> str | None:
    """The text beside the image. A newline at its end is the file's, unless the JSON says that it is the caption's.

    Raises:
        ImageRefused: it is not UTF-8.
    """
    member = sample.members.get("txt")
    if member is None:
        stated = fields.get(CAPTION)
        return stated if isinstance(stated, str) else None
    text = _text(member.data, "txt")
    return text if fields.get(CAPTION) == text else text.rstrip("\r\n")


def _text(data: bytes, suffix: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageRefused("corrupt", f"the .{suffix} beside the image is not UTF-8: {error.reason}") from error
