"""Which file of a folder a name in a list means: as it is, by its last part, without its suffix, in another spelling.

A file has many spellings: a suffix left out, `.JPG` for `.jpg`, an accent written as one sign or two, backslashes.
Where exactly one file is left it is meant, and how it was found is counted; where several are, the name is ambiguous.
Names of millions of files are kept as digests, 8 bytes each (folders 40), and the files themselves on disk.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import cast

import numpy as np

from ingest.pictures.image_reading import ImageItem
from ingest.updating.spool import Spool

NO_FILE, SEVERAL = -1, -2
_DEPTH = 5  # of folders that are told apart
# Which of two files of one stem is meant: the likelier suffix first.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def _path(path: str) -> str:
    return path


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return path[: -len(suffix)] if (suffix := PurePosixPath(path).suffix) else path


def _loose(path: str) -> str:
    plain = unicodedata.normalize("NFC", path.strip()).replace("\\", "/").removeprefix("./")
    suffix = PurePosixPath(plain).suffix
    return plain[: len(plain) - len(suffix)] + suffix.lower()


# Spelling of the file, spelling of the name, and what is said of names that are found so.
_Form = tuple[Callable[[str], str], Callable[[str], str], str]
_WITHOUT_SUFFIX, _OTHER_SPELLING = "names without a suffix", "names in another spelling (accents, case of the suffix)"
_BY_PATH: tuple[_Form, ...] = (
    (_path, _path, ""),
    (_stem, _path, _WITHOUT_SUFFIX),
    (_loose, _loose, _OTHER_SPELLING),
    (lambda path: _stem(_loose(path)), _loose, _OTHER_SPELLING),
)
_BY_NAME: tuple[_Form, ...] = (
    (_path, _path, ""),
    (_name, _name, ""),
    (_stem, _path, _WITHOUT_SUFFIX),
    (lambda path: _stem(_name(path)), _name, _WITHOUT_SUFFIX),
    (_loose, _loose, _OTHER_SPELLING),
    (lambda path: _name(_loose(path)), lambda name: _name(_loose(name)), _OTHER_SPELLING),
    (lambda path: _stem(_name(_loose(path))), lambda name: _name(_loose(name)), _OTHER_SPELLING),
)


class NameIndex:
    """The files of a folder, to be found by name.

    Args:
        files: in the order in which they are numbered.
        by_name: a name's last part is enough where no file has the whole of it, and the folders of the two agree as
            far as both say them.
    """

    def __init__(self, files: Iterable[ImageItem], *, by_name: bool) -> None:
        self._forms = _BY_NAME if by_name else _BY_PATH
        self._files = Spool()
        self._tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.found_so: Tally[str] = Tally()
        self.first = ""
        self.folders: dict[str, bool] = {}  # at the top, and whether there are folders in them
        parents = array("Q")
        for file in files:
            self.first = self.first or file.key
            self._files.append(file)
            parents.extend(_ends_of(file.key))
            top, slash, rest = file.key.partition("/")
            if slash:
                self.folders[top] = self.folders.get(top, False) or "/" in rest

        self._parents = np.frombuffer(parents, np.uint64).reshape(-1, _DEPTH)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[ImageItem]:
        return cast("Iterator[ImageItem]", iter(self._files))

    def find(self, names: Sequence[str], *, exactly: bool = False) -> np.ndarray:
        """Number of the file that each name means; int64 [n], `NO_FILE` or `SEVERAL` where it means none or several.

        Args:
            exactly: take no other spelling than the file's own.
        """
        found = np.full(len(names), NO_FILE, np.int64)
        for place, (_, spell, said) in enumerate(self._forms):
            if exactly and said == _OTHER_SPELLING:
                break
            open_: list[int] = np.flatnonzero(found == NO_FILE).tolist()
            if not open_:
                break
            numbers = self._look_up(place, [spell(names[number]) for number in open_])
            found[open_] = self._agreeing(numbers, [names[number] for number in open_])
            if said:
                self.found_so[said] += int((found[open_] >= 0).sum())
        return found

    def _agreeing(self, numbers: np.ndarray, names: list[str]) -> np.ndarray:
        """Without the files that lie in other folders than the names say: `test/1.jpg` is not `train/1.jpg`."""
        for place in np.flatnonzero(numbers >= 0):
            said, has = _ends_of(names[place]), self._parents[numbers[place]].tolist()
            if said[0] and has[0] and said[0] not in has and has[0] not in said:
                numbers[place] = NO_FILE
        return numbers

    def notes(self) -> dict[str, str]:
        """Names that were found in another way than as they are."""
        return {f"{words}, matched": f"{count:,}" for words, count in self.found_so.items() if count}

    def _look_up(self, form: int, names: list[str]) -> np.ndarray:
        digests, files = self._table(form)
        if not len(digests):
            return np.full(len(names), NO_FILE, np.int64)
        wanted = _digests(names)
        first = np.searchsorted(digests, wanted)
        is_there = digests[np.minimum(first, len(digests) - 1)] == wanted
        several = is_there & (np.searchsorted(digests, wanted, "right") - first > 1)
        numbers = np.where(is_there, files[np.minimum(first, len(files) - 1)], NO_FILE)
        # Of two files of one stem in one folder, the likelier suffix is meant; it was sorted first.
        return numbers if self._forms[form][2] == _WITHOUT_SUFFIX else np.where(several, SEVERAL, numbers)

    def _table(self, form: int) -> tuple[np.ndarray, np.ndarray]:
        """Sorted digests of a spelling of all files, and their numbers; made when it is first needed."""
        if form not in self._tables:
            spell = self._forms[form][0]
            kind = np.dtype([("digest", np.uint64), ("rank", np.uint8)])
            told = np.fromiter(((_digest(spell(file.key)), _rank(file.key)) for file in self), kind, len(self))
            order = np.lexsort((told["rank"], told["digest"]))
            self._tables[form] = told["digest"][order], order
        return self._tables[form]


def _ends_of(path: str) -> tuple[int, ...]:
    """Digests of the folders of a path: of all, then of the last ones; 0 where there are no more."""
    folders = _loose(path).split("/")[:-1]
    ends = ["/".join(folders[start:]) for start in range(len(folders))]
    digests = [_digest(end) for end in [*ends[:1], *reversed(ends[1:])]][:_DEPTH]
    return (*digests, *(0 for _ in range(_DEPTH - len(digests))))


def _rank(path: str) -> int:
    suffix = PurePosixPath(path).suffix.lower()
    return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _digests(names: list[str]) -> np.ndarray:
    return np.fromiter(map(_digest, names), np.uint64, len(names))
