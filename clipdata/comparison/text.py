"""A comparison as text that a person reads in ten seconds: who, how much, how sure, what was lost, what to distrust."""

from __future__ import annotations

from clipdata.comparison import sections
from clipdata.comparison.records import RECORDS, Answers, Compared, Group, Row, Side, Trained
from clipdata.comparison.wording import chance, change_head, change_line, decimals_for, number, signed
from clipdata.plurals import counted
from clipdata.printable import printable

_MAX_GROUPS = 12
_CAPTION_CHARACTERS = 60


def render(comparison: Compared) -> str:
    """The whole text, without a trailing newline."""
    blocks = [header(comparison), _figures(comparison), *asked_for(comparison)]
    for title, rows in (("lost most", comparison.worst), ("gained most", comparison.best)):
        if rows:
            decimals = decimals_for(10.0 * min(abs(row.difference) for row in rows))
            blocks.append([f"  {title}", *(_row(row, decimals) for row in rows)])
    if comparison.notes:
        blocks.append([f"  note: {note}" for note in comparison.notes])
    return "\n\n".join("\n".join(map(printable, block)) for block in blocks)


def asked_for(comparison: Compared) -> list[list[str]]:
    """The blocks that stand there because they were asked for: ranks, probabilities, groups."""
    return [*sections.all_of(comparison), *([_groups(comparison)] if comparison.groups else [])]


def places(comparison: Compared) -> list[str]:
    """Which tables and versions are compared."""
    before, after = comparison.before, comparison.after
    selected = f" where {comparison.where}" if comparison.where else ""
    if (before.uri, before.version) == (after.uri, after.version):
        return [f"  {after.uri} version {after.version}{selected}"]
    return [
        f"  before: {before.uri} version {before.version}",
        f"  after:  {after.uri} version {after.version}{selected}",
    ]


def header(comparison: Compared) -> list[str]:
    """Who is compared with whom, over which rows."""
    before, after, mean = comparison.before, comparison.after, comparison.mean
    lines = [f"{before.column} → {after.column}", *places(comparison)]
    lines += [
        f"  {word:<7} {maker_words(side)}" for word, side in (("before:", before), ("after:", after)) if side.made_by
    ]
    rows = counted(mean.num_rows, "row")
    if comparison.cluster:
        rows += f", {mean.num_clusters:,} {cluster_words(comparison)}"
    return [*lines, f"  {rows}; {coverage_words(comparison)}", f"  {trained_words(comparison)}"]


def maker_words(side: Side) -> str:
    """What made a side, and with which model; empty where nobody recorded it."""
    made_by = side.made_by or ""
    words = [side.model_name] if side.model_name else []
    if side.model and side.model[:12] not in made_by:
        words.append(f"({side.model[:12]})" if words else side.model[:12])
    return f"{made_by} with {' '.join(words)}" if words else made_by


def cluster_words(comparison: Compared) -> str:
    """What was resampled together."""
    if comparison.cluster in ("sha256, path", "sha256", "path"):
        return "images"
    return f"values of {comparison.cluster}"


def coverage_words(comparison: Compared) -> str:
    """Which rows are compared; those without a value on either side are told, and no alarm."""
    coverage = comparison.coverage
    counts = (
        (coverage.num_only_before, "only before"),
        (coverage.num_only_after, "only after"),
        (coverage.num_not_in_table or 0, "only in the other table"),
    )
    listed = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    empty = f"{coverage.num_neither:,} more have no value on either side" if coverage.num_neither else ""
    if listed:
        return f"NOT compared: {listed}{'; ' if empty else ''}{empty}"
    return f"both sides cover the same rows; {empty}" if empty else "both sides cover all of them"


def trained_words(comparison: Compared) -> str:
    """How many of the compared rows a model was trained on, and who says so."""
    trained = comparison.trained
    sides = ((comparison.before, comparison.seen_before), (comparison.after, comparison.seen_after))
    trainings = list(dict.fromkeys(text for _, seen in sides if seen is not None for text in seen.trainings))
    # A column that names no model is no alarm by itself, but beside a record or a lost one it is.
    alarmed = bool(trainings) or any(seen is not None and seen.status == "lost" for _, seen in sides)
    lost = [side.column for side, seen in sides if seen is not None and seen.status in ("lost", "unknown")]
    parts = [f"NOBODY KNOWS what the model behind {' and '.join(lost)} was trained on"] if alarmed and lost else []
    if trained is None:
        return parts[0] if parts else "which rows were trained on is not known"
    if trained.where == RECORDS:
        return "; ".join([*_by_records(trained, trainings), *(parts or _untold(trained))])
    if parts:
        return f"{parts[0]}; {trained.num_rows:,} where {trained.where}"
    if not trained.num_rows:
        return f"none of them where {trained.where}; no record says which rows the models were trained on"
    return f"{trained.num_rows:,} TRAINED ON, by {trained.where}; no record of a model says so or otherwise"


def _by_records(trained: Trained, trainings: list[str]) -> list[str]:
    """What the models' records say; nothing where all is untold."""
    if not trainings:
        return ["none of them trained on: neither model has a record of fine-tuning"]
    told = f", by {RECORDS} ({'; '.join(trainings)})"
    if trained.num_rows:
        return [f"{trained.num_rows:,} TRAINED ON{told}"]
    if trained.num_rows_of_seen_clusters:
        none = "" if trained.num_untold else "none of them trained on, but "
        return [f"{none}{trained.num_rows_of_seen_clusters:,} SHOW A PICTURE trained on{told}"]
    if trained.num_untold:
        return []
    return [f"none of them trained on{'' if trained.num_of_untold_pictures else ', nor their pictures'}{told}"]


def _untold(trained: Trained) -> list[str]:
    advice = "sha256, or uri and etag, of the pictures in both tables would tell, before the training"
    if trained.num_untold:
        whose = f"NOBODY KNOWS whether {counted(trained.num_untold, 'row was', 'rows were')} trained on"
        return [f"{whose}: nothing tells them from those that were (a key in the same table, or {advice})"]
    if trained.num_of_untold_pictures:
        whose = f"NOBODY KNOWS whether {trained.num_of_untold_pictures:,} rows show a picture trained on"
        return [f"{whose}: nothing tells the pictures apart ({advice})"]
    return []


def _figures(comparison: Compared) -> list[str]:
    answers, mean = comparison.accuracy, comparison.mean
    lines = [change_head(""), change_line("mean", mean)]
    if answers:
        lines.append(change_line("right", answers.change, percent=True) + f"  (chance {answers.chance:.1%})")
    lines += margins_of(comparison)
    lines.append("")
    lines.append(
        f"  {counted(comparison.num_wins, 'row')} up, {comparison.num_losses:,} down, {comparison.num_ties:,} the same"
    )
    if answers:
        lines.append(answers_words(answers))
    if mean.smallest_detectable is not None and mean.verdict == "unclear":
        detectable = number(mean.smallest_detectable, decimals_for(mean.smallest_detectable))
        lines.append(f"  these rows show a change of {detectable} or more four times in five")
    return lines


def margins_of(comparison: Compared) -> list[str]:
    """What was found of each margin that was asked for."""
    return [f"  {margin.figure}: {margin.verdict}" for margin in comparison.margins]


def answers_words(answers: Answers) -> str:
    """How answers moved between right and wrong."""
    p_value = "p < 0.0001" if answers.p_value < 0.0001 else f"p = {answers.p_value:.2g}"
    return (
        f"  {counted(answers.num_mended, 'answer')} mended, {answers.num_broken:,} broken (McNemar {p_value}); "
        f"{answers.num_both_right:,} right and {answers.num_both_wrong:,} wrong both times"
    )


def _groups(comparison: Compared) -> list[str]:
    shown = comparison.groups[:_MAX_GROUPS]
    width = max(12, *(len(group_name(group)) for group in shown))
    head = f"{'by ' + (comparison.by or ''):<{width}} {'rows':>8} {'before':>9} {'after':>9} {'change':>9}"
    lines = [f"  {head} {'Holm':>7} {'BH':>7}"]
    decimals = decimals_for(comparison.mean.standard_error)
    for group in shown:
        mean = group.mean
        before, after = number(mean.before, decimals), number(mean.after, decimals)
        figures = f"{before:>9} {after:>9} {signed(mean.difference, decimals):>9}"
        chances = f"{chance(group.p_value):>7} {chance(group.q_value):>7}"
        lines.append(f"  {group_name(group):<{width}} {mean.num_rows:>8,} {figures} {chances}  {group_verdict(group)}")
    hidden = len(comparison.groups) - len(shown) + comparison.num_groups_left_out
    lines += [f"  … and {hidden:,} more"] if hidden else []
    what = cluster_words(comparison) if comparison.cluster else "rows"
    return [
        *lines,
        "  Holm < 0.05 confirms that a group changed; BH < 0.05 (Benjamini–Hochberg) discovers what is worth a look;",
        f"  with fewer than {comparison.min_group_clusters} {what} there is too little to say",
    ]


def group_verdict(group: Group) -> str:
    """Whether a group changed, confirmed or discovered."""
    seen = group.discovered and group.mean.verdict == "unclear"
    return "unclear, worth a look" if seen else group.mean.verdict


def group_name(group: Group) -> str:
    """Of a group, short enough for a line."""
    return "(none)" if group.value is None else group.value[:30]


def _row(row: Row, decimals: int) -> str:
    described = ", ".join(_shorten(text) for text in row.shown.values())
    moved = f"{signed(row.difference, decimals):>8}  {number(row.before, decimals)} → {number(row.after, decimals)}"
    return f"    {moved}  {row.where}  {described}".rstrip()


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _CAPTION_CHARACTERS else flat[: _CAPTION_CHARACTERS - 1] + "…"
