"""Faults of stores, told apart: gone, forbidden, worth another try, or hopeless; and how patient to be with them.

The clients of the stores retry some faults by themselves and let others through (gcsfs a timeout, all of them a body
that ends early behind a proxy), so every request here is tried again by ourselves too. It knows errors, not requests.
"""

from __future__ import annotations

import errno
import json
from typing import Literal

from clipdata import hints
from clipdata.errors import ClipdataError, CredentialsError, NoAnswerError, NotFoundError, StorageError, TransientError
from clipdata.retries import Policy
from clipdata.storage import SECRET_WORDS, Storage, redact

Verdict = Literal["missing", "denied", "again", "hopeless"]

_AGAIN_STATUS = frozenset({408, 425, 429})
_HOPELESS_ERRNO = frozenset(
    {errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EIO}
)
_CLIENTS = ("aiohttp", "requests", "urllib3", "botocore", "aiobotocore", "azure", "google", "gcsfs", "fsspec")
_NOBODY = ("EndpointConnectionError", "ClientConnectorError", "ClientConnectorDNSError", "NewConnectionError")
_MAX_WORDS = 300


def verdict_on(error: BaseException) -> Verdict:
    """Tell what a store's error means for the object it was met on."""
    if isinstance(error, FileNotFoundError):
        return "again" if _nobody_answered(error) else "missing"
    if isinstance(error, NoAnswerError):
        return "hopeless"
    status = status_of(error)
    if isinstance(error, PermissionError) or status in (401, 403):
        return "denied"
    if status is not None:
        worth = status in _AGAIN_STATUS or status >= 500
        return "missing" if status == 404 else "again" if worth else "hopeless"
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):  # gcsfs
        return "denied"
    if type(error).__name__ in ("NoCredentialsError", "ClientAuthenticationError", "DefaultCredentialsError"):
        return "denied"
    if isinstance(error, TimeoutError | ConnectionError | json.JSONDecodeError):  # JSON: a list that ends early
        return "again"
    if isinstance(error, OSError) and error.errno in _HOPELESS_ERRNO and error.__cause__ is None:
        return "hopeless"
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] in _CLIENTS:
        return "again"
    return "hopeless"


def _nobody_answered(error: FileNotFoundError) -> bool:
    """Whether a file is only called missing since no connection came about, as fsspec does for web addresses."""
    cause = error.__cause__
    return isinstance(cause, ConnectionError | TimeoutError) or (
        cause is not None and any(kind.__name__ == "ClientConnectionError" for kind in type(cause).__mro__)
    )


def is_passing(error: Exception) -> bool:
    """Tell whether the same request may work when it is made again."""
    return verdict_on(error) == "again"


PATIENCE = Policy(attempts=6, base_delay_s=0.25, cap_s=8.0, give_up_s=60.0, again=is_passing)
"""With a store: the requests of the clients' own second tries aside."""


def words_of(error: BaseException, storage: Storage) -> str:
    """What an error says, in one line and without a secret."""
    text = " ".join(str(error).split()) or type(error).__name__
    for word, value in storage.options.items():
        if word in SECRET_WORDS or word.startswith(("fsspec.", "lance.")):
            text = text.replace(value, "***")
    return redact(text)[:_MAX_WORDS]


def as_clipdata_error(error: BaseException, doing: str, storage: Storage) -> ClipdataError:
    """The error to raise when a store's error ends the job.

    Args:
        doing: what was being done to what, as in "listing gs://bucket/images".
    """
    if isinstance(error, ClipdataError):
        return error
    verdict, said = verdict_on(error), words_of(error, storage)
    if verdict == "missing":
        return NotFoundError(f"{doing}: there is nothing ({said})", hint="check the bucket's name and the path")
    if verdict == "denied":
        return CredentialsError(
            f"{doing}: the store refused access: {said}",
            hint=hints.CREDENTIALS,
        )
    if verdict == "again":
        if isinstance(error, FileNotFoundError):  # whose text names the file, and not the fault
            said = words_of(error.__cause__ or error, storage)
        return TransientError(f"{doing}: {said}", hint=hints.UNREACHABLE if _is_unreachable(error) else hints.AGAIN)
    return StorageError(f"{doing}: {said}")


def _is_unreachable(error: BaseException) -> bool:
    """Tell whether nobody is where the store should be, and not one who failed."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError) or type(seen).__name__ in _NOBODY:
            return True
        seen = seen.__cause__
    return False


def status_of(error: BaseException) -> int | None:
    """HTTP status that an error, or what it came from, carries."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict):
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            found = getattr(seen, "status", None) or getattr(seen, "status_code", None) or getattr(seen, "code", None)
        if str(found).isdigit() and 400 <= int(str(found)) < 600:
            return int(str(found))
        seen = seen.__cause__
    return None
