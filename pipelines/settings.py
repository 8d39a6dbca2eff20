"""What every pipeline is told: the model, where its tables and runs go, and how to train. It knows no pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clipdata.errors import UsageError
from clipdata.storage import Storage, absolute, is_remote, redact

HELD_OUT_OF_A_PART = 500


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """What a pipeline works on. Each has a class of its own that adds what is its alone.

    Args:
        model: anything `clipdata.load_encoder` takes.
        out: folder or URL for the tables.
        runs: local folder for the training runs; `<out>/runs` by default.
        config: JSON file with fields of the training config, or "document" for the document's own.
        recipe: that is trained by instead of the pipeline's own, such as "auto".
        training: fields of the training config as `key=value` text; they win over the file's.
        limit: train on the first so many rows only.
        sample: train on so many rows only, the same ones every time.
        held_out: measure on so many of the held-out rows at most, the same ones every time; all of them by default,
            and 500 beside a part of the training rows.
        device: of the model.
        anonymous: the sources are public.
        storage: how to reach the sources and the tables.

    Raises:
        UsageError: two of them exclude each other, or one is lacking.
    """

    model: str = "starter"
    out: str = "work"
    runs: str | None = None
    config: str | None = None
    recipe: str | None = None
    training: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    sample: int | None = None
    held_out: int | None = None
    device: str | None = None
    anonymous: bool = False
    storage: Storage = field(default_factory=Storage)

    def __post_init__(self) -> None:
        if is_remote(self.out) and self.runs is None:
            raise UsageError(
                f"the tables go to {redact(self.out)}", hint="name a local folder for the training runs: --runs DIR"
            )
        if self.limit is not None and self.sample is not None:
            raise UsageError("--limit and --sample are both given; expected one of them")
        for name in ("limit", "sample", "held_out"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; expected at least 1")

    @property
    def home(self) -> Path:
        """The folder on this machine that one run at a time works in: that of the tables, or of the runs."""
        if not is_remote(self.out):
            return Path(absolute(self.out))
        assert self.runs is not None, "checked above"
        return Path(self.runs)

    @property
    def trains_on_a_part(self) -> bool:
        """Whether it is to be trained on some of the training rows only."""
        return self.limit is not None or self.sample is not None

    @property
    def most_held_out(self) -> int | None:
        """How many held-out rows to measure on at most; None for all."""
        return self.held_out or (HELD_OUT_OF_A_PART if self.trains_on_a_part else None)
