"""Which part of the way limits, and what to type: a pure function of rates."""

from __future__ import annotations

from dataclasses import dataclass

from clipdata import hints
from clipdata.rates.records import Rate, Verdict, shown_rate

_IDLE = 0.6  # a stream below this part of what its stages could give leaves cores idle
_WORTH = 1.15  # what is less than so much faster is not worth naming


@dataclass(frozen=True)
class Way:
    """What rows pass on their way to a model, in rows a second.

    Args:
        table: its location.
        model: its name, if one was named.
        read: from the disk or bucket.
        stream: whole batches, the best that was measured of the pictures themselves.
        decode: of all cores together, at the fidelity that is asked for; None where no picture is decoded.
        eats: what the model takes; None where none was measured.
        prepared: whole batches of a prepared column, where there is one.
        prepares_to: what reading a prepared column would give, by its bytes.
        fidelity: that is asked for.
        quicker: a fidelity that is quicker, and how much.
        num_workers: most that were tried.
        num_cores: of this process.
        is_remote: the table is on a bucket.
    """

    table: str
    read: Rate
    stream: Rate
    model: str | None = None
    decode: float | None = None
    eats: float | None = None
    prepared: Rate | None = None
    prepares_to: float | None = None
    fidelity: str = "fast"
    quicker: tuple[str, float] | None = None
    num_workers: int = 0
    num_cores: int = 1
    is_remote: bool = False


def verdict_of(way: Way) -> Verdict:
    """Say what limits."""
    best = max(way.stream.rows_s, way.prepared.rows_s if way.prepared else 0.0)
    if way.eats is not None and best >= way.eats:
        of = f"it eats {shown_rate(way.eats)} of the {shown_rate(best)} rows/s that the stream gives"
        return Verdict("model", f"the model limits: {of}; the data can stay as it is")
    found = f"{shown_rate(best)}{_of_model(way)}"
    if way.prepared is not None and best == way.prepared.rows_s:
        return Verdict("read", f"reading the prepared column limits: {found}")
    bound = min(way.read.rows_s, way.decode) if way.decode is not None else way.read.rows_s
    if way.decode is not None and way.stream.rows_s < _IDLE * bound and way.num_cores > 1:
        more = max(way.num_cores, way.num_workers + 1)
        could = f"{shown_rate(bound)} rows/s are in reach of disk and decoder"
        if way.num_workers < way.num_cores:
            command = f"{hints.bench(way.table, way.model)} --workers {more}"
            return Verdict("workers", f"the workers limit: {found}; {could} → --set num_workers={more}", command)
        return Verdict("workers", f"the workers limit: {found}; {could}")
    if way.decode is None or way.read.rows_s < way.decode:
        return _reading_limits(way, found)
    return _decoding_limits(way, found)


def _of_model(way: Way) -> str:
    return f" of {shown_rate(way.eats)} rows/s that the model could eat" if way.eats is not None else " rows/s"


def _reading_limits(way: Way, found: str) -> Verdict:
    if way.is_remote:
        text = f"the bucket limits: {found} → keep what is read on this machine's disk, for the epochs behind the first"
        return Verdict("read", text, f"{hints.bench(way.table, way.model)} -O cache_folder=FOLDER")
    return Verdict("read", f"the disk limits: {found} → a faster disk, or fewer bytes a row, makes it more")


def _decoding_limits(way: Way, found: str) -> Verdict:
    text = f"the decoder limits: {found}"
    if way.quicker is not None and way.quicker[1] >= _WORTH:
        text += f" → --set fidelity={way.quicker[0]} decodes {way.quicker[1]:.1f}× as fast"
    if way.prepares_to is None or way.prepares_to < _WORTH * way.stream.rows_s:
        return Verdict("decode", text)
    reached = min(way.prepares_to, way.eats) if way.eats is not None else way.prepares_to
    times = reached / max(way.stream.rows_s, 1e-9)
    model = f" --model {way.model}" if way.model else " --model MODEL"
    text += f" → prepared pixels make it about {times:.0f}×" if times >= 2 else f" → prepared pixels: {times:.1f}×"
    return Verdict("decode", text, f"clipdata map {hints.typed(way.table)} prepared-pixels prepared{model}")
