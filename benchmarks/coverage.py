"""How often intervals hold the truth, and how often chance is called a change: simulated, with the figures to state.

    python benchmarks/coverage.py [--repetitions 2000] [--only intervals anytime seeds standings calibration]

Wanted: 93 to 97 % of the 95 % intervals hold the true mean at 30, 100 and 1,000 rows in clusters of 1 to 5 that
correlate by 0, 0.3 and 0.8; at most 2.5 % of A/A comparisons are called better; at most 5 % of them are called better
or worse in any of 200 looks. The figure after ± is the Monte Carlo error.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clipdata.comparison.intervals import Sampling
from clipdata.comparison.probabilities import _Curve, _gaps
from clipdata.comparison.seeds import compare_seeds
from clipdata.comparison.standings import stand
from tests.simulated_differences import KINDS, share_of_false_alarms, shares


def told(share: float, repetitions: int) -> str:
    """A share in per cent with its error."""
    return f"{share:6.1%} ± {math.sqrt(max(share * (1 - share), 1e-9) / repetitions):.1%}"


def intervals(repetitions: int) -> None:
    """Coverage and false "better" of the interval that `compare` chooses."""
    for kind in KINDS:
        for num_rows in (30, 100, 1000):
            count = repetitions if num_rows < 1000 else max(100, repetitions // 3)
            for correlation in (0.0, 0.3, 0.8):
                began = time.monotonic()
                held, better = shares(num_rows, correlation, kind, repetitions=count, resamples=1000)
                seconds = time.monotonic() - began
                print(
                    f"intervals  {kind:<8} {num_rows:>5} rows, correlation {correlation:.1f}:  covers "
                    f"{told(held, count)}   false better {told(better, count)}   ({seconds:.0f} s)",
                    flush=True,
                )


def anytime(repetitions: int) -> None:
    """A/A comparisons that are called better or worse in any of 200 looks."""
    count = max(50, repetitions // 5)
    for kind in KINDS:
        alarms = share_of_false_alarms(kind, looks=200, first=30, last=2000, repetitions=count)
        print(
            f"anytime    {kind:<8} 200 looks from 30 to 2,000 clusters:  false alarms {told(alarms, count)}", flush=True
        )


SCATTERS = ((0.0, 1.0, 0.3), (0.01, 0.4, 0.3), (0.05, 0.3, 0.5), (0.1, 0.5, 0.5), (0.02, 0.3, 1.0), (0.2, 0.3, 0.3))
"""Of seeds, of pictures (of which a difference moves some more than others), and of single cells of both."""


def seeds(repetitions: int) -> None:
    """Coverage of the interval over seeds and pictures: of two recipes, and of one and the model before training."""
    rng = np.random.default_rng(0)
    for num_seeds in (2, 3, 5):
        for num_pictures in (30, 100, 364, 1000):
            for scatter in SCATTERS:
                held = [0, 0]
                for _ in range(repetitions):
                    picture_N = np.repeat(np.arange(num_pictures), rng.integers(1, 4, num_pictures))
                    moved_C = scatter[1] * rng.normal(size=num_pictures)
                    plain, tuned = (_recipe(rng, num_seeds, num_pictures, scatter) for _ in range(2))
                    after_SN = (tuned + moved_C)[:, picture_N]
                    for place, before_SN in enumerate((plain[:, picture_N], np.zeros((1, len(picture_N))))):
                        found = compare_seeds(before_SN, after_SN, picture_N, before_is_fixed=place == 1)
                        low, high = found.interval or (1.0, 0.0)
                        held[place] += low <= 0.0 <= high
                print(
                    f"seeds      {num_seeds} a side, {num_pictures:>5} pictures, scatter of seeds {scatter[0]}, of "
                    f"pictures {scatter[1]}, of cells {scatter[2]}:  two recipes "
                    f"{told(held[0] / repetitions, repetitions)}   a recipe and its start "
                    f"{told(held[1] / repetitions, repetitions)}",
                    flush=True,
                )


def standings(repetitions: int) -> None:
    """How often any two of four equal recipes are told apart."""
    rng = np.random.default_rng(0)
    count = max(100, repetitions // 4)
    for num_seeds in (2, 3, 5):
        for scatter in SCATTERS:
            wrong = 0
            for _ in range(count):
                values = {
                    name: list(_recipe(rng, num_seeds, 100, scatter) + scatter[1] * rng.normal(size=100))
                    for name in "abcd"
                }
                wrong += any(one.is_told for one in stand(values, {}, np.arange(100)).pairs)
            print(
                f"standings  4 equal recipes, {num_seeds} seeds, 100 pictures, scatter of seeds {scatter[0]}, of "
                f"pictures {scatter[1]}, of cells {scatter[2]}:  any told apart {told(wrong / count, count)}",
                flush=True,
            )


def _recipe(
    rng: np.random.Generator, num_seeds: int, num_pictures: int, scatter: tuple[float, float, float]
) -> np.ndarray:
    """Values of seeds and pictures, a recipe's own part of each left out."""
    of_seed, _, of_cell = scatter
    return of_seed * rng.normal(size=(num_seeds, 1)) + of_cell * rng.normal(size=(num_seeds, num_pictures))


def calibration(repetitions: int) -> None:
    """Coverage of the interval of the change of the calibration error, against that of a million rows."""

    def draw(rng: np.random.Generator, num_rows: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.uniform(0.3, 0.95, num_rows)
        said = truth**sharpness / (truth**sharpness + (1 - truth) ** sharpness)
        return said, (rng.random(num_rows) < truth).astype(np.float32)

    count = max(100, repetitions // 4)
    for before, after in ((1.0, 1.0), (2.0, 1.0), (2.0, 1.5)):
        rng = np.random.default_rng(0)
        true = [_Curve.of(*draw(rng, 1_000_000, sharpness)).error for sharpness in (before, after)]
        for num_rows in (300, 2000):
            held = of_before = 0
            for _ in range(count):
                curves = [_Curve.of(*draw(rng, num_rows, sharpness)) for sharpness in (before, after)]
                found = _gaps(curves, np.arange(num_rows), Sampling())
                held += (found.change.low or 0.0) <= true[1] - true[0] <= (found.change.high or 0.0)
                low, high = found.ends[0] or (0.0, 0.0)
                of_before += low <= true[0] <= high
            print(
                f"calibration {num_rows:>5} rows, error {true[0]:.3f} → {true[1]:.3f}:  covers the change "
                f"{told(held / count, count)}   the error before {told(of_before / count, count)}",
                flush=True,
            )


PARTS = {"intervals": intervals, "anytime": anytime, "seeds": seeds, "standings": standings, "calibration": calibration}


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    for part in options.only:
        PARTS[part](options.repetitions)


if __name__ == "__main__":
    main()
