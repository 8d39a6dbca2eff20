"""The problems of a table: its versions, the files of the newest, its tags, indices, and the tables it refers to or has
beside it.

Each comes with what mends it. What a step made is made again; a picture is fetched from where it came from; of rows
whose own values are gone, the version that still has them in other files is named, and else what brought them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from clipdata import hints
from clipdata.checking.doubled import doubled
from clipdata.checking.records import Problem, Remedy
from clipdata.column_names import quoted
from clipdata.errors import NotFoundError
from clipdata.lance_io.columns import REASONS_OF
from clipdata.lance_io.damage import Damage, Files
from clipdata.lance_io.data_files import names_of_files
from clipdata.lance_io.history import log
from clipdata.lance_io.indices import damaged_indices
from clipdata.lance_io.manifests import Manifest, manifests, newest_good
from clipdata.lance_io.referring import referred_by
from clipdata.lance_io.refused import tables_beside
from clipdata.lance_io.table import Table
from clipdata.lance_io.tag_files import TagFile, tag_files
from clipdata.lance_io.tags import version_in
from clipdata.lineage import Lineage
from clipdata.printable import shell_word
from clipdata.progress import Progress, Silent
from clipdata.schema import image_column
from clipdata.storage import Storage, is_remote, redact

_LOOKED_BACK = 100  # versions among which one without the damaged files is looked for


@dataclass
class Findings:
    """What was found.

    Args:
        table: at the newest version that can be opened; None where none can.
        versions: newest first.
        problems: of all kinds.
        beside: location → what was found of the tables of what was refused and taken in.
    """

    table: Table | None
    versions: list[Manifest]
    problems: list[Problem] = field(default_factory=list)
    num_files: int = 0
    num_read: int = 0
    num_bytes: int = 0
    num_pictures: int = 0
    beside: dict[str, Findings] = field(default_factory=dict)

    @property
    def all(self) -> list[Findings]:
        """These, and those of the tables beside it."""
        return [self, *self.beside.values()]

    @property
    def all_problems(self) -> list[Problem]:
        """Of the tables beside it, too."""
        return [problem for one in self.all for problem in one.problems]


def find(uri: str, storage: Storage, progress: Progress, *, sample: int | None) -> Findings:
    """Look at all of a table.

    Args:
        uri: absolute.
        sample: read the values of so many files only, the same ones every time; of the others the size is looked at.

    Raises:
        NotFoundError: there is no table.
    """
    versions = manifests(uri, storage)
    if not versions:
        raise NotFoundError(f"there is no Lance table at {redact(uri)}", hint=f"make it first: {hints.ingest(uri)}")
    found = _find(uri, versions, storage, progress, sample)
    for place in tables_beside(uri):
        if versions := manifests(place, storage):
            other = _find(place, versions, storage, Silent(), sample)
            other.problems = [replace(problem, beside=redact(place)) for problem in other.problems]
            found.beside[place] = other
    return found


def _find(uri: str, versions: list[Manifest], storage: Storage, progress: Progress, sample: int | None) -> Findings:
    found = Findings(newest_good(uri, versions, storage), versions)
    found.problems += _of_versions(found, uri)
    if found.table is not None:
        _look_at_files(found, found.table, progress, sample)
        found.problems += _of_tags(found.table, versions)
        found.problems += _of_indices(found.table)
        if not found.problems:
            found.problems += _of_keys(found.table)
        if not any(problem.what == "file" for problem in found.problems):  # all rows are read for it
            found.problems += _of_pictures_elsewhere(found.table)
    return found


def _of_versions(found: Findings, uri: str) -> Iterator[Problem]:
    newest = found.table.version if found.table is not None else None
    for manifest in found.versions:
        if manifest.fault is None:
            continue
        if newest is None:
            away = f"mv {hints.typed(uri)} {hints.typed(f'{uri}.damaged')}" if not is_remote(uri) else "move it away"
            remedy = "by hand"
            mending = f"no version of the table can be read, so that nothing here can mend it: {away}; and ingest anew"
        elif manifest.version > newest:
            remedy = "set aside"
            mending = (
                f"set it aside, so that version {newest} is the newest again; what version {manifest.version} did is "
                "not in it: run that verb again"
            )
        else:
            remedy, mending = (
                "set aside",
                "set it aside: it stops the history and cleaning, and no other version",
            )
        name = f"{manifest.version} ({manifest.file})"
        yield Problem("version", name, manifest.fault, remedy, mending, version=manifest.version)  # type: ignore[arg-type]


def _look_at_files(found: Findings, table: Table, progress: Progress, sample: int | None) -> None:
    files = Files(table)
    chosen = _chosen(files.num_files, sample)
    damages = []
    with progress.task(f"check {redact(table.uri)}", files.num_files, "files") as counter:
        for read in files.read(chosen):
            found.num_files += 1
            found.num_read += read.contents
            found.num_bytes += read.num_bytes
            found.num_pictures += read.pictures
            if read.damage is not None:
                damages.append(read.damage)
            counter.advance()
    advice = _Advice(table, found.versions, damages) if damages else None
    found.problems += [advice.problem(damage) for damage in damages] if advice is not None else []


def _chosen(num_files: int, sample: int | None) -> Callable[[], bool]:
    """Whether the next file is among those to be read."""
    numbers = range(num_files) if sample is None else random.Random(0).sample(range(num_files), min(sample, num_files))  # noqa: S311
    wanted, place = set(numbers), iter(range(num_files))
    return lambda: next(place) in wanted


class _Advice:
    """Says what mends damaged files of a version.

    Args:
        table: at that version.
        versions: all that there are.
        damages: of its files.
    """

    def __init__(self, table: Table, versions: Sequence[Manifest], damages: Sequence[Damage]) -> None:
        self._table = table
        self._made_again = {
            column.name
            for column in table.schema
            if Lineage.of(column) is not None or REASONS_OF in (column.metadata or {})
        }
        self._earlier = self._without({damage.file for damage in damages}, versions)
        self._sources = sources_of(table, versions)

    def problem(self, damage: Damage) -> Problem:
        """A damage with its remedy."""
        told = {
            "version": self._table.version, "fragment": damage.fragment, "columns": damage.columns,
            "num_rows": damage.num_rows, "keys": damage.keys,
        }  # fmt: skip
        uri, schema = self._table.uri, self._table.schema
        if damage.kind != "deletions" and set(damage.columns) <= self._made_again:
            mending = f"these values are taken out, and {hints.refresh(uri, damage.columns)} makes them again"
            return Problem("file", damage.file, damage.fault, "refill", mending, **told)  # type: ignore[arg-type]
        if damage.kind == "picture" and any(damage.keys) and "uri" in schema.names and image_column(schema) is not None:
            mending = f"read again from their uri; a row whose picture is gone there is removed, and {self._sources}"
            return Problem("pictures", damage.file, damage.fault, "fetch", mending, **told)  # type: ignore[arg-type]
        if damage.kind == "picture" and not any(damage.keys):
            mending = "the table has no key, so its rows cannot be named: make it anew"
            return Problem("pictures", damage.file, damage.fault, "by hand", mending, **told)  # type: ignore[arg-type]
        mending = f"{self._earlier}the rows are removed, and {self._sources}"
        return Problem("file", damage.file, damage.fault, "remove", mending, **told)  # type: ignore[arg-type]

    def _without(self, files: set[str], versions: Sequence[Manifest]) -> str:
        """The newest earlier version that has none of the damaged files, in words."""
        earlier = [one.version for one in versions if one.fault is None and one.version < self._table.version]
        for version in earlier[:_LOOKED_BACK]:
            old = self._table.pinned(version)
            if old.num_rows and not names_of_files(old) & files:
                command = f"clipdata restore {hints.typed(self._table.uri)} {version}"
                return f"version {version} has none of the damaged files ({command}); else "
        return ""


def sources_of(table: Table, versions: Sequence[Manifest]) -> str:
    """What brings rows back, in words: the commands that brought them, as far as the history tells."""
    faults = [one.fault for one in versions] + [one.fault for one in tag_files(table.uri, table.storage)]
    if any(fault is not None for fault in faults):
        return "their source is to be ingested again"
    commands = dict.fromkeys(
        _typed(entry.properties.verb, str(entry.properties.parameters.get("from", "SOURCE")), table.uri)
        for entry in log(table)
        if entry.properties is not None and entry.properties.verb.partition(" ")[0] in ("ingest", "merge")
    )
    return f"this brings them back: {'; '.join(commands)}" if commands else "their source is to be ingested again"


def _typed(verb: str, source: str, uri: str) -> str:
    return (
        hints.merge_again(uri)
        if verb == "merge"
        else f"clipdata {verb} {hints.typed(source)} --into {hints.typed(uri)}"
    )


def _of_tags(table: Table, versions: Sequence[Manifest]) -> Iterator[Problem]:
    good = {manifest.version for manifest in versions if manifest.fault is None}
    for tag in tag_files(table.uri, table.storage):
        if tag.fault is not None:
            yield _of_damaged_tag(table, tag, good)
        elif tag.version not in good:
            fault = f"it names version {tag.version}, which cannot be read"
            mending = f"nothing brings that version back; clipdata tag {hints.typed(table.uri)} --delete {tag.name}"
            yield Problem("tag", tag.name, fault, "by hand", mending, version=table.version)


def _of_damaged_tag(table: Table, tag: TagFile, good: Collection[int]) -> Problem:
    fault = f"its file {tag.file} cannot be read, and so no tag of the table: {tag.fault}"
    version = named_by(tag)
    if version in good:
        mending = f"it is written again, and names version {version}, as what is left of it says"
        return Problem("tag", tag.name, fault, "name again", mending, version=table.version)
    named = "which version it named is lost" if version is None else f"it named version {version}, which is gone"
    again = f"clipdata tag {hints.typed(table.uri)} {hints.typed(tag.name)} --version N"
    mending = f"set it aside; {named}: name the version again: {again}"
    return Problem("tag", tag.name, fault, "set aside", mending, version=table.version)


def named_by(tag: TagFile) -> int | None:
    """The version that a damaged tag named, as what is left of its file says, or its name; None where nothing does."""
    return tag.version if tag.version is not None else version_in(tag.name)


def _of_indices(table: Table) -> Iterator[Problem]:
    for name, column, use, fault in damaged_indices(table):
        if use == "other":
            mending = f"only Lance makes an index of this kind anew: dataset.drop_index({name!r}), then as it was made"
        else:
            mending = f"{hints.index(table.uri, column)} --remake"
        yield Problem("index", name, fault, "by hand", mending, table.version, columns=(column,))


def _of_keys(table: Table) -> Iterator[Problem]:
    found = doubled(table)
    if found is None:
        return
    key, where = str(table.key), hints.typed(table.uri)
    fault = "rows share a key, which names one row"
    if found.spare:
        num, can_go = len(found.spare) + len(found.keys), table.dataset.has_stable_row_ids
        mending = "of those that say the same, the one with the most values is kept"
        if not can_go:
            mending = "they say the same, and the table was made without stable row ids, by which one could go"
        remedy: Remedy = "keep one" if can_go else "by hand"
        yield Problem("keys", key, fault, remedy, mending, table.version, num_rows=num, keys=found.keys)
    if found.contradicting:
        num, such = found.num_contradicting, found.contradicting
        named = quoted(key) + " = " + "'" + such[0].replace("'", "''") + "'"
        shown = shell_word(f"SELECT * FROM dataset WHERE {named}")  # noqa: S608
        mending = (
            f"which is meant only you can tell: clipdata query {where} {shown} shows the rows of one; clipdata delete "
            "takes all of a key, and an ingest of what is right brings one back"
        )
        fault = f"{fault}, and differ, or hold blobs, which are not compared"
        yield Problem("keys", key, fault, "by hand", mending, table.version, num_rows=num, keys=such)


def _of_pictures_elsewhere(table: Table) -> Iterator[Problem]:
    for referred in referred_by(table):
        if referred.problem is not None:
            mending = f"put that table back, or {hints.merge_again(table.uri)}"
            name = redact(referred.uri or referred.words)
            rows = referred.num_rows
            yield Problem("picture table", name, referred.problem, "by hand", mending, table.version, num_rows=rows)
