"""What a run reads of a table: rows to train on and to measure; and whether a table still holds what a run began with.

It knows tables and configs, and nothing of folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clipdata.errors import NotFoundError
from clipdata.lance_io.data_files import digest_of_files
from clipdata.lance_io.table import Table, open_table
from clipdata.origin import kept_trained_rows
from clipdata.schema import is_of
from clipdata.trained_rows import TrainedRows
from clipdata.training.config import TrainConfig
from clipdata.training.config_checks import AUTO
from clipdata.training.portion import Portion, These
from clipdata.training.usable_rows import ChosenRows, choose_rows, own_columns
from clipdata.training.validation import split_off

SPLIT = "split"
VALIDATION = ("val", "validation", "valid", "dev")
TEST = ("test", "held_out")
"""What a column `split` calls rows to choose by, and rows to judge the choice by."""


@dataclass(frozen=True)
class RowsRead:
    """What a training reads of one version of a table.

    Args:
        table: pinned to that version.
        config: names the columns, and the rows to measure.
        where: SQL condition on the rows to train on.
        portion: which of these.
    """

    table: Table
    config: TrainConfig
    where: str | None
    portion: Portion

    @property
    def rows(self) -> ChosenRows:
        """To train on."""
        return self._sides[0]

    @property
    def validation(self) -> ChosenRows | None:
        """Split off the rows to train on, to choose by; None where nothing is chosen, or the rows are too few."""
        return self._sides[1]

    @property
    def offsets(self) -> np.ndarray:
        """Of the rows to train on and of those to choose by: int64, ascending."""
        kept = [one.offsets for one in self._sides if one is not None]
        return np.sort(np.concatenate(kept))

    @cached_property
    def _sides(self) -> tuple[ChosenRows, ChosenRows | None]:
        config, chosen = self.config, self._chosen(self.where, self.portion)
        if config.wise_ft != AUTO:
            return chosen, None
        offsets = split_off(self.table, chosen, config.objective, share=config.validation_share, seed=config.seed)
        if not len(offsets):
            return chosen, None
        rest = np.setdiff1d(chosen.offsets, offsets)
        return self._chosen(self.where, These(offsets_n=rest)), self._chosen(self.where, These(offsets_n=offsets))

    @cached_property
    def held_out(self) -> ChosenRows | None:
        """To measure, if asked for."""
        where = self.measured_where
        return None if where is None else self._chosen(where)

    @cached_property
    def measured_where(self) -> str | None:
        """The condition of the rows to measure: the config's, or what the table's split says of rows left out."""
        asked = self.config.evaluate_where
        return asked if asked != AUTO else held_out_by_split(self.table, self.where)

    @property
    def num_called_held_out(self) -> int:
        """Rows to train on that the table's own split holds out; looked for where no filter was given."""
        if self.where is not None or not has_split(self.table):
            return 0
        return self.table.count_rows(called((*VALIDATION, *TEST)))

    @cached_property
    def trained(self) -> TrainedRows:
        """The record of the rows to train on, which the tuned model carries."""
        return self.rows.trained(self.table, self.where)

    @cached_property
    def taught_by(self) -> tuple[TrainedRows, ...]:
        """What the models behind columns that the objective reads were trained on; the tuned one carries it, too."""
        return kept_trained_rows(self.table, own_columns(self.config.objective))

    @property
    def models(self) -> dict[str, dict[str, str | None]]:
        """The models that made columns which the objective reads, by column."""
        made = {name: self.table.lineage(name) for name in own_columns(self.config.objective)}
        return {
            name: {"name": one.model_name, "identity": one.model}
            for name, one in made.items()
            if one is not None and one.model is not None
        }

    @cached_property
    def files(self) -> str:
        """Digest of the version's files, which costs no reading."""
        return digest_of_files(self.table)

    def to_record(self) -> dict[str, Any]:
        """JSON values by which `is_of` knows again what was read; rows that nobody asked to measure are not of it."""
        asked = None if self.config.evaluate_where == AUTO else self.held_out
        return {
            "num_rows": len(self.rows.offsets),
            "refused": dict(self.rows.refused),
            "files": self.files,
            "digest": self.rows.digest,
            "trained_rows": self.trained.rows_digest,
            **({"held_out": asked.digest} if asked is not None else {}),
            **(
                {"validation": {"num_rows": len(self.validation.offsets), "digest": self.validation.digest}}
                if self.validation is not None
                else {}
            ),
        }

    def is_of(self, record: Mapping[str, Any]) -> bool:
        """Tell whether this holds what a run read that has the record: by the files, or else by the rows themselves."""
        if self._has_files_of(record) or self._has_rows_of(record):
            return True
        begun = self.begun_with(record)  # another release may have digested its rows in another way
        return begun is not None and self._has_rows_of(begun.to_record())

    def begun_with(self, record: Mapping[str, Any]) -> RowsRead | None:
        """The same reading of the very version that a record is of; None where that is gone, or was made anew."""
        begun = self
        if record["version"] != self.table.version:
            try:
                table = open_table(self.table.uri, version=int(record["version"]), storage=self.table.storage)
            except NotFoundError:
                return None
            begun = RowsRead(table, self.config, self.where, self.portion)
        return begun if begun._has_files_of(record) else None

    def _has_files_of(self, record: Mapping[str, Any]) -> bool:
        return record.get("files") == self.files

    def _has_rows_of(self, record: Mapping[str, Any]) -> bool:
        # Of a run that an earlier release began, not all of these are known.
        now = {
            name: value for name, value in self.to_record().items() if name in ("digest", "trained_rows", "held_out")
        }
        return all(record.get(name, value) == value for name, value in now.items())

    def _chosen(self, where: str | None, portion: Portion | None = None) -> ChosenRows:
        config = self.config
        return choose_rows(
            self.table,
            config.objective,
            image=config.image,
            where=where,
            portion=portion,
            max_texts=0 if config.text_trunk_trains else config.text_cache,
            features=config.image_trunk,
        )


def has_split(table: Table) -> bool:
    """Whether a table has a column that names the sides of a split."""
    return SPLIT in table.schema.names and is_of("text", table.schema.field(SPLIT).type)


def called(words: Sequence[str]) -> str:
    """SQL condition of the rows whose `split` is one of some words."""
    return f"{SPLIT} IN ({', '.join(map(repr, words))})"


def held_out_by_split(table: Table, where: str | None) -> str | None:
    """Rows that a filter leaves out and whose `split` says validation, or else test; None where there are none."""
    if where is None or not has_split(table):
        return None
    for words in (VALIDATION, TEST):
        named = f"{called(words)} AND NOT ({where})"
        if table.count_rows(named):
            return named
    return None
