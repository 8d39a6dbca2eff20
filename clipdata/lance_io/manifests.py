"""Manifests: the files that make versions of a table, told apart by whether they can be read, and set aside.

One manifest that cannot be read stops more than its own version: of the newest, every verb; of an older one, the
history and cleaning. It is moved beside the table and never removed, so that whoever can mend it has it still. Nothing
here is said of what a version holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipdata.disk import sync_above
from clipdata.errors import ClipdataError, CredentialsError, TransientError
from clipdata.lance_io.faults import said_by
from clipdata.lance_io.opening import open_dataset
from clipdata.lance_io.table import Table
from clipdata.lance_io.version_numbers import FOLDER, SUFFIX, named_versions
from clipdata.storage import Storage, is_remote, join

ASIDE = "damaged"


@dataclass(frozen=True)
class Manifest:
    """The file that makes one version.

    Args:
        version: its number.
        file: path of the manifest inside the table.
        fault: why the version cannot be opened; None when it can.
    """

    version: int
    file: str
    fault: str | None


def manifests(uri: str, storage: Storage) -> list[Manifest]:
    """Every version that has a manifest, newest first; each is opened.

    Args:
        uri: absolute, of the table.

    Raises:
        CredentialsError: the store refused access.
        TransientError: the store did not answer.
    """
    return [
        Manifest(number, f"{FOLDER}/{name}", _fault(uri, number, storage))
        for number, name in named_versions(uri, storage).items()
    ]


def set_aside(uri: str, damaged: Sequence[Manifest], storage: Storage) -> list[str]:
    """Move manifests that cannot be read out of the table, to where its records lie; returns where they are then.

    Args:
        uri: absolute, of the table.
    """
    assert all(manifest.fault is not None for manifest in damaged), "a version that can be opened stays"
    return [set_file_aside(uri, one.file, f"{one.version}{SUFFIX}", storage) for one in damaged]


def set_file_aside(uri: str, file: str, name: str, storage: Storage) -> str:
    """Move a file out of the table, to where its records lie; returns where it is then.

    Args:
        uri: absolute, of the table.
        file: its path inside the table.
        name: that it gets there.
    """
    fs, path = storage.filesystem(join(uri, file))
    target = join(f"{uri.rstrip('/')}.state", ASIDE, name)
    _, aside = storage.filesystem(target)
    fs.makedirs(aside.rpartition("/")[0], exist_ok=True)
    fs.mv(path, aside)
    if not is_remote(target):
        sync_above(Path(aside))
        sync_above(Path(path))
    return target


def newest_good(uri: str, found: Sequence[Manifest], storage: Storage) -> Table | None:
    """The newest version that can be opened."""
    number = next((manifest.version for manifest in found if manifest.fault is None), None)
    return Table(uri, number, storage) if number is not None else None


def _fault(uri: str, version: int, storage: Storage) -> str | None:
    try:
        open_dataset(uri, version, storage)
    except (CredentialsError, TransientError):
        raise
    except Exception as error:
        why = error.__cause__ or error
        return why.message if isinstance(why, ClipdataError) else said_by(why)
    return None
