"""Findings of a diagnosis, as values and as lines. It knows neither machines nor stores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from clipdata.errors import ClipdataError
from clipdata.printable import printable

Verdict = Literal["good", "note", "bad"]
_MARKS = {"good": " ", "note": "!", "bad": "✗"}


@dataclass(frozen=True)
class Finding:
    """One fact.

    Args:
        topic: "machine", "packages", "extras" or "store".
        name: of what was looked at.
        value: what was found.
        verdict: "note" where something could be better, "bad" where work there goes wrong.
        hint: what to do about it.
    """

    topic: str
    name: str
    value: str
    verdict: Verdict = "good"
    hint: str | None = None

    def __str__(self) -> str:
        line = f"{_MARKS[self.verdict]} {self.name:<20} {self.value}"
        return printable(line) + (f"\n    hint: {printable(self.hint)}" if self.hint else "")


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Args:
        place: that was looked at; None where only the machine was.
        findings: by topic.
        fault: what ends the command when something is bad.
    """

    place: str | None
    findings: tuple[Finding, ...]
    fault: ClipdataError | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is bad."""
        return all(one.verdict != "bad" for one in self.findings)

    def finding(self, name: str) -> Finding:
        """One of them."""
        return next(one for one in self.findings if one.name == name)

    def hold(self) -> Diagnosis:
        """Returns itself when nothing is bad.

        Raises:
            ClipdataError: what is bad: no such place, access refused, no answer, or commits that are not safe.
        """
        if self.fault is not None:
            raise self.fault
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"place": self.place, "sound": self.sound, "findings": [asdict(one) for one in self.findings]}

    def __str__(self) -> str:
        topics = dict.fromkeys(one.topic for one in self.findings)
        return "\n".join(
            "\n".join([topic, *(f"  {one}" for one in self.findings if one.topic == topic)]) for topic in topics
        )
