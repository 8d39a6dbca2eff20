"""Holds a history to what the tables promise, after Elle: from what was told and what was read, never from a clock.

Each change between two versions must be the work of an operation that may have acted then and was not said to have
failed; each operation that was said to have worked must show; each derived cell must be what its lineage's step makes
of the number beside it. A restore's version equals the one that it names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.faults.history_records import OFFSETS, History, Operation, State


def anomalies(history: History) -> list[str]:
    """What of a history no correct table can have done; empty when all is well."""
    return [
        *_of_cells(history),
        *_of_keys(history),
        *_of_commits(history),
        *_of_changes(history),
        *_of_acknowledged(history),
        *_of_versions(history),
        *_of_tags(history),
    ]


def _of_cells(history: History) -> Iterator[str]:
    for version, state in history.states.items():
        for key, number, derived in state.rows:
            if derived is not None and derived != number + OFFSETS.get(state.step, 0):
                yield f"wrong cell: version {version}: {key} is {derived}, not {number} by step {state.step!r}"


def _of_keys(history: History) -> Iterator[str]:
    for version, state in history.states.items():
        twice = [key for key, num in Counter(key for key, _, _ in state.rows).items() if num > 1]
        if twice:
            yield f"doubled: version {version} holds {twice[0]} {len(twice)} times over"


def _of_commits(history: History) -> Iterator[str]:
    commits = Counter(state.commit for state in history.states.values() if state.commit)
    yield from (f"landed twice: commit {commit} made {num} versions" for commit, num in commits.items() if num > 1)


def _of_changes(history: History) -> Iterator[str]:
    """Each version against the one before it."""
    written: dict[str, list[Operation]] = {}
    for operation in history.operations:
        for key in operation.rows:
            written.setdefault(key, []).append(operation)
    for version, state in history.states.items():
        if state.verb == "restore":
            old = history.states.get(state.restored or 0)
            if old is not None and old.rows != state.rows:
                yield f"restored wrong: version {version} is not version {state.restored}"
            if not any(one.kind == "restore" and one.to == state.restored for one in history.operations):
                yield f"restored wrong: nobody asked for version {state.restored}, which version {version} is"
            continue
        before = history.states.get(version - 1)
        if before is not None:
            yield from _between(version, before.numbers, state.numbers, written)


def _between(
    version: int, before: dict[str, int], after: dict[str, int], written: dict[str, list[Operation]]
) -> Iterator[str]:
    for key in before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        kind = "delete" if now is None else "write"
        told = [one for one in written.get(key, ()) if one.kind == kind and (now is None or one.rows[key] == now)]
        if any(one.may_act_in(version) for one in told):
            continue
        what = "lost" if now is None else "appeared" if was is None else f"became {now}"
        why = "an operation that failed asked for it" if any(one.outcome == "fail" for one in told) else "nobody did it"
        yield f"unexplained: version {version}: {key} {what}, and {why}"


def _of_acknowledged(history: History) -> Iterator[str]:
    for operation in history.operations:
        if operation.outcome != "ok" or operation.end is None:
            continue
        window = [history.states[v] for v in range(operation.start, operation.end + 1) if v in history.states]
        if operation.end not in history.states:
            continue  # cleaned up before it was read
        if operation.kind in ("write", "delete"):
            yield from _not_there(operation, window)
        elif operation.kind == "map":
            yield from _not_filled(operation, window)
        elif operation.kind == "restore":
            made = [one for one in window[1:] if one.verb == "restore" and one.restored == operation.to]
            target = history.states.get(operation.to or 0)
            # Where nothing differed when it was called, it made no version; others may have written before it returned.
            if not made and (target is None or all(one.rows != target.rows for one in window)):
                yield f"lost: {operation.id} restored version {operation.to}, and no version is it"


def _not_there(operation: Operation, window: list[State]) -> Iterator[str]:
    """Keys whose acknowledged number, or absence, no version of its time has."""
    for key, number in operation.rows.items():
        wanted = number if operation.kind == "write" else None
        if not any(state.numbers.get(key) == wanted for state in window):
            yield f"lost: {operation.id} was told that {key} is {wanted}, and no version of then says so"


def _not_filled(operation: Operation, window: list[State]) -> Iterator[str]:
    """Rows that were there all the time of a map that was said to be done, and have no value by it."""
    first, last = window[0], window[-1]
    if last.step != operation.step or any(state.verb == "restore" for state in window[1:]):
        return
    if len({state.mark for state in window if state.mark}) > 1:
        return  # made anew meanwhile
    always = set(first.numbers.items()).intersection(*(state.numbers.items() for state in window))
    left = [key for key, number, derived in last.rows if derived is None and (key, number) in always]
    filled = {key for state in window for key, _, derived in state.rows if derived is not None}
    if set(left) - filled:
        yield f"lost: {operation.id} mapped, and {sorted(set(left) - filled)[0]} has no value"


def _of_versions(history: History) -> Iterator[str]:
    newest: dict[int, int] = {}
    for operation in sorted(history.operations, key=lambda one: int(one.id.rpartition("-")[2])):
        seen = newest.get(operation.process, 0)
        if operation.start < seen or (operation.end is not None and operation.end < operation.start):
            yield f"went back: process {operation.process} saw version {operation.start} after {seen}"
        newest[operation.process] = max(seen, operation.end or operation.start)


def _of_tags(history: History) -> Iterator[str]:
    for operation in history.operations:
        if operation.kind != "tag" or operation.outcome != "ok":
            continue
        found = history.tags.get(operation.name)
        if found != operation.to:
            yield f"tag: {operation.name} names {found}, and {operation.id} was told that it names {operation.to}"
        elif operation.to not in history.states:
            yield f"tag: version {operation.to} that {operation.name} names cannot be read"
