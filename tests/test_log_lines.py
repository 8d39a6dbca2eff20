"""`log`: one line for each verb, whatever it committed on its way."""

from __future__ import annotations

from datetime import UTC, datetime

from clipdata.lance_io.history import Properties, Version
from pipelines.cli.commands.log import folded


def version(
    number: int, operation: str, *, verb: str | None = None, since: int | None = None, tag: str = ""
) -> Version:
    properties = Properties(verb, first_version=since) if verb else None
    return Version(number, datetime.now(UTC), operation, 10, properties, (tag,) if tag else ())


def test_a_verb_takes_in_what_it_committed_since_it_began_and_the_first_one_the_table() -> None:
    lines = folded(
        [
            version(1, "Overwrite"),
            version(2, "Update"),
            version(3, "Update", tag="kept"),
            version(4, "UpdateConfig", verb="ingest", since=1),
            version(5, "Merge"),
            version(6, "Update", verb="map", since=4),
        ]
    )

    assert [(line.entry.version, line.commits, line.tags) for line in lines] == [(4, 4, ("kept",)), (6, 2, ())]


def test_commits_that_no_verb_closed_stand_by_themselves_those_of_one_kind_together() -> None:
    lines = folded(
        [
            version(1, "Overwrite", verb="ingest", since=0),
            version(2, "Append"),
            version(3, "Append"),
            version(4, "Delete"),
            version(5, "Update", verb="map", since=4),
            version(6, "Update"),
        ]
    )

    assert [(line.entry.version, line.commits) for line in lines] == [(1, 1), (3, 2), (4, 1), (5, 1), (6, 1)]
    assert lines[1].cells()[2] == "(rows added, 2 commits)"
