"""Views: the sections of a report as templates show them: figures as text, charts as markup, cards.

It knows records and words; no table, no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from clipdata import charts
from clipdata.comparison.changes import Change
from clipdata.comparison.records import Compared, Group, Side
from clipdata.comparison.sections import said_of
from clipdata.comparison.text import answers_words, cluster_words, group_verdict, maker_words
from clipdata.plurals import counted
from clipdata.reporting import wording
from clipdata.reporting.cards import CardChoice, CardPicture, card
from clipdata.reporting.picture_records import Gallery, PictureRow
from clipdata.reporting.records import ComparisonSection
from clipdata.reporting.rendering import cut
from clipdata.reporting.run_records import Chart, RunSection
from clipdata.reporting.table_records import Column, TableSection
from clipdata.shown_values import shown_bytes

View = dict[str, Any]


def comparison_view(section: ComparisonSection) -> View:
    """Before and after."""
    found = section.compared
    headline = [_headline(f"mean {found.after.column}", found.mean)]
    if found.accuracy is not None:
        chance = f"guessing gives {found.accuracy.chance:.1%}"
        headline.insert(0, _headline("right answers", found.accuracy.change, percent=True, beside=chance))
    return {
        "section": section,
        "leakage": section.leakage[:1].upper() + section.leakage[1:],
        "found": found,
        "headline": headline,
        "rows": counted(found.mean.num_rows, "row"),
        "clusters": f"{found.mean.num_clusters:,} {cluster_words(found)}" if found.cluster else "",
        "makers": _makers(found.before, found.after),
        "moved": f"{counted(found.num_wins, 'row')} up, {found.num_losses:,} down, {found.num_ties:,} the same",
        "answers": answers_words(found.accuracy).strip() if found.accuracy is not None else "",
        "margins": [f"{margin.figure}: {margin.verdict}" for margin in found.margins],
        "charts": _spread_charts(section),
        "calibration": _calibration(found),
        "more": _more_changes(found),
        "groups": _groups(found),
        "galleries": [gallery_view(gallery, found.mean.higher_is_better) for gallery in section.galleries],
    }


def _headline(name: str, change: Change, *, percent: bool = False, beside: str = "") -> View:
    before, after = wording.sides(change, percent=percent)
    ends = charts.interval_scale([change.difference, change.low, change.high])
    told = wording.interval(change, percent=percent)
    words = f"{name}: {wording.moved(change, percent=percent)}, 95 % interval {told or 'none'}"
    return {
        "name": name,
        "moved": wording.moved(change, percent=percent),
        "ends": told,
        "verdict": wording.verdict(change),
        "kind": change.verdict if change.verdict in ("better", "worse") else "unclear",
        "before": before,
        "after": after,
        "beside": beside,
        "bar": charts.interval_bar(
            change.difference, change.low, change.high, ends=ends, verdict=change.verdict, label=words
        ),
    }


def _makers(before: Side, after: Side) -> list[View]:
    """What made each side, and where it lies where that is not one place."""
    is_one_place = (before.uri, before.version) == (after.uri, after.version)
    return [
        {
            "word": word,
            "column": side.column,
            "place": "" if is_one_place else f"of {side.uri}, version {side.version}",
            "told": maker_words(side) or "nobody recorded what made it",
        }
        for word, side in (("before", before), ("after", after))
    ]


def _spread_charts(section: ComparisonSection) -> list[View]:
    spread, name = section.spread, section.compared.after.column
    both = charts.histogram(
        spread.edges,
        [charts.Bars("before", spread.before), charts.Bars("after", spread.after)],
        x_label="value",
        label=f"distribution of {section.compared.before.column} (before) and {name} (after), as shares of the rows",
    )
    change = charts.histogram(
        spread.change_edges,
        [charts.Bars("after", spread.change_counts)],
        x_label="after − before",
        label="distribution of the change of each row",
    )
    return [
        {"title": "Values before and after", "chart": both, "sides": True, "note": "share of the rows in each bin"},
        {"title": "Change of each row", "chart": change, "sides": False, "note": "right of zero the value rose"},
    ]


def _calibration(found: Compared) -> View | None:
    told = found.probabilities
    if told is None:
        return None
    sides = {
        name: [(one.num_rows, one.confidence, one.accuracy) for one in side.curve]
        for name, side in (("before", told.before), ("after", told.after))
    }
    errors = " → ".join(f"{side.calibration_error:.3f}" for side in (told.before, told.after))
    label = f"share of right answers by confidence, before and after; expected calibration error {errors}"
    return {
        "chart": charts.calibration_chart(sides, label=label),
        "errors": errors,
        "lines": said_of(told),
    }


def _more_changes(found: Compared) -> list[View]:
    """Figures beside the chief ones, a line each."""
    named: list[tuple[str, Change, bool]] = []
    if found.ranks is not None:
        named += [(f"R@{k}", change, True) for k, change in found.ranks.recall.items()]
        named += [("mean reciprocal rank", found.ranks.reciprocal, False), ("median rank", found.ranks.median, False)]
    if (told := found.probabilities) is not None:
        named += [
            ("log loss", told.log_loss, False),
            ("Brier score", told.brier, False),
            ("calibration error", told.calibration_error, False),
        ]
    return [_line(name, change, percent=percent) for name, change, percent in named]


def _line(name: str, change: Change, *, percent: bool = False) -> View:
    before, after = wording.sides(change, percent=percent)
    return {
        "name": name,
        "rows": f"{change.num_rows:,}",
        "before": before,
        "after": after,
        "moved": wording.moved(change, percent=percent),
        "interval": wording.interval(change, percent=percent),
        "verdict": wording.verdict(change),
        "kind": change.verdict if change.verdict in ("better", "worse") else "",
    }


def _groups(found: Compared) -> View | None:
    if not found.groups:
        return None
    means = [group.mean for group in found.groups]
    ends = charts.interval_scale(x for mean in means for x in (mean.difference, mean.low, mean.high))
    return {
        "by": found.by,
        "lines": [_group(group, ends) for group in found.groups],
        "left_out": found.num_groups_left_out,
        "least": found.min_group_clusters,
        "low": wording.plain(ends[0]),
        "high": wording.plain(ends[1]),
    }


def _group(group: Group, ends: tuple[float, float]) -> View:
    mean, line = group.mean, _line(cut(group.value, 80) if group.value is not None else "(none)", group.mean)
    words = f"change {line['moved']}, 95 % interval {line['interval'] or 'none'}"
    bar = charts.interval_bar(mean.difference, mean.low, mean.high, ends=ends, verdict=mean.verdict, label=words)
    told = group_verdict(group)
    return {**line, "bar": bar, "verdict": wording.verdict(mean) if told == mean.verdict else told}


def gallery_view(gallery: Gallery, higher_is_better: bool = True) -> View:
    """Rows to look at, as cards."""
    cards = [row_card(row, higher_is_better) for row in gallery.rows]
    return {"title": gallery.title, "about": gallery.about, "cards": cards}


def row_card(row: PictureRow, higher_is_better: bool = True) -> Markup:
    """One row as a card."""
    picture = row.picture
    values: dict[str, str] = {cut(name, 60): cut(text, 60) for name, text in row.facts.items()}
    if row.num_choices_left_out:
        values["further choices"] = f"{row.num_choices_left_out:,}"
    verdict = ""
    if row.row is not None:
        figures = row.row
        if not row.choices:  # beside them the right one's stand already
            values |= {"before": wording.value(figures.before), "after": wording.value(figures.after)}
        values["change"] = wording.value(figures.difference, sign=True)
        verdict = "better" if (figures.difference > 0) == higher_is_better else "worse"
    return card(
        CardPicture(picture.thumbnail, picture.width, picture.height, picture.refused or "no picture"),
        caption=row.caption,
        caption_chars=row.caption_chars,
        name=row.name,
        values=values,
        choices=[
            CardChoice(one.text, (wording.value(one.before), wording.value(one.after)), one.is_right)
            for one in row.choices
        ],
        choice_heads=("before", "after"),
        verdict=verdict,
    )


def run_view(section: RunSection) -> View:
    """A training."""
    return {
        "section": section,
        "charts": [_chart(chart) for chart in section.charts],
        "figures": [
            {
                "name": one.name.replace("_", " "),
                "before": wording.measured(one.name, one.before),
                "after": wording.measured(one.name, one.after),
            }
            for one in section.figures
        ],
    }


def _chart(chart: Chart) -> View:
    best = ((chart.best[0], chart.best[1]), chart.best[2]) if chart.best is not None else None
    curves = [charts.Curve(one.name, one.points, one.faint, one.dots) for one in chart.curves]
    panel = charts.Panel(chart.title, curves, chart.x_label, chart.as_percent, best)
    return {
        "title": chart.title,
        "chart": charts.line_chart(panel),
        "legend": charts.legend([curve.name for curve in chart.curves]),
        "best": chart.best[2] if chart.best is not None else "",
    }


def table_view(section: TableSection) -> View:
    """A table."""
    most = max((one.num for one in section.refused), default=0)
    return {
        "section": section,
        "facts": _table_facts(section),
        "columns": [_column(column) for column in section.columns],
        "refused": [{"record": one, "bar": charts.count_bar(one.num / most)} for one in section.refused],
        "num_refused": sum(one.num for one in section.refused),
        "gallery": gallery_view(section.gallery) if section.gallery is not None else None,
    }


def _table_facts(section: TableSection) -> Mapping[str, str]:
    facts = {"table": section.uri, "version": f"{section.version}", "rows": f"{section.num_rows:,}"}
    facts |= {"where": section.where} if section.where else {}
    facts |= {"size": shown_bytes(section.num_bytes)} if section.num_bytes is not None else {}
    for split in section.splits:
        total = max(sum(split.rows.values()), 1)
        told = ", ".join(f"{side or 'none'} {num:,} ({num / total:.1%})" for side, num in split.rows.items())
        facts[f"sides of {split.column}"] = told
    return facts


def _column(column: Column) -> View:
    numbers = column.numbers
    spread, varies = "", False
    if numbers is not None:
        low, middle, high = (wording.plain(numbers.quantiles.get(share)) for share in ("0", "0.5", "1"))
        varies = low != high
        spread = f"{low} … {high}, median {middle}" if varies else f"{low}"
    elif column.earliest is not None:
        spread = f"{column.earliest} … {column.latest}" if column.latest != column.earliest else column.earliest
    distinct = (
        f"{column.distinct:,}" if column.distinct is not None else f">{column.at_least:,}" if column.at_least else ""
    )
    return {
        "record": column,
        "nulls": "" if column.nulls is None else f"{column.nulls:,}" if column.nulls else "0",
        "distinct": distinct,
        "size": shown_bytes(column.num_bytes) if column.num_bytes else "",
        "spread": f"{column.numbers_of}: {spread}" if column.numbers_of == "length" else spread,
        "plot": charts.small_histogram(numbers.counts, f"distribution: {spread}")
        if numbers is not None and varies
        else "",
        "common": ", ".join(f"{one.value} × {one.count:,}" for one in column.common),
    }


def lineage_view(section: TableSection) -> list[View]:
    """What made columns, a line each."""
    return [
        {
            "record": one,
            "model": one.model_name or ("" if one.model is None else "unnamed model"),
            "identity": (one.model or "")[:12],
            "made_at": (one.made_at or "")[:16].replace("T", " "),
            "trained": _trained(one.trained_on, one.model),
        }
        for one in section.made
    ]


def _trained(trained_on: tuple[str, ...] | None, model: str | None) -> str:
    if trained_on is None:
        return "nobody recorded it" if model else ""
    return "; ".join(trained_on) or ("not fine-tuned" if model else "")
