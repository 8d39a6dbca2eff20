"""Push: rows of a table as a data set that everybody can load, on Hugging Face's hub or in a folder.

What is written is a Lance table that needs nobody else's files, its card and its Croissant metadata. It knows the copy,
the card and the hub, and no other format.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from clipdata import hints
from clipdata.errors import TooManyRejectsError, UsageError
from clipdata.exports import hub, lance_copy
from clipdata.exports.card import TABLE, Facts, card
from clipdata.exports.croissant import NAME as CROISSANT
from clipdata.exports.croissant import croissant
from clipdata.exports.disk_places import LocalFolder
from clipdata.exports.features import features_of
from clipdata.exports.places import check_free, opened
from clipdata.exports.selection import Selection
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.schema import is_text, picture_column
from clipdata.storage import Storage, absolute, is_remote, redact

MAIN_ALONE = "load_dataset reads a Lance table from main alone, so a tag does not survive it"
_PLACES = ("uri", "source")  # columns that say where files lay on somebody's machine
_MOST_SPLITS = 50


@dataclass(frozen=True)
class Pushed:
    """What a push wrote, or with `dry_run` would write.

    Args:
        to: the data set on the hub, or the folder.
        version: of the table that was read.
        num_rows: in the data set.
        num_bytes: of all its files; about, in a dry run.
        num_files: of it.
        columns: of it.
        left_out: columns of the table that are not.
        refused: rows left out because their picture cannot be had, by reason.
        tag: of this state on the hub.
        commit: where it can be seen there.
        notes: what whoever loads it should know.
        dry_run: nothing was written.
    """

    to: str
    version: int
    num_rows: int
    num_bytes: int
    num_files: int
    columns: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    tag: str | None = None
    commit: str | None = None
    notes: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("columns", "left_out", "notes")}
        return {**asdict(self), **lists, "refused": dict(self.refused)}

    def __str__(self) -> str:
        about, done = ("about ", "; nothing was written") if self.dry_run else ("", "")
        files = counted(self.num_files, "file")
        size = f"{counted(self.num_rows, 'row')}, {about}{self.num_bytes:,} bytes in {files}{done}"
        lines = [f"{self.to}: {size}"]
        lines += [f"  {count:,} left out: {reason}" for reason, count in self.refused.items()]
        lines += [f"  columns left out: {', '.join(self.left_out)}"] if self.left_out else []
        lines += [f"  tag: {self.tag}"] if self.tag else []
        lines += [f"  {self.commit}"] if self.commit else []
        return "\n".join(map(printable, [*lines, *(f"  {note}" for note in self.notes)]))


def push(
    table: AnyTable,
    to: str | os.PathLike[str],
    *,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    tag: str | None = None,
    public: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Pushed:
    """Write a table as a data set: the Lance table itself, a card with the lineage of every column, and Croissant.

    Pictures that rows only refer to are copied in. `load_dataset` reads the data set as one split `train`, from `main`
    alone: a tag names the state for whoever downloads it. A licence and a description are the person's to write; they
    stay when the table is pushed again. On the hub everything appears in one commit; until then it lies in a temporary
    folder, which takes as much room as the data set.

    Args:
        table: read at its version.
        to: "hf://datasets/ORG/NAME", or a folder on this machine, which is written without any network.
        where: SQL condition on the rows.
        columns: to publish; by default all but those that say where files lay (`uri`, `source`).
        tag: on the hub; by default "v" and the version of the table.
        public: let everybody see a data set that is made anew; one that is there stays as it is.
        overwrite: replace a folder that another push wrote.
        dry_run: write nothing, and ask no hub.
        progress: watches the rows go by.

    Raises:
        UsageError: the place is neither, or holds something else; or `huggingface_hub` is not installed.
        SchemaError: a column does not exist.
        CredentialsError: nobody is logged in, or may not write there.
        TooManyRejectsError: no row can be written.
    """
    table = as_table(table).pinned()
    place = os.fspath(to)
    repo = hub.repo_of(place)
    if repo is None and is_remote(place):
        raise UsageError(
            f"push: {redact(place)} is neither; expected {hub.SCHEME}ORG/NAME or a folder on this machine",
            hint=f"a copy in a bucket is an export: clipdata export {hints.typed(table.uri)} --out "
            f"{hints.typed(place)} --format lance",
        )
    selection, left_out = _selection(table, columns, where)
    job = _Push(selection, tuple(left_out), repo, tag or f"v{table.version}", progress or Silent())
    if repo is None:
        out = absolute(place)
        if dry_run:
            check_free(out, Storage(), is_folder=True, overwrite=overwrite)
            return job.foretold(out)
        return job.to_folder(out, overwrite=overwrite)
    if dry_run:
        return job.foretold(place)
    hub.require_hub()
    return job.to_hub(place, public=public)


def _selection(table: Table, columns: Sequence[str] | None, where: str | None) -> tuple[Selection, list[str]]:
    if columns is not None:
        table.require(columns, verb="push")
        return Selection(table, tuple(columns), where), []
    own = [name for name in table.schema.names if name not in place_columns(table.schema)]
    picture = picture_column(table.schema)
    left_out = [name for name in own if name in _PLACES and (name != "uri" or picture is not None)]
    return Selection(table, tuple(name for name in own if name not in left_out), where), left_out


class _Push:
    """One push, once it is known what is to be written."""

    def __init__(
        self, selection: Selection, left_out: tuple[str, ...], repo: str | None, tag: str, progress: Progress
    ) -> None:
        self.selection, self.left_out, self.progress = selection, left_out, progress
        self.repo, self.tag = repo, tag if repo else None

    def to_folder(self, out: str, *, overwrite: bool) -> Pushed:
        """Write a folder, aside and then under its name."""
        card_there = Path(out, "README.md")
        with opened(out, Storage(), is_folder=True, overwrite=overwrite, doing="push") as place:
            present = card_there.read_text(encoding="utf-8") if card_there.is_file() else None
            assert isinstance(place, LocalFolder), "it is on disk"
            pushed = self._write(place.begin(), out, present)
            place.publish({"format": "push"})
        return pushed

    def to_hub(self, place: str, *, public: bool) -> Pushed:
        """Write a temporary folder and upload it in one commit."""
        assert self.repo is not None, "it is for the hub"
        with tempfile.TemporaryDirectory(prefix="clipdata-push-") as scratch:
            folder = Path(scratch) / "data set"
            pushed = self._write(folder, place, hub.card_on_hub(self.repo))
            self.progress.say(f"uploading {counted(pushed.num_bytes, 'byte')} to {place}")
            message = f"clipdata push of version {pushed.version}"
            commit = hub.upload(folder, self.repo, public=public, message=message, tag=self.tag)
        return replace(pushed, commit=commit, tag=self.tag, notes=(MAIN_ALONE,))

    def foretold(self, to: str) -> Pushed:
        """What would be written."""
        size = self.selection.size()
        num_rows = self.selection.num_rows()
        return replace(self._report(to), num_rows=num_rows, num_bytes=size, num_files=3, tag=self.tag, dry_run=True)

    def _report(self, to: str) -> Pushed:
        notes = (MAIN_ALONE,) if self.repo else ()
        columns = self.selection.columns
        return Pushed(redact(to), self.selection.table.version, 0, 0, 0, columns, self.left_out, notes=notes)

    def _write(self, folder: Path, to: str, present: str | None) -> Pushed:
        """Write all files of the data set.

        Raises:
            TooManyRejectsError: there is no row.
        """
        table = self.selection.table
        name = redact(table.uri).rstrip("/").rpartition("/")[2]
        parameters = {"table": name, "version": table.version, "where": self.selection.where}
        with self.progress.task("push", self.selection.num_rows()) as counter:
            (folder / TABLE).parent.mkdir(parents=True)
            made = lance_copy.copy_table(self.selection, str(folder / TABLE), parameters, Storage(), counter)
        if made is None:
            raise TooManyRejectsError(
                f"nothing was written: none of the {self.selection.refused.total():,} rows that meet the condition "
                "has a picture that can be had"
            )
        facts = self._facts(made)
        (folder / "README.md").write_text(card(facts, present), encoding="utf-8")
        told = croissant(facts, picture_column(made.schema))
        (folder / CROISSANT).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        refused = dict(self.selection.refused)
        return replace(self._report(to), num_rows=made.num_rows, num_bytes=size, num_files=len(files), refused=refused)

    def _facts(self, made: Table) -> Facts:
        picture = picture_column(made.schema)
        name = (self.repo or redact(self.selection.table.uri)).rstrip("/").rpartition("/")[2].removesuffix(".lance")
        return Facts(
            name=name,
            version=self.selection.table.version,
            num_rows=made.num_rows,
            schema=made.schema,
            features=features_of(made.schema, (picture,) if picture else ()),
            splits=_splits(made),
            left_out=self.left_out,
            repo=self.repo,
            tag=self.tag,
            where=self.selection.where,
        )


def _splits(table: Table) -> dict[str, int]:
    """Rows of each split, where a column of texts is called so and names few."""
    if "split" not in table.schema.names or not is_text(table.schema.field("split").type):
        return {}
    sql = "SELECT split, count(*) AS num FROM dataset GROUP BY split ORDER BY split"
    found = table.query(sql, limit=_MOST_SPLITS + 1).to_pylist()
    return {str(row["split"]): row["num"] for row in found} if len(found) <= _MOST_SPLITS else {}
