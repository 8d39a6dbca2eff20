"""Steps per second of `clipdata.train` against a hand-written open_clip loop: same model, same pictures, same batches.

The hand-written loop is what its users write: a DataLoader that opens files with PIL, open_clip's own transform and
tokenizer, `ClipLoss`, AdamW, clipping, the scale held at 100. Ours is a whole `clipdata.train` with its log, on a table
of the same files. Both run on all cores in one process after the other, interleaved; steps are timed from the end of
the fifth to the end of the last, and each repeat begins with the same weights. CPU seconds a step stand beside: on a
machine that others use, they say more than the clock.

    python benchmarks/steps_vs_open_clip.py [--steps 40] [--batch-size 64] [--repeats 3] [--workers 0]
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import clipdata as cd
import ingest
from clipdata.encoder import Encoder, new_encoder
from pipelines.sample import layouts

MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 192, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 2},
}
SKIPPED = 5
LR, BETAS, EPS, DECAY = 1e-3, (0.9, 0.98), 1e-6, 0.1


@dataclass
class Watch:
    """A progress that notes when each step ended."""

    ends_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Watch]:
        """Count."""
        self._counts = label == "train"
        yield self

    def advance(self, num: int = 1) -> None:
        """Note a step."""
        if self._counts and num:
            self.ends_s.append(time.perf_counter())
            self.cpu_s.append(time.process_time())

    def refuse(self, reason: str, num: int = 1) -> None:
        """Nothing is refused here."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @property
    def rates(self) -> tuple[float, float]:
        """Steps per second, and per CPU second, behind the first few."""
        num_steps = len(self.ends_s) - SKIPPED
        return tuple(num_steps / (ends[-1] - ends[SKIPPED - 1]) for ends in (self.ends_s, self.cpu_s))  # type: ignore[return-value]


class Pairs(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures and captions as a tutorial reads them."""

    def __init__(self, rows: list[tuple[Path, str]], encoder: Encoder) -> None:
        self.rows = rows
        self.transform = open_clip.image_transform(
            encoder.image_size, is_train=False, mean=encoder.prepare.mean, std=encoder.prepare.std
        )
        self.tokenize = open_clip.get_tokenizer("ViT-B-32", context_length=MODEL["text_cfg"]["context_length"])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        path, text = self.rows[index]
        return self.transform(Image.open(path)), self.tokenize([text])[0]


def by_hand(encoder: Encoder, data: Pairs, steps: int, batch_size: int, workers: int) -> tuple[float, float]:
    """Steps per second and CPU second of the loop that open_clip's users write."""
    torch.manual_seed(0)
    model = copy.deepcopy(encoder.model).train()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)
    loss_of, watch, done = open_clip.ClipLoss(), Watch(), 0
    with watch.task("train", steps):
        while done < steps:
            for image_BCHW, tokens_BL in DataLoader(
                data, batch_size, shuffle=True, drop_last=True, num_workers=workers
            ):
                optimizer.zero_grad()
                loss = loss_of(*model(image_BCHW, tokens_BL))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(0, math.log(100))
                loss.item()
                watch.advance()
                done += 1
                if done == steps:
                    break
    return watch.rates


def ours(
    encoder: Encoder, table: cd.Table, out: Path, steps: int, batch_size: int, workers: int
) -> tuple[float, float]:
    """Steps per second and CPU second of `clipdata.train`."""
    config = cd.TrainConfig(
        objective=cd.objectives.Contrastive(text="caption", same="negatives"),
        train="all",
        batch_size=batch_size,
        steps=steps,
        lr=LR,
        betas=BETAS,
        eps=EPS,
        weight_decay=DECAY,
        schedule="constant",
        evaluate_where=None,
        checkpoint_every_steps=0,
        checkpoint_every_epochs=1_000_000,
        num_workers=workers,
    )
    watch = Watch()
    cd.train(table, encoder, config, out=out, progress=watch)
    return watch.rates


def main() -> None:
    """Time both, in turn, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    asked = parser.parse_args()
    encoder = new_encoder(MODEL, device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pairs = layouts.caption_pairs(folder / "sample")
        table = ingest.from_captions(pairs, pairs / "captions.csv", into=folder / "pairs.lance", rows="caption").table
        rows = [(pairs / "images" / row["filename"], row["caption"])
                for row in table.to_table(["filename", "caption"]).to_pylist()]  # fmt: skip
        data = Pairs(rows, encoder)
        sizes = asked.steps, asked.batch_size, asked.workers
        rates: list[tuple[float, ...]] = []
        for repeat in range(asked.repeats):
            theirs = by_hand(encoder, data, *sizes)
            own = ours(encoder, table, folder / f"run{repeat}", *sizes)
            rates.append((*own, *theirs))
            print(f"repeat {repeat + 1}: {_told(rates[-1])}", flush=True)
    print(f"{torch.get_num_threads()} threads, batch {asked.batch_size}, {asked.steps} steps, {len(rows):,} pairs")
    print(f"median: {_told([statistics.median(side) for side in zip(*rates, strict=True)])}")


def _told(rates: Sequence[float]) -> str:
    """Ours and theirs, by the clock and by CPU time."""
    own_s, own_cpu, theirs_s, theirs_cpu = rates
    by_clock = f"clipdata {own_s:.2f} steps/s, by hand {theirs_s:.2f}, ratio {own_s / theirs_s:.2f}"
    return f"{by_clock}; per CPU second {own_cpu:.2f} and {theirs_cpu:.2f}, ratio {own_cpu / theirs_cpu:.2f}"


if __name__ == "__main__":
    main()
