"""A place behind a locked folder is said to be locked, never to be empty."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import clipdata as cd
import ingest
from clipdata.errors import CredentialsError
from clipdata.objects.local_places import kind_at
from tests.faults.forbidding import NO_ACCESS, allow, forbid, obey_permissions


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may look into."""
    folder = tmp_path / "locked"
    (folder / "in").mkdir(parents=True)
    forbid(folder, NO_ACCESS)
    yield folder
    allow(folder)


@pytest.fixture
def obedient() -> Iterator[ThreadPoolExecutor]:
    """A thread that passes over no permission, whoever runs the tests."""
    with ThreadPoolExecutor(1, initializer=obey_permissions) as thread:
        yield thread


def test_a_path_leads_to_a_folder_a_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    kinds = [kind_at(tmp_path / name) for name in (".", "link", "file", "file/below", "none", "loop", "x" * 300)]

    assert kinds == ["folder", "folder", "file", None, None, None, None]


def test_a_place_behind_a_locked_folder_is_said_to_be_locked(locked: Path, obedient: ThreadPoolExecutor) -> None:
    with pytest.raises(CredentialsError, match=r"locked/in may not be looked at: Permission denied"):
        obedient.submit(kind_at, locked / "in").result()


VERBS = {
    "open a table": lambda locked: cd.open_table(locked / "t.lance"),
    "ingest images": lambda locked: ingest.from_images(locked / "in", into="t.lance"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_takes_what_is_locked_for_nothing(
    locked: Path, obedient: ThreadPoolExecutor, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CredentialsError, match="may not be looked at"):
        obedient.submit(VERBS[verb], locked).result()
