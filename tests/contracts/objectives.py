"""The objectives that the contract is held to, each with rows that it cannot use, and the table they are trained on.

The table has pictures of which two are the same, captions of which some are the same, lists of any length, classes, and
rows that lack each of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from clipdata.encoder import Encoder, new_encoder
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import key_field
from clipdata.training.objectives import (
    Choice,
    ClassPrompts,
    Contrastive,
    Distillation,
    MultiPositive,
    Objective,
    SigLip,
    SoftTarget,
)
from tests.contests import COLOURS, contest_rows
from tests.tiny_models import tiny_config

NUM_ROWS = 26
NAMES = list(COLOURS)


@dataclass(frozen=True)
class Case:
    """One objective.

    Args:
        name: of the case.
        objective: to be trained for.
        refused: reason → rows of the table that it leaves out.
        columns: that it needs.
    """

    name: str
    objective: Objective
    refused: Mapping[str, int]
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


_CAPTIONS = {"a null among its captions": 1, "no caption": 2}
_CHOICES = {"a label outside its choices": 1, "a null among its choices": 1, "no choices": 1, "no label": 1}
_CLASSES = {"a class that is not in the list": 1, "no class": 2}

CASES = [
    Case("choice", Choice(), _CHOICES, ("caption_choices", "label_ind")),
    Case("contrastive", Contrastive("captions"), _CAPTIONS, ("captions",)),
    Case("contrastive as published", Contrastive("caption", same="negatives"), {"no caption": 2}, ("caption",)),
    Case("contrastive in groups", Contrastive("caption", group="class_name", normalise=False), {
        "no caption": 2, "no class_name": 1}, ("caption", "class_name")),
    Case("contrastive with negatives", Contrastive("captions", negatives="caption_choices"), _CAPTIONS,
         ("captions", "caption_choices")),
    Case("multi_positive with negatives", MultiPositive("captions", group="class_name", negatives="caption_choices"),
         {"no caption": 2, "a null among its captions": 1, "no class_name": 1},
         ("captions", "class_name", "caption_choices")),
    Case("siglip with negatives", SigLip("caption", negatives="caption_choices"),
         {"no caption": 2}, ("caption", "caption_choices")),
    Case("multi_positive, all captions", MultiPositive("captions", captions="all"), _CAPTIONS, ("captions",)),
    Case("multi_positive", MultiPositive("captions", captions="longest"), _CAPTIONS, ("captions",)),
    Case("siglip", SigLip("captions", captions="all"), _CAPTIONS, ("captions",)),
    Case("siglip, left out", SigLip("caption", same="left_out"), {"no caption": 2}, ("caption",)),
    Case("soft_target", SoftTarget("captions"), _CAPTIONS, ("captions",)),
    Case("distillation", Distillation("captions", group="class_name"),
         {"NaN or infinity in teacher_image": 1, "a null among its captions": 1, "another number of teacher_text than "
          "captions": 1, "no caption": 2, "no class_name": 1, "no teacher_image": 1},
         ("captions", "class_name", "teacher_image", "teacher_text")),
    Case("distillation alone", Distillation("caption", teacher_text="teacher_of_one", weight=0.0),
         {"NaN or infinity in teacher_image": 1, "no caption": 2, "no teacher_image": 1},
         ("caption", "teacher_image", "teacher_of_one")),
    Case("class_prompts", ClassPrompts(classes=tuple(NAMES), templates=("a photo of {}", "a {label}, drawn")),
         _CLASSES, ("class_name",)),
]  # fmt: skip


def biased_encoder() -> Encoder:
    """The tiny CLIP with a logit bias, which only some objectives take."""
    config = tiny_config() | {"init_logit_bias": -10.0}
    return new_encoder(config, seed=0, name="tiny with a bias", device="cpu")


def objective_table(folder: Path) -> Table:
    """Write the table."""
    made = contest_rows(NUM_ROWS).to_pydict()
    colours = [next(name for name in NAMES if f"a {name} " in choices[label]) for choices, label in zip(
        made["caption_choices"], made["label_ind"], strict=True)]  # fmt: skip
    made["captions"] = [[f"a {name} square", f"the square is {name}", "a square"][: 1 + n % 3]
                        for n, name in enumerate(colours)]  # fmt: skip
    made["caption"] = [f"a {name} square" for name in colours]
    made["class_name"] = list(colours)
    made["image"][3], made["sha256"][3] = made["image"][2], made["sha256"][2]
    made["caption_choices"][0] = None
    made["caption_choices"][1] = ["a red square", None]
    made["label_ind"][1] = 0
    made["label_ind"][5], made["label_ind"][6] = None, 9
    made["captions"][0], made["captions"][1], made["captions"][5] = [], None, ["a square", None]
    made["caption"][0], made["caption"][1] = None, "  "
    made["class_name"][0], made["class_name"][1], made["class_name"][7] = None, "violet", None
    made["teacher_image"] = [_teachers(name, n) for n, name in enumerate(colours)]
    made["teacher_image"][8], made["teacher_image"][9] = None, [math.nan, *_teachers("red", 9)[1:]]
    made["teacher_of_one"] = [_teachers(name, 0) for name in colours]
    made["teacher_text"] = [[_teachers(name, place) for place in range(len(row or ()))] for name, row in zip(
        colours, made["captions"], strict=True)]  # fmt: skip
    made["teacher_text"][10] = made["teacher_text"][10][1:]
    fields = [
        key_field("path"),
        pa.field("image", pa.large_binary()),
        pa.field("sha256", pa.string()),
        pa.field("caption_choices", pa.list_(pa.string())),
        pa.field("label_ind", pa.int32()),
        pa.field("split", pa.string()),
        pa.field("captions", pa.list_(pa.string())),
        pa.field("caption", pa.string()),
        pa.field("class_name", pa.string()),
        pa.field("teacher_image", pa.list_(pa.float32(), 6)),
        pa.field("teacher_of_one", pa.list_(pa.float32(), 6)),
        pa.field("teacher_text", pa.list_(pa.list_(pa.float32(), 6))),
    ]
    table = rows.create_table(folder / "t.lance", pa.schema(fields))
    rows.upsert(table, pa.table(made, schema=pa.schema(fields)))
    return open_table(folder / "t.lance")


def _teachers(colour: str, number: int) -> list[float]:
    """What a teacher makes of a colour, a little different each time: six numbers, where the student has more."""
    angle = NAMES.index(colour)
    return [math.cos(angle * step + number / 50) for step in range(6)]
