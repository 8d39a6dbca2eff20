"""Problems of a table, as values and as lines. It knows neither files nor how they are mended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from clipdata import hints
from clipdata.errors import StorageError
from clipdata.plurals import counted
from clipdata.printable import printable

Remedy = Literal["set aside", "name again", "refill", "fetch", "remove", "keep one", "by hand"]
EXAMPLES = 5


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be.

    Args:
        what: "version", "file", "pictures", "keys", "tag", "index" or "picture table".
        name: of it: a file's path inside the table, a version, a tag.
        fault: what was found.
        remedy: what a repair does: "set aside" a manifest or a tag's file, write a tag's file anew ("name again"),
            empty a column's part that can be made again ("refill"), "fetch" pictures from where they came from,
            "remove" rows that cannot be read, "keep one" of rows that share a key; "by hand" where it can do nothing.
        mending: the same in words, with what to type.
        version: of the table in which it was found.
        fragment: of a file.
        columns: whose values are concerned.
        num_rows: that are concerned.
        keys: of the rows, where single rows are concerned and can be named.
        beside: location of the table beside this one that it is of, of what was refused or taken in; empty otherwise.
    """

    what: str
    name: str
    fault: str
    remedy: Remedy
    mending: str
    version: int | None = None
    fragment: int | None = None
    columns: tuple[str, ...] = ()
    num_rows: int = 0
    keys: tuple[str, ...] = ()
    beside: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON values; of the keys a few."""
        return {**asdict(self), "keys": list(self.keys[:EXAMPLES])}

    def __str__(self) -> str:
        where = f" (fragment {self.fragment}: {', '.join(self.columns)})" if self.fragment is not None else ""
        rows = f"; {counted(self.num_rows, 'row')} concerned" if self.num_rows else ""
        such = f", such as {', '.join(self.keys[:EXAMPLES])}" if any(self.keys) else ""
        inside = f"{self.beside}: " if self.beside else ""
        return f"{inside}{self.what} {self.name}{where}: {self.fault}{rows}{such}\n    mend: {self.mending}"


@dataclass(frozen=True)
class Checkup:
    """What was looked at, what is wrong with it, and what a repair did.

    Args:
        table: location.
        version: newest that can be opened; None where none can.
        num_versions: that have a manifest.
        num_files: of that version, and of the tables beside it.
        num_read: of them whose values were read; of the others the size alone was looked at.
        num_bytes: of all of them.
        num_pictures: whose bytes were held against their digest.
        problems: that were found.
        repaired: what was done; empty where no repair was asked for.
        left: problems that are there still.
        next: what to type after a repair.
    """

    table: str
    version: int | None
    num_versions: int
    num_files: int
    num_read: int
    num_bytes: int
    num_pictures: int
    problems: tuple[Problem, ...] = ()
    repaired: tuple[str, ...] = ()
    left: tuple[Problem, ...] = ()
    next: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return not self.left

    @property
    def repairable(self) -> bool:
        """Whether a repair would do something."""
        return any(problem.remedy != "by hand" for problem in self.left)

    def hold(self) -> Checkup:
        """Returns itself when nothing is wrong.

        Raises:
            StorageError: something is.
        """
        if self.sound:
            return self
        names = ", ".join(f"{problem.what} {problem.name}" for problem in self.left[:EXAMPLES])
        more = " …" if len(self.left) > EXAMPLES else ""
        raise StorageError(
            f"{self.table} is damaged: {len(self.left)} problem(s): {names}{more}",
            hint=f"{hints.check(self.table)} --repair says what it would do, and asks" if self.repairable else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        told = {name: getattr(self, name) for name in _NUMBERS}
        return told | {
            "sound": self.sound,
            "problems": [problem.to_dict() for problem in self.problems],
            "repaired": list(self.repaired),
            "left": [problem.to_dict() for problem in self.left],
        }

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        lines += [f"repaired: {done}" for done in self.repaired]
        if self.repaired:
            lines += [f"still there: {problem}" for problem in self.left]
        state = "nothing is wrong" if not self.problems else f"{len(self.left)} problem(s)"
        read = "all" if self.num_read == self.num_files else f"{self.num_read:,}"
        version = f"version {self.version}" if self.version is not None else "no version can be read"
        told = f"{self.table} ({version}): {state}; {counted(self.num_files, 'file')} looked at, {read} of them read"
        pictures = f", {counted(self.num_pictures, 'picture')} as their digests say" if self.num_pictures else ""
        return "\n".join(printable(line, keep="\n") for line in [*lines, told + pictures])


_NUMBERS = ("table", "version", "num_versions", "num_files", "num_read", "num_bytes", "num_pictures")
