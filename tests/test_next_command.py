"""The next command: what a person types next, by what the table holds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table
from clipdata.lineage import METADATA_KEY, Lineage
from clipdata.schema import key_field
from pipelines.cli.next_command import after_training, next_command

PICTURES = [key_field("path"), pa.field("image", pa.large_binary())]
CHOICES = pa.field("caption_choices", pa.list_(pa.string()))


def made(name: str, step: str, *inputs: str, model: str | None = None) -> pa.Field:
    """A column that a step made."""
    lineage = Lineage(step=step, step_version="1", inputs=inputs, model_name=model)
    return pa.field(name, pa.float32(), metadata={METADATA_KEY: lineage.to_json()})


TRUNK = made("image_trunk", "ImageTrunk", "image", model="ViT-B-32/openai")
SCORES = made("scores", "ChoiceScores", "image_trunk", "caption_choices", model="ViT-B-32/openai")
PLACES = made("label_ind", "LabelIndex", "label")
PICKED = made("label_prob", "Pick", "scores", "label_ind")
TUNED = made("scores_fine_tune", "ChoiceScores", "image_trunk", "caption_choices", model="runs/contest")
PICKED_TUNED = made("label_prob_fine_tune", "Pick", "scores_fine_tune", "label_ind")
LABEL, SPLIT = pa.field("label", pa.string()), pa.field("split", pa.string())


def table_of(folder: Path, *columns: pa.Field) -> Table:
    return rows.create_table(folder / "t.lance", pa.schema(list(columns)))


@pytest.mark.parametrize(
    ("columns", "command"),
    [
        ((CHOICES,), "clipdata map t.lance image-trunk image_trunk --model starter"),
        (
            (CHOICES, TRUNK),
            "clipdata map t.lance choice-scores scores --model ViT-B-32/openai -p trunk=image_trunk",
        ),
        ((CHOICES, LABEL, TRUNK, SCORES), "clipdata map t.lance label-index label_ind -p label=label"),
        ((CHOICES, TRUNK, SCORES), None),
        (
            (CHOICES, LABEL, TRUNK, SCORES, PLACES),
            "clipdata map t.lance pick label_prob -p values=scores -p index=label_ind",
        ),
        (
            (CHOICES, LABEL, SPLIT, TRUNK, SCORES, PLACES, PICKED),
            "clipdata train t.lance --model ViT-B-32/openai --out runs/contest --set image_trunk=image_trunk "
            "--where \"split = 'train'\"",
        ),
        (
            (CHOICES, LABEL, TRUNK, SCORES, PLACES, PICKED, TUNED),
            "clipdata map t.lance pick label_prob_fine_tune -p values=scores_fine_tune -p index=label_ind",
        ),
        (
            (CHOICES, LABEL, SPLIT, TRUNK, SCORES, PLACES, PICKED, TUNED, PICKED_TUNED),
            "clipdata compare t.lance label_prob label_prob_fine_tune --where \"split = 'test'\"",
        ),
        ((pa.field("caption", pa.string()),), "clipdata map t.lance pair-score pair_score --model starter"),
        (
            (pa.field("text", pa.string()),),
            "clipdata map t.lance pair-score pair_score --model starter -p text=text",
        ),
        ((pa.field("text", pa.string()), made("pair_score", "PairScore", "image", "text")), None),
        (
            (LABEL, pa.field("class_name", pa.string())),
            "clipdata map t.lance image-embedding image_embedding --model starter",
        ),
    ],
)
def test_of_a_table_with_pictures_it_goes_from_captions_to_a_comparison(
    tmp_path: Path, columns: tuple[pa.Field, ...], command: str | None
) -> None:
    assert next_command(table_of(tmp_path, *PICTURES, *columns), "t.lance") == command


def test_pictures_alone_want_metadata_and_metadata_want_pictures(tmp_path: Path) -> None:
    pictures = next_command(table_of(tmp_path, *PICTURES), "my table.lance")
    metadata = next_command(table_of(tmp_path / "m", key_field("row_key"), LABEL), "m.lance")

    assert pictures is not None
    assert pictures.endswith("clipdata merge 'my table.lance' meta.lance --into merged.lance")
    assert metadata == "clipdata merge IMAGES.lance m.lance --metadata-on COLUMN --into MERGED.lance"


def test_after_a_training_the_tuned_model_scores_through_the_same_trunk(tmp_path: Path) -> None:
    table = table_of(tmp_path, *PICTURES, CHOICES, TRUNK)

    command = after_training(table, "t.lance", "runs/x", "image_trunk")

    assert command == "clipdata map t.lance choice-scores scores_fine_tune --model runs/x -p trunk=image_trunk"
