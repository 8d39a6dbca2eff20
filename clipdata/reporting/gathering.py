"""The verb `report`: what is given decides which sections there are; each is made by a module of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import clipdata
from clipdata.arguments import check_condition, check_count
from clipdata.comparison.intervals import Sampling
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.printable import shell_word
from clipdata.progress import Progress, Silent
from clipdata.reporting.comparison_section import comparison_section
from clipdata.reporting.records import Note
from clipdata.reporting.rendering import cut
from clipdata.reporting.result import Report, require_replaceable
from clipdata.reporting.row_columns import RowColumns
from clipdata.reporting.run_section import run_section
from clipdata.reporting.table_section import table_section
from clipdata.storage import Storage, redact
from clipdata.training.run import Run, open_run

MOST_PICTURES = 100


def report(
    table: AnyTable | None = None,
    before: str | None = None,
    after: str | None = None,
    *,
    run: Run | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    where: str | None = None,
    by: str | None = None,
    table_before: AnyTable | None = None,
    on: str | None = None,
    cluster: str | None = None,
    scores_before: str | None = None,
    scores_after: str | None = None,
    label_index: str | None = None,
    trained_where: str | None = None,
    lower_is_better: bool = False,
    ranks: bool = False,
    any_scale: bool = False,
    image: str | None = None,
    text: str | None = None,
    num_pictures: int = 8,
    resamples: int = 2000,
    seed: int = 0,
    title: str | None = None,
    notes: Mapping[str, str] | None = None,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Report:
    """Report what a table holds, what changed between two of its columns, and how a model was trained.

    The result is one HTML file of at most 5 MB that needs no network and no script; see `Report`.

    Args:
        table: at the version that it is opened at; or the location of one.
        before: column to compare `after` with; the same words as of `compare` say how.
        after: column.
        run: a training run, or its folder.
        out: file to write the page to, here or in a bucket; none by default. A report that is there is replaced.
        overwrite: replace also what is no report.
        where: SQL condition of the rows that are compared; where nothing is compared, of those that are told of.
        image: column of the pictures; by default the one that is declared, or whose bytes begin as pictures do.
        text: column to show beside a picture; by default the texts that the scores were made of, or the first one.
        num_pictures: rows of each kind to show with their pictures, at most 100.
        title: of the page.
        notes: lines to show beside the sections, as they stand, by title.
        storage: how to reach the table, and `out`.
        progress: watches.

    Further arguments are those of `compare`.

    Raises:
        UsageError: there is neither a table nor a run; or only one of two columns; or `out` is no report.
        NotFoundError: there is no such table, or no such run.
        SchemaError: there is no such column, or the condition is not valid.
    """
    check_condition(where)
    check_count(num_pictures, "report: num_pictures")
    check_count(seed, "report: seed")
    if num_pictures > MOST_PICTURES:
        raise UsageError(f"report: num_pictures is {num_pictures}; expected at most {MOST_PICTURES}")
    if table is None and run is None:
        raise UsageError(
            "report: there is nothing to tell of; expected a table, or a run", hint="clipdata report TABLE"
        )
    if (before is None) != (after is None) or (before is not None and table is None):
        raise UsageError(
            "report: expected a table and both columns, before and after, or none of them",
            hint="clipdata report TABLE BEFORE AFTER",
        )
    if out is not None and not overwrite:
        require_replaceable(out, storage=storage)
    watched = progress or Silent()
    opened = as_table(table, storage=storage) if table is not None else None
    trained = run if isinstance(run, Run) or run is None else open_run(run)
    asked = {
        "where": where, "by": by, "table_before": table_before, "on": on, "cluster": cluster,
        "scores_before": scores_before, "scores_after": scores_after, "label_index": label_index,
        "trained_where": trained_where, "lower_is_better": lower_is_better, "ranks": ranks, "any_scale": any_scale,
    }  # fmt: skip
    shown = RowColumns(image, text)
    if opened is not None:
        shown.check(opened.schema)
    words = Words(opened, before, after, trained, {
        **asked, "image": image, "text": text, "num_pictures": num_pictures, "resamples": resamples, "seed": seed,
        "title": title,
    })  # fmt: skip
    compared = None
    if opened is not None and before is not None and after is not None:
        watched.say(f"comparing {before} with {after}")
        sampling = Sampling(resamples=resamples, seed=seed)
        compared = comparison_section(
            opened, before, after, sampling=sampling, num_pictures=num_pictures, shown=shown, **asked
        )
    found = Report(
        title=title or words.title(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=clipdata.__version__,
        command=words.command(out),
        python=words.python(out),
        comparison=compared,
        run=run_section(trained) if trained is not None else None,
        table=_table(opened, None if compared else where, watched, 0 if compared else num_pictures, shown),
        notes=tuple(Note(cut(title, 80), text) for title, text in (notes or {}).items()),
    )
    if out is not None:
        found.save(out, overwrite=overwrite, storage=storage)
    return found


def _table(table: Table | None, where: str | None, progress: Progress, num_pictures: int, shown: RowColumns) -> Any:
    if table is None:
        return None
    return table_section(table, where=where, progress=progress, num_pictures=num_pictures, shown=shown)


@dataclass(frozen=True)
class Words:
    """What makes the same report again, as one types it.

    Args:
        table, before, after, run: that were given.
        asked: further arguments; those with their defaults are not spelled out.
    """

    table: Table | None
    before: str | None
    after: str | None
    run: Run | None
    asked: Mapping[str, Any]

    def title(self) -> str:
        """What the report is about."""
        name = _name_of(self.table) if self.table is not None else ""
        if self.before is not None:
            other = self.asked.get("table_before")
            of = _name_of(other) if other is not None else name
            return f"{name}: {self.before}{f' of {of}' if of != name else ''} → {self.after}"
        return name or f"run {self.run.path.name if self.run is not None else ''}"

    def command(self, out: str | os.PathLike[str] | None) -> str:
        """For a shell."""
        words = ["clipdata", "report"]
        if self.table is not None:
            words += [redact(self.table.uri), *(name for name in (self.before, self.after) if name is not None)]
        words += ["--version", str(self.table.version)] if self.table is not None else []
        words += ["--run", str(self.run.path)] if self.run is not None else []
        for name, value in self._given():
            flag = f"--{_FLAGS.get(name, name).replace('_', '-')}"
            words += [flag] if value is True else [flag, str(_plain(value))]
            words += ["--version-before", str(value.version)] if isinstance(value, Table) else []
        words += ["-o", redact(os.fspath(out)) if out is not None else "report.html"]
        return " ".join(map(shell_word, words))

    def python(self, out: str | os.PathLike[str] | None) -> str:
        """For Python."""
        table = _spelled(self.table) if self.table is not None else ""
        given = [table, *(repr(name) for name in (self.before, self.after) if name is not None)] if table else []
        given += [f"run={str(self.run.path)!r}"] if self.run is not None else []
        given += [f"{name}={_spelled(value)}" for name, value in self._given()]
        given.append(f"out={redact(os.fspath(out)) if out is not None else 'report.html'!r}")
        listed = "".join(f"    {one},\n" for one in given)
        return f"import clipdata as cd\n\ncd.report(\n{listed})"

    def _given(self) -> list[tuple[str, Any]]:
        usual = {"num_pictures": 8, "resamples": 2000, "seed": 0}
        return [(n, value) for n, value in self.asked.items() if value not in (None, False) and value != usual.get(n)]


_FLAGS = {"num_pictures": "pictures"}


def _plain(value: Any) -> Any:
    return (
        redact(value.uri) if isinstance(value, Table) else os.fspath(value) if hasattr(value, "__fspath__") else value
    )


def _spelled(value: Any) -> str:
    """As Python spells it."""
    if isinstance(value, Table):
        return f"cd.open_table({redact(value.uri)!r}, version={value.version})"
    return repr(_plain(value))


def _name_of(table: AnyTable) -> str:
    return str(_plain(table)).rstrip("/").rpartition("/")[2]
