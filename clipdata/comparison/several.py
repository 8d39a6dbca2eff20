"""Several columns: each held against the first, or all against all, with what so many questions do to the answers.

Knows `compare` of two columns, and which columns a model made.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clipdata.answers import is_number
from clipdata.comparison.jsonschema import json_schema, schema_of
from clipdata.comparison.measurement import compare
from clipdata.comparison.provenance import Provenance, trace
from clipdata.comparison.result import Comparison
from clipdata.comparison.text import asked_for, header, margins_of, places
from clipdata.comparison.wording import chance, change_head, change_line, interval
from clipdata.errors import GateFailedError, LineageMismatchError, UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.notebook import html_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.schema import is_list
from clipdata.statistics import benjamini_hochberg, holm, two_sided_p
from clipdata.storage import redact

PairsOf = Literal["first", "all"]
_ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """One comparison of several.

    Args:
        before: column.
        after: column.
        p_value: that its mean did not move, adjusted by Holm for the number of pairs: under 0.05 it is confirmed, and
            the verdict goes by it; None when too few to say.
        q_value: the same adjusted by Benjamini and Hochberg: under 0.05 it is discovered, worth a look.
        discovered: whether it is.
        verdict: that of the comparison, as far as it is confirmed.
    """

    before: str
    after: str
    p_value: float | None
    q_value: float | None
    discovered: bool
    verdict: Literal["better", "worse", "unclear", "too few to say"]


@dataclass(frozen=True)
class Comparisons:
    """Several columns over the same rows.

    Args:
        pairs: what is concluded of each pair.
        comparisons: each pair in full, in the same order.
    """

    pairs: tuple[Pair, ...]
    comparisons: tuple[Comparison, ...]

    def gate(self, **bounds: Any) -> Comparisons:
        """Hold every comparison to bounds; see `Comparison.gate`.

        Raises:
            GateFailedError: names every comparison that missed one, and how.
        """
        missed = []
        for comparison in self.comparisons:
            try:
                comparison.gate(**bounds)
            except GateFailedError as error:
                missed.append(error.message)
        if missed:
            raise GateFailedError("; ".join(missed))
        return self

    def to_dict(self) -> dict[str, Any]:
        """The first pair as `Comparison.to_dict` has it, and under "several" what is concluded of each, and each."""
        several = [
            {**dataclasses.asdict(pair), "comparison": comparison.to_dict()}
            for pair, comparison in zip(self.pairs, self.comparisons, strict=True)
        ]
        return {**self.comparisons[0].to_dict(), "several": several}

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        names = [f"{pair.before} → {pair.after}" for pair in self.pairs]
        width = max(map(len, names))
        where_from = dict.fromkeys(line for one in self.comparisons for line in places(one))
        blocks = [["several columns", *where_from, f"  {self._rows()}"]]
        blocks.append([f"{change_head('mean', width)}, and Holm, BH over {len(names)} pairs"])
        for name, pair, one in zip(names, self.pairs, self.comparisons, strict=True):
            confirmed = dataclasses.replace(one.mean, verdict=pair.verdict)
            look = ", worth a look" if pair.discovered and pair.verdict == "unclear" else ""
            chances = f"  Holm {chance(pair.p_value)}, BH {chance(pair.q_value)}" if pair.p_value is not None else ""
            blocks[-1].append(f"{change_line(name, confirmed, width=width)}{look}{chances}")
        answered = [
            (name, one.accuracy.change) for name, one in zip(names, self.comparisons, strict=True) if one.accuracy
        ]
        if answered:
            lines = [change_line(name, change, percent=True, width=width) for name, change in answered]
            blocks.append([change_head("right", width), *lines])
        blocks.append(
            ["  Holm < 0.05 confirms a change; BH < 0.05 (Benjamini–Hochberg) discovers what is worth a look"]
        )
        for name, one in zip(names, self.comparisons, strict=True):
            more = [margins_of(one), *asked_for(one)]
            blocks += [[f"  {name}", *more[0]], *more[1:]] if any(more) else []
        notes = dict.fromkeys(note for one in self.comparisons for note in one.notes)
        blocks.append([f"  {line}" for line in self._trained()] + [f"  note: {note}" for note in notes])
        return "\n\n".join("\n".join(map(printable, block)) for block in blocks)

    def _repr_html_(self) -> str:
        rows = [
            {
                "": f"{pair.before} → {pair.after}",
                "rows": f"{one.mean.num_rows:,}",
                "change": f"{one.mean.difference:+.3g}",
                "95 % interval": interval(one.mean).removesuffix(one.mean.verdict),
                "Holm": chance(pair.p_value),
                "BH": chance(pair.q_value),
                "verdict": pair.verdict,
            }
            for pair, one in zip(self.pairs, self.comparisons, strict=True)
        ]
        return html_table(rows, title=f"{len(rows)} pairs of columns")

    def _rows(self) -> str:
        rows = {one.mean.num_rows for one in self.comparisons}
        few, many = min(rows), max(rows)
        return counted(few, "row") if few == many else f"{few:,} to {many:,} rows: the pairs do not cover the same ones"

    def _trained(self) -> Iterable[str]:
        return dict.fromkeys(header(one)[-1].strip() for one in self.comparisons)


def compare_columns(
    table: AnyTable, columns: Sequence[str], *, pairs: PairsOf = "first", **options: Any
) -> Comparisons:
    """Compare three columns or more, each with the first or each with each.

    Args:
        table: where they lie.
        columns: the first is the baseline; a version or a tag may follow each, as in `compare`.
        pairs: "first" or "all".
        options: of `compare`.

    Raises:
        UsageError: fewer than two columns, or one of them twice.
        ClipdataError: whatever `compare` raises.
    """
    if isinstance(columns, str) or len(columns) < 2 or len(set(columns)) < len(columns):
        raise UsageError(f"compare: columns={columns!r}; expected two names or more, each of them once")
    if pairs not in ("first", "all"):
        raise UsageError(f"compare: pairs={pairs!r}; expected 'first' or 'all'")
    opened = as_table(table)
    two = list(itertools.combinations(columns, 2))
    wanted = two if pairs == "all" else two[: len(columns) - 1]
    done = tuple(compare(opened, before, after, **options) for before, after in wanted)
    return Comparisons(tuple(_concluded(wanted, done)), done)


def _concluded(wanted: Sequence[tuple[str, str]], done: Sequence[Comparison]) -> list[Pair]:
    means = [one.mean for one in done]
    told = [i for i, mean in enumerate(means) if mean.standard_error is not None]
    p_values = [two_sided_p(means[i].difference, means[i].standard_error or 0.0, means[i].num_clusters) for i in told]
    adjusted = dict(zip(told, zip(holm(p_values), benjamini_hochberg(p_values), strict=True), strict=True))
    pairs = []
    for i, (before, after) in enumerate(wanted):
        p_value, q_value = adjusted.get(i, (None, None))
        taken_back = p_value is not None and p_value > _ALPHA
        verdict = "unclear" if taken_back else means[i].verdict
        pairs.append(Pair(before, after, p_value, q_value, q_value is not None and q_value <= _ALPHA, verdict))
    return pairs


def columns_of_models(table: AnyTable, models: Sequence[str], names: Sequence[str] | None = None) -> list[str]:
    """The column that each of several models made in the same way: one of numbers, or else of lists of scores.

    Args:
        table: where they lie.
        models: identities of encoders.
        names: what to call them in a message.

    Raises:
        UsageError: a model made no such column, or models made several in the same ways.
    """
    opened = as_table(table)
    made: list[dict[tuple[str, ...], list[str]]] = [{} for _ in models]
    for column in opened.schema:
        holds_list = is_list(column.type) and is_number(column.type.value_type)
        if not (holds_list or is_number(column.type)):
            continue
        origin = _origin(opened, column.name)
        if origin is not None and origin.model in models:
            way = ("list" if holds_list else "number", *_way(origin))
            made[models.index(origin.model)].setdefault(way, []).append(column.name)
    for kind in ("number", "list"):
        ways = [way for way in made[0] if way[0] == kind and all(len(of.get(way, ())) == 1 for of in made)]
        if len(ways) == 1:
            return [of[ways[0]][0] for of in made]
    called = names or [model[:12] for model in models]
    listed = [", ".join(column for columns in of.values() for column in columns) or "none" for of in made]
    told = "; ".join(f"{name}: {columns}" for name, columns in zip(called, listed, strict=True))
    raise UsageError(
        f"compare: what the models made in {redact(opened.uri)}: {told}; expected one column of each, made in one way",
        hint="fill one with each: clipdata map TABLE choice-scores NAME --model RUN; or name the columns",
    )


def _origin(table: Table, column: str) -> Provenance | None:
    try:
        return trace(table, column)
    except LineageMismatchError:  # made from values that are gone
        return None


def _way(origin: Provenance) -> tuple[str, ...]:
    """How a column was made, whatever the model."""
    assert origin.lineage is not None
    made = origin.maker or origin.lineage
    return origin.lineage.step, made.step, origin.index or ""


def several_schema() -> dict[str, Any]:
    """JSON Schema of `Comparisons.to_dict()`, and of a single comparison, which lacks "several"."""
    schema = json_schema()
    pair = schema_of(Pair)
    pair["properties"]["comparison"] = json_schema()
    pair["required"].append("comparison")
    schema["properties"]["several"] = {"type": "array", "items": pair}
    return schema
