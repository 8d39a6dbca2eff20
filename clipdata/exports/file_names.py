"""File names for pictures: those they had, made safe for every file system and unique in their folder.

Hugging Face's `imagefolder` reads names, too: it passes over those that begin with a dot or two underscores, and takes
a folder in which one is called `test.jpg` or `dog_train.png` for one of splits, whose other pictures it drops; for
`$HOME.png` it looks where the environment says, and `a::b.png` is to it a file inside another. No name that is made
here means anything to it.
Source: `datasets.data_files` (patterns of split names) and `datasets.utils.file_utils` of Hugging Face datasets 5.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_BYTES = 150
_SEPARATORS = "-._ 0-9"
SPLITS = ("train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation")
_SPLIT = re.compile(rf"(?:^|(?<=[{_SEPARATORS}]))({'|'.join(SPLITS)})(?=[{_SEPARATORS}])")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*$\\/\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)


class FileNames:
    """The names that are taken in one folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, wanted: str, suffixes: Iterable[str]) -> str:
        """A name like the one that is wanted, which nobody has yet, whatever a file system makes of case.

        Args:
            wanted: the picture's own name, of whatever origin; only its last part counts.
            suffixes: that its format may have, the usual one first, without a dot; any other is added to.
        """
        allowed = list(suffixes)
        last = re.split(r"[\\/]", unicodedata.normalize("NFC", wanted))[-1]
        stem, dot, suffix = _UNSAFE.sub("_", last).rpartition(".")
        if not dot or suffix.lower() not in allowed:
            stem, suffix = (f"{stem}.{suffix}" if dot else suffix), allowed[0]
        stem = _cut(_DEVICES.sub(r"_\1", stem.strip(" .")).lstrip("._ ") or "picture")
        stem = _SPLIT.sub(r"\1~", f"{stem}.")[:-1]
        number, name = 1, f"{stem}.{suffix}"
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}~{number}.{suffix}"
        self._taken.add(name.casefold())
        return name


def _cut(stem: str) -> str:
    return stem.encode()[:MAX_BYTES].decode(errors="ignore").rstrip(" .") or "picture"
