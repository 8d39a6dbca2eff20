"""Files of captions, read a caption at a time. Opens no image.

    flickr      image#k, a tab and the caption: Flickr8k, AI Challenger
    table       CSV, TSV and the like with a header, or `name<TAB>caption` without one; one or several caption columns
    jsonl       an object a line with a file's name and captions: Hugging Face's metadata.jsonl
    coco        JSON with `images` and `annotations`
    karpathy    JSON with `images`, each with its `sentences` and split: dataset_flickr30k.json, dataset_coco.json

A column or field `split` of a table or of JSON lines says to which split the image belongs. Captions hold commas,
quotes, tabs and `#`; what one line says never costs another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TextIO

from clipdata.errors import UsageError
from clipdata.json_parsing import parse_json
from clipdata.plurals import counted
from clipdata.storage import Storage, redact
from ingest.metadata.delimited_text import Record, records
from ingest.pictures import caption_json
from ingest.pictures.captioned import AS_THEY_COME, Captioned
from ingest.pictures.list_text import lines, open_text

IMAGE_NAMES = (
    "image",
    "image_name",
    "image_id",
    "file_name",
    "filename",
    "filepath",
    "file",
    "path",
    "img",
    "image_path",
    "文件名",
    "图片",
)
CAPTION_NAMES = (
    "caption",
    "captions",
    "title",
    "text",
    "comment",
    "raw",
    "sentence",
    "description",
    "alt_text",
    "描述",
    "标题",
    "文本",
)
NUMBER_NAMES = ("comment_number", "caption_number", "sentence_number")
SPLIT = "split"
MAX_CAPTION_CHARS = 10_000
FORMATS = ("flickr", "table", "jsonl", "coco", "karpathy")
_ALIASES = {"csv": "table", "tsv": "table"}
_DELIMITERS = (",", "\t", "|", ";")
_START_CHARS = 1 << 16
_MOST_TOLD = 20
# Flickr8k: name#2. AI Challenger and COCO-CN: name#zhm#2, name#enc2m#2.
_NUMBERED = re.compile(r"(?P<image>.+?)(?:#[A-Za-z][A-Za-z0-9]*)?#(?P<number>\d{1,6})\s*")
_NUMBERED_COLUMN = re.compile(r"(.+?)_?(\d{1,3})")


@dataclass(frozen=True)
class CaptionColumns:
    """Which columns of a table, or fields of a JSON object, hold what; by their usual names where not given.

    Args:
        image: the image's name.
        captions: one or several.
    """

    image: str | None = None
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class _Header:
    """Delimiter and number of columns of a table, and the places of those that are read."""

    delimiter: str
    num_fields: int
    image_at: int
    captions_at: Sequence[int]
    number_at: int | None
    split_at: int | None


class CaptionFile:
    """A file of captions.

    Args:
        where: its location.
        file_format: one of `FORMATS`, or "csv"; by default what the file looks like.
        columns: see `CaptionColumns`.
        encoding: of the text.
        storage: how to reach it.

    Raises:
        NotFoundError: there is no file.
        UsageError: it is of no such format, or lacks the columns.
    """

    def __init__(
        self,
        where: str,
        *,
        file_format: str | None = None,
        columns: CaptionColumns | None = None,
        encoding: str = "utf-8",
        storage: Storage | None = None,
    ) -> None:
        self.where, self.encoding, self.storage = where, encoding, storage or Storage()
        self.columns = columns or CaptionColumns()
        self.wanted = _ALIASES.get(file_format or "", file_format)
        if self.wanted is not None and self.wanted not in FORMATS:
            raise self._unknown(f"file_format={file_format!r} is no format of captions")
        self._format: str | None = None

    @property
    def format(self) -> str:
        """What the file is; it is looked at once."""
        if self._format is None:
            self._format = self.wanted or self._looks_like()
        return self._format

    @property
    def has_splits(self) -> bool:
        """Whether the file says to which split an image belongs."""
        if self.format not in ("table", "jsonl"):
            return self.format == "karpathy"
        with open_text(self.where, self.storage, self.encoding) as stream:
            first = next((line for line in lines(stream, self.where) if line.strip()), "")
        if self.format == "jsonl":
            return _is_object(first) and SPLIT in parse_json(first)
        header = self._header(first)
        return header is not None and header.split_at is not None

    def read(self) -> Iterator[Captioned]:
        """All captions, in the order of the file."""
        readers: dict[str, Callable[[TextIO], Iterator[Captioned]]] = {
            "flickr": self._numbered_lines,
            "table": self._table,
            "jsonl": self._json_lines,
            "coco": self._coco,
            "karpathy": self._karpathy,
        }
        with open_text(self.where, self.storage, self.encoding) as stream:
            yield from map(_checked, readers[self.format](stream))

    def _unknown(self, found: str) -> UsageError:
        return UsageError(
            f"{found}; expected lines of image#0, tab and caption, a table with a header of image and caption, JSON "
            "lines, or the JSON of COCO or Karpathy",
            hint=f"say which: --format (file_format=) {' | '.join(FORMATS)}; and its columns: --image-column, "
            "--caption-columns",
        )

    def _looks_like(self) -> str:
        with open_text(self.where, self.storage, self.encoding) as stream:
            start = stream.read(_START_CHARS)
            first = next((line for line in start.splitlines() if line.strip()), "")
            if first.lstrip().startswith(("{", "[")):
                if not _is_object(first) or {"images", "annotations"} & parse_json(first).keys():
                    return self._kind_of_json()
                if self._columns_of(list(parse_json(first))) is not None:
                    return "jsonl"
            if _numbered(first) is not None:
                return "flickr"
            if self._header(first) is not None or _pair(first) is not None:
                return "table"
            told = _columns_told(first)
        raise self._unknown(f"{redact(self.where)} looks like no file of captions{told}")

    def _kind_of_json(self) -> str:
        with open_text(self.where, self.storage, self.encoding) as stream:
            return caption_json.kind_of(stream, redact(self.where))

    def _coco(self, stream: TextIO) -> Iterator[Captioned]:
        def again() -> Any:
            return open_text(self.where, self.storage, self.encoding)

        return caption_json.coco(stream, again, redact(self.where))

    def _karpathy(self, stream: TextIO) -> Iterator[Captioned]:
        return caption_json.karpathy(stream, redact(self.where))

    def _numbered_lines(self, stream: TextIO) -> Iterator[Captioned]:
        for number, line in enumerate(lines(stream, self.where), start=1):
            if not line.strip():
                continue
            if (found := _numbered(line)) is None:
                fault = f"expected image#k, a tab and a caption, found {line[:80]!r}"
                yield Captioned.fault_at(f"line {number}", fault)
            else:
                image, count, caption = found
                yield Captioned(image, count, caption, place=f"line {number}", order=count)

    def _json_lines(self, stream: TextIO) -> Iterator[Captioned]:
        for number, line in enumerate(lines(stream, self.where), start=1):
            if not line.strip():
                continue
            place = f"line {number}"
            if not _is_object(line):
                yield Captioned.fault_at(place, f"expected a JSON object, found {line[:80]!r}")
                continue
            row = parse_json(line)
            names = self._columns_of(list(row))
            if names is None or not isinstance(row[names[0]], str):
                yield Captioned.fault_at(place, f"it has no image and caption, but {', '.join(row) or 'nothing'}")
                continue
            for name in names[1]:
                for caption in row[name] if isinstance(row[name], list) else [row[name]]:
                    split = row.get(SPLIT)
                    yield replace(_named(row[names[0]], caption, place), split=split if isinstance(split, str) else "")

    def _table(self, stream: TextIO) -> Iterator[Captioned]:
        first = next((line for line in lines(stream, self.where) if line.strip()), "")
        header = self._header(first)
        if header is None:
            if self.columns != CaptionColumns() or _pair(first) is None:
                raise self._without_header(first)
            yield from _pairs(chain([first], lines(stream, self.where)))
            return
        for record in records(stream, header.delimiter, header.num_fields):
            place = f"line {record.line + 1}"
            values = record.values or _unquoted(record, header.delimiter, header.num_fields)
            if values is None:
                yield Captioned.fault_at(place, record.fault)
                continue
            told = values[header.number_at].strip() if header.number_at is not None else ""
            number = int(told) if told.isascii() and told.isdigit() and len(told) < 7 else AS_THEY_COME
            image, several = values[header.image_at].strip(), len(header.captions_at) > 1
            split = values[header.split_at].strip() if header.split_at is not None else ""
            for at in header.captions_at:
                if values[at].strip() or not several:  # of five columns some may be empty
                    yield Captioned(image, number, values[at], place=place, order=max(number, 0), split=split)

    def _without_header(self, first: str) -> UsageError:
        words = f"one of {', '.join(IMAGE_NAMES)} and one of {', '.join(CAPTION_NAMES)}"
        return UsageError(
            f"the first line of {redact(self.where)} is {first[:80]!r}; expected a header with "
            f"{self._described() or words}",
            hint="name the columns: --image-column NAME --caption-columns NAME (image_column=, caption_columns=)",
        )

    def _described(self) -> str:
        given = [*([self.columns.image] if self.columns.image else []), *self.columns.captions]
        return " and ".join(map(repr, given))

    def _header(self, line: str) -> _Header | None:
        """What the first line of a table says; None where image or captions lack."""
        for delimiter in _DELIMITERS:
            names = [name.strip().strip('"') for name in line.split(delimiter)]
            found = self._columns_of(names)
            if found is None:
                continue
            lower = [name.lower() for name in names]
            captions_at = [names.index(name) for name in found[1]]
            number_at = next((lower.index(name) for name in NUMBER_NAMES if name in lower), None)
            split_at = lower.index(SPLIT) if SPLIT in lower else None
            return _Header(delimiter, len(names), names.index(found[0]), captions_at, number_at, split_at)
        return None

    def _columns_of(self, names: list[str]) -> tuple[str, list[str]] | None:
        """The names among these of the image and of the captions; None where one of them is not there."""
        by_lower = {name.lower(): name for name in reversed(names)}

        def usual(known: tuple[str, ...]) -> str | None:
            return next((by_lower[name] for name in known if name in by_lower), None)

        image = self.columns.image or usual(IMAGE_NAMES)
        captions = list(self.columns.captions) or ([one] if (one := usual(CAPTION_NAMES)) else _several(names))
        if image not in names or not captions or not set(captions) <= set(names):
            return None
        return str(image), captions


def _columns_told(line: str) -> str:
    """What a first line would be as the header of a table, in words; empty where it is none."""
    names = max((line.split(delimiter) for delimiter in _DELIMITERS), key=len)
    return f" (columns found: {', '.join(name.strip()[:40] for name in names)})" if 1 < len(names) <= _MOST_TOLD else ""


def _numbered(line: str) -> tuple[str, int, str] | None:
    """Image, number and caption of a line; a space is enough between them where there is no tab."""
    name, found, caption = line.partition("\t") if "\t" in line else line.partition(" ")
    told = _NUMBERED.fullmatch(name.strip())
    return (told["image"].strip(), int(told["number"]), caption) if found and told else None


def _several(names: list[str]) -> list[str]:
    """Columns `caption_0`, `caption_1`, … in the order of their numbers."""
    found = {name: match for name in names if (match := _NUMBERED_COLUMN.fullmatch(name.lower()))}
    numbered = [(int(match[2]), name) for name, match in found.items() if match[1] in CAPTION_NAMES]
    return [name for _, name in sorted(numbered)]


def _named(image: str, caption: Any, place: str) -> Captioned:
    if not isinstance(caption, str):
        return Captioned.fault_at(place, f"expected a caption, found {json.dumps(caption)[:80]}")
    return Captioned(image, AS_THEY_COME, caption, place=place)


def _checked(found: Captioned) -> Captioned:
    if found.fault:
        return found
    caption = found.caption.strip()
    fault = "" if caption else "the caption is empty"
    if len(caption) > MAX_CAPTION_CHARS:
        fault = f"a caption of {counted(len(caption), 'character')}; expected at most {MAX_CAPTION_CHARS:,}"
    return replace(found, caption="" if fault else caption, fault=fault)


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except (ValueError, RecursionError):
        return False


def _pair(line: str) -> tuple[str, str] | None:
    """A line of `name<TAB>caption` or `name caption`, told by the suffix of the name."""
    found = re.match(r"\s*(\S.*?\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif))(?:\t|\s+|\s*\|\s*)(\S.*)", line, re.IGNORECASE)
    return (found[1], found[2]) if found else None


def _pairs(rows: Iterator[str]) -> Iterator[Captioned]:
    for number, line in enumerate(rows, start=1):
        if not line.strip():
            continue
        if (found := _pair(line)) is None:
            yield Captioned.fault_at(f"line {number}", f"expected a file's name and a caption, found {line[:80]!r}")
        else:
            yield Captioned(found[0], AS_THEY_COME, found[1], place=f"line {number}")


def _unquoted(record: Record, delimiter: str, num_fields: int) -> list[str] | None:
    """A line whose last column, the caption, holds the delimiter and was never quoted, as many such files have it."""
    fields = record.text.rstrip("\r\n").split(delimiter, num_fields - 1)
    if len(fields) != num_fields or any(field.lstrip().startswith('"') for field in (fields[0], fields[-1])):
        return None
    return fields
