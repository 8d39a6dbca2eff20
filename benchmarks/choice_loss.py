"""Times the choice objective against the tutorial's loop, forward and backward, and checks that they agree.

The loop makes one forward a row and sums the losses. Ours makes one forward of all images, one of all distinct texts.

    python benchmarks/choice_loss.py [--rows 16] [--repeats 5] [--threads 2]

Shapes: B rows of a batch; see `clipdata.training.losses` for the others.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from clipdata.encoder import Encoder, new_encoder
from clipdata.stream.columns import distinct_texts
from clipdata.training.losses import choice_loss

MODELS = {
    "tiny, 32 px": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    },
    "small, 96 px": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 96, "layers": 4, "width": 192, "head_width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 4},
    },
}
WORDS = [
    *("a", "the", "two", "old", "cat", "dog", "judge", "doctor", "said", "that", "growth", "exceeded", "in", "prison"),
    *("six", "rounds", "nine", "lives", "projections"),
]


@dataclass(frozen=True)
class Batch:
    """A batch as both sides take it."""

    image_BCHW: torch.Tensor
    choices: list[list[str]]
    label_B: torch.Tensor


def make_batch(encoder: Encoder, counts: list[int], num_distinct: int | None) -> Batch:
    """Random pictures, and captions of 8 to 20 words; from a pool of `num_distinct` when given."""
    random = np.random.default_rng(0)

    def caption() -> str:
        return " ".join(random.choice(WORDS, int(random.integers(8, 21))))

    pool = [caption() for _ in range(num_distinct)] if num_distinct else None
    choices = [[str(random.choice(pool)) if pool else caption() for _ in range(count)] for count in counts]
    size = encoder.image_size
    image_BCHW = torch.rand(len(counts), 3, size, size, generator=torch.Generator().manual_seed(0))
    return Batch(image_BCHW, choices, torch.tensor([int(random.integers(count)) for count in counts]))


def loop(encoder: Encoder, batch: Batch) -> torch.Tensor:
    """The tutorial's way, with its sum taken as a mean."""
    loss = torch.zeros(())
    for row, texts in enumerate(batch.choices):
        image_1D, text_ND, scale = encoder.model(batch.image_BCHW[row : row + 1], encoder.tokenize(texts))
        loss = loss + functional.cross_entropy(scale * image_1D @ text_ND.T, batch.label_B[row : row + 1])
    return loss / len(batch.choices)


def together(encoder: Encoder, batch: Batch) -> torch.Tensor:
    """Ours."""
    towers = encoder.towers
    texts, index_K, counts_B = distinct_texts(batch.choices)
    tokens_TL = towers.trim_tokens(encoder.tokenize(texts))
    return choice_loss(
        functional.normalize(towers.image_head(towers.image_trunk(batch.image_BCHW)), dim=-1),
        functional.normalize(towers.text_head(towers.text_trunk(tokens_TL)), dim=-1),
        encoder.model.get_parameter("logit_scale").exp(),
        text_index_K=index_K,
        text_counts_B=counts_B,
        label_B=batch.label_B,
    )


def timed(side: Callable[[Encoder, Batch], torch.Tensor], encoder: Encoder, batch: Batch) -> tuple[float, torch.Tensor]:
    """Seconds of one forward and backward, and the gradient of all parameters laid end to end."""
    encoder.model.zero_grad(set_to_none=True)
    started_s = time.perf_counter()
    side(encoder, batch).backward()
    seconds = time.perf_counter() - started_s
    return seconds, torch.cat([p.grad.flatten() for p in encoder.model.parameters() if p.grad is not None])


def compare(label: str, encoder: Encoder, batch: Batch, repeats: int) -> None:
    """Print one line: median seconds of both sides taken in turns, their ratio, and how far the gradients differ."""
    gradients = [timed(side, encoder, batch)[1] for side in (loop, together)]
    difference = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    pairs = [(timed(loop, encoder, batch)[0], timed(together, encoder, batch)[0]) for _ in range(repeats)]
    ratios = sorted(slow / fast for slow, fast in pairs)
    slow_s, fast_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(
        f"{label:42} {1000 * slow_s:8.0f} ms {1000 * fast_s:8.0f} ms   x{statistics.median(ratios):5.2f} "
        f"[{ratios[0]:.2f}-{ratios[-1]:.2f}]   {difference:.1e}",
        flush=True,
    )


def main() -> None:
    """Compare both sides on every model and kind of batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads, {given.rows} rows, {given.repeats} repeats")
    print(f"{'model and choices':42} {'loop':>11} {'together':>11}   ratio [range]      gradients differ by")
    for name, config in MODELS.items():
        encoder = new_encoder(config, device="cpu")
        encoder.model.train()
        for kind, counts, num_distinct in (
            ("5 each", [5] * given.rows, None),
            ("2 to 5", [2 + row % 4 for row in range(given.rows)], None),
            ("5 each, 10 distinct texts", [5] * given.rows, 10),
        ):
            compare(f"{name}, {kind}", encoder, make_batch(encoder, counts, num_distinct), given.repeats)


if __name__ == "__main__":
    main()
