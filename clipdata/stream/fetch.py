"""Reading the rows of batches: a window at a time, in the order the rows lie on disk, handed out batch by batch.

While the batches of one group of rows are handed out, the next group is read, as far as this one is used up: so
requests are spread over the time, two groups are held at the most, and nobody waits at the end of a window. On a disk
the first group is one batch, and each is twice as long as the one before, up to a window; on a remote store, where each
request costs time and groups of few rows cost as many of them, a group is a whole window from the first.
It knows Table and Arrow; it must not know torch, nor why the rows come in this order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.lance_io.table import Table
from clipdata.objects.references import SIZE, URI, References
from clipdata.schema import image_column
from clipdata.storage import is_remote
from clipdata.stream.groups import Group, Part, Slot, Waiting, parts_of
from clipdata.stream.pieces import views_of
from clipdata.stream.sources import Keep, TableSources
from clipdata.stream.windows import WINDOW_BYTES

GROUP_BYTES = WINDOW_BYTES * 5 // 4  # a window is sized by what its rows weigh in the mean
FULL = 0.9  # of it is as much as a group is made for; what rows weigh varies
PLACE = "clipdata.place"


@dataclass(frozen=True)
class Fetched:
    """The rows of a slot.

    Args:
        rows: of all columns but those of bytes.
        encoded: column of bytes → each row's bytes, as a view of the memory they were read into; None for a null.
        unread: place in the slot → why the file that holds the row's image could not be read.
    """

    slot: Slot
    rows: pa.Table
    encoded: Mapping[str, list[pa.Buffer | None]] = field(default_factory=dict)
    unread: Mapping[int, ImageRefused] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of the rows' values."""
        views = (view for column in self.encoded.values() for view in column if view is not None)
        return int(self.rows.nbytes) + sum(view.size for view in views)


class Fetcher:
    """Reads slots in groups that grow up to a whole window, within a bound of bytes.

    Memory: two groups, and the piece at hand of each thread that reads (one on a disk). A window that `sizes_for` made
    is a group.

    Args:
        table: pinned to a version.
        columns: names to read.
        check: looks at the rows of a slot as they are in the table, before files are read for images.
        keep: what reads some columns from where they are kept on this machine; None reads the table each time.
        row_bytes: mean stored bytes of a row, where they are known.
        group_bytes: most bytes to hold of one group; a single slot may be heavier.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        *,
        check: Callable[[Fetched], None] | None = None,
        keep: Keep | None = None,
        row_bytes: float | None = None,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._table = table
        self._sources = TableSources(table, columns, group_bytes, keep, row_bytes)
        self._check = check
        self._group_bytes = group_bytes
        self._row_bytes = self._sources.row_bytes
        self._most_rows: float = np.inf if is_remote(table.uri) else 1  # of the next group
        image = image_column(table.schema)
        self._image = image if image in columns and URI in columns else None
        self._parts: deque[Part] = deque()

    def read(self, slots: Iterable[Slot]) -> Generator[Fetched, None, None]:
        """Yield every slot with its rows, in order; images that rows only refer to are filled in.

        Raises:
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        found = self._checked(slots)
        if self._image is None:
            yield from found
            return
        references, image = References(self._table.storage), self._image
        for one, filled in references.filled((one, self._missing(one, image)) for one in found):
            unread: dict[int, ImageRefused] = {}
            for place, uri, view in zip(*_of_files(filled, image), strict=True):
                if view is not None:
                    one.encoded[image][place] = view
                elif (reason := references.unread.get(uri)) is not None:
                    unread[place] = ImageRefused(reason.reason, reason.detail)
            yield replace(one, unread=unread)

    def _checked(self, slots: Iterable[Slot]) -> Generator[Fetched, None, None]:
        for waiting in self._waiting(iter(slots)):
            found = Fetched(waiting.slot, *self._sources.rows_of(waiting))
            if self._check is not None:
                self._check(found)
            yield found

    def _waiting(self, slots: Iterator[Slot]) -> Generator[Waiting, None, None]:
        """Yield slots whose rows are there, while those of the next group are read."""
        with ThreadPoolExecutor(self._sources.at_once, thread_name_prefix="clipdata-read") as pool:
            try:
                group = self._begin(slots, pool)
                while group is not None:
                    self._finish(group)
                    following = self._begin(slots, pool)
                    for number, part in enumerate(group.parts, 1):
                        if following is not None:
                            following.advance(number / len(group.parts))
                        part.waiting.parts.append((group.sources, part.places))
                        if part.ends:
                            yield part.waiting
                    group = following
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, slots: Iterator[Slot], pool: Executor) -> Group | None:
        """The next group, of which nothing is read yet; None at the end."""
        most_rows = min(self._most_rows, FULL * self._group_bytes / self._row_bytes)
        parts: list[Part] = []
        num_rows, window = 0, None
        while True:
            if not self._parts:
                if (slot := next(slots, None)) is None:
                    break
                self._parts.extend(parts_of(slot))
            part = self._parts[0]
            is_of_another = None not in (window, part.window) and part.window != window
            if parts and (is_of_another or num_rows + len(part.places) > most_rows):
                break
            parts.append(self._parts.popleft())
            num_rows += len(part.places)
            window = part.window if window is None else window
        bound, at_once = self._group_bytes, self._sources.at_once
        return Group(parts, self._sources, most_bytes=bound, pool=pool, at_once=at_once) if parts else None

    def _finish(self, group: Group) -> None:
        """Wait for a group, and let the next be twice as long, by what rows weighed in this one."""
        self._parts.extendleft(reversed(group.finish()))
        self._sources.learn(group.sources)
        if group.num_rows:
            self._row_bytes = max(group.num_bytes / group.num_rows, 1.0)
            self._most_rows = max(2 * group.num_rows, self._most_rows)

    def _missing(self, found: Fetched, image: str) -> pa.Table:
        """Rows that have a file instead of bytes: what `References` needs of them, and their places in the slot."""
        places = [place for place, view in enumerate(found.encoded[image]) if view is None]
        schema = self._table.schema
        rows = found.rows.select([URI, *(name for name in (SIZE,) if name in found.rows.column_names)])
        rows = rows.take(pa.array(places, pa.int64())).append_column(PLACE, pa.array(places, pa.int64()))
        return rows.append_column(schema.field(image), pa.nulls(len(places), schema.field(image).type))


def _of_files(rows: pa.Table, image: str) -> tuple[list[int], list[str], list[pa.Buffer | None]]:
    """Places, locations and bytes of rows that have a file."""
    views = views_of(rows.column(image))
    return rows.column(PLACE).to_pylist(), rows.column(URI).to_pylist(), views
