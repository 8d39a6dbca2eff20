"""The ledger of a run on many machines: what workers tell of their portions, put into the table and written down.

Rows that are new go in some seconds of work at once, in one commit; what is kept beside the table follows, as if the
driver had read the items itself. A worker that was lost has told nothing, so nothing counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from clipdata.engines.packing import unpack_error
from clipdata.lance_io.inserting import NewRows
from clipdata.lance_io.rows import Written
from ingest.updating.newcomers import Newcomers
from ingest.updating.source import Reject, Source
from ingest.updating.taken import SeenRow, TakenFile
from ingest.updating.target import Target


@dataclass
class Told:
    """What came of a portion.

    Args:
        rejects: refusals, with the scope that each is kept under.
        seen: contents that were compared.
        files: that were taken in.
        new: rows that are written, and that the table does not have yet.
        read: places of files that were read.
        written: rows.
        num_rows: that could be used.
        num_gone: items that were gone.
        num_left_out: rows that were deleted by hand.
        notes: what the source counted while it read.
        fault: of the store, packed; what came before is written.
    """

    rejects: list[tuple[Reject, str]] = field(default_factory=list)
    seen: list[SeenRow] = field(default_factory=list)
    files: list[TakenFile] = field(default_factory=list)
    new: list[NewRows] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    written: Written = field(default_factory=Written)
    num_rows: int = 0
    num_gone: int = 0
    num_left_out: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    fault: bytes | None = None


class Ledger:
    """Puts into the table what workers wrote, some seconds of it at once, and writes down what they told.

    Args:
        target: made, where it was not there.
        source: of the rows.
    """

    def __init__(self, target: Target, source: Source) -> None:
        self._target, self._source = target, source
        self._newcomers = Newcomers(target.make().latest(), target.start)
        self._held: list[Told] = []

    def enter(self, told: Told) -> None:
        """Take up what a worker tells of a portion.

        Raises:
            TransientError: the store went down while it worked; what came before is in the table.
            TooManyRejectsError: so much is refused that going on makes no sense.
        """
        self._held.append(told)
        self._newcomers.hold(told.new)
        if told.fault is not None or self._newcomers.is_due:
            self._write()
        if told.fault is not None:
            raise unpack_error(told.fault)

    def close(self) -> None:
        """Write what is held, and move the target to the newest version."""
        self._write()
        self._target.flush()
        self._target.catch_up()

    def _write(self) -> None:
        held, self._held = self._held, []
        self._target.enter(self._newcomers)
        for told in held:
            self._write_down(told)

    def _write_down(self, told: Told) -> None:
        """Keep what a worker tells; refusals first, for nobody looks again at a file that was taken in."""
        target = self._target
        target.written += told.written
        target.num_rows += told.num_rows
        target.num_gone += told.num_gone
        target.read |= told.read
        target.deleted.num_left_out += told.num_left_out
        add = getattr(self._source, "add", None)
        if callable(add) and told.notes:
            add(told.notes)
        for reject, scope in told.rejects:
            target.refuse(reject, scope)
        target.flush()
        version = self._newcomers.version
        target.keep_files(replace(file, at=max(file.at, version)) for file in told.files)
        target.keep_seen(told.seen)
