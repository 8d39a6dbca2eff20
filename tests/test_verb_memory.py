"""Every verb's peak of memory has a bound, which the benchmark holds it to; a few of them are measured here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import verb_memory
from benchmarks.verb_memory import VERBS, Verb

ROOT = Path(__file__).parents[1]
# They run verbs that are measured, or their memory is not of a table's rows.
ELSEWHERE = {
    "bench", "check_canary", "curate", "export_towers", "fine_tune", "fit_head", "ingest_captions",
    "ingest_class_list", "ingest_hugging_face", "ingest_lance", "ingest_urls", "interpolate", "new", "push", "rejects",
    "run_caption_contest", "run_dual_encoder", "run_from_scratch", "run_locked_image", "run_prompt_classification",
    "runs", "similar", "tag", "view", "why",
}  # fmt: skip


def test_every_verb_of_the_command_line_has_a_bound_or_stands_with_those_that_have_none() -> None:
    verbs = {file.stem for file in (ROOT / "pipelines" / "cli" / "commands").glob("[a-z]*.py")}
    measured = {name.replace(" ", "_").replace("-", "_") for name in VERBS} | {name.split()[0] for name in VERBS}
    measured = {name.replace("-", "_") for name in measured}
    assert verbs - measured == ELSEWHERE
    assert all(0 < verb.most_mib <= 1536 for verb in VERBS.values())


@pytest.mark.slow
def test_verbs_are_held_to_their_bounds(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "ingest parquet", Verb(VERBS["ingest parquet"].code, 50))
    monkeypatch.setitem(VERBS, "broken", Verb("cd.open_table('nowhere.lance')", 1000))
    words = ["--rows", "200", "--images", "20", "--verbs", "ingest images,ingest parquet,broken"]

    assert verb_memory.main(words) == 1

    told = {line.split("|")[1].strip(): line for line in capfd.readouterr().out.splitlines() if line.startswith("|")}
    assert [name for name, line in told.items() if "MORE THAN PROMISED" in line] == ["ingest parquet", "broken"]
