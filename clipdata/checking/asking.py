"""`check`: a table's files and versions, and with `repair` what mends them."""

from __future__ import annotations

from clipdata.arguments import check_count
from clipdata.checking.finding import Findings, find
from clipdata.checking.records import Checkup
from clipdata.checking.repairing import commands_after
from clipdata.checking.repairing import repair as mend
from clipdata.lance_io.table import AnyTable, Table, as_place
from clipdata.progress import Progress, Silent
from clipdata.storage import Storage, redact


def check(
    table: AnyTable,
    *,
    sample: int | None = None,
    repair: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Checkup:
    """Find what of a table is missing, damaged or cannot be read: manifests, data files, pictures, tags, references.

    Every file of the newest version is read, each picture is held against its `sha256`, each index is loaded; so are
    the tables beside it, of what was refused and taken in. A byte that changed inside
    another value may decode to another value, and nothing tells it.

    Args:
        table: or its location, also of one that cannot be opened; a handle is moved to the version that a repair made.
        sample: read the values of so many files only; of the others the size is looked at.
        repair: also do what mends the problems. A damaged manifest is moved beside the table, and so is a
            damaged tag where nothing says which version it named, or else it is written again; values that a step made
            become null; pictures are read again from their `uri`; rows that cannot be read are removed, and not
            remembered as deleted.
        storage: how to reach the table, and its pictures.
        progress: watches the files go by.

    Raises:
        NotFoundError: there is no table.
        CredentialsError: the store refused access.
        TransientError: the store did not answer.
    """
    if sample is not None:
        check_count(sample, "check: sample")
    uri = as_place(table)
    settings = table.storage if isinstance(table, Table) and storage is None else storage or Storage()
    watch = progress or Silent()
    found = find(uri, settings, watch, sample=sample)
    if not repair or not found.all_problems:
        return _told(found, uri)
    done = tuple(mend(found, settings))
    after = find(uri, settings, watch, sample=sample)
    if isinstance(table, Table) and after.table is not None:
        table.move_to(after.table)
    following = commands_after(after.table, found.problems) if after.table is not None else ()
    return _told(found, uri, after, done, following)


def _told(
    found: Findings,
    uri: str,
    after: Findings | None = None,
    done: tuple[str, ...] = (),
    following: tuple[str, ...] = (),
) -> Checkup:
    now = after or found
    return Checkup(
        table=redact(uri),
        version=now.table.version if now.table is not None else None,
        num_versions=len(now.versions),
        num_files=sum(one.num_files for one in now.all),
        num_read=sum(one.num_read for one in now.all),
        num_bytes=sum(one.num_bytes for one in now.all),
        num_pictures=sum(one.num_pictures for one in now.all),
        problems=tuple(found.all_problems),
        repaired=done,
        left=tuple(now.all_problems),
        next=following,
    )
