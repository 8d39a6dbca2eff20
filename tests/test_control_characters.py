"""Control characters in data and in what is typed are shown, and never sent to a terminal, whatever the verb."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.app import main
from tests.pictures import write_pictures

ORDERS = "\x1b]0;title\x07\x9b31m\u202e"
RAW = set(ORDERS) - set("]0;title31m")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Pictures, metadata and a table of scores in which everything that can hold an order holds one."""
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "0000.jpg").rename(tmp_path / "in" / f"{ORDERS}.jpg")
    (tmp_path / "in" / f"bad{ORDERS}.jpg").write_text("no picture")
    columns = {"filename": [f"{ORDERS}.jpg", f"none{ORDERS}.jpg"], "caption": [f"a {ORDERS}"] * 2}
    pq.write_table(pa.table(columns), tmp_path / f"m{ORDERS}.parquet")
    scores = {
        "path": [f"{n}{ORDERS}" for n in range(8)], "caption": [ORDERS] * 8, "by": [f"g{ORDERS}"] * 8,
        "a": [0.5] * 8, "b": [0.1 * n for n in range(8)], f"column{ORDERS}": [1] * 8,
    }  # fmt: skip
    lance.write_dataset(pa.table(scores), str(tmp_path / "c.lance"))
    return tmp_path


COMMANDS = [
    ["ingest", "images", "F/in", "--into", "F/i.lance"],
    ["ingest", "parquet", f"F/m{ORDERS}.parquet", "--into", f"F/m{ORDERS}.lance"],
    ["rejects", "F/i.lance", "--full"],
    ["merge", "F/i.lance", f"F/m{ORDERS}.lance", "--into", "F/x.lance"],
    ["rejects", "F/x.lance"],
    ["log", "F/x.lance", "--full"],
    ["show", f"F/m{ORDERS}.lance"],
    ["show", "F/c.lance"],
    ["show", "F/c.lance", "--vertical"],
    ["query", "F/c.lance", "SELECT * FROM dataset"],
    ["query", "F/c.lance", f"SELECT {ORDERS}"],
    ["compare", "F/c.lance", "a", "b", "--by", "by"],
    ["compare", "F/c.lance", "a", f"no{ORDERS}"],
    ["map", "F/c.lance", f"step{ORDERS}", "x"],
    ["map", "F/c.lance", "label-index", f"x{ORDERS}"],
    ["export", "F/x.lance", "--out", f"F/s{ORDERS}"],
    ["show", f"F/none{ORDERS}.lance"],
    ["show", "F/c.lance", f"--no{ORDERS}"],
    ["ingest", "parquet", f"F/none{ORDERS}.parquet", "--into", "F/y.lance"],
]


def test_no_verb_sends_an_order_to_the_terminal(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spelled = 0
    for command in COMMANDS:
        for more in ([], ["--json"]):
            words = [word.replace("F/", f"{tables}/") for word in command]
            main([*words, *more])
            out, err = capsys.readouterr()
            assert not RAW & set(out + err), (command, out, err)
            spelled += "\\x1b]0;title\\x07" in out + err
            if more:
                json.loads(out)
    assert spelled > len(COMMANDS)
