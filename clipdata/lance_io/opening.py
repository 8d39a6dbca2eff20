"""Opening a Lance data set: what a version or a tag that is not there is told as, and a manifest of nothing but zeros.

It knows a store and its faults, and nothing of what a table is to us.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipdata import hints
from clipdata.errors import NotFoundError
from clipdata.lance_io.faults import DamagedFileError, translated, with_retries
from clipdata.storage import Storage, redact

if TYPE_CHECKING:
    import lance

_MOST_TAG_BYTES = 250


def open_dataset(uri: str, version: int | str | None, storage: Storage) -> lance.LanceDataset:
    """Open a data set at its newest version, at a version number, or at a tag.

    Args:
        uri: absolute.

    Raises:
        NotFoundError: there is none, or not that version.
        StorageError: a file is damaged, or the store fails.
    """
    import lance

    def attempt() -> lance.LanceDataset:
        return lance.dataset(uri, version=version, storage_options=storage.lance_options(uri) or None)

    def opened() -> lance.LanceDataset:
        dataset = storage.answered(lambda: with_retries(attempt), uri, f"opening {redact(uri)}")
        if not dataset.version:  # versions count from 1
            raise DamagedFileError(
                f"opening {redact(uri)}: a file is damaged: the manifest of a version holds nothing but zeros",
                hint=f"find it: {hints.check(uri)}",
            )
        return dataset

    if version is not None:
        try:
            if isinstance(version, str) and len(os.fsencode(version)) > _MOST_TAG_BYTES:
                raise NotFoundError("no file can be called so, and a tag is one")
            with translated(uri, "opening"):
                return opened()
        except (NotFoundError, OverflowError) as error:  # Lance counts versions in 64 bits, from 1
            newest = open_dataset(uri, None, storage).version
            what, number = ("tag", ", a number") if isinstance(version, str) else ("version", "")
            found = f"there is no {what} {version!r:.80} of {redact(uri)}; the newest is version {newest}{number}"
            raise NotFoundError(found, hint=hints.log(uri)) from error
    with translated(uri, "opening"):
        return opened()
