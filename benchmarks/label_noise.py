"""How many of the labels that were swapped on purpose does `label-noise` find, and how many of the found ones were?

    python benchmarks/label_noise.py [--share 0.1] [--seeds 3] [--table FILE.lance]

The sample's 1,800 drawings in 33 classes and its 5,400 questions; embeddings and scores of the starter model. Printed
is, for each way of judging: precision and recall of `suspect`, and the share of swapped labels among as many of the
first ranks as were swapped. `--table` keeps the embeddings for another run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

import clipdata as cd
import ingest
from pipelines.sample import images_path
from pipelines.sample.planted_labels import planted_classes, planted_questions

Figures = tuple[float, float, float]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--share", type=float, default=0.1)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--table", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = given.table or Path(folder, "sample.lance")
        ingest.from_images(str(images_path()), into=place)
        clip = cd.load_encoder("starter")
        cd.map_column(place, cd.steps.ImageEmbedding(clip), "embedding")
        cd.map_column(place, cd.steps.ImageTrunk(clip), "trunk")
        held = cd.open_table(place).to_table(["filename", "sha256", "embedding", "trunk"]).sort_by("filename")
        questions = _questions(held, clip)
        print(f"{given.share:.0%} swapped, {given.seeds} seeds: precision and recall of suspects, of the first ranks")

        def measured(name: str, judged: Callable[[int], str]) -> None:
            figures = np.mean([_figures(judged(seed)) for seed in range(given.seeds)], axis=0)
            print(f"{name:<36} {figures[0]:.3f}  {figures[1]:.3f}  {figures[2]:.3f}")

        def by_class(column: str, seed: int) -> str:
            planted = planted_classes(given.share, seed)
            assert planted["filename"].to_pylist() == held["filename"].to_pylist()
            columns = {name: planted[name] for name in ("class_name", "swapped")}
            table = _written(folder, {**columns, "sha256": held["sha256"], "vector": held[column]})
            cd.map_column(table, cd.steps.LabelNoise(table, "class_name", embedding="vector"), "noise")
            return table

        def by_choice(seed: int) -> str:
            planted = planted_questions(given.share, seed)
            columns = {name: planted[name] for name in ("label", "swapped")}
            table = _written(folder, {**columns, "scores": questions})
            cd.map_column(table, cd.steps.LabelIndex("label"), "label_ind")
            cd.map_column(table, cd.steps.ChoiceNoise(table), "noise")
            return table

        measured("classes, learnt from embeddings", lambda seed: by_class("embedding", seed))
        measured("classes, learnt from trunk features", lambda seed: by_class("trunk", seed))
        measured("answers, by zero-shot scores", by_choice)


def _questions(held: pa.Table, clip: cd.Encoder) -> pa.Array:
    """What ChoiceScores gives the sample's questions, from the pictures' embeddings."""
    asked = planted_questions(0).to_pylist()
    texts = sorted({text for row in asked for text in row["caption_choices"]})
    vectors_TD = clip.encode_texts(texts).float().cpu().numpy()
    text_of = dict(zip(texts, vectors_TD, strict=True))
    image_of = dict(zip(held["filename"].to_pylist(), held["embedding"].to_pylist(), strict=True))
    scores = []
    for row in asked:
        cosines = np.stack([text_of[text] for text in row["caption_choices"]]) @ np.array(image_of[row["filename"]])
        powers = np.exp(clip.logit_scale * (cosines - cosines.max()))
        scores.append((powers / powers.sum()).tolist())
    return pa.array(scores, pa.list_(pa.float32()))


def _written(folder: str, columns: dict[str, object]) -> str:
    place = f"{folder}/planted.lance"
    lance.write_dataset(pa.table(columns), place, mode="overwrite")
    return place


def _figures(place: str) -> Figures:
    """Precision and recall of suspects, and the share of swapped labels among as many first ranks as there are."""
    table = cd.open_table(place)
    num_swapped, suspect = table.count_rows("swapped"), table.count_rows("noise.suspect")
    found = table.count_rows("swapped AND noise.suspect")
    first = table.count_rows(f"swapped AND noise.rank <= {num_swapped}")
    return found / max(suspect, 1), found / num_swapped, first / num_swapped


if __name__ == "__main__":
    main()
