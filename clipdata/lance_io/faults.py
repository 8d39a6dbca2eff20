"""Lance's errors, told apart: what the user can mend, what time may mend, and what another writer caused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from clipdata import retries
from clipdata.errors import (
    ClipdataError,
    CredentialsError,
    NotFoundError,
    SchemaError,
    StorageError,
    TransientError,
    UsageError,
)
from clipdata.storage import is_remote, redact

T = TypeVar("T")

_SOURCE_PLACE = re.compile(r",? ?/?(?:[\w./-]+/)?rust/[\w./-]+\.rs:\d+(?::\d+)?")
_NOT_FOUND = re.compile(r"was not found|Not found|NoSuchKey|NoSuchBucket|does not exist", re.IGNORECASE)
_DENIED = re.compile(
    r"permission ?denied|access ?denied|forbidden|unauthori[sz]ed|\b40[13]\b|credential", re.IGNORECASE
)
_FULL = re.compile(r"no space left|disk quota|read-only file system|StorageFull|os error (?:28|30|122)", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"\b(?:429|50[0234])\b|timed? ?out|connection (?:reset|refused|closed)|error sending request|broken pipe|"
    r"Commit result for version|temporarily|too many requests|slow ?down|incomplete message|error decoding response",
    re.IGNORECASE,
)
_QUERY = re.compile(r"Schema error|Error tokenizing|SQL|sql parser|No field named|Invalid user input", re.IGNORECASE)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may work when repeated."""
    return isinstance(error, TransientError) or bool(_TRANSIENT.search(str(error)))


def is_conflict(error: BaseException) -> bool:
    """Tell whether another writer's commit came in between, so that the work must be redone on the newest version."""
    return type(error).__name__ == "CommitConflictError" or bool(
        re.search(r"commit conflict|incompatible with concurrent|preempted by concurrent", str(error), re.IGNORECASE)
    )


@contextmanager
def translated(uri: str, doing: str) -> Iterator[None]:
    """Turn any error of Lance inside the block into clipdata's.

    Args:
        uri: the table, named in the message.
        doing: what was being done, as in "reading".
    """
    try:
        yield
    except ClipdataError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise _translate(error, redact(uri), doing) from error


def _translate(error: Exception, uri: str, doing: str) -> ClipdataError:
    text = redact(_SOURCE_PLACE.sub("", str(error)).strip())
    if _FULL.search(text):
        return StorageError(f"{doing} {uri}: {text}", hint="free some space, or choose a folder that can be written")
    if _DENIED.search(text) and is_remote(uri):
        return CredentialsError(
            f"{doing} {uri}: the store refused access: {text}",
            hint="pass --anonymous for a public bucket, or set the credentials your cloud's own tools read",
        )
    if _DENIED.search(text):
        return StorageError(f"{doing} {uri}: {text}", hint="choose a folder that can be written")
    if _TRANSIENT.search(text):
        return TransientError(
            f"{doing} {uri}: {text}", hint="run the same command again; it continues where it stopped"
        )
    if _QUERY.search(text):
        return SchemaError(f"{doing} {uri}: {text.removeprefix('Invalid user input: ')}")
    if _NOT_FOUND.search(text):
        return NotFoundError(
            f"{doing}: there is no Lance table at {uri}", hint=f"make it first; `clipdata log {uri}` lists versions"
        )
    if isinstance(error, ValueError):
        return UsageError(f"{doing} {uri}: {text}")
    return StorageError(f"{doing} {uri}: {text}")


def with_retries(attempt: Callable[[], T], *, attempts: int = 6, base_delay_s: float = 0.2) -> T:
    """Call `attempt` until it works, waiting longer each time; conflicts and transient faults are tried again.

    The call must be safe to repeat after it has in fact succeeded: write by key, or look for an own id first.
    """
    policy = retries.Policy(
        attempts=attempts, base_delay_s=base_delay_s, again=lambda error: is_conflict(error) or is_transient(error)
    )
    return retries.call(policy, attempt)
