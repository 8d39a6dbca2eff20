"""Scores equal to those of a plain open_clip loop on the same files, whatever the shape and kind of the picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image

import clipdata as cd
from clipdata.encoder.starter import starter_folder
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from pipelines import sample

SCALE = 100.0
CHOICES = ["a dog", "a red car in the street", "fruit on a plate", "a person who laughs", "an aeroplane"]
# Width and height that the sample's pictures are given: tall, wide, tiny, huge, thin, upscaled, of the model's size.
SIZES = [
    (90, 800),
    (800, 90),
    (400, 1000),
    (1000, 400),
    (16, 16),
    (7, 30),
    (2400, 1800),
    (1500, 2600),
    (224, 224),
    (223, 225),
    (500, 375),
    (375, 500),
    (60, 50),
    (3, 200),
    (640, 480),
]


def with_sky(picture: Image.Image) -> Image.Image:
    """Lay a cut-out picture on a ground with structure, as a photograph has."""
    columns, lines = np.meshgrid(np.linspace(0, 255, picture.width), np.linspace(255, 60, picture.height))
    ground = np.stack([columns, lines, (columns + lines) / 2], axis=2).astype(np.uint8)
    noise = np.random.default_rng(picture.width).integers(0, 30, ground.shape, dtype=np.uint8)
    return Image.alpha_composite(Image.fromarray(ground // 2 + noise).convert("RGBA"), picture)


def files(num: int) -> list[bytes]:
    """Pictures of the sample in many shapes, as colour JPEG, grey JPEG, grey and colour PNG, PNG with alpha, WebP."""
    chosen = sorted(sample.images_path().rglob("*.png"))
    made = []
    for number, path in enumerate(chosen[:: len(chosen) // num][:num]):
        drawn = Image.open(path).convert("RGBA").resize(SIZES[number % len(SIZES)], Image.Resampling.LANCZOS)
        laid, sink = with_sky(drawn), io.BytesIO()
        match number % 6:
            case 0 | 1:
                laid.convert("RGB").save(sink, "JPEG", quality=90)
            case 2:
                laid.convert("L").save(sink, "JPEG", quality=90)
            case 3:
                laid.convert("L" if number % 2 else "RGB").save(sink, "PNG")
            case 4:
                drawn.save(sink, "PNG")
            case _:
                laid.convert("RGB").save(sink, "WEBP", lossless=True)
        made.append(sink.getvalue())
    return made


def by_plain_loop(blobs: list[bytes], folder: Path) -> np.ndarray:
    """Probabilities [B, 5] as open_clip's README computes them, with transparent pictures laid on white."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    found = []
    with torch.no_grad():
        text_CD = model.encode_text(tokenizer(CHOICES), normalize=True)
        for blob in blobs:
            picture = Image.open(io.BytesIO(blob))
            if picture.mode == "RGBA":
                ground = Image.new("RGB", picture.size, "white")
                ground.paste(picture, mask=picture.getchannel("A"))
                picture = ground
            image_BD = model.encode_image(preprocess(picture.convert("RGB"))[None], normalize=True)
            found.append((SCALE * image_BD @ text_CD.T).softmax(dim=-1)[0].numpy())
    return np.stack(found)


@pytest.mark.slow
def test_the_starter_scores_varied_pictures_as_a_plain_open_clip_loop_does(tmp_path: Path) -> None:
    blobs = files(50)
    choices = pa.field("caption_choices", pa.list_(pa.string()))
    table = rows.create_table(tmp_path / "varied.lance", image_schema([choices]))
    paths = [f"{number:03d}" for number in range(len(blobs))]
    rows.upsert(table, pa.table({"path": paths, "image": blobs, "caption_choices": [CHOICES] * len(blobs)}))
    step = cd.steps.ChoiceScores(cd.load_encoder("starter", device="cpu"), scale=SCALE)

    cd.map_column(cd.open_table(table.uri), step, "scores")

    read = cd.open_table(table.uri).to_table(["path", "scores"]).sort_by("path")["scores"].to_pylist()
    difference = np.abs(np.array(read) - by_plain_loop(blobs, starter_folder())).max(axis=1)
    assert difference.shape == (50,)
    assert float(difference.max()) <= 1e-4, sorted(zip(difference, paths, strict=True))[-5:]
