"""Asked pictures: the last files that a page asked to search by, encoded anew and kept in memory under their digest."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipdata.errors import NotFoundError
from clipdata.images.thumbnails import thumbnail

MOST_PICTURES = 24
SIDE, QUALITY = 1024, 92
_MOST_LETTERS = 120


class AskedPictures:
    """Files that somebody chose, dropped or pasted; none of their own bytes is kept."""

    def __init__(self, most: int = MOST_PICTURES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[bytes, str]] = OrderedDict()

    def keep(self, data: bytes, name: str) -> str:
        """Decode a file within the limits of every ingest, encode it as WebP of at most `SIDE` pixels, and keep that.

        Returns:
            Its digest, by which it is asked for.

        Raises:
            ImageRefused: it cannot be decoded, or not within the limits.
        """
        made = thumbnail(data, side=SIDE, quality=QUALITY).data
        digest = hashlib.sha256(made).hexdigest()[:32]
        with self._lock:
            self._held[digest] = made, name.replace("\\", "/").rpartition("/")[2][:_MOST_LETTERS] or "picture"
            self._held.move_to_end(digest)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        return digest

    def data(self, digest: str) -> bytes:
        """The WebP.

        Raises:
            NotFoundError: it is not kept any more.
        """
        return self._get(digest)[0]

    def name(self, digest: str) -> str:
        """What the file was called; see `data`."""
        return self._get(digest)[1]

    @contextmanager
    def file(self, digest: str) -> Iterator[str]:
        """The same as a file, for as long as it is read; see `data`."""
        with tempfile.TemporaryDirectory(prefix="clipdata-view-") as folder:
            place = Path(folder) / "picture.webp"
            place.write_bytes(self.data(digest))
            yield str(place)

    def _get(self, digest: str) -> tuple[bytes, str]:
        with self._lock:
            if digest not in self._held:
                raise NotFoundError(
                    "the picture that was searched by is not kept any more", hint="choose or drop its file once more"
                )
            self._held.move_to_end(digest)
            return self._held[digest]
