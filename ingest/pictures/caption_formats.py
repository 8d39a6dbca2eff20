"""Files of captions: Flickr8k's `image#k<TAB>caption`, CSV with a header, COCO's JSON. Opens no image.

Captions hold commas, quotes, tabs and `#`; what one line says never costs another.
"""

from __future__ import annotations

import io
import json
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clipdata.errors import UsageError
from clipdata.storage import Storage, redact
from ingest.metadata.delimited_text import Record, records
from ingest.pictures.listed_images import read_text

IMAGE_NAMES = ("image", "image_name", "file_name", "filename", "filepath", "file", "path")
CAPTION_NAMES = ("caption", "title", "text", "comment", "raw")
MAX_CAPTION_CHARS = 10_000
_DELIMITERS = (",", "\t", "|", ";")


@dataclass(frozen=True)
class Captioned:
    """One caption of one image, or why a place of the file gives none.

    Args:
        image: name of the image as the file has it; the place in the file for a fault.
        number: number of the caption among those of its image.
        caption: the text, without the line's end.
        fault: why there is no caption.
    """

    image: str
    number: int
    caption: str
    fault: str = ""


def read_captions(where: str, *, file_format: str | None = None, storage: Storage | None = None) -> list[Captioned]:
    """Read a file of captions.

    Args:
        where: its location.
        file_format: "flickr", "csv" or "coco"; by default what the file looks like.
        storage: how to reach it.

    Raises:
        NotFoundError: there is no file.
        UsageError: it is none of the three.
    """
    text = read_text(where, storage or Storage())
    name = file_format or _looks_like(where, text)
    if name not in _READERS:
        raise UsageError(
            f"{redact(where)} looks like no file of captions; expected lines of image#0, tab and caption, a CSV with a "
            f"header of image and caption, or COCO's JSON",
            hint=f"say which: {', '.join(_READERS)}",
        )
    return [_checked(found) for found in _READERS[name](text, redact(where))]


def _checked(found: Captioned) -> Captioned:
    if found.fault:
        return found
    caption = found.caption.strip()
    if not caption:
        return Captioned(found.image, found.number, "", "the caption is empty")
    if len(caption) > MAX_CAPTION_CHARS:
        fault = f"a caption of {len(caption):,} characters; expected at most {MAX_CAPTION_CHARS:,}"
        return Captioned(found.image, found.number, "", fault)
    return Captioned(found.image, found.number, caption)


def _looks_like(where: str, text: str) -> str:
    first = next((line for line in text.split("\n") if line.strip()), "")
    if where.endswith(".json") or first.lstrip().startswith("{"):
        return "coco"
    name, tab, _ = first.partition("\t")
    if tab and name.rpartition("#")[2].isdigit():
        return "flickr"
    return "csv" if _header(first) else ""


def _flickr(text: str, _where: str) -> Iterator[Captioned]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.rstrip("\r").partition("\t")
        image, mark, count = name.strip().rpartition("#")
        if not tab or not mark or not image or not count.isascii() or not count.isdigit() or len(count) > 6:
            yield Captioned(f"line {number}", 0, "", f"expected image#k, a tab and a caption, found {line[:80]!r}")
        else:
            yield Captioned(image, int(count), caption)


def _csv(text: str, where: str) -> Iterator[Captioned]:
    first = text.partition("\n")[0]
    header = _header(first)
    if header is None:
        words = f"one of {', '.join(IMAGE_NAMES)} and one of {', '.join(CAPTION_NAMES)}"
        raise UsageError(f"the first line of {where} is {first[:80]!r}; expected a header with {words}")
    delimiter, num_fields, image_at, caption_at = header
    counts: Tally[str] = Tally()
    stream = io.StringIO(text, newline="")
    stream.readline()
    for record in records(stream, delimiter, num_fields):
        values = record.values or _unquoted(record, delimiter, num_fields)
        if values is None:
            yield Captioned(f"line {record.line + 1}", 0, "", record.fault)
            continue
        image = values[image_at].strip()
        yield Captioned(image, counts[image], values[caption_at])
        counts[image] += 1


def _unquoted(record: Record, delimiter: str, num_fields: int) -> list[str] | None:
    """A line of two columns whose caption holds the delimiter and was never quoted, as many such files have it."""
    image, found, caption = record.text.rstrip("\r\n").partition(delimiter)
    if num_fields != 2 or not found or image.startswith('"') or caption.startswith('"'):
        return None
    return [image, caption]


def _header(line: str) -> tuple[str, int, int, int] | None:
    """Delimiter, number of columns, and the places of image and caption, where the line names both."""
    for delimiter in _DELIMITERS:
        names = [name.strip().strip('"').lower() for name in line.split(delimiter)]
        image = next((names.index(name) for name in IMAGE_NAMES if name in names), None)
        caption = next((names.index(name) for name in CAPTION_NAMES if name in names), None)
        if image is not None and caption is not None:
            return delimiter, len(names), image, caption
    return None


def _coco(text: str, where: str) -> Iterator[Captioned]:
    try:
        document = json.loads(text)
        names = {image["id"]: image["file_name"] for image in document["images"]}
        annotations = sorted(document["annotations"], key=lambda annotation: annotation["id"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{where} is not COCO's JSON of captions: {type(error).__name__} {str(error)[:80]}; expected 'images' with "
            f"id and file_name, and 'annotations' with id, image_id and caption"
        ) from error
    counts: Tally[str] = Tally()
    for annotation in annotations:
        image, caption = names.get(annotation.get("image_id")), annotation.get("caption")
        if not isinstance(image, str) or not isinstance(caption, str):
            yield Captioned(f"annotation {annotation['id']}", 0, "", "it names no image of the file, or has no caption")
            continue
        yield Captioned(image, counts[image], caption)
        counts[image] += 1


_READERS: dict[str, Callable[[str, str], Iterator[Captioned]]] = {"flickr": _flickr, "csv": _csv, "coco": _coco}
