"""Every verb straight on buckets, source and tables: the results of the local disk, by value and by reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.encoder import Encoder
from clipdata.lance_io.table import Table
from clipdata.storage import Storage, join
from pipelines.caption_contest import ContestSettings, run_caption_contest
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import TEN_PERCENT, of_folder, put, remove
from tests.contests import contest_rows
from tests.tiny_models import tiny_encoder

NUM_PICTURES = 24
TRAINING = {"epochs": "2", "batch_size": "8"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return tiny_encoder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/ and meta.parquet."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "images").mkdir()
    contest = contest_rows(NUM_PICTURES).to_pylist()
    for row in contest:
        (folder / "images" / row["path"]).write_bytes(row["image"])
    questions = [row | {"filename": row["path"], "label": "ABCDE"[row["label_ind"]]} for row in contest for _ in "ab"]
    names = ["filename", "caption_choices", "label", "split"]
    pq.write_table(pa.table({name: [row[name] for row in questions] for name in names}), folder / "meta.parquet")
    return folder


@pytest.fixture
def uploaded(bucket: Bucket, sources: Path) -> Bucket:
    """The sources in a bucket, under src/."""
    files = [path for path in sources.rglob("*") if path.is_file()]
    put(bucket, {f"src/{path.relative_to(sources).as_posix()}": path.read_bytes() for path in files})
    return bucket


@dataclass(frozen=True)
class Done:
    """What the verbs left behind."""

    images: Table
    contest: Table
    values: pa.Table
    figures: dict[str, float | None]
    verbs: list[str]


def run_verbs(source: str, out: str, encoder: Encoder, storage: Storage | None = None, **options: Any) -> Done:
    """Ingest, merge, map, query, compare and log."""
    at = {"storage": storage}
    images = ingest.from_images(join(source, "images"), into=join(out, "images.lance"), **at, **options).table
    ingest.from_parquet(join(source, "meta.parquet"), into=join(out, "meta.lance"), **at)
    contest = ingest.merge(
        join(out, "images.lance"), join(out, "meta.lance"), on="filename", into=join(out, "contest.lance"), **at
    )

    @cd.step(reads="image", returns="int64", version="1")
    def num_bytes(image: bytes) -> int:
        return len(image)

    cd.map_column(contest, num_bytes, "num_bytes")
    cd.map_column(contest, cd.steps.ChoiceScores(encoder), "scores")
    cd.map_column(contest, cd.steps.LabelIndex("label"), "label_ind")
    cd.map_column(contest, cd.steps.Pick("scores", "label_ind"), "label_prob")
    cd.map_column(contest, cd.steps.ChoiceScores(tiny_encoder(seed=1)), "other")
    cd.map_column(contest, cd.steps.Pick("other", "label_ind"), "other_prob")
    comparison = cd.compare(contest, "label_prob", "other_prob", where="split = 'test'")
    values = contest.query("SELECT path, caption_choices, num_bytes, scores, label_prob FROM dataset ORDER BY id")
    verbs = [entry.properties.verb for entry in cd.log(contest.uri, storage=storage) if entry.properties]
    return Done(images, contest, values, comparison.figures(), verbs)


@pytest.fixture(scope="module")
def local(sources: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return run_verbs(str(sources), str(tmp_path_factory.mktemp("local")), encoder)


@pytest.mark.parametrize("reference", [False, True])
def test_every_verb_gives_on_a_bucket_what_it_gives_locally(
    uploaded: Bucket, local: Done, encoder: Encoder, reference: bool
) -> None:
    done = run_verbs(uploaded.url("src"), uploaded.url("out"), encoder, uploaded.storage, reference=reference)

    assert done.values.num_rows == 2 * NUM_PICTURES
    assert done.values.equals(local.values)
    assert done.figures == local.figures
    assert done.verbs == local.verbs
    held = done.contest.to_table(["image"]).column("image").null_count
    assert held == (2 * NUM_PICTURES if reference else 0)


def test_each_referred_image_is_asked_for_once(uploaded: Bucket, tmp_path: Path, encoder: Encoder) -> None:
    out = tmp_path.as_posix()
    table = run_verbs(uploaded.url("src"), out, encoder, uploaded.storage, reference=True).contest

    with uploaded.proxy.counting() as counts:
        cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding")

    assert table.num_rows == 2 * NUM_PICTURES
    assert of_folder(counts, "src/images") == {"get": NUM_PICTURES}


def test_a_local_table_of_a_public_buckets_images_reads_them_without_keys(
    gcs: Bucket, sources: Path, tmp_path: Path, encoder: Encoder
) -> None:
    (first, *_) = sorted((sources / "images").iterdir())
    put(gcs, {"src/a.png": first.read_bytes()})
    keyless = Storage(options=gcs.storage.options)
    done = ingest.from_images(
        gcs.url("src"), into=tmp_path / "t.lance", storage=keyless, anonymous=True, reference=True
    )
    cd.map_column(done.table, cd.steps.ImageEmbedding(encoder), "embedding")
    assert done.table.count_nulls("embedding") == 0


def test_references_survive_failing_requests(uploaded: Bucket, local: Done, tmp_path: Path, encoder: Encoder) -> None:
    source, storage = uploaded.url("src/images"), uploaded.storage
    with uploaded.proxy.injecting(*TEN_PERCENT):
        table = ingest.from_images(source, into=tmp_path / "t.lance", storage=storage, reference=True).table
        cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding")
    again = cd.open_table(local.images.uri)
    cd.map_column(again, cd.steps.ImageEmbedding(encoder), "embedding")
    assert table.to_table(["path", "embedding"]).equals(again.to_table(["path", "embedding"]))


def test_a_referred_image_that_is_gone_or_changed_is_a_null_with_its_reason(
    uploaded: Bucket, tmp_path: Path, encoder: Encoder
) -> None:
    source, storage = uploaded.url("src/images"), uploaded.storage
    table = ingest.from_images(source, into=tmp_path / "t.lance", storage=storage, reference=True).table
    remove(uploaded, "src/images/00003.png")
    put(uploaded, {"src/images/00005.png": b"something else"})

    done = cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding")

    assert done.num_failed == 2
    failed = table.query("SELECT path, embedding__error AS why FROM dataset WHERE embedding IS NULL ORDER BY path")
    (gone, changed) = failed.to_pylist()
    assert (gone["path"], gone["why"].split(":")[0]) == ("00003.png", "missing")
    assert (changed["path"], changed["why"].split(":")[0]) == ("00005.png", "changed")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_stream_of_references_is_the_stream_of_images(
    uploaded: Bucket, local: Done, tmp_path: Path, encoder: Encoder, num_workers: int
) -> None:
    from clipdata.stream import Stream, load

    source = uploaded.url("src/images")
    table = ingest.from_images(source, into=uploaded.url("t.lance"), storage=uploaded.storage, reference=True).table
    options: dict[str, Any] = {"batch_size": 8, "seed": 3, "prepare": encoder.prepare}
    by_reference = list(load(Stream(table, ["image", "bytes"], **options), num_workers))
    by_value = list(load(Stream(local.images, ["image", "bytes"], **options), 0))
    assert len(by_reference) == 3
    for one, other in zip(by_reference, by_value, strict=True):
        np.testing.assert_array_equal(one["image"].numpy(), other["image"].numpy())
        np.testing.assert_array_equal(one["bytes"].numpy(), other["bytes"].numpy())


@pytest.fixture(scope="module")
def local_contest(sources: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_contest(str(sources), str(tmp_path_factory.mktemp("out")), tmp_path_factory.mktemp("runs"), Storage())


def run_contest(source: str, out: str, folder: Path, storage: Storage, *, reference: bool = False) -> dict[str, Any]:
    tiny_encoder(folder)
    settings = ContestSettings(
        images=join(source, "images"),
        metadata=join(source, "meta.parquet"),
        model=str(folder / "tiny-0"),
        out=out,
        runs=str(folder / "runs"),
        training=TRAINING,
        reference=reference,
        storage=storage,
        device="cpu",
    )
    return run_caption_contest(settings).comparison.figures()


@pytest.mark.slow
def test_the_caption_contest_gives_on_a_bucket_what_it_gives_locally(
    uploaded: Bucket, local_contest: dict[str, Any], tmp_path: Path
) -> None:
    """On one store by reference; that each gives both is tested verb by verb."""
    reference = uploaded.url("").startswith("s3:")
    found = run_contest(uploaded.url("src"), uploaded.url("out"), tmp_path, uploaded.storage, reference=reference)
    assert found == local_contest
    assert found["mean.difference"]
    table = cd.open_table(uploaded.url("out/images.lance"), storage=uploaded.storage)
    assert table.to_table(["image"])["image"].null_count == (table.num_rows if reference else 0)


def test_merged_rows_find_their_pictures_in_a_bucket_also_after_both_tables_were_copied(
    uploaded: Bucket, sources: Path
) -> None:
    at = {"storage": uploaded.storage}
    names = ("images.lance", "meta.lance", "contest.lance")
    images, metadata, contest = (uploaded.url(f"one/{name}") for name in names)
    ingest.from_images(uploaded.url("src/images"), into=images, **at)
    ingest.from_parquet(uploaded.url("src/meta.parquet"), into=metadata, **at)
    expected = ingest.merge(images, metadata, into=contest, **at).to_table(["path", "image"])
    assert all(row["image"] == (sources / "images" / row["path"]).read_bytes() for row in expected.to_pylist())
    files, folder = uploaded.storage.filesystem(uploaded.url("one"))
    put(
        uploaded,
        {f"two/{name.removeprefix(folder)}".replace("//", "/"): files.cat(name) for name in files.find(folder)},
    )
    files.rm(folder, recursive=True)
    moved = cd.open_table(uploaded.url("two/contest.lance"), **at)
    assert moved.to_table(["path", "image"]).equals(expected)
