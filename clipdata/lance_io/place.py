"""Where a table may be made: at a place that holds nothing but what Lance itself puts there.

Lance writes its folders into any directory without a word, and a folder of photos that is given by mistake gets
`_versions/` among the pictures. So a place is looked at before the first table is made there. It knows names of files,
and nothing of their content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from clipdata import hints
from clipdata.errors import UsageError
from clipdata.objects.listing import is_object, list_objects
from clipdata.objects.local_places import kind_at
from clipdata.storage import Storage, absolute, is_remote, join, redact

_LANCES_FOLDERS = frozenset({"_versions", "_transactions", "_deletions", "_indices", "_refs"})
_LANCES_ENDINGS = (".lance", ".txn", ".manifest", ".tmp", ".blob")
_NOBODYS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # file browsers put them into any folder
_LOOKED_AT = 10_000  # files; a table whose making was interrupted has a handful
_SHOWN = 3


def check_place(location: str, storage: Storage) -> None:
    """Refuse to make a table where something else is: a file, or a folder of other files.

    Args:
        location: absolute, of a table that does not exist yet.

    Raises:
        UsageError: names what is there.
    """
    if is_remote(location):
        names: Iterator[str] = _names_in_bucket(location, storage)
    elif kind_at(location) == "folder":
        names = _names_in_folder(location)
    else:
        _check_no_file(location)
        return
    others = list(islice((name for name in islice(names, _LOOKED_AT) if not _may_stay(name)), _SHOWN + 1))
    if others:
        more = " …" if len(others) > _SHOWN else ""
        raise UsageError(
            f"{redact(location)} is no table and holds other files: {', '.join(others[:_SHOWN])}{more}; "
            "expected a new place, an empty folder or a table",
            hint=f"name a place of its own, such as {hints.typed(join(location, 'images.lance'))}",
        )


def _check_no_file(location: str) -> None:
    """Refuse a place that is a file, or lies below one."""
    above = location
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise UsageError(
            f"{redact(above)} is a file, and a table is a folder; expected a new place, an empty folder or a table",
            hint=f"name a place beside it, such as {hints.typed(os.path.splitext(above)[0] + '.lance')}",
        )


def _names_in_folder(folder: str) -> Iterator[str]:
    for above, _, names in os.walk(folder):
        yield from (os.path.relpath(os.path.join(above, name), folder) for name in sorted(names))


def _names_in_bucket(location: str, storage: Storage) -> Iterator[str]:
    if (url := absolute(location)).count("/") > 2 and is_object(storage, url):
        yield url.rpartition("/")[2]
    yield from (url[len(location) + 1 :] for url, _ in list_objects(storage, location))


def _may_stay(name: str) -> bool:
    """Whether a file does not hinder a table: a file browser's, or left by one who was killed while making a table."""
    folder, file = name.replace(os.sep, "/").partition("/")[0], os.path.basename(name)
    if file in _NOBODYS or file.startswith("._"):
        return True
    return folder in _LANCES_FOLDERS or (folder == "data" and (file.endswith(_LANCES_ENDINGS) or ".tmp" in file))
