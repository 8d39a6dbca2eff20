"""Exports among shards: what the records beside them say, and what does not agree with them.

It knows locations, and nothing of archives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from clipdata.errors import ClipdataError
from clipdata.exports.shard_manifest import Manifest, load_manifest
from clipdata.storage import Storage, join, redact
from ingest.updating.source import Item

MAX_FOLDERS = 64


@dataclass(frozen=True)
class Exports:
    """The exports whose shards are among some shards.

    Args:
        manifests: folder → its record.
        broken: folder → why its record cannot be read.
        shards: folder → name and size of the shards that are there.
    """

    manifests: Mapping[str, Manifest]
    broken: Mapping[str, str]
    shards: Mapping[str, Mapping[str, int | None]]

    @classmethod
    def beside(cls, shards: Sequence[Item], storage: Storage) -> Exports:
        """Look for records beside shards, in the first `MAX_FOLDERS` folders."""
        folders: dict[str, dict[str, int | None]] = {}
        for item in shards:
            folder, _, name = item.where.rpartition("/")
            folders.setdefault(folder, {})[name] = item.size
        manifests, broken = {}, {}
        for folder in islice(folders, MAX_FOLDERS):
            try:
                manifest = load_manifest(folder, storage)
            except (OSError, ValueError) as error:
                broken[folder] = error.message if isinstance(error, ClipdataError) else str(error)
                continue
            if manifest is not None:
                manifests[folder] = manifest
        return cls(manifests, broken, folders)

    def notes(self, covers: Callable[[str], bool]) -> dict[str, str]:
        """What does not agree with the records.

        Args:
            covers: whether a shard is one of those that were asked for.
        """
        found: dict[str, list[str]] = {"records of exports that cannot be read": list(self.broken.values())}
        for folder, manifest in self.manifests.items():
            there, named = self.shards[folder], manifest.shards
            differing = [name for name, about in named.items() if there.get(name) not in (None, about["bytes"])]
            words = {
                "exports that are not complete": [] if manifest.complete else [folder],
                "shards that no export named": [join(folder, name) for name in there if name not in named],
                "shards of an export that are gone": [
                    place for name in named if name not in there and covers(place := join(folder, name))
                ],
                "shards that are not as the export left them": [join(folder, name) for name in differing],
            }
            for what, places in words.items():
                found.setdefault(what, []).extend(places)
        return {what: _listed(places) for what, places in found.items() if places}


def _listed(places: Sequence[str]) -> str:
    more = f" and {len(places) - 3:,} more" if len(places) > 3 else ""
    return redact(", ".join(places[:3])) + more
