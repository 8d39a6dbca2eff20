"""Pairs of texts and pictures as people have them, as one file of captions that `ingest captions` reads.

    a file of pairs         a table with a column of captions and one of paths, JSON lines, COCO, Flickr …
    another one to measure  the same of held-out pictures
    two lists               texts and paths, or files with one a line

It knows files of captions, and neither tables nor models.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from clipdata.current_folder import absolute_path
from clipdata.errors import NotFoundError, StorageError, UsageError
from clipdata.storage import Storage, is_remote, join
from ingest.pictures.caption_formats import CaptionColumns, CaptionFile
from ingest.pictures.captioned import Captioned

_LOOKED_AT = 200
Texts = Sequence[str] | str | os.PathLike[str]


@dataclass(frozen=True)
class PairFile:
    """Pairs in one file.

    Args:
        root: folder that the paths are relative to, or that holds the pictures somewhere.
        file: of captions.
        columns: of it, where they have no usual name.
    """

    root: str
    file: str
    columns: CaptionColumns = field(default_factory=CaptionColumns)


def of_file(
    file: str,
    *,
    images: str | None = None,
    columns: CaptionColumns | None = None,
    encoding: str = "utf-8",
    storage: Storage | None = None,
) -> PairFile:
    """Take a file of pairs as it lies; without a folder of pictures, the one that its paths lead to is found.

    Raises:
        NotFoundError: there is no such file, or no picture where its paths lead.
        UsageError: it is no file of captions.
    """
    columns = columns or CaptionColumns()
    if images is not None:
        return PairFile(images, file, columns)
    if is_remote(file):
        return PairFile(file.rpartition("/")[0], file, columns)
    read = CaptionFile(file, columns=columns, encoding=encoding, storage=storage).read()
    named = [found.image for found in islice(read, _LOOKED_AT) if not found.fault]
    return PairFile(_root_of(named, absolute_path(file).parent, file), file, columns)


def of_several(
    sources: Iterable[tuple[str, PairFile]], into: Path, *, encoding: str = "utf-8", storage: Storage | None = None
) -> PairFile:
    """Write several files as one, in which each pair has the split of its file.

    Args:
        sources: split and file.
        into: file to write.
    """

    def pairs() -> Iterator[tuple[str, str, str]]:
        for split, source in sources:
            read = CaptionFile(source.file, columns=source.columns, encoding=encoding, storage=storage).read()
            yield from ((_path_in(source.root, found), found.caption, split) for found in read if not found.fault)

    return _written(list(pairs()), into)


def of_lists(texts: Texts, paths: Texts, into: Path) -> PairFile:
    """Write two lists as one file.

    Args:
        texts: captions, or a file with one a line.
        paths: of the pictures, or a file with one a line, relative to where the program runs.
        into: file to write.

    Raises:
        NotFoundError: there is no such file.
        UsageError: the lists are not equally long, or empty.
    """
    captions, places = _listed(texts, "texts"), _listed(paths, "paths")
    if len(captions) != len(places) or not captions:
        raise UsageError(
            f"there are {len(captions):,} texts and {len(places):,} paths; expected as many of both, line by line"
        )
    return _written([(str(absolute_path(place)), text, "") for place, text in
                     zip(places, captions, strict=True)], into)  # fmt: skip


def _root_of(named: Sequence[str], beside: Path, file: str) -> str:
    """The folder that paths are relative to: that of the file, where the program runs, or what absolute ones share."""
    if not named:
        return str(beside)
    if all(os.path.isabs(name) for name in named):
        return os.path.commonpath([os.path.dirname(name) for name in named])
    for folder in (beside, Path.cwd()):
        if any((folder / name).exists() for name in named):
            return str(folder)
    if any(entry.is_dir() for entry in beside.iterdir()):
        return str(beside)  # they may be found by name, in a folder inside
    raise NotFoundError(
        f"{file} names {named[0]!r}, and there is no such file beside it nor where the program runs",
        hint="name the folder of the pictures: --images DIR",
    )


def _path_in(root: str, found: Captioned) -> str:
    return found.image if os.path.isabs(found.image) or is_remote(root) else join(root, found.image)


def _written(pairs: Sequence[tuple[str, str, str]], into: Path) -> PairFile:
    if not pairs:
        raise UsageError("there is no pair of a text and a picture")
    local = all(os.path.isabs(path) for path, _, _ in pairs)
    root = os.path.commonpath([os.path.dirname(path) for path, _, _ in pairs]) if local else ""
    lines = [
        json.dumps(
            {"path": os.path.relpath(path, root) if root else path, "caption": text}
            | ({"split": split} if split else {}),
            ensure_ascii=False,
        )
        for path, text, split in pairs
    ]
    content = "\n".join(lines) + "\n"
    try:
        if not into.exists() or into.read_text("utf-8") != content:
            into.parent.mkdir(parents=True, exist_ok=True)
            into.write_text(content, "utf-8")
    except OSError as error:
        raise StorageError(f"{into} cannot be written: {error.strerror}") from error
    return PairFile(root, str(into))


def _listed(given: Texts, what: str) -> list[str]:
    if not isinstance(given, str | os.PathLike):
        return [str(one) for one in given]
    try:
        lines = Path(given).expanduser().read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise NotFoundError(
            f"there is no file of {what} {os.fspath(given)}", hint=f"--{what} FILE with one a line"
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
