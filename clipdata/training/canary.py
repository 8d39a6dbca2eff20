"""The canary: whether a model still knows, after a training, what it knew before and nobody trained on.

A hundred photographs of everyday things that clipdata ships are told apart by prompts, as in any zero-shot
classification, by the model before and by the model after. It knows encoders and this set; nothing of tables or steps.

Shapes: P pictures, C classes, T features of the image trunk, D shared space.

Source: forgetting in fine-tuning as loss on zero-shot classes, as WiSE-FT (arXiv 2109.01903) and many since measure it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from clipdata.arguments import check_kind
from clipdata.comparison.changes import Change, Margin
from clipdata.comparison.intervals import Sampling, change
from clipdata.comparison.margins import hold_margins
from clipdata.comparison.wording import signed
from clipdata.encoder import Encoder
from clipdata.statistics import FloatArray, dense_codes
from clipdata.training.canary_features import KeptFeatures
from clipdata.training.canary_set import TEMPLATES, CanarySet, canary_set

MARGIN = 0.05
"""Share of the pictures by which a model that kept what it knew may be worse."""
_SURE = 0.01
_MOST_NAMED = 5

Verdict = Literal["kept", "worse", "cannot be told", "nothing to lose"]


@dataclass(frozen=True)
class Canary:
    """The set told apart by a model before and after a training.

    Args:
        verdict: "kept" when the probability is shown to be no worse than by the margin; "worse" when it is shown to be
            worse and not shown to be within the margin, or when the accuracy is shown to be worse; "nothing to lose"
            when the model told the pictures apart no better than guessing before: nothing was measured after then.
        num_pictures: P.
        num_classes: C.
        language: of the prompts: that in which the model before tells them apart.
        accuracy_before: share of pictures whose class scored highest.
        chance: the share that guessing gives.
        accuracy: change of that share; its interval resamples classes, whose pictures share a name.
        probability: change of the mean probability of the right class, which tells more of few pictures than right and
            wrong do; both at the temperature that fits the model before best, whatever its own is.
        margin: what the interval of the probability says of the margin.
        lost: names of classes with fewer right pictures, those that lost most first.
    """

    verdict: Verdict
    num_pictures: int
    num_classes: int
    language: str
    accuracy_before: float
    chance: float
    accuracy: Change | None = None
    probability: Change | None = None
    margin: Margin | None = None
    lost: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Canary:
        """Read what `to_dict` gave."""
        changes = {n: Change(**told[n]) if told.get(n) else None for n in ("accuracy", "probability")}
        margin = Margin(**told["margin"]) if told.get("margin") else None
        return cls(**{**told, **changes, "margin": margin, "lost": tuple(told.get("lost", ()))})

    def __str__(self) -> str:
        of = f"canary: {self.num_pictures} photographs of {self.num_classes} other things"
        if self.accuracy is None:
            found = f"{self.accuracy_before:.1%} right before (guessing {self.chance:.1%})"
            return f"{of}: {found}: nothing to lose"
        assert self.probability is not None
        assert self.margin is not None
        accuracy, moved = self.accuracy, self.probability
        right = f"right {accuracy.before:.1%} → {accuracy.after:.1%}"
        ends = [signed(100 * end, 1) for end in (moved.low, moved.high) if end is not None]
        interval = f" ({' … '.join(ends)} points)" if ends else ""
        surely = f"probability {moved.before:.3f} → {moved.after:.3f}{interval}"
        said = f"WORSE{self._lost()}" if self.verdict == "worse" else f"{self.verdict}, {self.margin.verdict}"
        return f"{of}: {right}, {surely}: {said}"

    def _lost(self) -> str:
        more = len(self.lost) - _MOST_NAMED
        named = ", ".join(self.lost[:_MOST_NAMED])
        return f", it lost {named}{f' and {more} more' if more > 0 else ''}" if named else ""


def check_canary(before: Encoder, after: Encoder) -> Canary:
    """Tell whether a model still knows what another one knew, by photographs that clipdata ships.

    Args:
        before: the model that `after` was made from.
        after: the model in question.
    """
    check_kind(before, Encoder, "check_canary: before", 'clipdata.load_encoder("starter")')
    check_kind(after, Encoder, "check_canary: after", 'clipdata.open_run("runs/x").encoder()')
    shown = canary_set()
    kept = KeptFeatures(before, shown)
    trunk_PT = kept.trunk()
    before_PC, language = _known(before, trunk_PT, shown, kept)
    right_P = _right(before_PC, shown)
    found: dict[str, Any] = {
        "num_pictures": len(shown.files),
        "num_classes": shown.num_classes,
        "language": language,
        "accuracy_before": float(right_P.mean()),
        "chance": 1.0 / shown.num_classes,
    }
    if not _beats_guessing(right_P, shown):
        return Canary("nothing to lose", **found)
    if after.trunk_identity != before.trunk_identity:
        trunk_PT = KeptFeatures(after, shown).trunk(keep=False)
    class_CD = KeptFeatures(after, shown).classes(language, keep=False)
    after_PC = _cosines(after, trunk_PT, class_CD)
    return _judged(found, shown, before_PC, after_PC)


def _known(encoder: Encoder, trunk_PT: torch.Tensor, shown: CanarySet, kept: KeptFeatures) -> tuple[torch.Tensor, str]:
    """Cosines [P, C] of the first language in which a model tells the pictures apart, or else of the first."""
    first: tuple[torch.Tensor, str] | None = None
    for language in TEMPLATES:
        cosine_PC = _cosines(encoder, trunk_PT, kept.classes(language))
        first = first or (cosine_PC, language)
        if _beats_guessing(_right(cosine_PC, shown), shown):
            return cosine_PC, language
    assert first is not None
    return first


def _cosines(encoder: Encoder, trunk_PT: torch.Tensor, class_CD: torch.Tensor) -> torch.Tensor:
    """Cosines of pictures and classes, float64 [P, C] on the CPU."""
    return encoder.project_trunk(trunk_PT).cpu().double() @ class_CD.cpu().double().T


def _right(cosine_PC: torch.Tensor, shown: CanarySet) -> np.ndarray:
    """Whether the right class scores above all others: bool [P]. What is no number is not right."""
    label_P = torch.from_numpy(shown.label_P)
    own_P1 = cosine_PC.gather(1, label_P[:, None])
    return ((cosine_PC < own_P1).sum(1) == cosine_PC.shape[1] - 1).numpy()


def _probabilities(cosine_PC: torch.Tensor, shown: CanarySet, scale: float) -> FloatArray:
    """Of the right class: float64 [P]; 0 where a cosine is no number."""
    right_P: FloatArray = (cosine_PC * scale).softmax(1).numpy()[np.arange(len(shown.files)), shown.label_P]
    return np.nan_to_num(right_P, nan=0.0)


def _beats_guessing(right_P: np.ndarray, shown: CanarySet) -> bool:
    """Whether more are right than whoever always says the commonest class gets, beyond chance."""
    from scipy.stats import binom

    return bool(binom.sf(right_P.sum() - 1, len(right_P), shown.best_constant) < _SURE)


def _fitting_scale(cosine_PC: torch.Tensor, shown: CanarySet) -> float:
    """The scale of a softmax under which the right classes are likeliest."""
    label_P = torch.from_numpy(shown.label_P)
    scales = [float(scale) for scale in np.geomspace(1.0, 1000.0, 61)]
    return min(scales, key=lambda scale: float(nn.functional.cross_entropy(cosine_PC * scale, label_P)))


def _judged(found: dict[str, Any], shown: CanarySet, before_PC: torch.Tensor, after_PC: torch.Tensor) -> Canary:
    before_P, after_P = _right(before_PC, shown), _right(after_PC, shown)
    cluster_P, scale = dense_codes(shown.label_P), _fitting_scale(before_PC, shown)
    accuracy = change(cluster_P, before_P.astype(float), after_P.astype(float), Sampling())
    chance_P, chance_after_P = (_probabilities(cosine_PC, shown, scale) for cosine_PC in (before_PC, after_PC))
    probability = change(cluster_P, chance_P, chance_after_P, Sampling())
    margin = hold_margins([("probability", MARGIN, True)], {"probability": probability})[0]
    is_worse = accuracy.verdict == "worse" or (probability.verdict == "worse" and not margin.not_worse)
    verdict: Verdict = "worse" if is_worse else "kept" if margin.not_worse else "cannot be told"
    fewer_C = np.bincount(shown.label_P, weights=before_P) - np.bincount(shown.label_P, weights=after_P)
    lost: Sequence[int] = [int(c) for c in np.argsort(-fewer_C, kind="stable") if fewer_C[c] > 0]
    names = shown.names[found["language"]]
    return Canary(
        verdict=verdict,
        **found,
        accuracy=accuracy,
        probability=probability,
        margin=margin,
        lost=tuple(names[c] for c in lost),
    )
