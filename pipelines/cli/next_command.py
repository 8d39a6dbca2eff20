"""The next sensible command for a table, by what it holds: from pictures and captions to scores, a run, a comparison.

It reads the schema and the lineages of the columns, and knows the words of the command line; it runs nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clipdata.hints import merge_pictures, typed
from clipdata.printable import shell_word

if TYPE_CHECKING:
    import pyarrow as pa

    from clipdata.lance_io.table import Table
    from clipdata.lineage import Lineage

_CHOICES = "caption_choices"
_LABELS = ("label", "label_index")
_TEXTS = ("caption", "text", "captions")
_TEXT_WORDS = {"caption", "captions", "text", "title", "description", "alt", "prompt", "sentence"}


def next_command(table: Table, location: str, *, naming: str | None = None) -> str | None:
    """What to type next, or None where everything that can be told from here is done.

    Args:
        table: as it is now.
        location: of it, as the person typed it.
        naming: the column of metadata that names pictures, where that is known.
    """
    columns = _Columns(table)
    here = typed(location)
    if not columns.has_pictures:
        return merge_pictures(location, columns.schema.names, naming) if table.key != "path" else None
    if choices := columns.choices:
        return _next_of_choices(columns, choices, here)
    if text := columns.text:
        return None if columns.made_by("PairScore") else _map(here, "pair-score pair_score", text=(text, "caption"))
    if "class_name" in columns.names:
        return None if columns.made_by("ImageEmbedding") else _map(here, "image-embedding image_embedding")
    if text := columns.likely_text:
        return None if columns.made_by("PairScore") else _map(here, "pair-score pair_score", text=(text, "caption"))
    from ingest.merging.column_names import KEY

    if table.key == KEY:
        return None
    return f"clipdata ingest parquet FILE --into meta.lance; clipdata merge {here} meta.lance --into merged.lance"


def _next_of_choices(columns: _Columns, choices: str, here: str) -> str | None:
    """The way of the caption contest: features, scores, places, probabilities, training, and the same once more."""
    trunk = columns.made_by("ImageTrunk")
    scores = columns.made_by("ChoiceScores")
    if not trunk and not scores:
        return _map(here, "image-trunk image_trunk")
    named = {"choices": (choices, _CHOICES), "trunk": (next(iter(trunk), ""), "")}
    if not scores:
        return _map(here, "choice-scores scores", columns.model_of(trunk), **named)
    places = columns.made_by("LabelIndex")
    if not places:
        label = next((name for name in _LABELS if name in columns.names), None)
        return f"clipdata map {here} label-index label_ind -p label={label}" if label else None
    picked = {columns.lineages[name].inputs[0]: name for name in columns.made_by("Pick")}
    for score in scores:
        if score not in picked:
            into = "label_prob" + score.removeprefix("scores") if score.startswith("scores") else f"{score}_picked"
            return f"clipdata map {here} pick {into} -p values={score} -p index={places[0]}"
    held_out = "split" in columns.names
    if len(scores) == 1:
        settings = "".join(
            f" --set {name}={shell_word(value)}"
            for name, value, usual in (
                ("image_trunk", next(iter(trunk), ""), ""),
                ("choices", choices, _CHOICES),
                ("label", places[0], "label_ind"),
            )
            if value != usual
        )
        where = " --where \"split = 'train'\"" if held_out else ""
        return f"clipdata train {here} --model {columns.model_of(scores)} --out runs/contest{settings}{where}"
    where = " --where \"split = 'test'\"" if held_out else ""
    return f"clipdata compare {here} {picked[scores[0]]} {picked[scores[-1]]}{where}"


def after_training(table: Table, location: str, run: str, trunk: str | None) -> str:
    """Scores with the model of a run."""
    columns, here, model = _Columns(table), typed(location), typed(run)
    tower = (trunk or "", "")
    if choices := columns.choices:
        return _map(here, "choice-scores scores_fine_tune", model, choices=(choices, _CHOICES), trunk=tower)
    if text := columns.text:
        return _map(here, "pair-score pair_score_fine_tune", model, text=(text, "caption"), trunk=tower)
    return _map(here, "image-embedding image_embedding_fine_tune", model, trunk=tower)


def _map(here: str, step_and_column: str, model: str = "starter", **named: tuple[str, str]) -> str:
    """A map with a model; parameters are a value and the one that need not be typed."""
    parameters = "".join(f" -p {name}={shell_word(value)}" for name, (value, usual) in named.items() if value != usual)
    return f"clipdata map {here} {step_and_column} --model {model}{parameters}"


class _Columns:
    """What a table's schema says."""

    def __init__(self, table: Table) -> None:
        self.schema: pa.Schema = table.schema
        self.names = set(self.schema.names)
        found = {name: table.lineage(name) for name in self.schema.names}
        self.lineages: dict[str, Lineage] = {name: lineage for name, lineage in found.items() if lineage is not None}

    @property
    def has_pictures(self) -> bool:
        return "image" in self.names

    @property
    def text(self) -> str | None:
        """The column of one text a row that says what is seen."""
        return next((name for name in _TEXTS if self.is_text(name)), None)

    @property
    def likely_text(self) -> str | None:
        """A column of one text a row that by its name may say what is seen, as "Caption Text" does."""
        given = [name for name in self.schema.names if name not in self.lineages and self.is_text(name)]
        return next((name for name in given if _TEXT_WORDS & set(re.split(r"[\W_]+", name.casefold()))), None)

    @property
    def choices(self) -> str | None:
        """The column of captions to choose from."""
        used = [self.lineages[name].inputs[-1] for name in self.made_by("ChoiceScores")]
        return next((name for name in (*used, _CHOICES) if name in self.names and self._holds_texts(name)), None)

    def is_text(self, name: str) -> bool:
        import pyarrow as pa

        return name in self.names and (
            pa.types.is_string(self.schema.field(name).type) or pa.types.is_large_string(self.schema.field(name).type)
        )

    def made_by(self, step: str) -> list[str]:
        """Columns that a step made, in the order of the schema."""
        return [name for name in self.schema.names if name in self.lineages and self.lineages[name].step == step]

    def model_of(self, columns: list[str]) -> str:
        """The model behind the first of some columns, as the person named it."""
        name = next((self.lineages[column].model_name for column in columns), None)
        return shell_word(name) if name else "starter"

    def _holds_texts(self, name: str) -> bool:
        """Whether a column holds lists of texts."""
        import pyarrow as pa

        kind = self.schema.field(name).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return bool(is_list and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)))
