"""`bench`: short turns of every part of the way from a table to a model, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol, get_args

import pyarrow as pa

from clipdata.arguments import PROGRESS, check_able, check_condition, check_count, check_kind
from clipdata.cores import num_cores
from clipdata.encoder import Encoder
from clipdata.encoder.preparation import Fidelity, Preparation
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Progress, Silent, note
from clipdata.rates.decoding import Decoding, error_of, refused_of, sample_of
from clipdata.rates.eating import Eating
from clipdata.rates.reading import Reading
from clipdata.rates.records import Bench, LevelError, Rate
from clipdata.rates.streaming import Streaming
from clipdata.rates.verdict import Way, verdict_of
from clipdata.schema import image_column
from clipdata.storage import is_remote, redact
from clipdata.stream import Stream
from clipdata.stream import columns as kinds

ROUNDS = 3
_EPOCHS = 1_000_000  # a small table is streamed over and over
_USUAL = Preparation((224, 224), (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""What most CLIP models want; source: the preprocessing of openai's ViT-B/32."""


class Part(Protocol):
    """One part of the way, measured in turns."""

    def turn(self, seconds: float) -> None:
        """Go on for so long."""
        ...

    def rate(self) -> Rate:
        """What was found."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


def bench(
    table: AnyTable,
    encoder: Encoder | None = None,
    *,
    column: str | None = None,
    where: str | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    fidelity: Fidelity = "fast",
    train: bool = False,
    mixing: str | None = None,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> Bench:
    """Measure what a table, a decoder, workers and a model can do, and which of them limits; nothing is written.

    Args:
        table: read at the version it is pinned to.
        encoder: whose preparation is used, and which is fed; without one pictures are prepared for 224 pixels.
        column: to stream; by default the image, or else vectors, or else texts.
        where: SQL condition on the rows.
        batch_size: rows of a batch; all rows, where there are fewer.
        num_workers: processes to try beside the threads of this one.
        fidelity: of the pixels that a training would ask for.
        train: measure forward with backward, too.
        mixing: column, such as the class of a sorted table, of which to tell how well batches mix its values.
        seconds: that measuring takes, about; starting workers comes on top.
        progress: watches.

    Raises:
        SchemaError: the table has no such column, or rows hold no value in it.
        UsageError: no row is there to measure, or an argument is wrong.
    """
    if encoder is not None:
        check_kind(encoder, Encoder, "bench: encoder", 'clipdata.load_encoder("starter")')
    check_able(progress, "bench: progress", ("task", "say"), PROGRESS)
    check_condition(where)
    check_count(batch_size, "bench: batch_size", least=1)
    check_count(num_workers, "bench: num_workers", least=0)
    if fidelity not in get_args(Fidelity):
        raise UsageError(f"bench: fidelity is {fidelity!r}; expected one of {', '.join(get_args(Fidelity))}")
    if not seconds > 0:
        raise UsageError(f"bench: seconds is {seconds!r}; expected more than 0")
    if train and encoder is None:
        raise UsageError("bench: train measures a model, and none is named", hint='clipdata.load_encoder("starter")')
    begun_s = time.perf_counter()
    made = _Request(as_table(table).pinned(), encoder, column, where, batch_size, num_workers, fidelity, train, mixing)
    parts = _Parts(made)
    _take_turns(parts, seconds, progress or Silent())
    return _found(made, parts, begun_s)


@dataclass(frozen=True)
class _Request:
    """What is to be measured, as it was asked for."""

    table: Table
    encoder: Encoder | None
    column: str | None
    where: str | None
    batch_size: int
    num_workers: int
    fidelity: Fidelity
    train: bool
    mixing: str | None


class _Parts:
    """What is measured of a table."""

    def __init__(self, asked: _Request) -> None:
        self._asked, table = asked, asked.table
        self.column = asked.column or _column_of(table)
        table.require([self.column, *([asked.mixing] if asked.mixing is not None else [])], verb="bench")
        self.decodes = kinds.is_image(table.schema.field(self.column).type)
        # Counted and looked up once: a condition on a large table is not cheap.
        self._rows = None if asked.where is None else table.offsets(asked.where)
        self.num_rows = table.num_rows if self._rows is None else len(self._rows)
        if not self.num_rows:
            found = f"where {asked.where}" if asked.where else "in the table"
            raise UsageError(f"bench: there is no row {found} to measure", hint="check the filter")
        self.batch_size = min(asked.batch_size, self.num_rows)
        prepare = asked.encoder.prepare if asked.encoder is not None else _USUAL
        self.prepare = prepare.with_fidelity(asked.fidelity)
        self.sample = sample_of(self.stream(), self.column) if self.decodes else []
        self.reading = Reading(self.stream())
        fidelities = get_args(Fidelity) if self.sample else ()
        self.decoding = [Decoding(prepare.with_fidelity(one), self.sample) for one in fidelities]
        self.streaming = [
            Streaming("stream" if not num else f"stream, {num} worker{'s' * (num > 1)}", self.stream, num)
            for num in dict.fromkeys([0, asked.num_workers])
        ]
        self.prepared = self._prepared()
        self.eating = self._eating()

    def stream(self, *, prepared: bool = False) -> Stream:
        """The stream of the column, as a training would ask for it.

        Args:
            prepared: read a column of prepared pixels in its place, if one fits.
        """
        return Stream(
            self._asked.table,
            [self.column],
            batch_size=self.batch_size,
            where=self._asked.where,
            rows=self._rows,
            until_epoch=_EPOCHS,
            rank=0,
            world_size=1,
            prepare=self.prepare if self.decodes else None,
            prepared=prepared,
            on_bad_image="leave_out",
        )

    def all(self) -> Sequence[Part]:
        """In the order in which rows pass."""
        return [self.reading, *self.decoding, *self.streaming, *self.prepared, *self.eating]

    def _prepared(self) -> list[Streaming]:
        """The stream of a column of prepared pixels, where one fits."""
        sources = self.stream(prepared=True).pixels if self.decodes else ()
        names = [source.column for source in sources if source.column is not None]
        return [Streaming(f"prepared, {name}", lambda: self.stream(prepared=True)) for name in names[:1]]

    def _eating(self) -> list[Eating]:
        encoder = self._asked.encoder
        if encoder is None or not self.decodes:
            return []
        ways = [False, True] if self._asked.train else [False]
        return [Eating(encoder, self._asked.batch_size, train=train) for train in ways]


def _column_of(table: Table) -> str:
    """What to stream where nobody says it."""
    schema = table.schema
    image = image_column(schema)
    if image is not None:
        return image
    tests: tuple[Callable[[pa.DataType], bool], ...] = (kinds.is_image, kinds.is_vector, kinds.is_texts, kinds.is_text)
    for is_kind in tests:
        for one in schema:
            if is_kind(one.type):
                return str(one.name)
    return str(schema.names[0])


def _take_turns(parts: _Parts, seconds: float, progress: Progress) -> None:
    """Measure every part in short turns, so that what else the machine does meets all of them."""
    everything = parts.all()
    turn_s = seconds / len(everything) / ROUNDS
    with ExitStack() as stack, progress.task("bench", ROUNDS * len(everything), "turns") as counter:
        for part in everything:
            stack.enter_context(closing(part))
        for number in range(ROUNDS):
            for part in everything:
                # Workers take seconds to start, so they have all their time at once.
                at_once = isinstance(part, Streaming) and part.num_workers > 0
                if not at_once or number == 0:
                    part.turn(turn_s * (ROUNDS if at_once else 1))
                    rate = part.rate()
                    note(counter, f"{rate.name} {rate.rows_s:,.0f}/s")
                counter.advance()


def _found(asked: _Request, parts: _Parts, begun_s: float) -> Bench:
    rates = [part.rate() for part in parts.all()]
    errors = [error for one in parts.decoding if (error := _error_of(parts, one.fidelity)) is not None]
    encoder = asked.encoder
    return Bench(
        table=redact(asked.table.uri),
        version=asked.table.version,
        where=asked.where,
        num_rows=parts.num_rows,
        column=parts.column,
        row_bytes=parts.reading.row_bytes,
        batch_size=parts.batch_size,
        num_cores=num_cores(),
        model=encoder.name if encoder is not None else None,
        device=str(encoder.device) if encoder is not None else None,
        rates=rates,
        errors=errors,
        refused=refused_of(parts.sample),
        mixing=parts.stream().mixing(asked.mixing) if asked.mixing is not None else None,
        verdict=verdict_of(_way(asked, parts)),
        seconds=time.perf_counter() - begun_s,
    )


def _error_of(parts: _Parts, fidelity: Fidelity) -> LevelError | None:
    return None if fidelity == "exact" else error_of(parts.prepare.with_fidelity(fidelity), parts.sample)


def _way(asked: _Request, parts: _Parts) -> Way:
    decodes = {one.fidelity: one.rate().rows_s for one in parts.decoding}
    mine, read = decodes.get(asked.fidelity), parts.reading.rate()
    faster = {name: rows_s / mine for name, rows_s in decodes.items() if mine and rows_s > mine}
    quickest = max(faster.items(), key=lambda one: one[1], default=None)
    eats = [one.rate().rows_s for one in parts.eating]
    pixels = 3 * parts.prepare.size[0] * parts.prepare.size[1]
    return Way(
        table=asked.table.uri,
        model=asked.encoder.name if asked.encoder is not None else None,
        read=read,
        stream=max((one.rate() for one in parts.streaming), key=lambda rate: rate.rows_s),
        decode=mine * num_cores() if mine is not None else None,
        eats=eats[-1] if eats else None,
        prepared=parts.prepared[0].rate() if parts.prepared else None,
        prepares_to=(read.bytes_s or 0.0) / pixels if mine is not None else None,
        fidelity=asked.fidelity,
        quicker=quickest,
        num_workers=asked.num_workers,
        num_cores=num_cores(),
        is_remote=is_remote(asked.table.uri),
    )
