"""The models that runs began with: given, or loaded again by the names that the runs recorded. It measures nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipdata.encoder import Encoder, load_encoder
from clipdata.errors import ClipdataError
from clipdata.ranking.run_groups import RunGroup


@dataclass(frozen=True)
class LoadedStarts:
    """The models that runs began with, each loaded once; one that cannot be loaded is told."""

    device: str | None
    told: list[str]
    known: dict[str, Encoder | None] = field(default_factory=dict)

    def of(self, group: RunGroup) -> Encoder | None:
        """The model that a group's runs began with; None where it cannot be loaded, or is another one now."""
        start = group.start
        identity = str(start["identity"])
        if identity not in self.known:
            self.known[identity] = self._loaded(str(start["name"]), identity, str(start.get("precision", "fp32")))
        return self.known[identity]

    def _loaded(self, name: str, identity: str, precision: str) -> Encoder | None:
        try:
            found = load_encoder(name, device=self.device, precision=precision)
        except ClipdataError as error:
            self.told.append(f"the model before training, {name}, cannot be loaded ({error.message})")
            return None
        if found.identity != identity:
            self.told.append(f"{name} is another model now than the runs began with: nothing is compared with it")
            return None
        return found


@dataclass(frozen=True)
class GivenStart:
    """The one model that all runs began with."""

    encoder: Encoder

    def of(self, group: RunGroup) -> Encoder | None:
        """That model."""
        return self.encoder
