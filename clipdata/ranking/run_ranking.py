"""compare_runs(): runs in their folders, measured on the same held-out rows and ranked by recipe.

It knows runs, models and figures, and trains nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from statistics import fmean

from clipdata.arguments import PROGRESS, check_able, check_condition
from clipdata.comparison.standings import stand
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Progress, Silent
from clipdata.ranking.measured_by import chosen_figure, measured_objective
from clipdata.ranking.ranked import RankedRecipe, Ranking
from clipdata.ranking.rows_held_out import chosen_by_test, validation_of
from clipdata.ranking.run_groups import Grouped, RunGroup, group_runs
from clipdata.ranking.starting_models import GivenStart, LoadedStarts
from clipdata.storage import redact
from clipdata.training.config_checks import AUTO
from clipdata.training.figures import Evaluation
from clipdata.training.objectives import Objective
from clipdata.training.run import Run, run_folder
from clipdata.training.shared_pass import SharedPass, shared_pass

_FEW_SEEDS = 2


def compare_runs(
    table: AnyTable,
    runs: Sequence[str | os.PathLike[str] | Run],
    *,
    where: str | None = None,
    objective: Objective | str | None = None,
    figure: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Measure runs on held-out rows of a table, and rank their recipes over seeds and pictures.

    Runs whose configs differ in the seed alone are one recipe, whatever their folders are called. Nothing is written;
    pictures are seen once for all models that did not change the image trunk, or not at all where a column holds its
    features.

    Args:
        table: where the held-out rows are; read at the version it is pinned to.
        runs: folders of finished runs; unfinished and damaged ones are left out and named.
        where: SQL condition of the rows; by default those that the runs measured while they trained, or that the
            table's split calls a validation. Never the test's, unless named.
        objective: what is measured; what the runs trained for by default.
        figure: what the order goes by; the objective's first by default.
        device: where the models run; the best there is by default.
        progress: watches.

    Raises:
        NotFoundError: a folder is not there.
        UsageError: no run is left; runs read different tables or versions, or trained for different objectives; or
            nothing tells which rows to measure on.
        SchemaError: the table lacks a column, or it has another type.
    """
    check_able(progress, "compare: progress", ("task", "say"), PROGRESS)
    check_condition(where)
    grouped = group_runs([run if isinstance(run, Run) else Run(run_folder(run)) for run in _listed(runs)])
    opened = as_table(table).pinned()
    configs = {group.name: group.config.objective for group in grouped.groups}
    told: list[str] = []
    measured = measured_objective(configs, opened, objective, told)
    return rank_groups(
        opened,
        grouped,
        measured,
        where or _rows_of(opened, grouped.groups),
        figure=figure,
        starts=LoadedStarts(device, told),
        device=device,
        told=told,
        progress=progress or Silent(),
    )


def rank_groups(
    table: Table,
    grouped: Grouped,
    objective: Objective,
    where: str,
    *,
    figure: str | None,
    starts: LoadedStarts | GivenStart,
    device: str | None,
    told: Sequence[str],
    progress: Progress,
) -> Ranking:
    """Measure the models of runs, and those that they began with, and rank their recipes.

    Raises:
        UsageError: the objective has no such figure; models measured different rows.
    """
    groups = grouped.groups
    rows = shared_pass(table, objective, where, [group.config for group in groups], progress)
    seen: dict[str, int] = {}
    before: dict[str, Evaluation] = {}
    found: dict[str, list[Evaluation]] = {}
    num_runs, done = sum(len(group.runs) for group in groups), 0
    with progress.task("measure", num_runs, "runs") as counter:
        for group in groups:
            start = starts.of(group)
            if start is not None:
                identity = start.identity
                before[group.name] = next(
                    (before[one.name] for one in groups if one.name in before and one.start["identity"] == identity),
                    None,
                ) or rows.measure(start)
            found[group.name] = []
            for run in group.runs:
                encoder = run.encoder(device=device)
                found[group.name].append(rows.measure(encoder))
                if num := rows.num_seen(encoder):
                    seen[run.path.name] = num
                done += 1
                counter.advance()
    chosen = chosen_figure(found[groups[0].name][0].units, figure, objective, "compare")
    _require_same_rows(groups, found)
    return _ranking(table, rows, grouped, found, before, chosen, [*told, *_notes(table, where, rows, groups, seen)])


def _listed(runs: Sequence[str | os.PathLike[str] | Run]) -> list[str | os.PathLike[str] | Run]:
    if isinstance(runs, (str, os.PathLike)) or not runs:
        raise UsageError(f"compare: runs is {runs!r:.80}; expected folders of runs", hint='runs=["runs/a", "runs/b"]')
    return list(runs)


def _rows_of(table: Table, groups: Sequence[RunGroup]) -> str:
    """The rows that runs measured while they trained, or that the table's split calls a validation.

    Raises:
        UsageError: nothing tells.
    """
    asked = {run.config.evaluate_where for group in groups for run in group.runs}
    named = next(iter(asked)) if len(asked) == 1 else None
    if named is not None and named != AUTO:
        return named
    found = validation_of(table)
    if found is None:
        raise UsageError(
            f"compare: nothing tells which rows of {redact(table.uri)} to measure on: the runs name none that they all "
            "measured, and the table's split has no validation",
            hint="--where CONDITION; rows of the test are better kept for the recipe that is chosen",
        )
    return found


def _require_same_rows(groups: Sequence[RunGroup], found: Mapping[str, Sequence[Evaluation]]) -> None:
    """Check that all models measured the same things.

    Raises:
        UsageError: two did not; both are named.
    """
    counts = {
        run.path: one.num_rows for group in groups for run, one in zip(group.runs, found[group.name], strict=True)
    }
    most, least = max(counts, key=lambda path: counts[path]), min(counts, key=lambda path: counts[path])
    if counts[most] != counts[least]:
        raise UsageError(
            f"compare: {most} was measured on {counts[most]:,} rows and {least} on {counts[least]:,}: a column of "
            "features holds pictures that cannot be decoded any more",
            hint="leave them out: --where, or look at them: clipdata errors TABLE",
        )


def _notes(
    table: Table, where: str, rows: SharedPass, groups: Sequence[RunGroup], seen: Mapping[str, int]
) -> list[str]:
    """What to know of the rows before believing what they say."""
    notes = []
    if seen:
        most = max(seen.values())
        named = ", ".join(list(seen)[:3]) + (f" and {len(seen) - 3} more" if len(seen) > 3 else "")
        notes.append(
            f"up to {most:,} of the {len(rows.rows.offsets):,} rows were trained on, or show pictures that were, by "
            f"{named}: these are no evidence"
        )
    if min(len(group.runs) for group in groups) == _FEW_SEEDS:
        notes.append(
            "two seeds say little of how trainings scatter: equal recipes are told apart more often than one time in "
            "twenty; three seeds keep to that"
        )
    if len(groups) > 1:
        by_test = chosen_by_test(table, where)
        notes.append(
            by_test
            or "the best of several is a little lucky on the rows that it was chosen by: what it is worth, rows "
            "tell that had no part in the choice"
        )
    return notes


def _ranking(
    table: Table,
    rows: SharedPass,
    grouped: Grouped,
    found: Mapping[str, Sequence[Evaluation]],
    before: Mapping[str, Evaluation],
    figure: str,
    notes: Sequence[str],
) -> Ranking:
    units = next(iter(found.values()))[0].units[figure]
    standings = stand(
        {name: [one.units[figure].value_N for one in by_seed] for name, by_seed in found.items()},
        {name: one.units[figure].value_N for name, one in before.items()},
        units.cluster_N,
    )
    group_of = {group.name: group for group in grouped.groups}
    one_start = len(before) == len(found) and len({group.start["identity"] for group in grouped.groups}) == 1
    start = next(iter(before.values())) if one_start else None
    return Ranking(
        table=redact(table.uri),
        version=table.version,
        where=rows.where,
        objective=rows.objective.kind,
        figure=figure,
        rows=len(rows.rows.offsets),
        pictures=len(set(units.cluster_N.tolist())),
        start={} if start is None else {name: start.metrics[name] for name in start.units},
        recipes=tuple(
            RankedRecipe(
                standing=one,
                figures={name: fmean(e.metrics[name] for e in found[one.name]) for name in found[one.name][0].units},
                seeds=group_of[one.name].seeds,
                runs=tuple(str(run.path) for run in group_of[one.name].runs),
                rows=int(group_of[one.name].runs[0].record["table"]["num_rows"]),
                steps=int(group_of[one.name].runs[0].to_dict()["steps"]),
                seconds=_mean([pace.seconds for pace in group_of[one.name].paces]),
                steps_s=_mean([pace.steps_s for pace in group_of[one.name].paces]),
            )
            for one in standings.recipes
        ),
        pairs=standings.pairs,
        left_out=grouped.left_out,
        notes=tuple(dict.fromkeys(notes)),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
