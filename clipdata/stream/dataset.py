"""Stream: a table as a resumable, shuffled, sharded torch dataset of batches.

    for batch in Stream(table, ["image", "label_ind"], batch_size=64, prepare=encoder.prepare): ...

A batch is a dict:

    <image column>    uint8 [B, 3, H, W]                <number column>          tensor [B]
    <vector column>   tensor [B, T]                     <text or texts column>   list of B
    tokens            int64 [B, L] for one text a row; for a list of texts a row int64 [distinct texts of the batch, L]
    text_index        int64 [all texts of the batch]: the place of each in `tokens`  (lists of texts only)
    text_counts       int64 [B]: texts of each row                                   (lists of texts only)
    offsets           int64 [B], positions among the table's live rows
    cursor            (epoch, batch) of the batch that comes next
    left_out          reason → offsets of rows whose image cannot be used            (on_bad_image="leave_out" only)

Every rank gets the same number of batches. With drop_last=False, or when rows are left out, a batch may hold no row;
its tensors then have the shapes of any other batch with B = 0.

The order is that of `plan`. Ways to go on where a run stopped, none of which reads a row again:

    in one process, or load()   stream.state_dict() after any batch; stream.load_state_dict(state) before iterating
    DataLoader                  the newest batch's cursor, as stream.load_state_dict({"epoch": …, "batch": …})
    StatefulDataLoader (torchdata)   its own state_dict() and load_state_dict(), which call the stream's in each worker,
                                for as many workers; for another number, or another loader:
    any of them, on any ranks   stream.load_state_dict(Stream.merge_states([one of each rank, or of each worker]))

`loader.load(stream, num_workers)` is the way to use worker processes; a plain
`DataLoader(stream, batch_size=None, num_workers=…, multiprocessing_context="forkserver")` works as well (a stream makes
whole batches itself), with `set_epoch` called before every epoch, which workers that live on hear.

With `batch_size=None` a stream yields single rows as dicts of the same entries without B (and without `cursor`;
`tokens` of a list of texts is [texts of the row, L]), for whatever makes batches by itself:
`DataLoader(stream, batch_size=32, num_workers=…)`, or a Trainer, which shares rows out among its processes too and
wants `rank=0, world_size=1`. Each row comes once, whatever the number of workers.

Pixels are what `prepare` makes of them, or what `map prepared-pixels` stored for it (see `prepared`). Training streams
`encoder.prepare.with_fidelity("fast")`, which may differ from open_clip's own transform by a level, and whoever stores
values uses the exact one.
This module must not know models or training.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from clipdata.arguments import check_able, check_count, check_kind
from clipdata.encoder.augmentation import Augmentation
from clipdata.errors import ConfigError, UsageError
from clipdata.lance_io.data_files import digest_of_files
from clipdata.lance_io.kept_rows import Cache, mean_row_bytes
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.storage import redact
from clipdata.stream import evenness
from clipdata.stream.apart import Apart, check_apart, window_for
from clipdata.stream.assembly import OnBadImage, Request, Tokenize, second_batching
from clipdata.stream.decode import Prepare
from clipdata.stream.decode_gpu import check_device
from clipdata.stream.evenness import Mixing
from clipdata.stream.fetch import Fetched
from clipdata.stream.plan import Cursor, Plan, Shuffle, check_ranks, worker_batches
from clipdata.stream.position import Lane, Place, Position
from clipdata.stream.prepared import OFFSETS_AT_ONCE, augmented, pixel_sources
from clipdata.stream.rows import Rows
from clipdata.stream.shares import Shares, Watch
from clipdata.stream.sharing import refuse_second_sharing
from clipdata.stream.span import Span
from clipdata.stream.state import State, checked_cursor, identity_of_plan, merged
from clipdata.stream.turns import Turn, Turns
from clipdata.stream.windows import chosen_sizes


class Stream(IterableDataset[Any]):
    """Batches of a table's rows, in an order that depends on table version, filter, seed and epoch alone.

    Args:
        table: pinned to a version; workers open it by themselves.
        columns: what a batch holds; as a mapping, entry of the batch → column of the table.
        batch_size: rows of a batch over all ranks; a rank gets batch_size / world_size. None yields single rows.
        where: SQL condition on the rows.
        rows: int64 offsets of the rows instead, each once; `where` then only words messages.
        seed: of the order.
        shuffle: True shuffles clumps of neighbouring rows, and rows in windows of many clumps. "rows" shuffles each row
            by itself, which costs about a request a row, and so is for tables on a disk. False keeps the table's order.
        epoch: the first epoch to iterate.
        until_epoch: iterate up to this epoch, this one left out, without a pause between epochs; one epoch by default.
        rank, world_size: of this process; torchrun's RANK and WORLD_SIZE by default.
        drop_last: leave out the rows that do not fill a batch: `num_dropped` of them an epoch, others in each.
        prepare: what makes a model's uint8 [3, H, W] of decoded pixels; needed for image columns. Workers get a
            pickled copy.
        prepared: True reads a column that `map prepared-pixels` filled in place of the images, where one fits; False
            decodes; a name is held to fit. `pixels` says where they come from.
        augment: random crops, mirror images and colours, drawn for seed, epoch and row alone.
        texts, tokenize: the column to tokenize, and what does it.
        on_bad_image: "refuse" ends with an error that names the row. "leave_out" takes a row whose image is missing or
            damaged out of its batch and counts it in `left_out`; no rank gets fewer batches by it.
        num_threads: images decoded at the same time; by default this process's share of the machine's cores.
        device: "cuda" decodes and resizes there, where batches then are; "cpu" does the same here. Pixels are off by a
            level in places, and the stream is read in its own process: see `decode_gpu`.
        clump_rows, window_rows: see `plan`; by default what the stored bytes of a row of the columns that are read make
            of them at this version (`windows`), so that few requests read them. They are part of the order, and of
            states.
        apart: a column of ids. No two rows of a batch share one, where rows of the same window can be exchanged for it;
            the others are counted in `num_together`. A null is no id. Reads the column when the stream is made, holds
            four bytes a streamed row, and makes windows of at least 16 batches.
        cache: where to keep what is read, for the next epoch; by default where the table's storage says
            (`cache_folder`), or nowhere. See `clipdata.lance_io.kept_rows`.

    Raises:
        SchemaError: a column is missing.
        UsageError: a column takes a name that a batch needs for itself, or an argument is wrong.
        ConfigError: too few rows for one batch, or the ranks cannot share a batch evenly.
    """

    def __init__(
        self,
        table: AnyTable,
        columns: Sequence[str] | Mapping[str, str],
        *,
        batch_size: int | None,
        where: str | None = None,
        rows: Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
        shuffle: Shuffle = True,
        epoch: int = 0,
        until_epoch: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = True,
        prepare: Prepare | None = None,
        prepared: bool | str = True,
        augment: Augmentation | None = None,
        texts: str | None = None,
        tokenize: Tokenize | None = None,
        on_bad_image: OnBadImage = "refuse",
        num_threads: int | None = None,
        device: str | None = None,
        clump_rows: int | None = None,
        window_rows: int | None = None,
        apart: str | None = None,
        cache: Cache | None = None,
    ) -> None:
        rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        world_size = int(os.environ.get("WORLD_SIZE", "1")) if world_size is None else world_size
        if batch_size is not None:
            check_count(batch_size, "stream: batch_size", least=1)
        check_count(seed, "stream: seed", least=None)
        if until_epoch is not None:
            check_count(until_epoch, "stream: until_epoch")
        if num_threads is not None:
            check_count(num_threads, "stream: num_threads", least=1)
        check_kind(drop_last, bool, "stream: drop_last", "drop_last=False also gives the rows that do not fill a batch")
        check_able(prepare, "stream: prepare", ("__call__",), "prepare=encoder.prepare")
        if cache is not None:
            check_kind(cache, Cache, "stream: cache", 'Cache("/scratch/kept", max_bytes=50 * 10**9)')
        self._of_samples = batch_size is None
        turn_rows = world_size if batch_size is None else batch_size  # single rows: one for each rank in a turn
        check_ranks(turn_rows, rank, world_size)
        request = Request.of(columns, texts, tokenize, on_bad_image)
        # Another handle, because the caller's moves to a newer version when a column is mapped through it.
        self._table = table = as_table(table).pinned()
        request.check(table, can_prepare=prepare is not None)
        chosen = Rows.of(table, where, rows)
        prepare = prepare if augment is None else augmented(prepare, augment)
        where_decoded = None if device is None else check_device(device, prepare)
        self.pixels = pixel_sources(
            table, request.images(table), prepare, prepared, partial(chosen.selection.batches, OFFSETS_AT_ONCE)
        )
        request = request.reading(self.pixels)
        cache = Cache.of(table.storage, table.uri) if cache is None else cache
        row_bytes = mean_row_bytes(table, request.read_columns(table), cache)
        clump_rows, window_rows = chosen_sizes(clump_rows, window_rows, row_bytes)
        if apart is not None:
            table.require([apart], verb="stream")
            check_apart(apart, shuffle=shuffle, batch_size=batch_size)
            window_rows = window_for(turn_rows, window_rows)
        self.plan = Plan(len(chosen), int(turn_rows), int(seed), shuffle, drop_last, clump_rows, window_rows)
        if not self.plan.num_batches:
            found = f"{len(chosen):,} rows are to be streamed; expected at least one batch"
            found = found if batch_size is None else f"batch_size is {batch_size}, and {found}"
            hint = f"use a batch_size of at most {len(chosen)}" if len(chosen) else _why_no_row(table, rows)
            raise ConfigError([found + (f" (where {where})" if where else "")], what="stream", hint=hint)
        self._turns = Turns(
            rows=chosen,
            request=request,
            plan=self.plan,
            apart=None if apart is None else Apart.read(apart, chosen.values(apart), len(chosen)),
            rank=rank,
            world_size=world_size,
            of_samples=self._of_samples,
            prepare=prepare,
            num_threads=num_threads,
            device=where_decoded,
            row_bytes=row_bytes,
            cache=cache,
        )
        self._begin_anew(Span(checked_cursor(epoch, 0).epoch, until_epoch=until_epoch))

    def _begin_anew(self, span: Span) -> None:
        """Stand at the beginning, having met no row."""
        self._span = span
        self._position = Position(Cursor(span.first_epoch, 0))
        self._left_out: dict[str, set[Any]] = {}
        self._watch = Watch()
        self._num_together = 0
        self._home = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        refuse_second_sharing(self._turns.world_size)
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._home = os.getpid()

    def __len__(self) -> int:
        """Batches (or single rows) of an iteration: of one epoch, or of all those that follow without a pause."""
        if self._span.is_endless:
            raise TypeError("a stream that repeats without an end has no length; take(n) gives it one")
        epoch, total = self._position.start.cursor.epoch, self.plan.num_batches
        return max(self._span.stop(self._span.until(epoch), total) - epoch * total, 0)

    def __repr__(self) -> str:
        plan = self.plan
        size = "single rows" if self._of_samples else f"batches of {plan.batch_size:,}"
        dropped = f", {plan.num_dropped:,} rows left out of each" if plan.num_dropped else ""
        return (
            f"<Stream of {redact(self._table.uri)} version {self._table.version}: {plan.num_rows:,} rows, "
            f"{plan.num_batches:,} {size} an epoch{dropped}>"
        )

    def take(self, num_batches: int) -> Stream:
        """The same stream, ended early, from its beginning.

        Args:
            num_batches: of each epoch (or single rows of this rank), the first ones in its order; all epochs follow one
                another at this length. Of a repeated stream: of all its epochs together.
        """
        check_count(num_batches, "take: num_batches", least=1)
        if self._span == Span(self._span.first_epoch):
            taken = num_batches if self.plan.take is None else min(num_batches, self.plan.take)
            return self._changed(replace(self.plan, take=taken), self._span)
        turns = num_batches if self._span.turns is None else min(num_batches, self._span.turns)
        span = replace(self._span, turns=turns)
        if self._span.is_endless:  # an iteration ends now, and the next one wants an epoch to begin in
            span = replace(span, epochs=-(-turns // self.plan.num_batches))
        return self._changed(self.plan, span)

    def repeat(self, num_epochs: int | None = None) -> Stream:
        """The same stream, an iteration of which goes through several epochs without a pause, from its beginning.

        Args:
            num_epochs: None goes on without an end.

        Raises:
            UsageError: it was repeated before, in whole or in part, or has an `until_epoch`.
        """
        if num_epochs is not None:
            check_count(num_epochs, "repeat: num_epochs", least=1)
        if self._span != Span(self._span.first_epoch):
            raise UsageError(
                "this stream goes through several epochs already; expected one that does not",
                hint="stream.take(10).repeat(3) gives ten batches of each epoch; Stream(…, until_epoch=None) one epoch",
            )
        return self._changed(self.plan, replace(self._span, epochs=num_epochs))

    def _changed(self, plan: Plan, span: Span) -> Stream:
        stream = copy.copy(self)
        stream.plan, stream._turns = plan, replace(self._turns, plan=plan)
        stream._begin_anew(span)
        return stream

    @property
    def num_dropped(self) -> int:
        """Rows that each epoch leaves out because they do not fill a batch, which `drop_last` is for."""
        return self.plan.num_dropped

    @property
    def num_together(self) -> int:
        """Rows met so far that share their id with an earlier row of their batch, over all ranks; see `apart`.

        Those of batches that workers made count when the stream is iterated through `load`.
        """
        return self._num_together

    def mixing(self, column: str, *, batch_rows: int | None = None, epoch: int = 0, most_batches: int = 64) -> Mixing:
        """Measure how well an epoch's order mixes the values of a column, such as the classes of a sorted table.

        It reads the column of all streamed rows, and holds 16 bytes a distinct value.

        Args:
            column: of the table.
            batch_rows: rows of a batch over all ranks; the stream's own by default.
            epoch: whose order.
            most_batches: batches to look at, evenly over the epoch.

        Raises:
            UsageError: a stream of single rows has no batches, and `batch_rows` does not say how large they are.
        """
        if batch_rows is None and self._of_samples:
            raise UsageError("a stream of single rows has no batches", hint=f"stream.mixing({column!r}, batch_rows=64)")
        size = self.plan.batch_size if batch_rows is None else batch_rows
        check_count(size, "mixing: batch_rows", least=1)
        check_count(epoch, "mixing: epoch")
        check_count(most_batches, "mixing: most_batches", least=1)
        self._table.require([column], verb="mixing")
        rows, order = self._turns.rows, self._turns.order(epoch)
        return evenness.measure(column, rows, order, size, most_batches=most_batches)

    @property
    def table(self) -> Table:
        """The table, at the version that is streamed."""
        return self._table

    @property
    def left_out(self) -> dict[str, int]:
        """Reason → number of rows that were left out so far because their image cannot be used.

        A row counts once, in however many epochs it is met. Rows met by workers count when the stream is iterated
        through `load`; a plain DataLoader's batches carry them in their entry `left_out`.
        """
        return {reason: len(offsets) for reason, offsets in sorted(self._left_out.items())}

    @property
    def shares(self) -> Shares:
        """Where the time of the newest iteration went, so far: waiting, reading, decoding; and how much came.

        What workers did counts when the stream is iterated through `load`.
        """
        return self._watch.shares()

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration at the start of an epoch, in workers as well.

        Right after `load_state_dict`, the epoch that the state stands in goes on where it does: loops and trainers say
        the epoch before each one, also before the one that they resume.
        """
        if not self._position.resumes(epoch):
            self._position.tell(Place(Cursor(epoch, 0)))

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: the next batch, and what the order depends on. It names no rank and no worker.

        For single rows `batch` is the next row, over all ranks.
        """
        now = self._position.now
        return State(Cursor(now.cursor.epoch, now.cursor.batch * self._unit), now.lane, self._identity()).written()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken, on any number of ranks and workers.

        Args:
            state: of `state_dict` or `merge_states`, or just {"epoch": …, "batch": …} of a batch's cursor.

        Raises:
            ConfigError: the state is of another table, version, filter or plan, or stands at no place of this stream.
        """
        found = State.read(state)
        found.check(self._identity())
        place = Place(found.cursor_in(self.plan.num_batches, self._unit), found.lane)
        self._position.tell(place, resumes=True)

    @staticmethod
    def merge_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make one state of several, which any number of ranks and workers can load.

        Ranks step together, so that all stand at the same batch; workers take turns, and the stream stands where the
        slowest of them does.

        Args:
            states: of each rank's stream, or of each rank's torchdata StatefulDataLoader, with any number of workers.

        Raises:
            ConfigError: they are of different streams; or they stand at different places, so that some rows would come
                twice or never.
        """
        return merged(states)

    def __iter__(self) -> Iterator[Any]:
        # The loop that collects items for a DataLoader's own batches; it would also take those of a Trainer.
        asking = sys._getframe(1).f_locals.get("self")
        if not self._of_samples and getattr(asking, "auto_collation", False):
            raise second_batching()
        refuse_second_sharing(self._turns.world_size)
        return self._items(self.turns())

    @staticmethod
    def _items(turns: Generator[Turn, None, None]) -> Generator[Any, None, None]:
        with closing(turns):
            for turn in turns:
                if turn.item is not None:
                    yield turn.item

    def turns(self) -> Generator[Turn, None, None]:
        """Begin an iteration, and hand out turn by turn: what `load` needs to follow in the stream it was given."""
        worker, num_workers = self._worker()
        begun, until = self._position.begin(self._span.until)
        total = self.plan.num_batches
        first = begun.cursor.epoch * total + begun.cursor.batch + worker
        if begun.lane is not None:
            first -= worker
            if begun.lane[0] != num_workers:
                raise UsageError(
                    f"the state was taken with {begun.lane[0]} workers, and there are {num_workers} now",
                    hint="stream.load_state_dict(Stream.merge_states([state of the loader])) goes on with any number",
                )
        lane = (num_workers, until) if get_worker_info() else None
        if lane is not None:
            self._position.move(Place(self._turns.cursor(first), lane))
        numbers = worker_batches(first, self._span.stop(until, total), 0, num_workers)
        return self._follow(self.watched(self._turns.read(numbers)), lane, until)

    def fetched(self) -> Generator[Fetched, None, None]:
        """Read the rows from where the stream stands, as they are in the table; the stream does not move by it."""
        place, total = self._position.start.cursor, self.plan.num_batches
        first = place.epoch * total + place.batch
        return self._turns.fetched(range(first, self._span.stop(self._span.until(place.epoch), total)))

    def watched(self, turns: Iterator[Turn]) -> Generator[Turn, None, None]:
        """Yield the turns of an iteration that begins, and measure it; see `shares`."""
        self._watch = watch = Watch()
        for turn in watch.over(turns):
            watch.work += turn.work
            yield turn

    def hear(self, turn: Turn) -> bool:
        """Stand behind a turn that a worker's copy handed out; tell whether it is the last of the iteration."""
        self._count(turn)
        until = self._span.until(self._position.start.cursor.epoch)
        if turn.number + 1 == self._span.stop(until, self.plan.num_batches):
            self.hear_end()
            return True
        self._position.move(Place(self._turns.cursor(turn.number + 1)))
        return False

    def hear_end(self) -> None:
        """Stand where the next iteration begins, after workers came to the end of this one."""
        self._position.end(self._span.until(self._position.start.cursor.epoch), warn_of_repeats=False)

    def _follow(self, turns: Generator[Turn, None, None], lane: Lane | None, until: int) -> Generator[Turn, None, None]:
        stop, ended = self._span.stop(until, self.plan.num_batches), False
        with closing(turns):
            for turn in turns:
                self._count(turn)
                # Whoever knows the length does not ask for more than the last turn to learn that it was.
                ended = lane is None and turn.number + 1 == stop
                if ended:
                    self._position.end(until, warn_of_repeats=False)
                else:
                    following = turn.number + (1 if lane is None else lane[0])
                    self._position.move(Place(self._turns.cursor(following), lane))
                yield turn
        if not ended:
            self._position.end(until, warn_of_repeats=bool(self.plan.shuffle))

    def _count(self, turn: Turn) -> None:
        self._num_together += turn.num_together
        for reason, offsets in turn.left_out.items():
            self._left_out.setdefault(reason, set()).update(offsets)

    def _worker(self) -> tuple[int, int]:
        info = get_worker_info()
        if info is not None and self._turns.device is not None and self._turns.device.type == "cuda":
            raise UsageError(
                "this stream decodes on a GPU, which worker processes cannot share with the one that trains",
                hint="num_workers=0",
            )
        if info is not None and self._home != os.getpid():
            raise UsageError(
                "this DataLoader forked its workers, and Lance's threads do not survive a fork",
                hint='pass multiprocessing_context="forkserver", or use clipdata.stream.load(stream, num_workers)',
            )
        return (info.id, info.num_workers) if info else (0, 1)

    @cached_property
    def _unit(self) -> int:
        """What a state counts by: batches, or single rows over all ranks."""
        return self.plan.batch_size if self._of_samples else 1

    @cached_property
    def _files(self) -> str:
        return digest_of_files(self._table)[:16]

    def _identity(self) -> dict[str, Any]:
        turns = self._turns
        return {
            "table": redact(self._table.uri),
            "table_version": self._table.version,
            "table_files": self._files,
            "where": turns.rows.where,
            "rows": turns.rows.digest,
            "apart": None if turns.apart is None else turns.apart.column,
            **identity_of_plan(self.plan, of_samples=self._of_samples),
        }


def _why_no_row(table: Table, rows: Sequence[int] | np.ndarray | None) -> str:
    """What to look at when there is nothing to stream."""
    if not table.num_rows:
        return "the table itself has no row"
    return "check the filter" if rows is None else "rows names none"
