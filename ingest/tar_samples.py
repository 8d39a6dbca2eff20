"""Samples of a WebDataset shard: neighbouring members that share a name up to the first dot of its last part.

Knows members and their names; not what is inside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ingest.tar_members import Member, RefuseMember

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
            limits = f"{MAX_SAMPLE_MEMBERS} members and {MAX_SAMPLE_BYTES:,} bytes"
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
