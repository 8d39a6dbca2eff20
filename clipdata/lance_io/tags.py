"""Tags: names of versions, which keep them from every clean-up; those of people, and those that clipdata needs itself.

A training run tags the version that it reads, and a merged table the version that its rows refer to. Names of those two
kinds are made here, so that nobody else takes one, and so that they are told apart from a person's. A tag is no commit:
it lies beside the versions, and is never moved unless that is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from clipdata import hints
from clipdata.errors import ClipdataError, NotFoundError, UsageError
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.table import NEEDED_BY, AnyTable, Table, as_table, open_table
from clipdata.lance_io.tagging import delete_tag, set_tag
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import Storage, redact

MAX_NAME_BYTES = 200  # a tag is a file of its name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PICTURES = "clipdata-pictures-"
_RUN = re.compile(r"run-(?P<run>.+)-v\d+")
_OF_PICTURES = re.compile(rf"{_PICTURES}[0-9a-f]{{12}}-\d+")

Done = Literal["listed", "made", "kept", "moved", "deleted"]


@dataclass(frozen=True)
class Tag:
    """A name of a version.

    Args:
        name: of it.
        version: that it names.
        made_at: when, UTC; None where Lance does not say.
        needed_by: what of clipdata's own needs the version, in words; None for a tag of a person.
        is_idle: the table whose rows refer to the version is not where it was: gone, or moved.
    """

    name: str
    version: int
    made_at: datetime | None = None
    needed_by: str | None = None
    is_idle: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        made_at = self.made_at.isoformat(timespec="seconds") if self.made_at else None
        return {**asdict(self), "made_at": made_at}


@dataclass(frozen=True)
class Tagged:
    """What was done to a tag, and the tags that there are afterwards.

    Args:
        table: location.
        done: "kept" where the tag named the version already.
        name: of the tag; None where they were only listed.
        before: version that it named before; None where there was none of its name.
        version: that it names now; None where there is none of its name.
        dry_run: it would be done, and nothing was written.
        tags: all of the table, by version.
    """

    table: str
    done: Done
    name: str | None
    before: int | None
    version: int | None
    dry_run: bool
    tags: tuple[Tag, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "tags": [tag.to_dict() for tag in self.tags]}

    def __str__(self) -> str:
        if self.done == "listed":
            lines = [f"{self.table}: {counted(len(self.tags), 'tag')}" if self.tags else f"{self.table} has no tags"]
            lines += [f"  {tag.name}: version {tag.version}{_needed(tag)}" for tag in self.tags]
            return "\n".join(map(printable, lines))
        would = "would be " if self.dry_run and self.done != "kept" else ""
        said = {
            "made": f"{would}made, and names version {self.version}",
            "kept": f"names version {self.version} already",
            "moved": f"{would}moved from version {self.before} to {self.version}",
            "deleted": f"{would}deleted; it named version {self.before}",
        }[self.done]
        return printable(f"tag {self.name} of {self.table}: {said}")


def tag(
    table: AnyTable,
    name: str | None = None,
    *,
    version: int | str | None = None,
    move: bool = False,
    delete: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    storage: Storage | None = None,
) -> Tagged:
    """Name a version of a table, so that it can be found again and no clean-up removes it; or list, move, delete names.

    Args:
        table: or its location.
        name: of the tag; without one, the tags are listed.
        version: number or tag of the version to name; the handle's own by default, the newest of a location.
        move: let a tag that names another version name this one.
        delete: remove the tag; its version stays until it is cleaned up.
        yes: delete also a tag that a training run or a merged table needs.
        dry_run: say what would be done, and write nothing.
        storage: how to reach the location.

    Raises:
        UsageError: the name will not do, or it names another version and `move` was not asked for; or clipdata needs
            the tag itself.
        NotFoundError: there is no such version, or no such tag to delete.
        ConcurrentChangeError: another process moved, made or deleted the tag meanwhile; it says what it names now.
    """
    opened = as_table(table, storage=storage)
    if name is None:
        if version is not None or move or delete:
            raise UsageError("tag: no name is given", hint=hints.tag(opened.uri))
        return Tagged(redact(opened.uri), "listed", None, None, None, dry_run, tags_of(opened, look=True))
    present = {one.name: one for one in tags_of(opened)}
    before = present[name].version if name in present else None
    now: int | None = None
    done: Done = "deleted"
    if delete:
        _check_deletable(opened, name, present, version=version, move=move, yes=yes)
        if not dry_run:
            delete_tag(opened, name, present[name].version)
    else:
        check_tag_name(name)
        now = (opened if version is None else opened.pinned(_number(opened, version))).version
        done = "made" if before is None else "kept" if before == now else "moved"
        if done == "moved" and not move:
            raise UsageError(
                f"tag {name!r} of {redact(opened.uri)} names version {before}, not {now}",
                hint="--move (move=True) lets it name this one; or choose another name",
            )
        if not dry_run and done != "kept" and not set_tag(opened, name, now, before):
            done, before = "kept", now
    return Tagged(redact(opened.uri), done, name, before, now, dry_run, tags_of(opened))


def tags_of(table: Table, *, look: bool = False) -> tuple[Tag, ...]:
    """All tags of a table, by version and name.

    Args:
        look: whether the tables that need versions are still there.
    """
    with translated(table.uri, "reading the tags of"):
        found: Mapping[str, Any] = with_retries(lambda: table.dataset.tags.list())
    tags = [
        Tag(
            name,
            int(about["version"]),
            _utc(about.get("created_at")),
            _need_of(name, place := (about.get("metadata") or {}).get(NEEDED_BY)),
            look and place is not None and bool(_OF_PICTURES.fullmatch(name)) and _is_gone(place, table),
        )
        for name, about in found.items()
    ]
    return tuple(sorted(tags, key=lambda one: (one.version, one.name)))


def check_tag_name(name: str) -> None:
    """Refuse a name that a person's tag cannot have.

    Raises:
        UsageError: says what is wrong with it, and one that would do.
    """
    problem = None
    if not isinstance(name, str):
        problem = f"it is a {type(name).__name__}; expected text"
    elif not _NAME.fullmatch(name) or ".." in name or name.endswith((".", ".lock")):
        problem = "expected letters, digits, dots, dashes and underscores, a letter or digit first"
    elif name.isdecimal():
        problem = "a number is the version of that number"
    elif len(name) > MAX_NAME_BYTES:
        problem = f"it takes {len(name)} bytes; expected at most {MAX_NAME_BYTES}"
    elif _need_of(name) is not None:
        problem = f"names like it say that the version is {_need_of(name)}"
    if problem is not None:
        raise UsageError(f"a tag cannot be called {name!r}: {problem}", hint=f"use {_near(str(name))!r}")


def run_tag(run: str, version: int) -> str:
    """Name of the tag of a version that a training run reads.

    Args:
        run: name of the run's folder.
    """
    return f"run-{re.sub(r'[^A-Za-z0-9._-]', '-', run)}-v{version}"


def pictures_tag(referring: str, version: int) -> str:
    """Name of the tag of a version that rows of another table refer to.

    Args:
        referring: location of that table.
    """
    return f"{_PICTURES}{hashlib.sha256(referring.encode()).hexdigest()[:12]}-{version}"


def version_in(name: str) -> int | None:
    """The version that a tag of clipdata's own says in its name; None of a person's tag."""
    return int(re.split("[-v]", name)[-1]) if _need_of(name) is not None else None


def _need_of(name: str, place: str | None = None) -> str | None:
    """What of clipdata's own needs a version of that tag, in words."""
    if found := _RUN.fullmatch(name):
        return f"needed by training run {place or found['run']}"
    return f"needed by rows of {place or 'a merged table'}" if _OF_PICTURES.fullmatch(name) else None


def _is_gone(place: str, table: Table) -> bool:
    try:
        open_table(place, storage=table.storage)
    except NotFoundError:
        return True
    except ClipdataError:  # nobody can tell from here
        return False
    return False


def _needed(tag: Tag) -> str:
    gone = ", which is not there; if it was not moved, --delete it" if tag.is_idle else ""
    return f" ({tag.needed_by}{gone})" if tag.needed_by else ""


def _number(table: Table, version: int | str) -> int:
    return open_table(table.uri, version=version, storage=table.storage).version


def _check_deletable(
    table: Table, name: str, present: Mapping[str, Tag], *, version: int | str | None, move: bool, yes: bool
) -> None:
    if version is not None or move:
        raise UsageError("tag: to delete a tag takes its name alone, no version and no move")
    if name not in present:
        found = ", ".join(present) or "none"
        raise NotFoundError(f"there is no tag {name!r} of {redact(table.uri)}; there are {found}")
    needed = present[name].needed_by
    if needed and not yes:
        raise UsageError(
            f"tag {name!r} of {redact(table.uri)} names version {present[name].version}, {needed}: without it a "
            "clean-up removes that version, and what needs it cannot go on",
            hint="--yes (yes=True) deletes it, once the run or the table is gone",
        )


def _utc(moment: Any) -> datetime | None:
    return moment.astimezone(UTC) if isinstance(moment, datetime) else None


def _near(name: str) -> str:
    """A name like it that would do."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[: MAX_NAME_BYTES // 2]
    while ".." in text:
        text = text.replace("..", ".")
    text = text.removesuffix(".lock")
    return text if text and not text.isdecimal() and _need_of(text) is None else f"tag-{text or 'raw'}".rstrip("-")
