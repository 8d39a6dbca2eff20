"""Times fine-tuning with locked towers from the pictures against the same run from a column of their features.

Both train the two projections of the starter model on the same rows of the built-in sample in the same order. The rate
is that of the steps alone: the towers are loaded, and captions encoded, before the clock starts on both sides. With
`--text-tower` a BERT over Chinese characters trains with them, on JPEGs of the sample's drawings and their names.

    python benchmarks/locked_tower.py [--rows 320] [--repeats 3] [--threads 2]
    python benchmarks/locked_tower.py --text-tower --batch 128 --rows 512
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import torch

import clipdata as cd
import ingest
from clipdata.encoder.characters import bert_of_characters
from clipdata.lance_io.table import Table
from clipdata.training.run import Run
from pipelines.sample import images_path, layouts, names_path, questions_path


class Clock:
    """Notes when the first step ends and when the last one does, so that what comes before is not counted."""

    def __init__(self) -> None:
        self.ended_s: list[float] = []

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "rows") -> Iterator[Clock]:
        """Count steps only."""
        self.ended_s = []
        yield self

    def advance(self, num: int = 1) -> None:
        """Note the time."""
        if num:
            self.ended_s.append(time.perf_counter())

    def refuse(self, reason: str, num: int = 1) -> None:
        """Nothing is refused here."""

    def say(self, text: str) -> None:
        """Nobody listens."""


def contest(folder: Path, num_rows: int) -> Table:
    """The sample's first questions with their pictures."""
    ingest.from_images(str(images_path()), into=str(folder / "images.lance"))
    ingest.from_parquet(str(questions_path()), into=str(folder / "meta.lance"))
    merged = ingest.merge(
        str(folder / "images.lance"), str(folder / "meta.lance"), on="filename", into=str(folder / "all.lance")
    )
    import lance

    first = cd.open_table(merged.uri).to_table().slice(0, num_rows)
    lance.write_dataset(first, folder / "contest.lance")
    table = cd.open_table(folder / "contest.lance")
    cd.map_column(table, cd.steps.LabelIndex("label"), "label_ind")
    return table


def pairs(folder: Path, num_rows: int) -> Table:
    """The sample's first drawings as JPEGs, with their Chinese names."""
    layouts.class_lists(folder / "jpegs")
    names = pq.read_table(names_path()).to_pylist()[:num_rows]
    lines = [f"{row['caption_zh']},{Path(row['filename']).stem}.jpg\n" for row in names]
    (folder / "pairs.csv").write_text("".join(["text,filename\n", *lines]), encoding="utf-8")
    taken = ingest.from_captions(
        folder / "jpegs" / "images", folder / "pairs.csv", rows="caption", into=folder / "pairs.lance"
    )
    return taken.table


def reader_of_chinese(table: Table, folder: Path) -> cd.Encoder:
    """The starter's image tower beside a small BERT over the table's characters."""
    bert = bert_of_characters(table.to_table(["caption"]).column(0).to_pylist(), folder / "bert")
    image = {"kind": "clip", "weights": "starter", "head": "own"}
    text = {"kind": "hugging_face", "architecture": str(bert), "weights": "random"}
    return cd.new_encoder({"image": image, "text": text, "embed_dim": 384}, device="cpu")


def rows_per_s(
    table: Table,
    encoder: object,
    out: Path,
    trunk: str | None,
    num_epochs: int,
    batch: int,
    recipe: Callable[..., cd.TrainConfig],
) -> tuple[float, Run]:
    """Rows trained on in a second, from the end of the first step to the end of the last."""
    clock = Clock()
    config = recipe(image_trunk=trunk, batch_size=batch, epochs=num_epochs, min_steps=0, evaluate_where=None)
    run = cd.train(table, encoder, config, out=out, progress=clock)  # type: ignore[arg-type]
    return batch * (len(clock.ended_s) - 1) / (clock.ended_s[-1] - clock.ended_s[0]), run


def main() -> None:
    """Print the rates of both sides, taken in turns, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="of which the rows are a multiple")
    parser.add_argument("--text-tower", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = (pairs if given.text_tower else contest)(folder, given.rows)
        encoder = reader_of_chinese(table, folder) if given.text_tower else cd.load_encoder("starter", device="cpu")
        recipe = cd.recipes.locked_image if given.text_tower else cd.recipes.caption_contest
        cd.map_column(table, cd.steps.ImageTrunk(encoder), "image_trunk")
        ratios = []
        for number in range(given.repeats):
            slow, decoded = rows_per_s(table, encoder, folder / f"decoded-{number}", None, 1, given.batch, recipe)
            fast, read = rows_per_s(table, encoder, folder / f"read-{number}", "image_trunk", 20, given.batch, recipe)
            ratios.append(fast / slow)
            steps = zip(decoded.metrics, read.metrics, strict=False)
            difference = max(abs(a["grad_norm"] - b["grad_norm"]) / a["grad_norm"] for a, b in list(steps)[:1])
            print(
                f"from pictures {slow:8,.0f} rows/s, from their features {fast:8,.0f} rows/s, x{fast / slow:.0f}; "
                f"gradients of the first step differ by {difference:.1e}",
                flush=True,
            )
        print(f"median x{statistics.median(ratios):.0f} [{min(ratios):.0f}-{max(ratios):.0f}], {given.threads} threads")


if __name__ == "__main__":
    main()
