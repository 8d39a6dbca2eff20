"""Stream: a table as a resumable, shuffled, sharded torch dataset of batches.

    for batch in Stream(table, ["image", "label_ind"], batch_size=64, prepare=encoder.prepare): ...

A batch is a dict:

    <image column>    uint8 [B, 3, H, W]                <number column>          tensor [B]
    <vector column>   tensor [B, T]                     <text or texts column>   list of B
    <list of vectors> list of B tensors [n, T]
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

import os
from collections.abc import Generator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from clipdata.arguments import check_able, check_count, check_kind
from clipdata.encoder.augmentation import Augmentation
from clipdata.errors import ConfigError, UsageError
from clipdata.lance_io.data_files import digest_of_files
from clipdata.lance_io.kept_rows import Cache, mean_row_bytes
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.storage import redact
from clipdata.stream import evenness
from clipdata.stream.apart import Apart, check_apart, window_for
from clipdata.stream.assembly import OnBadImage, Request, Tokenize
from clipdata.stream.decode import Prepare
from clipdata.stream.decode_gpu import check_device
from clipdata.stream.evenness import Mixing
from clipdata.stream.fetch import Fetched
from clipdata.stream.plan import Plan, Shuffle, check_ranks
from clipdata.stream.prepared import OFFSETS_AT_ONCE, augmented, pixel_sources
from clipdata.stream.resumable import Resumable
from clipdata.stream.rows import Rows
from clipdata.stream.span import Span
from clipdata.stream.state import checked_cursor, identity_of_plan
from clipdata.stream.turns import Turns
from clipdata.stream.windows import chosen_sizes


class Stream(Resumable):
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
        even: refuse a batch size that the ranks cannot share evenly. False lets their shares differ by a row, for a
            loop that weighs its gradients by rows.
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
        even: bool = True,
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
        check_ranks(turn_rows, rank, world_size, even=even)
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
            found = f"{counted(len(chosen), 'row is', 'rows are')} to be streamed; expected at least one batch"
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

    def __repr__(self) -> str:
        plan = self.plan
        size = "single rows" if self._of_samples else f"batches of {plan.batch_size:,}"
        dropped = f", {counted(plan.num_dropped, 'row')} left out of each" if plan.num_dropped else ""
        return (
            f"<Stream of {redact(self._table.uri)} version {self._table.version}: {counted(plan.num_rows, 'row')}, "
            f"{plan.num_batches:,} {size} an epoch{dropped}>"
        )

    @property
    def num_dropped(self) -> int:
        """Rows that each epoch leaves out because they do not fill a batch, which `drop_last` is for."""
        return self.plan.num_dropped

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

    def fetched(self) -> Generator[Fetched, None, None]:
        """Read the rows from where the stream stands, as they are in the table; the stream does not move by it."""
        place, total = self._position.start.cursor, self.plan.num_batches
        first = place.epoch * total + place.batch
        return self._turns.fetched(range(first, self._span.stop(self._span.until(place.epoch), total)))

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
