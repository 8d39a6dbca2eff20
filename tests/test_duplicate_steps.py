"""Steps that find duplicates: hashes of pictures, clusters of near ones, and which row of a cluster is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.fftpack
from PIL import Image, ImageOps

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from clipdata.steps.picture_hashes import perceptual_hashes, small_and_grey
from clipdata.steps.rebuilding import Models, rebuild
from pipelines.cli.app import main

SAMPLE = Path(__file__).parents[1] / "pipelines" / "sample" / "images"


def naive_hash(picture: Image.Image) -> int:
    """As the library ImageHash computes `phash`."""
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = scipy.fftpack.dct(scipy.fftpack.dct(grey, axis=0), axis=1)[:8, :8]
    bits = "".join("1" if bit else "0" for bit in (low > np.median(low)).flatten())
    return int(bits, 2)


def as_bytes(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    held = BytesIO()
    picture.save(held, kind, **options)
    return held.getvalue()


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(SAMPLE.rglob("*.*"))[:12]]


def add(folder: Path, columns: Mapping[str, Sequence[Any] | pa.Array], first: int = 0) -> cd.Table:
    """Rows with a key, added to the table of the folder."""
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    num = len(next(iter(arrays.values())))
    schema = pa.schema([key_field("id"), *(pa.field(name, array.type) for name, array in arrays.items())])
    table = rows.create_table(folder / "t.lance", schema)
    keys = pa.array([f"{first + n:06d}" for n in range(num)])
    rows.upsert(table, pa.Table.from_arrays([keys, *arrays.values()], schema=schema))
    return cd.open_table(table.uri)


def values(table: cd.Table, column: str) -> list[Any]:
    found = cd.open_table(table.uri).to_table(["id", column]).sort_by("id")
    return found.column(column).to_pylist()


def test_a_perceptual_hash_is_what_the_definition_gives_also_of_the_mirror_image(photos: list[Image.Image]) -> None:
    small = np.stack([small_and_grey(np.asarray(photo)) for photo in photos])
    hash_N2, has_structure_N = perceptual_hashes(small)
    assert hash_N2[:, 0].tolist() == [naive_hash(photo) for photo in photos]
    assert has_structure_N.all()
    mirrored = np.array([naive_hash(ImageOps.mirror(photo)) for photo in photos], np.uint64)
    assert (np.bitwise_count(mirrored ^ hash_N2[:, 1]) <= 2).all()  # a resampling filter rounds


def test_pictures_are_hashed_and_those_that_show_nothing_get_a_reason(
    tmp_path: Path, photos: list[Image.Image]
) -> None:
    one = photos[0]
    blank = Image.new("RGB", (64, 64), "white")
    images = [as_bytes(one), as_bytes(one, "WEBP", lossless=True), as_bytes(blank), b"no picture", None]
    table = add(tmp_path, {"picture": pa.array(images, pa.large_binary())})

    done = cd.map_column(table, cd.steps.PerceptualHash("picture"), "perceptual_hash")
    pixels = cd.map_column(table, cd.steps.PixelDigest("picture"), "pixels")
    cd.map_column(table, cd.steps.PerceptualHash("picture", mirrored=False), "plain")

    found = values(table, "perceptual_hash")
    assert found[0] == found[1]
    assert found[0][:16] == f"{naive_hash(one):016x}" == values(table, "plain")[0]
    assert len(found[0]) == 32
    assert found[2:] == [None, None, None]
    assert done.failed["one tone"] == 1
    rgb = np.asarray(one)
    digest = hashlib.sha256(
        rgb.shape[0].to_bytes(4, "little") + rgb.shape[1].to_bytes(4, "little") + rgb.tobytes()
    ).hexdigest()
    assert values(table, "pixels")[:2] == [digest, digest]
    assert values(table, "pixels")[2] is not None
    assert pixels.failed == {"not_an_image": 1, "missing": 1}


def near(value: int, *bits: int) -> str:
    for bit in bits:
        value ^= 1 << bit
    return f"{value:016x}"


ONE, TWO = 0x0123_4567_89AB_CDEF, 0xF0F0_0F0F_3C3C_A5A5


def test_near_pictures_share_a_cluster_new_ones_join_it_and_old_values_stay(tmp_path: Path) -> None:
    table = add(
        tmp_path, {"perceptual_hash": [near(ONE), near(ONE, 3, 4), near(ONE, 9, 10), near(TWO), near(TWO), "", "xyz"]}
    )
    first = cd.map_column(table, cd.steps.NearDuplicates(table, radius=2), "near_duplicates")
    before = values(table, "near_duplicates")
    assert before[:5] == [near(ONE)] * 3 + [near(TWO)] * 2
    assert first.failed == {"no hash of 16 or 32 hex digits": 2}
    assert (first.notes["clusters of several rows"], first.notes["rows in them"]) == (2, 5)

    late = [near(ONE, 40, 41), near(TWO, 1), near(ONE, 20, 21, 22), near(ONE, 20, 21, 22, 23)]
    table = add(tmp_path, {"perceptual_hash": late}, first=7)
    cd.map_column(table, cd.steps.NearDuplicates(table, radius=2), "near_duplicates")
    after = values(table, "near_duplicates")
    assert after[:7] == before
    assert after[7:9] == [near(ONE), near(TWO)]
    assert after[9] == after[10]
    assert after[9] not in before

    table = add(tmp_path, {"perceptual_hash": [near(ONE, 20), near(ONE, 20, 21)]}, first=11)
    done = cd.map_column(table, cd.steps.NearDuplicates(table, radius=2), "near_duplicates")
    assert values(table, "near_duplicates")[:11] == after
    assert done.notes["new values near to several clusters, put to the nearest"] >= 1


def test_clusters_do_not_depend_on_the_order_of_rows_and_outlive_their_centre(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hashes = [near(int(ONE if n % 3 else TWO), *rng.choice(64, 3, replace=False).tolist()) for n in range(60)]
    found = []
    for name, order in (("a", hashes), ("b", hashes[::-1])):
        table = add(tmp_path / name, {"perceptual_hash": order})
        cd.map_column(table, cd.steps.NearDuplicates(table, radius=4), "near_duplicates")
        found.append(dict(zip(order, values(table, "near_duplicates"), strict=True)))
    assert found[0] == found[1]

    centre = max(set(found[0].values()), key=list(found[0].values()).count)
    table.dataset.delete(f"perceptual_hash = '{centre}'")
    table = add(tmp_path / "b", {"perceptual_hash": [centre]}, first=90)
    cd.map_column(table, cd.steps.NearDuplicates(table, radius=6), "again")
    cd.map_column(table, cd.steps.NearDuplicates(table, radius=4), "near_duplicates")
    assert values(table, "near_duplicates")[-1] in set(found[0].values())


def vectors(rng: np.random.Generator, num: int, size: int = 16) -> np.ndarray:
    return rng.normal(size=(num, size)).astype(np.float32)


def column_of(vector_ND: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.reshape(-1)), vector_ND.shape[1])


def test_alike_embeddings_share_a_cluster_whatever_their_length_and_new_ones_join(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = vectors(rng, 30)
    copies = 3 * (base[:10] + 0.02 * vectors(rng, 10))
    table = add(tmp_path, {"image_embedding": column_of(np.concatenate([base, copies, np.zeros((1, 16), np.float32)]))})
    step = cd.steps.EmbeddingDuplicates(table)
    done = cd.map_column(table, step, "embedding_duplicates")
    before = values(table, "embedding_duplicates")
    assert before[:10] == before[30:40]
    assert len(set(before[:30])) == 30
    assert before[40] is None
    assert done.failed == {"no direction": 1}
    assert done.notes["clusters of several rows"] == 10

    table = add(tmp_path, {"image_embedding": column_of(base[5:15] + 0.01 * vectors(rng, 10))}, first=41)
    cd.map_column(table, cd.steps.EmbeddingDuplicates(table), "embedding_duplicates")
    after = values(table, "embedding_duplicates")
    assert after[:41] == before
    assert after[41:] == before[5:15]
    assert rebuild(cd.open_table(table.uri), "embedding_duplicates", Models()).parameters == step.parameters


def test_vectors_of_other_lengths_and_no_numbers_get_a_reason(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 0.0], [1.0], [float("nan"), 1.0], [2.0, 0.0], None], pa.list_(pa.float64()))
    table = add(tmp_path, {"embedding": lists})
    done = cd.map_column(table, cd.steps.EmbeddingDuplicates(table, "embedding", least_cosine=1), "same")
    found = values(table, "same")
    assert found[0] == found[3] is not None
    assert found[1:3] == [None, None]
    assert sum(done.failed.values()) == 2


def test_vectors_of_another_length_than_the_first_of_the_table_get_a_reason_wherever_they_stand(tmp_path: Path) -> None:
    kind = pa.list_(pa.float32())
    add(tmp_path, {"image_embedding": pa.array([None, [], [1.0, 0.0]], kind)})
    add(tmp_path, {"image_embedding": pa.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0]], kind)}, first=3)
    table = cd.open_table(tmp_path / "t.lance")  # two fragments, and so two batches

    cd.map_column(table, cd.steps.EmbeddingDuplicates(table, column="same"), "same")
    cd.map_column(table, cd.steps.SemanticDeduplication(table, "image_embedding", "id"), "novel")

    found = values(table, "same")
    assert found[2] == found[5] is not None
    assert [value is None for value in found] == [True, True, False, True, True, False]
    assert sorted(filter(lambda kept: kept is not None, values(table, "novel"))) == [False, True]


def test_the_best_of_a_cluster_is_kept_and_stays_the_best(tmp_path: Path) -> None:
    clusters = ["a", "a", "a", "b", "c", "c"]
    sizes = {"width": [10, 30, 20, 5, 7, 7], "height": [10, 10, 30, 5, 7, 7]}
    table = add(tmp_path, {"near_duplicates": clusters, **sizes, "score": [0.9, 0.1, 0.5, 0.0, float("nan"), -1.0]})
    done = cd.map_column(table, cd.steps.BestOfCluster(table), "kept")
    cd.map_column(table, cd.steps.BestOfCluster(table, highest="score", rule="highest", column="top"), "top")
    cd.map_column(table, cd.steps.BestOfCluster(table, rule="first", column="first"), "first")
    assert values(table, "kept") == [False, False, True, True, True, False]
    assert values(table, "top") == [True, False, False, True, False, True]
    assert values(table, "first") == [True, False, False, True, True, False]
    assert done.notes == {"clusters": 3, "rows not kept": 3}
    assert cd.open_table(table.uri).count_rows("kept") == 3

    for column, read in (("kept", 4), ("top", 3), ("first", 2)):
        again = rebuild(cd.open_table(table.uri), column, Models())
        assert (len(again.reads), again.parameters) == (read, cd.open_table(table.uri).lineage(column).parameters)

    late = {"near_duplicates": ["a", "d", "d"], "width": [99, 1, 2], "height": [99, 1, 2], "score": [9.0, 1.0, 2.0]}
    table = add(tmp_path, late, first=6)
    cd.map_column(table, cd.steps.BestOfCluster(table), "kept")
    assert values(table, "kept") == [False, False, True, True, True, False, False, False, True]

    cd.delete(table, "id = '000002'")
    table = add(tmp_path, {"near_duplicates": ["e"], "width": [1], "height": [1], "score": [1.0]}, first=9)
    left = cd.map_column(table, cd.steps.BestOfCluster(table), "kept")
    assert left.notes == {"clusters": 5, "rows not kept": 5, "clusters whose best row is gone": 1}  # that of "a"
    assert main(["map", str(table.uri), "best-of-cluster", "kept", "--overwrite", "--quiet"]) == 0
    assert values(table, "kept") == [False, False, True, True, False, True, False, True, True]


def test_semantic_deduplication_keeps_what_a_loop_over_its_cells_keeps_and_decided_rows_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    base = vectors(rng, 40)
    dense = np.concatenate([base + 0.15 * vectors(rng, 40) for _ in range(5)] + [base[:1], base[:1]])
    table = add(tmp_path, {"image_embedding": column_of(dense)})

    cd.map_column(table, cd.steps.SemanticDeduplication(table, cells=1), "novel")

    unit_ND = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    centroid = unit_ND.mean(axis=0)
    order = np.argsort(unit_ND @ centroid)
    near_NN = unit_ND @ unit_ND.T >= 0.95
    wanted = [
        not near_NN[row, order[:rank]].any()
        for row, rank in sorted(zip(order.tolist(), range(len(order)), strict=True))
    ]
    found = values(table, "novel")
    assert sum(one == two for one, two in zip(found, wanted, strict=True)) >= len(found) - 2  # of half precision
    assert sum(found[-2:]) <= 1
    assert 40 <= sum(found) <= 150

    table = add(tmp_path, {"image_embedding": column_of(np.concatenate([dense[:20], vectors(rng, 5)]))}, first=202)
    done = cd.map_column(table, cd.steps.SemanticDeduplication(table, cells=1), "novel")
    assert values(table, "novel") == [*found, *[False] * 20, *[True] * 5]
    assert done.notes["rows not kept"] == len(found) - sum(found) + 20
    again = rebuild(cd.open_table(table.uri), "novel", Models())
    assert again.parameters == {"least_cosine": 0.95, "cells": 1, "keep": "hard"}


def test_what_was_decided_by_other_hashes_does_not_count_but_sides_stay(tmp_path: Path) -> None:
    table = add(tmp_path, {"one": [near(ONE), near(ONE, 1), near(TWO)], "other": [near(ONE), near(TWO), near(7)]})

    @cd.step(reads="one", returns="string")
    def hashes(one):
        return one

    cd.map_column(table, hashes, "hash")
    cd.map_column(table, cd.steps.NearDuplicates(table, "hash"), "near_duplicates")
    cd.map_column(table, cd.steps.BestOfCluster(table, rule="first"), "kept")
    split = cd.steps.LeakProofSplit(table, ["near_duplicates"], shares="train=0.5,test=0.5")
    cd.map_column(table, split, "split")
    sides = values(table, "split")
    assert values(table, "kept") == [True, False, True]

    @cd.step(reads="other", returns="string")
    def others(other):
        return other

    cd.map_column(table, others, "hash", overwrite=True)
    cd.refresh(table, steps=[others])

    assert len(set(values(table, "near_duplicates"))) == 3
    assert values(table, "kept") == [True, True, True]
    assert values(table, "split") == sides


def test_rows_of_one_picture_are_kept_or_dropped_together(tmp_path: Path) -> None:
    asked = {"near_duplicates": [*"aaaaab"], "sha256": ["one", "two", "one", "three", "two", "four"]}
    table = add(tmp_path, {**asked, "width": [3, 4, 3, 4, 4, 1], "height": [1] * 6})
    cd.map_column(table, cd.steps.BestOfCluster(table, key="sha256"), "kept")
    assert values(table, "kept") == [False, False, False, True, False, True]  # as large as "two", and before it

    table = add(
        tmp_path,
        {"near_duplicates": [*"aab"], "sha256": ["three", "five", "four"], "width": [4, 9, 1], "height": [1] * 3},
        first=6,
    )
    before = values(table, "kept")
    cd.map_column(table, cd.steps.BestOfCluster(table, key="sha256"), "kept")
    assert values(table, "kept") == [*before[:6], True, False, True]


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (lambda t: cd.steps.NearDuplicates(t, "hash", radius=17), UsageError, "radius is 17; expected"),
        (lambda t: cd.steps.NearDuplicates(t, "hash", radius=True), UsageError, "radius is True"),
        (lambda t: cd.steps.NearDuplicates(t, "nothing"), SchemaError, "has no column 'nothing'"),
        (lambda t: cd.steps.NearDuplicates(t, "number"), SchemaError, "expected texts"),
        (lambda t: cd.steps.EmbeddingDuplicates(t, "hash"), SchemaError, "expected lists of numbers"),
        (lambda t: cd.steps.EmbeddingDuplicates(t, "vector", least_cosine=0), UsageError, "least_cosine is 0"),
        (lambda t: cd.steps.EmbeddingDuplicates(t, "vector", probes=0), UsageError, "probes is 0"),
        (lambda t: cd.steps.SemanticDeduplication(t, "vector", keep="all"), UsageError, "'hard' or 'easy'"),
        (lambda t: cd.steps.SemanticDeduplication(t, "vector", cells=0), UsageError, "cells is 0"),
        (lambda t: cd.steps.SemanticDeduplication(t, "number"), SchemaError, "expected lists of numbers"),
        (lambda t: cd.steps.SemanticDeduplication(t, "vector", "hash"), UsageError, "hash has 1 values in 2 rows"),
        (lambda t: cd.steps.BestOfCluster(t, "hash", rule="best"), UsageError, "rule is 'best'"),
        (lambda t: cd.steps.BestOfCluster(t, "hash", rule="highest"), UsageError, "highest is not given"),
        (lambda t: cd.steps.BestOfCluster(t, "hash", rule="first", highest="number"), UsageError, "by the key alone"),
        (lambda t: cd.steps.BestOfCluster(t, "hash"), SchemaError, "'width'"),
        (lambda t: cd.steps.BestOfCluster(t, "hash", "hash", rule="first"), UsageError, "'hash' is named twice"),
        (lambda t: cd.steps.PerceptualHash("hash", mirrored=1), UsageError, "mirrored is 1"),
    ],
)
def test_what_cannot_be_done_is_refused(wrong: Any, error: type[Exception], said: str, tmp_path: Path) -> None:
    table = add(tmp_path, {"hash": [near(ONE)] * 2, "number": [1, 2], "vector": column_of(np.eye(2, dtype=np.float32))})
    with pytest.raises(error, match=said):
        wrong(table)


def test_a_table_without_rows_or_hashes_has_no_cluster(tmp_path: Path) -> None:
    table = add(tmp_path, {"perceptual_hash": pa.array([None, None], pa.string())})
    done = cd.map_column(table, cd.steps.NearDuplicates(table), "near_duplicates")
    assert (done.computed, done.waiting) == (0, 2)
