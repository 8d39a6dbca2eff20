"""A folder of every kind of strange picture is taken in at once: each kind is kept or refused as it has to be.

Nothing is printed, no memory balloons, and what a row holds are the file's own bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import clipdata as cd
import ingest
from clipdata import images
from clipdata.lance_io.refused import rejects_uri
from tests.faults.outcomes import KEPT, LEFT_OUT
from tests.faults.picture_kinds import picture_kinds
from tests.faults.picture_places import make_places
from tests.hostile_images import refused_files
from tests.memory_peak import peak

KINDS = {
    **picture_kinds(),
    **{name: (f"{n:02d}.jpg", *kind) for n, (name, kind) in enumerate(refused_files().items())},
}
ALLOWED_MB = 700


@dataclass(frozen=True)
class Taken:
    """What became of the folder: bytes of kept pictures, refusals as (reason, detail), and places by kind."""

    kept: dict[str, bytes]
    refused: dict[str, tuple[str, str]]
    places: dict[str, tuple[str, str]]
    grown_mb: float
    said: str

    def outcome(self, key: str) -> str:
        return KEPT if key in self.kept else self.refused.get(key, (LEFT_OUT, ""))[0]


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    folder, outside = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("outside")
    (folder / "kinds").mkdir()
    for name, data, _ in KINDS.values():
        (folder / "kinds" / name).write_bytes(data)
    places = make_places(folder, outside)
    with peak() as taken:
        done = ingest.from_images(folder, into=outside / "t.lance")
    rows = done.table.to_table(["path", "image"]).to_pylist()
    refused = cd.open_table(rejects_uri(done.table.uri)).to_table().to_pylist()
    return Taken(
        {row["path"]: row["image"] for row in rows},
        {row["path"]: (row["reason"], row["detail"]) for row in refused},
        places,
        taken.mb,
        str(done),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_strange_picture_is_kept_as_it_is_or_refused_with_its_reason(taken: Taken, kind: str) -> None:
    name, data, expected = KINDS[kind]

    assert taken.outcome(f"kinds/{name}") == expected, taken.refused.get(f"kinds/{name}")

    if expected == KEPT:
        assert taken.kept[f"kinds/{name}"] == data
        header = images.probe(data)
        assert images.decode(data).shape == (header.height, header.width, 3)
    else:
        assert len(taken.refused[f"kinds/{name}"][1]) > 2, "a refusal says what was found"


def test_what_is_strange_in_a_folder_is_kept_refused_or_left_out(taken: Taken) -> None:
    found = {kind: taken.outcome(key) for kind, (key, _) in taken.places.items()}

    assert found == {kind: expected for kind, (_, expected) in taken.places.items()}


def test_nothing_else_became_a_row_or_a_refusal(taken: Taken) -> None:
    known = {f"kinds/{name}" for name, _, _ in KINDS.values()} | {key for key, _ in taken.places.values()}

    assert taken.kept.keys() | taken.refused.keys() <= known
    assert not taken.kept.keys() & taken.refused.keys()
    assert len(KINDS) + len(taken.places) >= 180


def test_the_whole_folder_costs_a_bounded_memory(taken: Taken) -> None:
    assert taken.grown_mb < ALLOWED_MB


def test_names_give_a_terminal_no_orders(taken: Taken) -> None:
    assert "\x1b" not in taken.said
    assert "\u202e" not in taken.said
