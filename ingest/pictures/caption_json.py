"""Captions in JSON: COCO's images and annotations, and Karpathy's images with their sentences and splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TextIO

from clipdata.errors import UsageError
from clipdata.json_parsing import json_kind
from ingest.pictures.captioned import AS_THEY_COME, Captioned
from ingest.pictures.json_items import array_items


def kind_of(stream: TextIO, where: str) -> str:
    """ "karpathy" where the first image has sentences; "coco" for everything else that is a JSON object."""
    for key, value in _items(stream, where):
        if key == "images":
            return "karpathy" if isinstance(value, dict) and "sentences" in value else "coco"
        if key == "annotations":
            return "coco"
    raise _not_of(where, "it has neither images nor annotations")


def karpathy(stream: TextIO, where: str) -> Iterator[Captioned]:
    """Each sentence of each image; where an image has a folder, as COCO's have, its name is `folder/name`."""
    number = 0
    for key, image in _items(stream, where):
        if key != "images":
            continue
        place, number = f"image {number}", number + 1
        name = image.get("filename", image.get("file_name")) if isinstance(image, dict) else None
        sentences = image.get("sentences") if isinstance(image, dict) else None
        if not isinstance(name, str) or not isinstance(sentences, list):
            yield Captioned.fault_at(place, "it has no filename, or no sentences")
            continue
        folder, split = image.get("filepath"), image.get("split")
        path = f"{folder}/{name}" if isinstance(folder, str) and folder else name
        for sentence in sentences:
            said = sentence.get("raw", sentence.get("caption")) if isinstance(sentence, dict) else sentence
            if isinstance(said, str):
                yield Captioned(path, AS_THEY_COME, said, place=place, split=_split(split))
            else:
                yield Captioned.fault_at(place, "a sentence without its text (raw)")


def coco(stream: TextIO, again: Callable[[], AbstractContextManager[TextIO]], where: str) -> Iterator[Captioned]:
    """Each annotation with the name of its image.

    Args:
        again: opens the document anew; images may stand behind the annotations.
    """
    names: dict[Any, str] = {}
    num_images = 0
    for key, image in _items(stream, where):
        if key == "images":
            if not isinstance(image, dict):
                raise _not_of(where, f"an image is {json_kind(image)}")
            num_images += 1
            name = image.get("file_name") or _last_part(image.get("coco_url") or image.get("flickr_url"))
            if isinstance(name, str) and isinstance(image.get("id"), int | str):
                names[image["id"]] = name
    if not num_images:
        raise _not_of(where, "it has no images")
    with again() as second:
        number = 0
        for key, annotation in _items(second, where):
            if key != "annotations":
                continue
            place, number = f"annotation {number}", number + 1
            if not isinstance(annotation, dict):
                raise _not_of(where, f"an annotation is {json_kind(annotation)}")
            place = f"annotation {annotation['id']}" if "id" in annotation else place
            image_id, caption = annotation.get("image_id"), annotation.get("caption")
            name = names.get(image_id) if isinstance(image_id, int | str) else None
            if name is None or not isinstance(caption, str):
                yield Captioned.fault_at(place, "it names no image of the file, or has no caption")
            else:
                yield Captioned(name, AS_THEY_COME, caption, place=place, order=_order(annotation.get("id")))


def _items(stream: TextIO, where: str) -> Iterator[tuple[str, Any]]:
    try:
        yield from array_items(stream)
    except ValueError as error:
        if isinstance(error, UnicodeError):
            raise
        raise _not_of(where, str(error)[:120]) from error


def _not_of(where: str, found: str) -> UsageError:
    return UsageError(
        f"{where} is not COCO's JSON of captions, nor Karpathy's: {found}; expected 'images' with id and file_name, "
        "and 'annotations' with image_id and caption, or 'images' with filename and sentences"
    )


def _order(identity: Any) -> int:
    """COCO numbers its annotations through all images; their order is that of an image's captions."""
    return identity if isinstance(identity, int) and 0 <= identity < 1 << 62 else 0


def _split(told: Any) -> str:
    return told if isinstance(told, str) else ""


def _last_part(url: Any) -> str | None:
    return url.rpartition("/")[2] if isinstance(url, str) else None
