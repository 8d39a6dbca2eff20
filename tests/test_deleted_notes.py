"""What a table says of its deletes takes no more room in each version however many there were, and nothing is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

import clipdata as cd
import ingest
from clipdata.lance_io import deleted_notes
from clipdata.lance_io.deleted_notes import ENTRY, MOST_NOTES, OLDER, Note, note_delete, notes_of
from tests.tables import number_table
from tests.test_cleaning import make_old

NAMES = [f"{number:02d}.jpg" for number in range(20)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that older notes go together after a handful of deletes."""
    monkeypatch.setattr(deleted_notes, "MOST_NOTES", 5)
    monkeypatch.setattr(deleted_notes, "_NEWEST", 2)


def ingested(folder: Path) -> tuple[Path, Path]:
    """A file of twenty rows, and the table that they are taken into."""
    meta, uri = folder / "meta.csv", folder / "t.lance"
    meta.write_text("\n".join(["filename,label", *(f"{name},A" for name in NAMES)]))
    ingest.from_parquet(meta, into=uri)
    return meta, uri


def metadata_of(table: cd.Table) -> dict[str, str]:
    return dict(table.latest().dataset.metadata)


def test_the_metadata_stays_small_after_many_deletes_and_every_note_is_known(tmp_path: Path) -> None:
    table = number_table(tmp_path, 2)
    sizes = []
    for number in range(3 * MOST_NOTES):
        note_delete(table, f"id{number}", Note(number, (f"part{number}",), f"path = '{'x' * 1000}'", number + 1))
        sizes.append(sum(len(key) + len(text) for key, text in metadata_of(table).items()))

    assert max(sizes) < 1.05 * max(sizes[:MOST_NOTES])
    notes = notes_of(table.latest())
    assert set(notes) == {f"id{number}" for number in range(3 * MOST_NOTES)}
    assert all((one.num_rows, one.parts, one.version) == (n, (f"part{n}",), n + 1) for n, one in
               ((int(name.removeprefix("id")), note) for name, note in notes.items()))  # fmt: skip
    note_delete(table, "id0", Note(7, ("again",), "path = 'a'", 1))
    assert notes_of(table.latest())["id0"].parts == ("again",), "of one that is noted anew, what is noted last counts"
    assert len(notes_of(table.latest())) == 3 * MOST_NOTES


def test_rows_of_all_deletes_stay_away_their_file_is_not_read_again_and_they_come_back_when_forgotten(
    tmp_path: Path, few: None
) -> None:
    meta, uri = ingested(tmp_path)
    for name in NAMES[:15]:
        cd.delete(uri, f"filename = '{name}'")
    assert OLDER in metadata_of(cd.open_table(uri))
    assert len([key for key in metadata_of(cd.open_table(uri)) if key.startswith(ENTRY)]) <= 6

    again = ingest.from_parquet(meta, into=uri)

    assert (again.read, again.written.any) == (0, False)
    meta.write_text(meta.read_text() + "\nnew.jpg,A\n")
    more = ingest.from_parquet(meta, into=uri)
    assert (more.written.inserted, more.table.num_rows) == (1, 6)
    assert ingest.from_parquet(meta, into=uri).read == 0
    assert cd.delete(uri, "filename = '15.jpg'").num_remembered == 16
    assert cd.delete(uri, forget_deleted=True).num_remembered == 16
    assert not [key for key in metadata_of(cd.open_table(uri)) if key.startswith(ENTRY) or key == OLDER]
    assert ingest.from_parquet(meta, into=uri).table.num_rows == 21


def test_a_version_that_is_restored_knows_the_deletes_before_it_also_after_a_clean_up(
    tmp_path: Path, few: None
) -> None:
    meta, uri = ingested(tmp_path)
    for name in NAMES[:8]:
        cd.delete(uri, f"filename = '{name}'")
    cd.tag(uri, "eight")
    for name in NAMES[8:16]:
        cd.delete(uri, f"filename = '{name}'")
    make_old(tmp_path)
    cd.clean(uri, older_than=timedelta(hours=1))

    assert len(notes_of(cd.open_table(uri))) == 16
    cd.restore(uri, "eight")

    assert len(notes_of(cd.open_table(uri))) == 8
    meta.touch()
    assert ingest.from_parquet(meta, into=uri).table.num_rows == 12


def test_deletes_at_once_lose_no_note_of_each_other(tmp_path: Path, few: None) -> None:
    table = number_table(tmp_path, 2)
    both = threading.Barrier(2)

    def note(first: int) -> None:
        both.wait()
        for number in range(first, first + 12):
            note_delete(table, f"id{number}", Note(1, (), "path = 'a'", number))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(note, (0, 100)))

    assert set(notes_of(table.latest())) == {f"id{first + number}" for first in (0, 100) for number in range(12)}
