"""Planning: which of the items that a source lists are to be read, in memory that hardly grows with their number.

Of every item listed and every row known there are some bytes in memory; what is to be read waits on disk once it is
much. Nothing here reads an item or writes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from clipdata.storage import redact
from ingest.updating.deleted import Deleted
from ingest.updating.digest_set import DigestSet, KnownRows
from ingest.updating.rejects import Rejects
from ingest.updating.source import Item, Refuse, Reject
from ingest.updating.spool import Spool
from ingest.updating.taken import TakenFile

_ITEMS_AT_ONCE = 4096
EXAMPLES = 100


@dataclass
class Plan:
    """What is to be read, and what is not.

    Args:
        todo: items to read.
        todo_bytes: of those, as far as the listing says.
        listed: items the source listed.
        unchanged: items whose content is known.
        refused_before: items that were refused with the same content and options.
        num_vanished: rows or files that the source once gave and does not list any more.
        vanished: keys of the first of them.
        keys: of all that was listed.
    """

    todo: Spool = field(default_factory=Spool)
    todo_bytes: int = 0
    listed: int = 0
    unchanged: int = 0
    refused_before: int = 0
    num_vanished: int = 0
    vanished: list[str] = field(default_factory=list)
    keys: DigestSet = field(default_factory=DigestSet)
    not_tried: DigestSet = field(default_factory=DigestSet)  # keys of `refused_before`

    def read(self, item: Item) -> None:
        """Let an item be read."""
        self.todo.append(item)
        self.todo_bytes += item.size or 0

    def skip_refused(self, item: Item) -> None:
        """Leave out an item that was refused as it is."""
        self.refused_before += 1
        self.not_tried.add([item.key])

    def miss(self, key: str) -> None:
        """Note what is no longer listed."""
        self.num_vanished += 1
        if len(self.vanished) < EXAMPLES:
            self.vanished.append(key)


def plan_rows(
    items: Iterable[Item],
    known: KnownRows,
    seen: Mapping[tuple[str, str], str],
    rejects: Rejects | None,
    refuse: Refuse,
    deleted: Deleted,
) -> Plan:
    """Compare a listing with the rows there are: key and etag decide.

    Args:
        items: one a row.
        known: the rows.
        seen: key and etag of an item → etag of the row that has the same content, or had it before it was deleted.
        rejects: of earlier runs; None tries everything again.
        refuse: told of items that are listed twice.
        deleted: rows that are not to come back.
    """
    plan, listing = Plan(), iter(items)
    while chunk := list(islice(listing, _ITEMS_AT_ONCE)):
        keys, etags = [item.key for item in chunk], [item.etag for item in chunk]
        is_new = plan.keys.add_new(keys)
        row = known.find(keys, etags)
        is_deleted = deleted.contains(keys, etags)
        is_refused = [False] * len(chunk) if rejects is None else rejects.is_refused(keys, etags).tolist()
        for number, item in enumerate(chunk):
            plan.listed += 1
            place, of = int(row.places[number]), seen.get((item.key, item.etag))
            if not is_new[number]:
                refuse(Reject(f"{item.key} (again)", item.etag, "duplicate_key", f"listed twice: {redact(item.where)}"))
            elif row.is_same[number] or (of is not None and place >= 0 and known.has_etag(place, of)):
                plan.unchanged += 1
            elif place < 0 and (is_deleted[number] or (of is not None and deleted.contains([item.key], [of])[0])):
                deleted.num_left_out += 1
            elif is_refused[number]:
                plan.skip_refused(item)
            else:
                plan.read(item)
    return plan


def find_missing(
    plan: Plan, keys: Iterable[tuple[Sequence[str], Sequence[str | None]]], is_own: Callable[[str | None], bool]
) -> None:
    """Note the rows that the source once gave and does not list any more.

    Args:
        keys: of the rows, and where each came from, batch by batch.
        is_own: whether a place is the source's.
    """
    for names, places in keys:
        is_listed = plan.keys.contains(names)
        for name, place, listed in zip(names, places, is_listed, strict=True):
            if not listed and is_own(place):
                plan.miss(name)


@dataclass
class FilePlan(Plan):
    """A plan of files; an item in `todo` bears the key that the table knows it by.

    Args:
        places: locations of all files listed.
        renamed: new location → key, of files that were known under another location.
        gone: files that the table has taken in from here and that are no longer listed.
        good: keys of the files that are unchanged.
    """

    places: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    gone: list[TakenFile] = field(default_factory=list)
    good: set[str] = field(default_factory=set)


def plan_files(
    items: Iterable[Item],
    taken: Sequence[TakenFile],
    options: str,
    covers: Callable[[str], bool],
    ends_of: Callable[[Item], str],
    rejects: Rejects,
    refuse: Callable[[Item, Reject], None],
    *,
    retry: bool,
) -> FilePlan:
    """Compare a listing with the files that a table has taken in: location, etag and options decide.

    A file at another location that has the size and the ends of one that is gone is that one, renamed, and keeps its
    key, so that its rows stay what they are. A file whose key belongs to another one is refused, with both named.

    Args:
        items: one a file.
        taken: files that the table knows.
        options: digest of the options of this run.
        covers: whether a location is one that the source would list.
        ends_of: digest of a file's first and last bytes; asked for only where it decides.
        rejects: of earlier runs.
        refuse: told of files that cannot be told from others.
        retry: read every file again of which anything was refused.
    """
    plan = FilePlan()
    by_place, by_key = {file.where: file for file in taken}, {file.key: file for file in taken}
    listed = list(_distinct(items, refuse, plan))
    plan.places = {redact(item.where) for item in listed}
    plan.gone = [file for file in taken if file.where not in plan.places and covers(file.where)]
    # Files that are still where they were have their keys before any newcomer.
    listed.sort(key=lambda item: redact(item.where) not in by_place)
    for item in listed:
        known = by_place.get(redact(item.where))
        if known is None:
            known = _moved(item, by_key.get(item.key), plan.gone, ends_of)
            if known is not None:
                plan.gone = [file for file in plan.gone if file is not known]
                plan.renamed[item.where] = known.key
                by_key[known.key] = known
            elif item.key in by_key:
                refuse(item, _clash(item, by_key[item.key]))
                continue
            else:
                by_key[item.key] = TakenFile(item.key, redact(item.where), "", None, "", "")
        named = item if known is None else _renamed(item, known.key)
        is_known = known is not None and known.where == redact(item.where)
        if retry and redact(item.where) in rejects.scopes:
            plan.read(named)
        elif is_known and known is not None and item.etag and (known.etag, known.options) == (item.etag, options):
            plan.unchanged += 1
            plan.good.add(named.key)
        elif not retry and rejects.is_refused([named.key], [item.etag])[0]:
            plan.skip_refused(named)
        else:
            plan.read(named)
    for file in plan.gone:
        plan.miss(file.key)
    return plan


def _distinct(items: Iterable[Item], refuse: Callable[[Item, Reject], None], plan: Plan) -> Iterator[Item]:
    """Files of different names; one that several patterns name is one."""
    place_of: dict[str, str] = {}
    for item in items:
        first = place_of.get(item.key)
        if first is None:
            plan.listed += 1
            place_of[item.key] = item.where
            yield item
        elif first != item.where:
            plan.listed += 1
            refuse(item, Reject(item.key, "", "duplicate_key", f"{redact(first)} has this name too"))


def _moved(
    item: Item, of_key: TakenFile | None, gone: Iterable[TakenFile], ends_of: Callable[[Item], str]
) -> TakenFile | None:
    """The file that an unknown one is: the one of its name with its content, or one that is gone."""
    alike = [file for file in ([of_key] if of_key else []) + list(gone) if file.size == item.size and file.ends]
    if not alike:
        return None
    ends = ends_of(item)
    return next((file for file in alike if file.ends == ends), None)


def _renamed(item: Item, key: str) -> Item:
    return item if item.key == key else replace(item, key=key)


def _clash(item: Item, other: TakenFile) -> Reject:
    detail = (
        f"{redact(item.where)} and {redact(other.where)} are both called {item.key!r}, and the table has the rows of "
        f"the other one; --prefix (prefix=) NAME tells them apart"
    )
    return Reject(item.key, "", "other_source", detail)
