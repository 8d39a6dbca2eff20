"""Every error a user of clipdata can meet, and the exit code each one has on the command line.

    ClipdataError                     1   the job failed
    ├── UsageError                    2   the request itself is wrong; nothing was done
    │   ├── ConfigError                   one or more fields of a config are wrong (all are listed)
    │   └── SchemaError                   a table lacks a column, or a column has another type
    ├── NotFoundError                 3   a table, file, folder, version or model does not exist
    ├── CredentialsError              4   the store refused the keys, or found none
    ├── TransientError                5   the store or the network failed; the same command may work later
    │   └── NoAnswerError                 nobody answered at all, for as long as one waits
    ├── ConcurrentChangeError         5   another writer changed what this one worked on; nothing false was written
    ├── TooManyRejectsError           6   more rows were refused than the limit allows
    ├── GateFailedError               7   a comparison missed the bound it was asked to hold, or a column is stale
    ├── LineageMismatchError          1   a column was made by another step, parameters or weights
    ├── StorageError                  1   the table's storage is full, read-only, or inconsistent
    ├── StepError                     1   a map step broke its contract
    ├── EndedElsewhereError           its own  another of the processes that train together failed, and tells why
    └── ImageRefused                  1   one image cannot be used (jobs count it; it does not stop them)

An error says what was found and what was expected; `hint` says what to type next. Neither gives a terminal an order,
whatever it quotes. This module knows nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from clipdata.printable import printable_quoted


class ClipdataError(Exception):
    """Root of all errors raised on purpose.

    Args:
        message: what was found, and what was expected instead.
        hint: what the user can do about it, usually a command.
    """

    exit_code = 1
    name = "failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = printable_quoted(message, keep="\n")  # it quotes data, and ends on terminals and in logs
        self.hint = printable_quoted(hint, keep="\n") if hint is not None else None
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(ClipdataError, ValueError):
    """The request cannot be carried out as written; nothing was read or changed."""

    exit_code = 2
    name = "usage"


class ConfigError(UsageError):
    """A config has wrong fields; the message lists every one of them."""

    name = "config"

    def __init__(self, problems: Sequence[str], *, what: str = "config", hint: str | None = None) -> None:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{what}: {len(problems)} problem(s){listed}", hint=hint)
        self.problems = list(problems)


class SchemaError(UsageError):
    """A table does not have the columns or the types that the verb needs.

    Attributes:
        missing: columns that the table lacks, each with the names it has that are like it.
    """

    name = "schema"
    missing: Mapping[str, Sequence[str]] = MappingProxyType({})


class NotFoundError(ClipdataError, FileNotFoundError):
    """A named table, file, folder, version or model does not exist."""

    exit_code = 3
    name = "not_found"


class CredentialsError(ClipdataError, PermissionError):
    """The store answered that the caller may not do this."""

    exit_code = 4
    name = "credentials"


class TransientError(ClipdataError, ConnectionError):
    """A fault that time may mend: the same command can be typed again."""

    exit_code = 5
    name = "transient"


class NoAnswerError(TransientError):
    """A store gave no answer for as long as one waits for it, so nothing in this process asks it again."""


class ConcurrentChangeError(ClipdataError):
    """Another writer changed what this one worked on. What was committed before is right; the rest was not written."""

    exit_code = 5
    name = "concurrent_change"


class TooManyRejectsError(ClipdataError):
    """The job finished, but refused more rows than the caller allowed."""

    exit_code = 6
    name = "too_many_rejects"


class GateFailedError(ClipdataError):
    """A comparison did not reach the bound it was asked to hold, or a column is not what its step would make."""

    exit_code = 7
    name = "gate_failed"


class LineageMismatchError(ClipdataError):
    """A column was made by another step, other parameters or other weights than those about to write to it."""

    name = "lineage_mismatch"


class StorageError(ClipdataError, OSError):
    """The place a table lives in is full, read-only, or holds something that is not what it should be."""

    name = "storage"


class StepError(ClipdataError):
    """A map step returned something else than one value a row of the type it declared."""

    name = "step"


class EndedElsewhereError(ClipdataError):
    """Another of the processes that train together failed, and all of them end.

    Args:
        message: which one, and what it says.
        exit_code: of its error.
        is_told: that one tells it, too; else nobody does.
    """

    name = "ended_elsewhere"

    def __init__(self, message: str, *, exit_code: int = 1, is_told: bool = True) -> None:
        super().__init__(message)
        self.exit_code, self.is_told = exit_code, is_told


class ImageRefused(ClipdataError):  # noqa: N818 - it is a verdict on one image, not a fault of the job
    """One image cannot be used.

    Args:
        reason: a short code from `clipdata.images.REASONS`, the same in every table of rejects.
        detail: what exactly was wrong with this one.
    """

    name = "image_refused"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
