"""The job that runs a source into a table: what is new or changed is read and written by key, unit by unit.

A unit is committed as soon as it is read, new rows of a large table with those of the same ten seconds, so a killed job
loses no more than that; the next run lists again, compares etags, and reads only what is missing. Rows that cannot be
used go to the rejects table beside the table, with a reason, and are tried again when they change, when an option that
refused them changes, or on request. This module knows sources and tables, and no particular source.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from clipdata.errors import TransientError, UsageError
from clipdata.lance_io.history import Properties, properties_of
from clipdata.lance_io.settling import settle
from clipdata.progress import Counter, Progress, Silent
from clipdata.storage import Storage, redact
from ingest.updating.deleted import NOTE
from ingest.updating.outcome import Ingested
from ingest.updating.planning import FilePlan, Plan
from ingest.updating.rows_of_files import RowsOfFiles
from ingest.updating.rows_of_items import RowsOfItems
from ingest.updating.sampling import Sampling
from ingest.updating.source import Item, Source
from ingest.updating.target import Target

if TYPE_CHECKING:
    from clipdata.engines.task import Engine


def ingest(
    source: Source,
    into: str | os.PathLike[str],
    *,
    storage: Storage | None = None,
    prefix: str = "",
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    dry_run: bool = False,
    retry_rejects: bool = False,
    max_rejects: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Ingested:
    """Bring a table up to date with a source.

    Args:
        source: see `ingest.updating.source`.
        into: location of the table; made when it is not there.
        storage: how to reach it.
        prefix: folder to put before every key, which tells this source's rows from those of another one.
        limit: take in the first so many rows only.
        sample: take in so many rows only, the same ones every time.
        seed: another seed samples other rows.
        dry_run: say what would be read, and write nothing.
        retry_rejects: try again what was refused before and has not changed.
        max_rejects: raise when more rows than this (below 1: than this share) are refused; the rows that can be used
            are written all the same. Of 100,000 refusals and more the job stops there; without a bound it does so when
            95 % of what it looked at is refused.
        parameters: for the log.
        engine: where items are read and rows written; by default in this process. With `clipdata.RayEngine` the workers
            of a cluster do it; what the listing says is planned here.
        progress: watches the items go by.

    Raises:
        TooManyRejectsError: see `max_rejects`.
        TransientError: the store failed, or most of what was listed was gone when it was to be read.
        SchemaError: the table has another key, or a column of a type that does not hold the source's.
    """
    began_s = time.monotonic()
    sampling = Sampling(limit, sample, seed)
    target = Target(into, storage or Storage(), source, max_rejects=max_rejects)
    rows_ = _run_of(source, target, prefix, sampling)
    items = _prefixed(source.items(), prefix)
    first = list(islice(items, 1))  # before the table is made: a missing source leaves nothing behind
    watch = progress or Silent()
    with watch.task(f"listing {source.kind}", None, "items"):
        plan = rows_.plan(chain(first, items), retry_rejects=retry_rejects)
    if not dry_run:
        with target.making(), watch.task(f"ingest {source.kind}", len(plan.todo), "items") as counter:
            _write(rows_, target, engine, counter)
        plan.refused_before = rows_.settle()
        said = {"from": redact(source.origin), **({"prefix": prefix} if prefix else {})}
        _close(target, f"ingest {source.kind}", {**(parameters or {}), **said})
    done = _outcome(source, target, plan, dry_run=dry_run, seconds=time.monotonic() - began_s)
    _check_gone(source, target, plan)
    target.check(plan.refused_before)
    return done


def _write(run: RowsOfItems | RowsOfFiles, target: Target, engine: Engine | None, counter: Counter) -> None:
    from clipdata.engines.ray import RayEngine

    if isinstance(engine, RayEngine):
        from ingest.updating.portions import take_in

        take_in(engine, run, target, counter)
    else:
        run.write(counter)


def _run_of(source: Source, target: Target, prefix: str, sampling: Sampling) -> RowsOfItems | RowsOfFiles:
    if source.grain == "row":
        scope = redact(source.origin) + (f"#{prefix}" if prefix else "")
        return RowsOfItems(target, source, scope, sampling, prefix=prefix)
    return RowsOfFiles(target, source, sampling)


def _prefixed(items: Iterator[Item], prefix: str) -> Iterator[Item]:
    """Items under a folder of their own.

    Raises:
        UsageError: the prefix is no name of a folder.
    """
    folder = prefix.strip("/")
    if prefix and (not folder or any(part in ("", ".", "..") for part in folder.split("/"))):
        raise UsageError(f"prefix={prefix!r}; expected the name of a folder, such as 'day1'")
    return (replace(item, key=f"{folder}/{item.key}") for item in items) if folder else items


def _check_gone(source: Source, target: Target, plan: Plan) -> None:
    """Tell a source that went away while it was read from one that lacks some files.

    Raises:
        TransientError: most of what was listed, and not known, was gone when it was to be read.
    """
    if target.num_gone > max(plan.listed - plan.unchanged, 1) / 2:
        raise TransientError(
            f"{target.num_gone:,} of {plan.listed:,} items of {redact(source.origin)} were listed, and gone when they "
            f"were to be read; what could be read was written",
            hint="look whether the folder or bucket is still there, and type the same command again",
        )


def _close(target: Target, verb: str, parameters: dict[str, Any]) -> None:
    """Mark the end of the verb, unless nothing happened; an earlier run that was killed is closed by this one."""
    table = target.make()
    if not target.written.any and not target.rejects.num_written:
        table.move_to(table.latest())
        settle(table)  # an earlier run may have died between its commit and this
        if table.num_rows == 0 or properties_of(table) is not None:
            return
    counts = {name: getattr(target.written, name) for name in ("inserted", "updated", "deleted")}
    counts["refused"] = target.refused.total()
    properties = Properties(verb, parameters, counts, first_version=target.first_version)
    target.close(properties)


def _outcome(source: Source, target: Target, plan: Plan, *, dry_run: bool, seconds: float) -> Ingested:
    renamed = plan.renamed if isinstance(plan, FilePlan) else {}
    notes = dict(source.notes())
    if renamed:
        where, key = next(iter(renamed.items()))
        notes["renamed files, known by their content"] = f"{len(renamed):,} (such as {redact(where)}, which was {key})"
    if target.deleted.num_left_out:
        notes[NOTE] = f"{target.deleted.num_left_out:,} (clipdata delete --forget lets them come back)"
    notes |= target.admission.notes()
    return Ingested(
        opened=target.table,
        where=target.uri,
        items="rows" if source.grain == "row" else "files",
        listed=plan.listed,
        unchanged=plan.unchanged,
        read=len(plan.todo),
        read_bytes=plan.todo_bytes,
        written=target.written,
        num_rows=target.num_rows,
        refused=dict(target.refused),
        examples=dict(target.examples),
        refused_before=plan.refused_before,
        num_vanished=plan.num_vanished,
        vanished=plan.vanished,
        notes=notes,
        dry_run=dry_run,
        seconds=seconds,
    )
