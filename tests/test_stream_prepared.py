"""Prepared pixels in the stream: read by itself when they fit, refused when named and they do not; random crops."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata import images
from clipdata.encoder import Preparation
from clipdata.encoder.augmentation import Augmented, Draw
from clipdata.errors import ImageRefused, LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.stream import load
from tests.pictures import encoded

HALF = (0.5, 0.5, 0.5)
EXACT = Preparation((32, 32), HALF, HALF)
BAD = 7  # a row whose picture is none


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """Forty rows, one of them without a picture, and every kind of prepared column."""
    folder = tmp_path_factory.mktemp("prepared")
    made = rows.create_table(folder / "pictures.lance", image_schema([pa.field("number", pa.int64())]))
    for start in (0, 20):  # two fragments
        data = [encoded(n, height=40 + n % 7, width=50 + n % 5) for n in range(start, start + 20)]
        data = [b"no picture" if n == BAD else one for n, one in enumerate(data, start)]
        paths = [f"{n:03d}" for n in range(start, start + 20)]
        columns = {"path": paths, "image": data, "bytes": [len(d) for d in data], "number": range(start, start + 20)}
        rows.upsert(made, pa.table({**columns, "number": list(columns["number"])}))
    return cd.open_table(made.uri)


@pytest.fixture(scope="module")
def filled(table: cd.Table) -> cd.Table:
    opened = cd.open_table(table.uri)
    cd.map_column(opened, cd.steps.PreparedPixels(EXACT), "ready")
    cd.map_column(opened, cd.steps.PreparedPixels(EXACT, "jpeg"), "small")
    cd.map_column(opened, cd.steps.PreparedPixels(EXACT, side=40), "large")
    cd.map_column(opened, cd.steps.PreparedPixels(Preparation((32, 32), HALF, HALF, "bilinear")), "bilinear")
    cd.map_column(opened, cd.steps.PictureDigest(), "digest")
    return opened


def streamed(table: cd.Table, **options) -> dict[int, torch.Tensor]:
    """Offset → pixels [3, 32, 32] of an epoch."""
    options = {"batch_size": 8, "drop_last": False, "prepare": EXACT, "on_bad_image": "leave_out", **options}
    found: dict[int, torch.Tensor] = {}
    for batch in cd.Stream(table, ["image", "number"], **options):
        assert batch["image"].shape[1:] == (3, 32, 32)
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["number"].tolist() == batch["offsets"].tolist()
        found |= dict(zip(batch["offsets"].tolist(), batch["image"].clone(), strict=True))
    return found


def same(one: dict[int, torch.Tensor], other: dict[int, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[row], other[row]) for row in one)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the pictures that were decoded."""
    from clipdata.images import batches

    sizes: list[int] = []
    real = batches.decode_onto

    def counted(canvas, data, *more, **options):
        sizes.append(len(data))
        return real(canvas, data, *more, **options)

    monkeypatch.setattr(batches, "decode_onto", counted)
    return sizes


def test_raw_pixels_are_read_by_themselves_level_for_level_and_no_picture_is(filled: cd.Table, decoded) -> None:
    expected = streamed(filled, prepared=False)
    assert len(decoded) == 40
    decoded.clear()

    for fidelity in ("exact", "fast", "scaled"):
        stream = cd.Stream(filled, ["image"], batch_size=8, prepare=EXACT.with_fidelity(fidelity))
        assert str(stream.pixels[0]) == "pixels come from column 'ready' (raw, exact)"
        assert same(streamed(filled, prepare=EXACT.with_fidelity(fidelity)), expected)
    assert len(expected) == 39
    assert set(decoded) == {len(b"no picture")}, "only the row without pixels is asked for its picture"


def test_rows_without_pixels_are_prepared_from_their_picture_or_refused_as_it_is(table: cd.Table, decoded) -> None:
    opened = cd.open_table(table.uri)
    cd.map_column(opened, cd.steps.PreparedPixels(EXACT), "partly", where="number % 3 != 0")
    expected = streamed(opened, prepared=False)
    decoded.clear()

    for column, kind in (("partly", "raw"), ("partly_jpeg", "jpeg")):
        if kind == "jpeg":
            cd.map_column(opened, cd.steps.PreparedPixels(EXACT, "jpeg"), column, where="number % 3 != 0")
        found = streamed(opened, prepared=column)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[row], expected[row]) for row in expected if kind == "raw" or row % 3 == 0)
        with pytest.raises(ImageRefused, match=f"row {BAD}: .*leave out|not_an_image"):
            streamed(opened, prepared=column, on_bad_image="refuse")
    stream = cd.Stream(opened, ["image"], batch_size=8, prepare=EXACT, prepared="partly", on_bad_image="leave_out")
    list(stream)
    assert stream.left_out == {"not_an_image": 1}


def test_a_jpeg_column_is_read_where_pixels_need_not_be_exact(filled: cd.Table) -> None:
    view = cd.open_table(filled.uri)
    cd.drop(view, [name for name in ("ready", "partly") if name in view.schema.names])
    exact = cd.Stream(view, ["image"], batch_size=8, prepare=EXACT)
    assert "'small': holds JPEGs, which are not exact" in str(exact.pixels[0])

    fast = cd.Stream(view, ["image"], batch_size=8, prepare=EXACT.with_fidelity("fast"))
    assert str(fast.pixels[0]) == "pixels come from column 'small' (JPEG, 32 × 32)"
    expected = streamed(filled, prepared=False)
    for options in ({"prepare": EXACT.with_fidelity("fast")}, {"prepared": "small"}):
        found = streamed(view, **options)
        error = np.mean([(found[row].int() - expected[row].int()).abs().float().mean() for row in expected])
        assert 0 < error < 4


@pytest.mark.parametrize(
    ("column", "prepare", "said"),
    [
        ("nowhere", EXACT, "no column 'nowhere'"),
        ("number", EXACT, "column 'number' came with the data; expected prepared pixels"),
        ("digest", EXACT, "was made by PictureDigest"),
        ("large", EXACT, "size 40 × 40; expected 32 × 32"),
        ("bilinear", EXACT, "interpolation 'bilinear'; expected 'bicubic'"),
        (
            "ready",
            Preparation((32, 32), HALF, HALF, "bicubic", "longest"),
            "resize_mode 'shortest'; expected 'longest'",
        ),
        ("ready", Preparation((48, 32), HALF, HALF), "size 32 × 32; expected 48 × 32"),
        ("ready", lambda pixels: EXACT(pixels), "of which nothing tells whether it fits"),
        (3, EXACT, "prepared is 3; expected true, false or the name of a column"),
    ],
)
def test_a_column_that_is_named_and_does_not_fit_is_refused_with_the_reason(filled, column, prepare, said) -> None:
    with pytest.raises((LineageMismatchError, SchemaError, UsageError), match=said):
        cd.Stream(filled, ["image"], batch_size=8, prepare=prepare, prepared=column)
    with pytest.raises(UsageError, match="no column of images is asked for"):
        cd.Stream(filled, ["number"], batch_size=8, prepared="ready")


def test_mean_and_deviation_are_not_of_the_pixels(filled: cd.Table) -> None:
    other = Preparation((32, 32), (0.1, 0.2, 0.3), HALF, fill_color=9)  # which "shortest" never pads with
    assert cd.Stream(filled, ["image"], batch_size=8, prepare=other).pixels[0].column == "ready"


def test_a_column_of_pictures_that_changed_since_is_not_read(tmp_path: Path) -> None:
    schema = image_schema()
    made = rows.create_table(tmp_path / "t.lance", schema)
    data = [encoded(n) for n in range(4)]

    def put(paths: list[str], pictures: list[bytes]) -> None:
        etags = [str(hash(one)) for one in pictures]
        columns = {"path": paths, "image": pictures, "bytes": [len(one) for one in pictures], "etag": etags}
        rows.upsert(made, pa.table(columns), changed="etag")

    put(list("abcd"), data)
    table = cd.open_table(made.uri)
    cd.map_column(table, cd.steps.PreparedPixels(EXACT), "ready")
    before = streamed_pictures(table)
    put(["b"], [encoded(9)])
    table = cd.open_table(made.uri)

    after = streamed_pictures(table)
    assert torch.equal(after["b"], EXACT(images.decode(encoded(9))))
    assert all(torch.equal(after[path], before[path]) for path in "acd")

    copied = cd.step(reads="image", returns="binary", version="1")(_same)
    cd.map_column(table, copied, "copy")
    cd.map_column(table, cd.steps.PreparedPixels(EXACT, image="copy"), "ready_copy")
    assert cd.Stream(table, ["copy"], batch_size=2, prepare=EXACT).pixels[0].column == "ready_copy"
    newer = cd.step(reads="image", returns="binary", version="2")(_same)
    cd.map_column(table, newer, "copy", overwrite=True)
    stale = cd.Stream(table, ["copy"], batch_size=2, prepare=EXACT)
    assert "'ready_copy': column 'copy' that it reads was made anew, in another way, since" in str(stale.pixels[0])
    with pytest.raises(LineageMismatchError, match="made anew, in another way"):
        cd.Stream(table, ["copy"], batch_size=2, prepare=EXACT, prepared="ready_copy")
    with pytest.raises(LineageMismatchError, match="made of column 'image'; expected 'copy'"):
        cd.Stream(table, ["copy"], batch_size=2, prepare=EXACT, prepared="ready")


def streamed_pictures(table: cd.Table) -> dict[str, torch.Tensor]:
    stream = cd.Stream(table, ["path", "image"], batch_size=2, prepare=EXACT)
    assert stream.pixels[0].column == "ready"
    return {path: image for batch in stream for path, image in zip(batch["path"], batch["image"], strict=True)}


def _same(image: bytes) -> bytes:
    return image


def test_a_column_begun_is_read_by_itself_only_where_it_was_filled(table: cd.Table, tmp_path: Path) -> None:
    made = rows.create_table(tmp_path / "t.lance", image_schema([pa.field("split", pa.string())]))
    for start, split in ((0, "train"), (4, "test")):
        data = [encoded(n) for n in range(start, start + 4)]
        paths = [f"{n}" for n in range(start, start + 4)]
        rows.upsert(made, pa.table({"path": paths, "image": data, "bytes": [1] * 4, "split": [split] * 4}))
    opened = cd.open_table(made.uri)
    cd.map_column(opened, cd.steps.PreparedPixels(EXACT), "ready", where="split = 'train'")

    whole = cd.Stream(opened, ["image"], batch_size=2, prepare=EXACT)
    part = cd.Stream(opened, ["image"], batch_size=2, prepare=EXACT, where="split = 'train'")
    assert str(whole.pixels[0]) == (
        "pixels come from column 'image', decoded ('ready': was never filled in 1 fragment of the table)"
    )
    assert part.pixels[0].column == "ready"


AUGMENT = cd.Augmentation((0.4, 1.0), flip=0.5, color_jitter=(0.3, 0.3, 0.3, 0.1), gray_scale_prob=0.2)


def test_what_is_drawn_is_the_same_under_any_workers_ranks_and_after_a_resume(filled: cd.Table) -> None:
    options = {"augment": AUGMENT, "seed": 5, "epoch": 3}
    whole = streamed(filled, **options)
    large = {row: pixels for row, pixels in enumerate(_levels(filled, "large", 40)) if pixels is not None}
    augmented = Augmented(EXACT, AUGMENT)
    assert all(torch.equal(whole[row], augmented(large[row], Draw(5, 3, row))) for row in large)

    halves = {}
    for rank in (0, 1):
        halves |= streamed(filled, rank=rank, world_size=2, **options)
    assert same(halves, whole)

    stream = _stream(filled, **options)
    batches = stream.__iter__()
    begun = [dict(next(batches)) for _ in range(2)]
    resumed = _stream(filled, **options)
    resumed.load_state_dict(stream.state_dict())
    rest = list(resumed)
    batches.close()
    parts = {
        row: one for batch in begun + rest for row, one in zip(batch["offsets"].tolist(), batch["image"], strict=True)
    }
    assert same(parts, whole)

    singles = cd.Stream(filled, ["image"], batch_size=None, prepare=EXACT, on_bad_image="leave_out", **options)
    assert same({int(one["offsets"]): one["image"] for one in singles}, whole)
    again = streamed(filled, **{**options, "epoch": 4})
    assert not any(torch.equal(again[row], whole[row]) for row in whole)


@pytest.mark.slow
def test_what_is_drawn_is_the_same_in_worker_processes(filled: cd.Table) -> None:
    options = {"augment": AUGMENT, "seed": 5, "epoch": 3}
    assert same(by_row(load(_stream(filled, **options), 2)), streamed(filled, **options))


def by_row(batches) -> dict[int, torch.Tensor]:
    """Offset → pixels, of batches."""
    return {
        row: one
        for batch in batches
        for row, one in zip(batch["offsets"].tolist(), batch["image"].clone(), strict=True)
    }


def _stream(table: cd.Table, **options) -> cd.Stream:
    return cd.Stream(
        table, ["image"], batch_size=8, drop_last=False, prepare=EXACT, on_bad_image="leave_out", **options
    )


def _levels(table: cd.Table, column: str, side: int) -> list[np.ndarray | None]:
    values = table.to_table([column]).column(0)
    return [np.array(value.values).reshape(side, side, 3) if value.is_valid else None for value in values]


def test_random_crops_are_of_a_larger_column_or_of_the_picture_and_each_picture_is_decoded_once(
    filled: cd.Table, decoded
) -> None:
    crops, mirrors = cd.Augmentation((0.5, 1.0)), cd.Augmentation(None, flip=0.5)
    assert _stream(filled, augment=crops).pixels[0].column == "large"
    assert _stream(filled, augment=mirrors).pixels[0].column == "ready"
    assert _stream(filled, augment=crops, prepared="ready").pixels[0].column == "ready"
    with pytest.raises(LineageMismatchError, match="size 40 × 40; expected 32 × 32"):
        _stream(filled, augment=mirrors, prepared="large")

    decoded.clear()
    found = streamed(filled, augment=crops, prepared=False)
    pictures = filled.to_table(["image"]).column(0).to_pylist()
    expected = {
        row: Augmented(EXACT, crops)(images.decode(data), Draw(0, 0, row))
        for row, data in enumerate(pictures)
        if row != BAD
    }
    assert same(found, expected)
    assert len(decoded) == 40


def test_a_picture_of_many_rows_is_decoded_once_and_changed_for_each_row(tmp_path: Path, decoded) -> None:
    made = rows.create_table(tmp_path / "t.lance", image_schema())
    data = [encoded(1)] * 4
    rows.upsert(made, pa.table({"path": list("abcd"), "image": data, "bytes": [1] * 4}))

    (batch,) = _stream(cd.open_table(made.uri), augment=AUGMENT)

    assert len(decoded) == 1
    expected = [Augmented(EXACT, AUGMENT)(images.decode(data[0]), Draw(0, 0, int(row))) for row in batch["offsets"]]
    assert torch.equal(batch["image"], torch.stack(expected))
    assert len({one.numpy().tobytes() for one in batch["image"]}) == 4


def test_augmentation_wants_the_preparation_of_a_model(filled: cd.Table) -> None:
    with pytest.raises(UsageError, match="augment needs the preparation of a model"):
        cd.Stream(filled, ["image"], batch_size=8, prepare=lambda pixels: EXACT(pixels), augment=AUGMENT)
    with pytest.raises(UsageError, match="expected an Augmentation"):
        cd.Stream(filled, ["image"], batch_size=8, prepare=EXACT, augment={"flip": 0.5})


def test_no_byte_of_the_pictures_is_read(tmp_path: Path) -> None:
    made = rows.create_table(tmp_path / "t.lance", image_schema())
    data = [encoded(n, height=500, width=700) for n in range(8)]
    rows.upsert(made, pa.table({"path": list("abcdefgh"), "image": data, "bytes": [len(one) for one in data]}))
    table = cd.open_table(made.uri)
    cd.map_column(table, cd.steps.PreparedPixels(EXACT), "ready")
    dataset = lance.dataset(table.uri)
    dataset.take(list(range(8)), columns=["ready"])
    expected = dataset.io_stats_incremental().read_bytes

    stream = cd.Stream(table, ["image"], batch_size=8, prepare=EXACT)
    read = stream.table.dataset
    read.io_stats_incremental()
    list(stream)

    assert read.io_stats_incremental().read_bytes <= 1.5 * expected < sum(map(len, data)) / 2
