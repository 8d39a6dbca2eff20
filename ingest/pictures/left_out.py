"""What of a folder is not taken: what systems and tools leave beside pictures, and files that are no pictures by name.

Names are all it looks at, the same ones in a folder and in a bucket; it opens nothing.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Collection
from typing import Any

SHOWN = 5
_EXAMPLES = 100
_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"}
    | {"_temporary", "_spark_metadata"}
)
_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "_success"})
# Hugging Face's folders of images keep what is known of them so.
_ABOUT_IMAGES = frozenset({"metadata.jsonl", "metadata.csv", "metadata.parquet"})
_APPLE = "._*"  # AppleDouble: what a Mac keeps of a file beside it, under the file's own suffix


def no_data(name: str) -> str:
    """Name the kind of a file or folder that is no data, by its own name; empty for any other."""
    if name.startswith("._"):
        return _APPLE
    if name.startswith(".") or name in _FOLDERS or name.lower() in _FILES:
        return name
    return ""


class LeftOut:
    """Decides by name which files are looked at, and counts the others by kind.

    Args:
        suffixes: lower case, of the files that are looked at.
        suffixless: look at files without a suffix, too.
    """

    def __init__(self, suffixes: Collection[str], *, suffixless: bool = False) -> None:
        self.suffixes, self.suffixless = suffixes, suffixless
        self.no_data: Tally[str] = Tally()
        self.others: Tally[str] = Tally()
        self.without_suffix: list[str] = []  # paths of the first of them
        self.about_images: list[str] = []  # paths of the first files that say something of the images beside them

    def wants(self, path: str) -> bool:
        """Whether a file is looked at, by its path inside the folder; it is not counted."""
        return self.is_data(path) and self._has_suffix(path)

    def is_data(self, path: str) -> bool:
        """Whether nothing on the way to a file, nor the file itself, is of a kind that is no data."""
        return not any(map(no_data, path.split("/")))

    def takes(self, path: str) -> bool:
        """As `wants`; a file that is not is counted."""
        if not self.is_data(path):
            self.no_data[next(filter(None, map(no_data, path.split("/"))))] += 1
            return False
        if not self._has_suffix(path):
            suffix = os.path.splitext(path)[1].lower()
            self.others[suffix] += 1
            if path.rpartition("/")[2].lower() in _ABOUT_IMAGES and len(self.about_images) < _EXAMPLES:
                self.about_images.append(path)
            if not suffix and len(self.without_suffix) < _EXAMPLES:
                self.without_suffix.append(path)
            return False
        return True

    def notes(self) -> dict[str, Any]:
        """What was left out, by kind."""
        names = Tally({repr(name): count for name, count in self.no_data.items()})  # a name may begin with dots
        counts = {"no data, left out": names, "other files, left out": self.others}
        return {words: counted(tally) for words, tally in counts.items() if tally}

    def _has_suffix(self, path: str) -> bool:
        suffix = os.path.splitext(path)[1].lower()
        return suffix in self.suffixes or (self.suffixless and not suffix)


def counted(tally: Tally[str]) -> str:
    """How many, and the commonest kinds."""
    kinds = ", ".join(f"{count:,} {kind or 'without suffix'}" for kind, count in tally.most_common(SHOWN))
    more = ", …" if len(tally) > SHOWN else ""
    return f"{tally.total():,} ({kinds}{more})"
