"""`clean` on the command line: it says what would go, and removes nothing that nobody agreed to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.cli.commands.clean import clean
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tables import number_table


@pytest.mark.parametrize(
    ("more", "code"), [(["--dry-run"], 0), ([], 2), (["--yes"], 0), (["--dry-run", "--older-than", "0"], 2)]
)
def test_it_asks_for_yes_where_nobody_can_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int
) -> None:
    table = number_table(tmp_path, 3)

    assert main(["clean", table.uri, *more, "--json"]) == code

    found = json.loads(capsys.readouterr().out)
    check_schema(found, schema_of("clean", clean.found))
    assert found.get("dry_run", False) is ("--dry-run" in more and code == 0)
