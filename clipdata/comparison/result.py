"""What `compare` returns: the records, and every view of them as a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipdata.comparison import gates, html, text
from clipdata.comparison.pictures import pictures_of
from clipdata.comparison.records import Compared


@dataclass(frozen=True, repr=False)
class Comparison(Compared):
    """Two columns over the same rows, as text, HTML, JSON, or held to bounds; the fields are those of `Compared`."""

    def to_text(self) -> str:
        """The comparison as a person reads it in ten seconds."""
        return text.render(self)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return html.render(self, pictures_of(self))

    def figures(self) -> dict[str, float | None]:
        """The figures that a gate can bound, by name; None where there is no such figure."""
        return gates.figures(self)

    def gate(
        self,
        *,
        min_difference: float | None = None,
        min_accuracy_difference: float | None = None,
        certain: bool = False,
        fail_if: str | Sequence[str] = (),
    ) -> Comparison:
        """Hold the comparison to bounds, those of `no_worse_than` among them; returns itself when they are met.

        Args:
            min_difference: least difference of the means.
            min_accuracy_difference: least difference of the shares of right answers (0.01 is one point).
            certain: hold the lower end of the interval to these bounds, not the difference itself.
            fail_if: one or more conditions `figure op number`, such as "accuracy.difference < -0.01".

        Raises:
            GateFailedError: names every bound that was missed and the figure found, or that there is no such figure.
            UsageError: a condition cannot be read; lists the figures that exist.
        """
        end = "low" if certain else "difference"
        conditions = [fail_if] if isinstance(fail_if, str) else list(fail_if)
        if min_difference is not None:
            conditions.append(f"mean.{end} < {min_difference!r}")
        if min_accuracy_difference is not None:
            conditions.append(f"accuracy.{end} < {min_accuracy_difference!r}")
        gates.hold(self, conditions)
        return self
