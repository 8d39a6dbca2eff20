"""Planning of what an ingest reads."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipdata.storage import Storage
from ingest.updating.deleted import Deleted
from ingest.updating.digest_set import KnownRows
from ingest.updating.planning import FilePlan, find_missing, plan_files, plan_rows
from ingest.updating.rejects import Rejects
from ingest.updating.source import Item, Reject
from ingest.updating.taken import TakenFile


def item(number: int | str, etag: str = "1") -> Item:
    return Item(f"{number}.jpg", etag, 10, f"/in/{number}.jpg")


def rejects_with(*refused: Reject) -> Rejects:
    where = str(Path(tempfile.mkdtemp()) / "t.lance")
    rejects = Rejects(where, Storage())
    for reject in refused:
        rejects.add(reject, "here")
    rejects.flush()
    return Rejects(where, Storage())


def test_key_and_etag_decide_what_is_read() -> None:
    refused: list[Reject] = []
    listing = [item(1), item(2, "new"), item(3), item(4), item(1), item(5, "9"), item(3), item(6, "")]
    rows = [(["1.jpg", "2.jpg"], ["1", "old"], ["", ""]), ([], [], []), (["3.jpg", "6.jpg"], ["1", None], ["", ""])]
    before = rejects_with(Reject("4.jpg", "1", "corrupt"), Reject("5.jpg", "8", "corrupt"))

    plan = plan_rows(listing, KnownRows(rows), {}, before, refused.append, Deleted(None))

    assert [one.key for one in plan.todo] == ["2.jpg", "5.jpg", "6.jpg"]
    assert (plan.listed, plan.unchanged, plan.refused_before) == (8, 2, 1)
    assert [(reject.key, reject.reason) for reject in refused] == [
        ("1.jpg (again)", "duplicate_key"),
        ("3.jpg (again)", "duplicate_key"),
    ]


def test_what_was_refused_for_a_passing_cause_is_read_again() -> None:
    before = rejects_with(Reject("1.jpg", "", "missing"))
    plan = plan_rows([item(1, "")], KnownRows(), {}, before, lambda _: None, Deleted(None))
    assert len(plan.todo) == 1


def test_an_etag_that_was_seen_with_the_same_content_is_known_while_the_row_is_the_same() -> None:
    rows = KnownRows([(["1.jpg", "2.jpg"], ["a", "changed since"], ["", ""])])
    seen = {("1.jpg", "b"): "a", ("2.jpg", "b"): "a"}
    plan = plan_rows([item(1, "b"), item(2, "b")], rows, seen, None, lambda _: None, Deleted(None))
    assert [one.key for one in plan.todo] == ["2.jpg"]


def test_what_is_missing_is_told_of_the_sources_own_rows_alone() -> None:
    plan = plan_rows([item(1)], KnownRows(), {}, None, lambda _: None, Deleted(None))
    rows: list[tuple[list[str], list[Any]]] = [
        (["1.jpg", "2.jpg", "3.jpg"], ["/in/1.jpg", "/in/2.jpg", "/elsewhere/3.jpg"]),
        (["4.jpg"], [None]),
    ]

    find_missing(plan, rows, lambda where: (where or "").startswith("/in/"))

    assert (plan.num_vanished, plan.vanished) == (1, ["2.jpg"])


def taken(name: str, *, where: str = "", etag: str = "1", ends: str = "x", options: str = "o") -> TakenFile:
    return TakenFile(name, where or f"/in/{name}", etag, 10, ends, options)


def files(
    listing: list[Item],
    known: list[TakenFile],
    *,
    ends: str = "x",
    before: Rejects | None = None,
    retry: bool = False,
    refused: list[Reject] | None = None,
) -> FilePlan:
    return plan_files(
        listing,
        known,
        "o",
        lambda where: where.startswith("/in/"),
        lambda _: ends,
        before or rejects_with(),
        lambda _, reject: (refused if refused is not None else []).append(reject),
        retry=retry,
    )


def test_a_file_is_read_again_when_its_etag_or_the_options_changed() -> None:
    known = [taken("1.jpg"), taken("2.jpg", etag="old"), taken("3.jpg", options="others")]
    plan = files([item(1), item(2), item(3), item(4)], known)
    assert sorted(one.key for one in plan.todo) == ["2.jpg", "3.jpg", "4.jpg"]
    assert plan.unchanged == 1


def test_a_renamed_file_keeps_its_key_and_is_read_as_the_one_it_was() -> None:
    plan = files([item("uno")], [taken("one.jpg")])
    assert [one.key for one in plan.todo] == ["one.jpg"]
    assert plan.renamed == {"/in/uno.jpg": "one.jpg"}
    assert plan.num_vanished == 0


def test_another_file_beside_one_that_is_gone_is_not_that_one() -> None:
    plan = files([item("uno")], [taken("one.jpg", ends="other")])
    assert [one.key for one in plan.todo] == ["uno.jpg"]
    assert plan.vanished == ["one.jpg"]


def test_a_copy_beside_a_file_that_is_still_there_is_a_file_of_its_own() -> None:
    plan = files([item("one"), item("two")], [taken("one.jpg")])
    assert [one.key for one in plan.todo] == ["two.jpg"]


def test_a_file_whose_name_belongs_to_another_source_is_refused_with_both_named() -> None:
    refused: list[Reject] = []
    plan = files([item("0")], [taken("0.jpg", where="/other/0.jpg", ends="else")], refused=refused)
    assert len(plan.todo) == 0
    assert refused[0].reason == "other_source"
    assert "/in/0.jpg" in refused[0].detail
    assert "/other/0.jpg" in refused[0].detail


def test_two_files_of_one_listing_and_one_name_are_not_one() -> None:
    refused: list[Reject] = []
    same = replace(item(1), where="/in/b/1.jpg")
    plan = files([item(1), same, item(1)], [], refused=refused)
    assert (plan.listed, len(plan.todo), [reject.reason for reject in refused]) == (2, 1, ["duplicate_key"])


def test_a_refused_file_waits_until_it_changes_or_is_asked_for() -> None:
    before = rejects_with(Reject("1.jpg", "1", "corrupt"))
    assert files([item(1)], [], before=before).refused_before == 1
    assert len(files([item(1, "2")], [], before=before).todo) == 1
