"""Rows to a batch: images decoded, numbers and vectors as tensors, texts as lists and tokens; and a batch to samples.

It knows tables and tensors; it must not know in which order batches come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from clipdata.errors import ImageRefused, SchemaError, UsageError
from clipdata.lance_io.table import Table
from clipdata.objects.references import columns_needed
from clipdata.schema import image_column
from clipdata.storage import redact
from clipdata.stream import columns as kinds
from clipdata.stream.decode import ImageDecoder
from clipdata.stream.decode_gpu import DeviceDecoder
from clipdata.stream.fetch import Fetched
from clipdata.stream.prepared import PixelSource
from clipdata.stream.prepared_rows import Draws, PreparedRows
from clipdata.stream.shares import Work

Tokenize = Callable[[Sequence[str]], torch.Tensor]
"""B texts to tokens int64 [B, L]."""

OnBadImage = Literal["refuse", "leave_out"]
"""What becomes of a row whose image cannot be used: an error, or a smaller batch and a count."""

OWN_ENTRIES = ("tokens", "text_index", "text_counts", "offsets", "cursor", "left_out")


class Batch(dict[str, Any]):
    """One batch: names to tensors and lists. A loader that would stack batches is told so."""


def second_batching() -> UsageError:
    """What to say to a loader that makes batches of batches."""
    return UsageError(
        "this loader would stack the stream's batches to one dimension more; a stream makes whole batches itself, "
        "and expects DataLoader(stream, batch_size=None)",
        hint="or pass batch_size=None to Stream, which then gives single rows to whatever makes batches of them, such "
        "as a Trainer",
    )


def _refuse_to_stack(*_: Any, **__: Any) -> NoReturn:
    raise second_batching()


default_collate_fn_map[Batch] = _refuse_to_stack


@dataclass(frozen=True)
class Request:
    """What a batch shall hold.

    Args:
        columns: entry of the batch → column of the table.
        texts: the column to tokenize, one text or a list of texts a row, or None.
        tokenize: how.
        on_bad_image: what becomes of a row whose image cannot be used.
        pixels: column of images → where its pixels are read in its place.
    """

    columns: Mapping[str, str]
    texts: str | None = None
    tokenize: Tokenize | None = None
    on_bad_image: OnBadImage = "refuse"
    pixels: Mapping[str, PixelSource] = field(default_factory=dict)

    @classmethod
    def of(
        cls, columns: Sequence[str] | Mapping[str, str], texts: str | None, tokenize: Tokenize | None, bad: OnBadImage
    ) -> Request:
        """Make a request of what a caller named.

        Raises:
            UsageError: columns are one text, take a name that a batch needs for itself, or `bad` is no policy.
        """
        if isinstance(columns, str):
            raise UsageError(f"columns is the text {columns!r}; expected a list", hint=f"Stream(…, [{columns!r}], …)")
        if not columns:
            raise UsageError("a stream of no columns has nothing to give", hint='Stream(…, ["image", "caption"], …)')
        named = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
        taken = [name for name in named if name in OWN_ENTRIES]
        if taken:
            renamed = {name if name not in OWN_ENTRIES else f"{name}_column": column for name, column in named.items()}
            raise UsageError(
                f"a batch has an entry {' and an entry '.join(map(repr, taken))} of its own, and the table's column of "
                "that name would replace it",
                hint=f"name it otherwise, as in Stream(…, {renamed}, …)",
            )
        if bad not in ("refuse", "leave_out"):
            raise UsageError(f"on_bad_image is {bad!r}; expected 'refuse' or 'leave_out'")
        return cls(named, texts, tokenize, bad)

    def check(self, table: Table, *, can_prepare: bool) -> None:
        """Check the request against a table, before anything is read.

        Raises:
            SchemaError: columns are missing, or `texts` does not hold text.
            UsageError: images are asked for without `prepare`, or only one of `texts` and `tokenize` is given.
        """
        table.require([*self.columns.values(), *([self.texts] if self.texts else [])], verb="stream")
        images = self.images(table)
        if images and not can_prepare:
            raise UsageError(
                f"column {images[0]!r} holds images, and nothing says what size they shall have",
                hint="pass prepare=encoder.prepare to Stream",
            )
        if (self.texts is None) != (self.tokenize is None):
            raise UsageError("texts names the column to tokenize and tokenize says how; expected both or neither")
        if self.texts is not None:
            kind = table.schema.field(self.texts).type
            if not (kinds.is_text(kind) or kinds.is_texts(kind)):
                raise SchemaError(f"column {self.texts!r} holds {kind}; expected text or lists of text to tokenize")

    def reading(self, sources: Sequence[PixelSource]) -> Request:
        """The same request, with prepared pixels read in place of images where there are some that fit."""
        return replace(self, pixels={one.image: one for one in sources if one.column is not None})

    def images(self, table: Table) -> list[str]:
        """Columns asked for that hold encoded images."""
        return [name for name in self.columns.values() if kinds.is_image(table.schema.field(name).type)]

    def kinds(self, table: Table) -> dict[str, str]:
        """What the entries of a batch hold, in words that are equal where batches can be joined."""
        found = {name: kinds.describe(table.schema.field(column).type) for name, column in self.columns.items()}
        if self.texts is not None:
            found["tokens"] = f"tokens of {kinds.describe(table.schema.field(self.texts).type)}"
        return found

    def read_columns(self, table: Table) -> list[str]:
        """Columns to read for it: those asked for, and where the image lies if the table refers to it."""
        names = [self.pixels[name].column or name if name in self.pixels else name for name in self.columns.values()]
        names += [self.texts] if self.texts else []
        image = image_column(table.schema)
        extra = columns_needed(table.schema, [image]) if image in names else []
        return list(dict.fromkeys([*names, *extra]))


@dataclass(frozen=True)
class Assembled:
    """A batch, and the rows that are not in it.

    Args:
        places: of the rows that are, in the slot they were read for.
        left_out: reason → offsets of rows whose image cannot be used.
        work: what it cost to make.
    """

    batch: Batch
    places: list[int]
    left_out: dict[str, list[Any]] = field(default_factory=dict)
    work: Work = field(default_factory=Work)


def assemble(
    request: Request,
    found: Fetched,
    decoder: ImageDecoder | DeviceDecoder | None,
    prepared: Mapping[str, PreparedRows] | None = None,
    draws: Draws | None = None,
) -> Assembled:
    """Make a batch of rows whose nulls have been refused; see `clipdata.stream.dataset` for its entries.

    Args:
        prepared: column of images → what makes its pictures of prepared pixels.
        draws: place → the row's own source of chance, for a preparation that draws.

    Raises:
        ImageRefused: an image cannot be used, and the request does not say to leave out its row.
    """
    rows, offsets = found.rows, found.slot.offsets
    image_of: dict[str, torch.Tensor] = {}
    refused: dict[int, ImageRefused] = {}
    for name, column in request.columns.items():
        if prepared is not None and column in prepared:
            decoded = prepared[column].batch(found, draws)
        elif column in found.encoded:
            assert decoder is not None, "the request was checked"
            decoded = decoder.batch(found.encoded[column], found.unread, draws)
        else:
            continue
        image_of[name] = decoded.image_BCHW
        refused = {**decoded.refused, **refused}
    if refused and request.on_bad_image == "refuse":
        raise _named(min(refused.items()), found)
    places = [place for place in range(len(offsets)) if place not in refused]
    if refused:
        rows = rows.select([name for name in rows.column_names if name in {*request.columns.values(), request.texts}])
        rows, offsets = rows.take(pa.array(places, pa.int64())), offsets[places]
        image_of = {name: image_BCHW[places] for name, image_BCHW in image_of.items()}
    batch, seen = Batch(), set[str]()
    for name, column in request.columns.items():
        batch[name] = image_of[name] if name in image_of else kinds.to_batch(rows.column(column))
        if column in seen and isinstance(batch[name], torch.Tensor):
            batch[name] = batch[name].clone()  # two entries of one column share nothing
        seen.add(column)
    if request.texts is not None and request.tokenize is not None:
        batch.update(_tokens(rows.column(request.texts), request.tokenize))
    batch["offsets"] = torch.from_numpy(np.array(offsets, np.int64))
    left_out: dict[str, list[int]] = {}
    for place, refusal in sorted(refused.items()):
        left_out.setdefault(refusal.reason, []).append(int(found.slot.offsets[place]))
    return Assembled(batch, places, left_out)


def samples_of(batch: Batch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch as samples, each of which owns its memory."""
    stops = batch["text_counts"].cumsum(0).tolist() if "text_counts" in batch else []
    for place in range(len(batch["offsets"])):
        sample: dict[str, Any] = {}
        for name, values in batch.items():
            if name in ("text_index", "text_counts"):
                continue
            if name == "tokens" and stops:
                index = batch["text_index"][stops[place] - int(batch["text_counts"][place]) : stops[place]]
                sample[name] = values[index]
            else:
                sample[name] = values[place].clone() if isinstance(values, torch.Tensor) else values[place]
        yield sample


def refuse_nulls(request: Request, table: Table, found: Fetched, *, where: str | None) -> None:
    """Check that rows hold no null in what was asked for; the image itself is seen to when it is decoded.

    Raises:
        SchemaError: names the column, a row, how many rows of the table lack it, and what fills them.
    """
    asked = [*request.columns.values(), *([request.texts] if request.texts else [])]
    image, offsets = image_column(table.schema), found.slot.offsets
    for name in dict.fromkeys(asked):
        if name in request.pixels:
            continue
        null = _first_null(found, name)
        if name == image or null is None:
            continue
        if null >= 0:
            said = f"{_count(table, name, where)} hold no {name!r} yet, such as row {offsets[null]}"
        else:
            values = found.rows.column(name).to_pylist()
            place = next(place for place, value in enumerate(values) if _holds_none(value))
            said = f"{name!r} holds nulls inside its lists, as in row {offsets[place]}"
        raise SchemaError(
            f"{redact(table.uri)}: {said}; a stream needs a value in every row",
            hint=f'{fill_command(table, name)}; or leave them out: --where "{name} is not null"',
        )


def fill_command(table: Table, column: str) -> str:
    """What to type to fill a column's nulls with the step that made the rest of it."""
    lineage = table.lineage(column)
    if lineage is None:
        return f"clipdata map {redact(table.uri)} STEP {column}"
    step = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", lineage.step).lower()
    return f"clipdata map {redact(table.uri)} {step} {column}" + (" --model MODEL" if lineage.model else "")


def _first_null(found: Fetched, name: str) -> int | None:
    """Place of the first row without a value; -1 where only lists hold nulls, None where there is no null."""
    if name in found.encoded:
        return next((place for place, value in enumerate(found.encoded[name]) if value is None), None)
    column = found.rows.column(name)
    if column.null_count:
        return int(pc.index(column.is_null(), True).as_py())
    return -1 if kinds.count_nulls(column) else None


def _count(table: Table, column: str, where: str | None) -> str:
    num_nulls = table.count_rows(f"`{column}` is null" + (f" and ({where})" if where else ""))
    return f"{num_nulls:,} of {table.count_rows(where):,} rows"


def _holds_none(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(_holds_none(one) for one in value))


def _named(bad: tuple[int, ImageRefused], found: Fetched) -> ImageRefused:
    place, refusal = bad
    uri = found.rows.column("uri")[place].as_py() if "uri" in found.rows.column_names else None
    named = f"row {found.slot.offsets[place]}" + (f" ({redact(uri)})" if uri else "")
    error = ImageRefused(refusal.reason, f"{named}: {refusal.detail}")
    error.hint = "leave out such rows and count them: Stream(…, on_bad_image='leave_out')"
    return error


def _tokens(column: pa.ChunkedArray, tokenize: Tokenize) -> dict[str, torch.Tensor]:
    texts = column.to_pylist()
    if kinds.is_text(column.type):
        return {"tokens": _tokenized(texts, tokenize)}
    distinct, index, counts = kinds.distinct_texts(texts)
    return {"tokens": _tokenized(distinct, tokenize), "text_index": index, "text_counts": counts}


def _tokenized(texts: list[str], tokenize: Tokenize) -> torch.Tensor:
    return tokenize(texts) if texts else tokenize([""])[:0]  # no tokenizer takes an empty list
