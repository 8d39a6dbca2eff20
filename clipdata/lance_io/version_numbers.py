"""Which versions a table has, by the names of the files that make them: one listing, and none of them is read."""

from __future__ import annotations

from clipdata.objects.faults import as_clipdata_error
from clipdata.storage import Storage, join, redact

FOLDER = "_versions"
SUFFIX = ".manifest"
_MOST_DIGITS = 40  # Python reads no number of some thousand
_LAST = 2**64 - 1  # Lance names its manifests by what is left to this, so that a listing begins with the newest


def version_named(text: str) -> int | str:
    """The version that a person typed: a number, or else a tag, which may look like one that no table can have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else text


def named_versions(uri: str, storage: Storage) -> dict[int, str]:
    """Number of each version → name of its manifest, newest first.

    Args:
        uri: absolute, of the table.

    Raises:
        CredentialsError: the store refused access.
        TransientError: the store did not answer.
    """
    fs, root = storage.filesystem(join(uri, FOLDER))
    fs.invalidate_cache()
    try:
        names = [str(path).rpartition("/")[2] for path in fs.ls(root, detail=False)]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise as_clipdata_error(error, f"listing the versions of {redact(uri)}", storage) from error
    numbered = {number: name for name in names if (number := _version_of(name)) is not None}
    return dict(sorted(numbered.items(), reverse=True))


def version_numbers(uri: str, storage: Storage) -> list[int]:
    """Numbers of the versions, newest first; see `named_versions`."""
    return list(named_versions(uri, storage))


def names_of(version: int) -> tuple[str, str]:
    """Names that the manifest of a version may have: as Lance gives them now, and as it did at first."""
    return f"{_LAST - version:020}{SUFFIX}", f"{version}{SUFFIX}"


def _version_of(name: str) -> int | None:
    stem = name.removesuffix(SUFFIX)
    if stem == name or not stem.isdecimal():
        return None
    return _LAST - int(stem) if len(stem) == len(str(_LAST)) else int(stem)
