"""Repairs: what each remedy does. Nothing is lost that could be read: versions stay, and manifests are moved aside.

Rows that go are not remembered as deleted, so that whatever brought them brings them again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

from clipdata import hints
from clipdata.checking.doubled import keep_one
from clipdata.checking.finding import Findings, named_by
from clipdata.checking.records import Problem
from clipdata.lance_io import rows
from clipdata.lance_io.damage import DIGEST
from clipdata.lance_io.history import Properties
from clipdata.lance_io.manifests import set_aside, set_file_aside
from clipdata.lance_io.mending import put_back, take_out
from clipdata.lance_io.settling import settle
from clipdata.lance_io.table import Table
from clipdata.lance_io.tag_files import tag_files, write_tag_again
from clipdata.lance_io.tag_lock import alone_with_tags
from clipdata.objects.reading import Body, ObjectReader, Wanted
from clipdata.plurals import counted
from clipdata.schema import image_column
from clipdata.storage import Storage, redact

_AT_ONCE = 64  # pictures that are held while they are put back


def repair(found: Findings, storage: Storage) -> Iterator[str]:
    """Do what mends the problems that can be mended; yields what was done.

    Args:
        found: the problems.
        storage: how to reach the table, and where its pictures came from.
    """
    for place, other in found.beside.items():
        yield from (f"{redact(place)}: {done}" for done in repair(other, storage))
    table = found.table
    if table is None:
        return
    yield from _mend_tags(table, found.problems)
    aside = {one.version for one in found.problems if (one.what, one.remedy) == ("version", "set aside")}
    damaged = [manifest for manifest in found.versions if manifest.version in aside]
    for manifest, target in zip(damaged, set_aside(table.uri, damaged, storage), strict=True):
        yield f"version {manifest.version} was set aside: {redact(target)}"
    yield from _take_out(table, found.problems)
    for problem in found.problems:
        if problem.remedy == "fetch":
            yield from _fetch(table.latest(), problem, storage)
    if any(problem.remedy == "keep one" for problem in found.problems):
        yield from _keep_one(table.latest())
    if found.problems:
        settle(table.latest())


def _mend_tags(table: Table, problems: Sequence[Problem]) -> Iterator[str]:
    """Write damaged tags again whose version is known, and move the files of the others beside the table."""
    remedies = {problem.name: problem.remedy for problem in problems if problem.what == "tag"}
    with alone_with_tags(table.uri):
        for tag in tag_files(table.uri, table.storage):
            version, remedy = named_by(tag), remedies.get(tag.name)
            if tag.fault is not None and remedy == "name again" and version is not None:
                write_tag_again(table, tag.name, version)
                yield f"tag {tag.name} names version {version} again"
            elif tag.fault is not None and remedy == "set aside":
                target = set_file_aside(table.uri, tag.file, f"{tag.name}.json", table.storage)
                yield f"tag {tag.name} is none any more; its file was set aside: {redact(target)}"


def _take_out(table: Table, problems: Sequence[Problem]) -> Iterator[str]:
    removed = {problem.fragment for problem in problems if problem.remedy == "remove"}
    files: dict[int, list[str]] = defaultdict(list)
    emptied = [problem for problem in problems if problem.remedy == "refill" and problem.fragment not in removed]
    for problem in emptied:
        assert problem.fragment is not None
        files[problem.fragment].append(problem.name)
    gone = {one.fragment: one.num_rows for one in problems if one.fragment in removed and one.remedy == "remove"}
    if not files and not gone:
        return
    counts = {"emptied": sum(problem.num_rows for problem in emptied), "removed": sum(gone.values())}
    properties = Properties("check", {"repair": True}, counts, first_version=table.version)
    fragments = [number for number in gone if number is not None]
    made, landed = take_out(table, files, fragments, properties)
    if landed is None:
        yield "nothing was taken out: another writer changed these fragments meanwhile"
        return
    for problem in emptied:
        yield f"{', '.join(problem.columns)}: {problem.num_rows:,} values of fragment {problem.fragment} are null again"
    for number, num_rows in gone.items():
        yield f"removed {counted(num_rows, 'row')} of fragment {number} (version {made.version})"


def _keep_one(table: Table) -> Iterator[str]:
    num = keep_one(table)
    rows.close_verb(
        table.latest(), Properties("check", {"repair": True}, {"removed": num}, first_version=table.version)
    )
    yield f"removed {counted(num, 'row')} beside another of the same key that says as much"


def _fetch(table: Table, problem: Problem, storage: Storage) -> Iterator[str]:
    """Put pictures back that their own place still has, and remove the rows of the others."""
    column, key = image_column(table.schema), table.key
    assert column is not None
    assert key is not None
    named = ", ".join("'" + name.replace("'", "''") + "'" for name in problem.keys)
    told = table.to_table([key, "uri", DIGEST], where=f"`{key}` IN ({named})").to_pylist()
    back, num_back, lost = dict[str, bytes](), 0, list[str]()
    wanted = [Wanted(row, str(row["uri"])) for row in told if row["uri"]]
    lost += [str(row[key]) for row in told if not row["uri"]]
    for one, body in ObjectReader(storage).read(wanted):
        name = str(one.name[key])
        if isinstance(body, Body) and hashlib.sha256(body.data).hexdigest() == one.name[DIGEST]:
            back[name] = body.data
        else:
            lost.append(name)
        if len(back) == _AT_ONCE:
            num_back += put_back(table, column, back)
            back.clear()
    num_back += put_back(table, column, back) if back else 0
    if num_back:
        yield f"{counted(num_back, 'picture was', 'pictures were')} read again from their uri, with the bytes of then"
    if lost:
        done = rows.delete_keys(table, lost)
        yield f"removed {counted(done.deleted, 'row')} whose picture is gone"


def commands_after(table: Table, problems: Sequence[Problem]) -> tuple[str, ...]:
    """What to type once a repair is done."""
    columns = dict.fromkeys(name for one in problems if one.remedy == "refill" for name in one.columns)
    made = [name for name in columns if name in table.schema.names and table.lineage(name) is not None]
    return (hints.refresh(table.uri, made),) if made else ()
