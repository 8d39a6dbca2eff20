"""Removing: objects and folders, where a lost answer is no failure.

A store may carry a delete out and lose its answer; asked again, it says that there is nothing. So what counts is
whether something is there still, not what the last answer was. It knows fsspec, and nothing of what the objects are.
"""

from __future__ import annotations

from dataclasses import replace

from clipdata import retries
from clipdata.objects.faults import PATIENCE, as_clipdata_error, verdict_on
from clipdata.storage import Storage, redact


def remove(storage: Storage, uri: str, *, recursive: bool = False) -> None:
    """Remove an object or, with `recursive`, all that is in a folder; what is not there is no fault.

    Raises:
        CredentialsError: the store refused.
        TransientError: the store failed, again and again.
        StorageError: it cannot be removed.
    """
    fs, path = storage.filesystem(uri)

    def attempt() -> None:
        try:
            fs.rm(path, recursive=recursive)
        except Exception:
            fs.invalidate_cache()
            if fs.exists(path):
                raise

    patience = replace(PATIENCE, again=lambda error: verdict_on(error) in ("again", "missing"))
    try:
        retries.call(patience, attempt)
    except Exception as error:
        raise as_clipdata_error(error, f"removing {redact(uri)}", storage) from error
