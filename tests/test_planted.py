"""Planted duplicates of the sample's pictures are found again, and a leaking split is seen to leak what was planted."""

from __future__ import annotations

import pytest

import clipdata as cd
from pipelines.sample.planted import VERSIONS, planted_table

NUM = 24


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    table = planted_table(tmp_path_factory.mktemp("planted") / "planted.lance", NUM)
    cd.map_column(table, cd.steps.PictureDigest(), "sha256")
    cd.map_column(table, cd.steps.PixelDigest(), "pixels")
    cd.map_column(table, cd.steps.PerceptualHash(), "perceptual_hash")
    cd.map_column(table, cd.steps.NearDuplicates(table), "near_duplicates")
    return table


def found_with_original(table: cd.Table, column: str) -> dict[str, int]:
    """Versions whose value is that of their original, by kind."""
    rows = table.to_table(["original", "planted", column]).to_pylist()
    own = {row["original"]: row[column] for row in rows if row["planted"] == "original"}
    kinds = ("copy", *VERSIONS)
    return {
        kind: sum(row["planted"] == kind and row[column] == own[row["original"]] is not None for row in rows)
        for kind in kinds
    }


def test_equal_bytes_equal_pixels_and_look_alikes_are_found_each_by_its_own_means(planted: cd.Table) -> None:
    none = dict.fromkeys(VERSIONS, 0)
    assert found_with_original(planted, "sha256") == {"copy": NUM, **none}
    pixels = found_with_original(planted, "pixels")
    assert (pixels["copy"], pixels["png"], pixels["jpeg"], pixels["resized"]) == (NUM, NUM, 0, 0)
    near = found_with_original(planted, "near_duplicates")
    assert near["copy"] == near["png"] == NUM
    assert min(near["flipped"], near["resized"], near["webp"], near["jpeg"]) >= 0.75 * NUM
    assert near["cropped"] >= 0.4 * NUM

    clusters: dict[str, set[str]] = {}
    for row in planted.to_table(["original", "near_duplicates"]).to_pylist():
        clusters.setdefault(row["near_duplicates"], set()).add(row["original"])
    assert sum(len(one) > 1 for one in clusters.values()) <= 1


def test_a_leaking_split_leaks_what_was_planted_and_a_clean_one_nothing(planted: cd.Table) -> None:
    by = ["sha256", "pixels", "near_duplicates"]
    rows = planted.to_table(["original", "planted", "near_duplicates", "leaking_split"]).to_pylist()
    trained = {row["near_duplicates"] for row in rows if row["leaking_split"] == "train"}
    leaked = [row for row in rows if row["leaking_split"] == "test" and row["near_duplicates"] in trained]
    assert len(leaked) >= NUM // 4 - 2

    found = cd.check_split(planted, "leaking_split", by=by)
    assert (found.num_held_out, found.num_leaked) == (NUM // 4, len(leaked))
    assert cd.check_split(planted, "clean_split", by=by[:2]).num_crossing == 0

    table = cd.open_table(planted.uri)
    cd.map_column(table, cd.steps.LeakProofSplit(table, by, column="split"), "split")
    assert cd.check_split(table, "split", by=by).gate().num_crossing == 0


def test_one_row_a_cluster_is_kept_and_none_of_two_pictures(planted: cd.Table) -> None:
    table = cd.open_table(planted.uri)
    step = cd.steps.BestOfCluster(table, "near_duplicates", rule="first", column="kept")
    cd.map_column(table, step, "kept")
    kept = table.to_table(["original", "near_duplicates"], where="kept").to_pylist()
    assert len(kept) == len({row["near_duplicates"] for row in kept}) == step.num_clusters
    assert len(kept) <= 0.35 * 9 * NUM
    assert len({row["original"] for row in kept}) >= NUM - 1
