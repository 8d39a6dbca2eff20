"""Values as they are typed: no number and no empty text ends a verb in a traceback; the option is named instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
import typer.models

import clipdata as cd
import ingest
from clipdata import hints
from clipdata.errors import ConfigError, UsageError
from pipelines.cli.app import VERBS, main
from pipelines.cli.verbs import MAY_BE_EMPTY, Verb
from tests.pictures import write_pictures
from tests.tables import number_table

NO_NUMBERS = ("nan", "inf", "-inf", "1e308", "1e30", "1" + "0" * 30, "9" * 400, "")
ANY_FINITE = {"--min-difference", "--min-accuracy-difference"}
CAN_BE_ZERO = {
    "--seed", "--delay", "--retries", "--workers", "--alpha", "--rows-shown", "--pictures", "--top", "--queries",
    "--port", "--examples", "--sample",
}  # fmt: skip


def parameters(verb: Verb) -> Iterator[tuple[str, typer.models.ParameterInfo, tuple[type, ...], tuple]]:
    """(name as it is typed, declaration, kinds, what else stands beside it) of what a verb takes."""
    for name, parameter in inspect.signature(verb._callback()).parameters.items():
        if get_origin(parameter.annotation) is Annotated:
            kind, info, *more = get_args(parameter.annotation)
            long = [one for one in (info.default, *(info.param_decls or ())) if str(one).startswith("--")]
            yield (long or [f"--{name.replace('_', '-')}"])[0], info, get_args(kind) or (kind,), tuple(more)


def numeric(verb: Verb) -> list[str]:
    return [name for name, _, kinds, _ in parameters(verb) if {int, float} & set(kinds)]


def words_of(verb: Verb) -> list[str]:
    """The verb with a word for all that must be given."""
    words = verb.words.split()
    for name, parameter in inspect.signature(verb._callback()).parameters.items():
        if parameter.default is inspect.Parameter.empty and get_origin(parameter.annotation) is Annotated:
            info = get_args(parameter.annotation)[1]
            is_argument = isinstance(info, typer.models.ArgumentInfo)
            words += ["none"] if is_argument else [f"--{name.replace('_', '-')}", "none"]
    return words


@pytest.mark.parametrize("verb", [verb for verb in VERBS if numeric(verb)], ids=lambda verb: verb.words)
def test_what_no_number_of_days_rows_or_shares_can_be_is_refused_by_the_name_of_its_option(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for option in numeric(verb):
        beyond = [] if option in ANY_FINITE else ["-1"] if option in CAN_BE_ZERO else ["-1", "0"]
        fine = {"1e308", "1e30", "1" + "0" * 30, "9" * 400} if option in ANY_FINITE else set()
        for value in [*NO_NUMBERS, *beyond]:
            code = main([*words_of(verb), f"{option}={value}"])
            err = capsys.readouterr().err
            assert "Traceback" not in err, (option, value, err)
            assert value in fine or (code == 2 and option in err), (option, value, code, err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)
def test_an_empty_text_is_refused_by_the_name_of_what_it_was_given_for(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tried = 0
    for name, info, kinds, more in parameters(verb):
        is_text = any(kind is str or kind == list[str] for kind in kinds)
        if isinstance(info, typer.models.ArgumentInfo) or not is_text or MAY_BE_EMPTY in more or name == "--prefix":
            continue
        words = words_of(verb)
        words = words if name not in words else [*words[: words.index(name)], *words[words.index(name) + 2 :]]
        assert main([*words, f"{name}="]) == 2
        err = capsys.readouterr().err
        assert f"{name} is empty; expected: " in err
        assert f"hint: clipdata {verb.words} --help" in err
        tried += 1
    assert tried or verb.words == "runs"  # which has an option of a few words alone
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [["show", ""], ["drop", "t.lance", ""], ["restore", "t.lance", ""], ["merge", "", "t.lance", "--into", "x.lance"]],
)
def test_an_empty_argument_is_refused_by_its_name(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number_table(tmp_path, 3)
    monkeypatch.chdir(tmp_path)

    assert main(words) == 2

    assert " is empty; expected: " in capsys.readouterr().err


def test_a_version_that_none_can_be_is_called_missing_in_our_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = number_table(tmp_path, 3)
    for version in ("a b", "../x", ".lance", "x.lock", "a..b", "²", "9" * 30, "9" * 5000):
        for line in (["show", table.uri, f"--version={version}"], ["restore", table.uri, version]):
            assert main(line) == 3, (line[0], version)
            err = capsys.readouterr().err
            assert "there is no" in err
            assert "Ref " not in err
    assert main(["compare", table.uri, "number@²", "number"]) == 3


def test_a_hint_names_a_table_that_can_be_where_a_folder_has_no_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path / "in")
    for place in (".", "../in/", ".."):
        assert main(["show", place]) == 3
        hint = capsys.readouterr().err.partition("hint: ")[2]
        assert ("--into ../in.lance" if place == "../in/" else "--into TABLE.lance") in hint
    assert "--into TABLE.lance" in hints.ingest_folder("/", "images")


def test_ages_to_clean_by_are_told_in_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 3)
    for days in ("0", "-5", "nan", "40000"):
        assert main(["clean", table.uri, "--older-than", days, "--yes"]) == 2
        err = capsys.readouterr().err
        assert f"'--older-than': {days} days; expected an hour" in err
        assert "timedelta" not in err
    assert main(["clean", table.uri, "--older-than", "0.042", "--yes"]) == 0
    for age in (timedelta.max, timedelta(0)):
        with pytest.raises(UsageError, match="expected a timedelta of at least an hour"):
            cd.clean(table, older_than=age)


def test_rules_of_downloads_are_finite_numbers() -> None:
    for value in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ConfigError):
            ingest.DownloadRules(deadline_s=value)
        with pytest.raises(ConfigError):
            ingest.DownloadRules(delay_s=value)
