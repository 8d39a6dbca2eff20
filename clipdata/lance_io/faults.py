"""Lance's errors, told apart: what the user can mend, what time may mend, and what another writer caused.

What kind an error is, its class and the way Lance and its store clients build their texts tell; never a digit or a word
that stands in a location or in the user's own condition. Those are taken out before anything is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

from clipdata import hints, retries
from clipdata.errors import (
    ClipdataError,
    CredentialsError,
    NoAnswerError,
    NotFoundError,
    SchemaError,
    StorageError,
    TransientError,
    UsageError,
)
from clipdata.storage import is_remote, redact

T = TypeVar("T")
Kind = Literal["inside", "full", "denied", "transient", "damaged", "query", "file_gone", "missing", "other"]

_SOURCE_PLACE = re.compile(r",? ?/?[\w./@-]*\b(?:rust|rustc|registry|src)/[\w./@-]+\.rs:\d+(?::\d+)?")
_PREFIX = re.compile(r"^(?:External error|Query Execution error|Invalid user input|LanceError\(\w+\)|Wrapped error): ")
_PATH = re.compile(r"(?<![<\w.])[\w.%:@~+=,?&-]*/[^\s<>\"']*")  # of any length; a closing tag of XML is none
_BUDGET = re.compile(r"max_retries: \d+|retry_timeout: \S+")  # what object_store says of its own patience
# How Lance's own errors begin that a statement or a name caused, and those of what is not there.
_QUERY = re.compile(
    r"^(?:External error: )?(?:Invalid user input|LanceError\((?:Schema|Arrow|Index)\)|Query Execution error"
    r"|Not supported|(?:LanceError\(IO\): )?Internal error: Failed to coerce|Schema error|SQL error"
    r"|Column .* does not exist|Field '.*' not found)"
)
_MISSING = re.compile(
    r"^(?:External error: )?(?:LanceError\(IO\): Generic \S+ error: )?"
    r"(?:Dataset at path|Not found|Ref not found|Ref is invalid|Version not found|Table not found)"
)
_FROM_STORE = re.compile(
    r"LanceError\(IO\)(?!: Internal error: Failed to coerce)|Generic \S+ error|Error performing "
    r"|error sending request|os error \d"
)
_INSIDE = re.compile(r"Task was aborted|Encountered internal error|task \d+ panicked", re.IGNORECASE)
# What Lance says of a file that is not what it wrote.
_DAMAGED = re.compile(
    r"file size is too small|Invalid range \d+\.\.\d+ for object of size|invalid seek to a negative"
    r"|failed to fill whole buffer|failed to decode Protobuf"
    r"|buffer underflow|magic number|Tail read position|does not contain correct footer|corrupt file"
    r"|does not appear to be a Lance file|does not have sufficient data|invalid wire type|CRC|checksum"
    r"|^LanceError\(Arrow\): .* at line \d+ column \d+$",  # the last of a tag's JSON
    re.IGNORECASE,
)
_FULL = re.compile(
    r"no space left|disk quota|read-only file system|StorageFull|os error (?:28|30|122)\b", re.IGNORECASE
)
_DENIED = re.compile(
    r"permission ?denied|access ?denied|forbidden|unauthori[sz]ed|credential|os error (?:1|13)\b"
    r"|lacked (?:the necessary|valid)|SignatureDoesNotMatch|InvalidAccessKeyId|status code: 40[13]\b",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"status code: (?:408|425|429|5\d\d)\b|\b(?:429 too many|500 internal|502 bad|503 service|504 gateway)"
    r"|timed? ?out|connection (?:reset|refused|closed|aborted)|error sending request|broken pipe|temporarily"
    r"|Commit result for version|too many requests|slow ?down|incomplete message|error decoding response"
    r"|response body error"
    r"|os error (?:32|104|110|111)\b",
    re.IGNORECASE,
)
_NOBODY = re.compile(r"connection refused|os error 111\b|dns error|failed to lookup address", re.IGNORECASE)
_GONE = re.compile(r"was not found|not found|NoSuchKey|NoSuchBucket|does not exist|status code: 404\b", re.IGNORECASE)
_DATA_FILE = re.compile(r"/(?:data|_deletions|_indices|_transactions)/")
_CONFLICT = re.compile(
    r"commit conflict|incompatible with concurrent|preempted by concurrent|^Too many concurrent", re.I
)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may work when repeated."""
    if isinstance(error, NoAnswerError):
        return False
    return isinstance(error, TransientError) or _kind_of(error) == "transient"


def is_conflict(error: BaseException) -> bool:
    """Tell whether another writer's commit came in between, so that the work must be redone on the newest version."""
    if type(error).__name__ == "CommitConflictError":
        return True
    text = _told(error, ())
    return not _QUERY.search(text) and bool(_CONFLICT.search(text))


class NotUnderstoodError(SchemaError):
    """Lance does not understand a condition or a SELECT, or finds no such column for it."""


class DamagedFileError(StorageError):
    """A file of a table is not what Lance wrote."""


@contextmanager
def translated(uri: str, doing: str, *, said: Sequence[str | None] = ()) -> Iterator[None]:
    """Turn any error of Lance inside the block into clipdata's, a panic of its Rust code included.

    Args:
        uri: the table, named in the message.
        doing: what was being done, as in "reading".
        said: the user's own words, such as a condition; nothing is concluded from what they say.
    """
    try:
        yield
    except ClipdataError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise _translate(error, uri, doing, said) from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise _translate(error, uri, doing, said) from None  # its text and trace are of no use to anyone here


def _is_panic(error: BaseException) -> bool:
    """Tell a panic of Rust code; pyo3 makes it a BaseException of a class that cannot be imported."""
    return type(error).__name__ == "PanicException"


def _told(error: BaseException, said: Sequence[str | None]) -> str:
    """What an error says without locations, the places in Lance's source, and the user's own words."""
    text = _BUDGET.sub("", _SOURCE_PLACE.sub("", str(error)))
    for words in sorted(filter(None, said), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", "…", text)  # a column n is no letter of another word
    return _PATH.sub("…", text).strip()


def _kind_of(error: BaseException, said: Sequence[str | None] = ()) -> Kind:
    text = _told(error, said)
    if _is_panic(error) or _INSIDE.search(text):
        return "inside"
    if isinstance(error, FileNotFoundError):
        return "missing"
    if not isinstance(error, ConnectionError | TimeoutError) and _DAMAGED.search(text):
        return "damaged"
    from_store = bool(_FROM_STORE.search(text))
    if not from_store and _QUERY.search(text):
        return "query"
    if not from_store and _MISSING.search(text):
        return _what_is_missing(error)
    if _FULL.search(text):
        return "full"
    if isinstance(error, PermissionError) or _DENIED.search(text):
        return "denied"
    if isinstance(error, ConnectionError | TimeoutError) or _TRANSIENT.search(text):
        return "transient"
    return _what_is_missing(error) if _GONE.search(text) else "other"


def _what_is_missing(error: BaseException) -> Kind:
    found = re.search(r"[Nn]ot found:? (\S.*)", str(error))
    return "file_gone" if found and _DATA_FILE.search(found.group(1)) else "missing"


def _translate(error: BaseException, location: str, doing: str, said: Sequence[str | None]) -> ClipdataError:
    uri = redact(location)
    inner = location.partition("://")[2] or location.lstrip("/")
    kind = _kind_of(error, [*said, location, inner])
    found = f"{doing} {uri}: {said_by(error)}"
    if kind == "inside":
        return StorageError(
            f"{doing} {uri}: Lance failed inside: {said_by(error)}",
            hint="this is a fault of Lance, or a file is damaged; other columns, another condition or an earlier "
            f"version may work; this looks at the files: {hints.check(location)}",
        )
    if kind == "damaged":
        return DamagedFileError(
            f"{doing} {uri}: a file is damaged: {said_by(error)}", hint=f"find it: {hints.check(location)}"
        )
    if kind == "full":
        return StorageError(found, hint=hints.ROOM)
    if kind == "denied" and is_remote(location):
        return CredentialsError(
            f"{doing} {uri}: the store refused access: {said_by(error)}",
            hint=hints.CREDENTIALS,
        )
    if kind == "denied":
        return StorageError(found, hint=hints.WRITABLE)
    if kind == "transient":
        return TransientError(found, hint=hints.UNREACHABLE if _NOBODY.search(found) else hints.AGAIN)
    if kind == "query":
        return NotUnderstoodError(found)
    if kind == "file_gone":
        return NotFoundError(
            f"{doing} {uri}: a file of this version is gone: {said_by(error)}",
            hint=f"it was cleaned up, or removed by hand; read another version: {hints.log(location)}; "
            f"or see what it held: {hints.check(location)}",
        )
    if kind == "missing":
        return NotFoundError(
            f"{doing}: there is no Lance table at {uri}", hint=f"make it first: {hints.ingest(location)}"
        )
    return UsageError(found) if isinstance(error, ValueError) else StorageError(found)


def said_by(error: BaseException, most: int = 600) -> str:
    """What an error says, in one line for people, up to so many letters."""
    text = " ".join(_SOURCE_PLACE.sub("", str(error)).split())
    while found := _PREFIX.match(text):
        text = text[found.end() :]
    return redact(text)[:most]


def with_retries(attempt: Callable[[], T], *, attempts: int = 6, base_delay_s: float = 0.2) -> T:
    """Call `attempt` until it works, waiting longer each time; conflicts and transient faults are tried again.

    The call must be safe to repeat after it has in fact succeeded: write by key, or look for an own id first.
    """
    policy = retries.Policy(
        attempts=attempts, base_delay_s=base_delay_s, again=lambda error: is_conflict(error) or is_transient(error)
    )
    return retries.call(policy, attempt)
