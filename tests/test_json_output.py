"""JSON on stdout: valid whatever was found, and harmless to a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import encode, schema_of


def test_what_json_does_not_know_becomes_what_it_does() -> None:
    found = {
        "nan": float("nan"), "inf": [float("inf"), np.float32(1.5), np.int64(3)], "bytes": b"abc", 3: (1, 2),
        "when": datetime(2026, 1, 2, tzinfo=UTC), "decimal": Decimal("1.5"), "path": Path("a"), "array": np.arange(2),
    }  # fmt: skip

    read = json.loads(encode(found), parse_constant=pytest.fail)

    assert read == {
        "nan": None, "inf": [None, 1.5, 3], "bytes": "<3 bytes>", "3": [1, 2], "when": "2026-01-02T00:00:00+00:00",
        "decimal": "1.5", "path": "a", "array": [0, 1],
    }  # fmt: skip


def test_orders_to_a_terminal_and_half_letters_are_escapes_of_json() -> None:
    text = "\x1b[31m \x9b \u202e \udc80 图"

    line = encode({"name": text})

    assert json.loads(line)["name"] == text
    assert line.isprintable()
    assert "图" in line


@pytest.mark.parametrize("words", [verb.words for verb in VERBS])
def test_every_verb_has_a_schema_that_is_asked_for_before_or_after_it(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in ([*words.split(), "--json-schema"], ["--json-schema", *words.split()]):
        assert main(typed) == 0
        schema = json.loads(capsys.readouterr().out)
        assert schema["title"] == f"clipdata {words}"
        assert {"schema_version", "next", "error"} < set(schema["properties"])
    verb = next(one for one in VERBS if one.words == words)
    assert json.loads(json.dumps(schema_of(words, verb.found))) == schema


def test_a_schema_of_no_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json-schema", "frobnicate"]) == 2
    assert "verbs: run caption-contest, run prompt-classification" in capsys.readouterr().err
    assert main(["--json-schema"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [verb.words for verb in VERBS]


@pytest.mark.parametrize(
    "words",
    [["show"], ["show", "t.lance", "--jsn"], ["frobnicate"], ["ingest"], [], ["query", "t.lance", "x", "--limit", "0"]],
)
def test_words_that_cannot_be_read_are_one_json_object_too(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["name"] == "usage"
    assert "hint: clipdata" in err
