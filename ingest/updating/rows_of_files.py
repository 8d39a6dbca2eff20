"""Rows of files: files of many rows are compared with those the table has taken in, and what is new is taken in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from clipdata.progress import Counter
from clipdata.storage import redact
from ingest.updating.digest_set import KnownRows
from ingest.updating.evidence import Held
from ingest.updating.file_rows import FileRows, Survey, ends_of
from ingest.updating.planning import FilePlan, plan_files
from ingest.updating.sampling import Sampling
from ingest.updating.source import FileSource, Item
from ingest.updating.spool import Spool
from ingest.updating.taken import TakenFile
from ingest.updating.target import Target

_SCANNED_ROWS = 65_536


class RowsOfFiles:
    """One run of a source of files.

    Args:
        target: the table.
        source: of the files.
        sampling: which part is taken in.
    """

    def __init__(self, target: Target, source: FileSource, sampling: Sampling) -> None:
        self.target, self.source, self.sampling = target, source, sampling
        self._taken = self._borne_out(target.taken.files()) if target.table is not None else []
        self._plan = FilePlan()

    @property
    def todo(self) -> Spool:
        """Files to read."""
        return self._plan.todo

    def _borne_out(self, taken: list[TakenFile]) -> list[TakenFile]:
        """Files that were taken in; those whose rows are not all in the table any more are to be read again."""
        if not taken or self.target.table is None:
            return taken
        held = Held(self.target.table)
        return [file if held.bears_out(file) else replace(file, etag="") for file in taken]

    def plan(self, items: Iterator[Item], *, retry_rejects: bool) -> FilePlan:
        """Compare the listing with the files that were taken in."""
        self._plan = plan_files(
            items,
            self._taken,
            self.target.options,
            self.source.covers,
            lambda item: ends_of(self.source, item),
            self.target.rejects,
            lambda item, reject: self.target.refuse(reject, redact(item.where)),
            retry=retry_rejects,
        )
        return self._plan

    def write(self, counter: Counter) -> None:
        """Take in files; when the store goes down, what came before is written all the same."""
        self.survey().take_in(self._plan.todo, self.target, counter)

    def settle(self) -> int:
        """Let go of refusals that no longer hold; say how many stand that this run did not look at again."""
        if not self.sampling.is_whole:
            self.target.flush()
            return 0

        def stays(key: str, scope: str) -> bool:
            if scope in self.target.read:
                return False
            if scope in self._plan.places:
                return key not in self._plan.good
            return not self.source.covers(scope)

        return self.target.rejects.settle(stays, is_own=self._plan.places.__contains__)

    def survey(self) -> FileRows:
        """How the files of the plan are taken in."""
        return FileRows(self.source, self._look(), self.sampling, self.target.options)

    def _look(self) -> Survey:
        survey, present = Survey(), self.target.table
        if present is None or not len(self._plan.todo):
            return survey
        to_read = {item.key for item in self._plan.todo}
        own = {file.key for file in self._taken} | to_read
        unread = own - to_read
        has = set(present.schema.names)
        columns = [self.target.key, *(name for name in ("source", "etag") if name in has)]

        def rows_to_read() -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
            for batch in present.scan(columns, batch_rows=_SCANNED_ROWS):
                nothing: list[Any] = [None] * batch.num_rows
                keys = batch.column(0).to_pylist()
                sources = batch.column("source").to_pylist() if "source" in columns else nothing
                etags = batch.column("etag").to_pylist() if "etag" in columns else keys
                survey.sources.update(source for source in sources if source is not None)
                survey.foreign.add([key for key, source in zip(keys, sources, strict=True) if source not in own])
                survey.others.add([key for key, source in zip(keys, sources, strict=True) if source in unread])
                again = [at for at, source in enumerate(sources) if source in to_read]
                yield [keys[at] for at in again], [etags[at] for at in again], [sources[at] for at in again]

        survey.rows = KnownRows(rows_to_read())
        return survey
