"""Lance's errors in clipdata's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipdata.errors import (
    ClipdataError,
    CredentialsError,
    NotFoundError,
    SchemaError,
    StorageError,
    TransientError,
    UsageError,
)
from clipdata.lance_io.faults import NotUnderstoodError, is_conflict, is_transient, translated, with_retries
from clipdata.lance_io.table import open_table
from tests.tables import number_table

LOCAL, REMOTE = "/data/t.lance", "s3://bucket/t.lance"
CASES = [
    (OSError("LanceError(IO): No space left on device (os error 28)"), LOCAL, StorageError, "free some space"),
    (OSError("Permission denied (os error 13)"), LOCAL, StorageError, "choose a folder that can be written"),
    (OSError("Generic S3 error: 403 Forbidden: AccessDenied"), REMOTE, CredentialsError, "--anonymous"),
    (OSError("Generic GCS error: 503 Service Unavailable"), REMOTE, TransientError, "continues where it stopped"),
    (OSError("error sending request for url: connection reset"), REMOTE, TransientError, "same command again"),
    (ValueError("Dataset at path bucket/t.lance was not found"), REMOTE, NotFoundError, "no Lance table"),
    (
        ValueError("Schema error: No field named scor. Valid fields are score"),
        LOCAL,
        NotUnderstoodError,
        "No field named scor",
    ),
    (ValueError("fill_value must be a number"), LOCAL, UsageError, "fill_value"),
    (RuntimeError("something else, rust/lance/src/dataset.rs:77:9"), LOCAL, StorageError, "something else"),
]


@pytest.mark.parametrize(("error", "uri", "kind", "said"), CASES, ids=[str(case[0])[:40] for case in CASES])
def test_each_fault_is_told_by_what_can_be_done(
    error: Exception, uri: str, kind: type[ClipdataError], said: str
) -> None:
    with pytest.raises(kind) as caught, translated(uri, "reading"):
        raise error
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "rust/" not in str(caught.value)


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(SchemaError, match=r"^mine$"), translated(LOCAL, "reading"):
        raise SchemaError("mine")


def test_what_may_pass_is_tried_again_and_the_rest_is_not() -> None:
    tried: list[Exception] = []

    def failing_with(*errors: Exception) -> str:
        def attempt() -> str:
            if len(tried) < len(errors):
                tried.append(errors[len(tried)])
                raise tried[-1]
            return "done"

        tried.clear()
        return with_retries(attempt, attempts=4, base_delay_s=0.001)

    lost, conflict = OSError("connection reset"), OSError("Commit conflict for version 7")
    assert failing_with(lost, conflict, lost) == "done"
    with pytest.raises(OSError, match="connection reset"):
        failing_with(*[lost] * 4)
    with pytest.raises(OSError, match="No space left"):
        failing_with(OSError("No space left on device"))
    assert len(tried) == 1


GONE = (
    "Dataset at path {0} was not found: Not found: {0}/_versions, /home/x/lance/rust/lance-table/src/commit.rs:653:26"
)
ASKED = "Generic S3 error: Error performing GET http://h/b/500/t.lance/_v in 1s, after 2 retries, max_retries: 2, "
WORDS = [
    (ValueError(GONE.format("data/500/t.lance")), "/data/500/t.lance", NotFoundError),
    (ValueError(GONE.format("data/401/t.lance")), "/data/401/t.lance", NotFoundError),
    (ValueError(GONE.format("data/timed out runs/now/t.lance")), "/data/timed out runs/now/t.lance", NotFoundError),
    (ValueError(GONE.format("no space left/t.lance")), "/no space left/t.lance", NotFoundError),
    (ValueError(GONE.format("b/403 credentials/t.lance")), "s3://b/403 credentials/t.lance", NotFoundError),
    (OSError(f"LanceError(IO): {ASKED}retry_timeout: 180s - Server returned non-2xx status code: 403 Forbidden: "),
     "s3://b/500/t.lance", CredentialsError),
    (OSError(f"LanceError(IO): {ASKED}retry_timeout: 180s - Server returned non-2xx status code: 400 Bad Request: "),
     "s3://b/500/t.lance", StorageError),
    (OSError(f"LanceError(IO): {ASKED}retry_timeout: 180s - Server returned non-2xx status code: 500 Internal: "),
     "s3://b/403/t.lance", TransientError),
    (OSError("Query Execution error: LanceError(IO): Generic S3 error: status code: 503 Service Unavailable"),
     "s3://b/t.lance", TransientError),
    (ValueError("External error: LanceError(IO): Generic N/A error: Not found: /d/500/t.lance/data/1010.lance"),
     "/d/500/t.lance", NotFoundError),
    (OSError("Query Execution error: Arrow error: Cast error: Cannot cast string '503 service' to Int32"), LOCAL,
     NotUnderstoodError),
    (RuntimeError("Task was aborted"), LOCAL, StorageError),
]  # fmt: skip


@pytest.mark.parametrize(("error", "uri", "kind"), WORDS, ids=range(len(WORDS)))
def test_nothing_is_concluded_from_a_location(error: Exception, uri: str, kind: type[ClipdataError]) -> None:
    with pytest.raises(ClipdataError) as caught, translated(uri, "opening"):
        raise error
    assert type(caught.value) is kind
    if kind in (NotFoundError, SchemaError):
        assert not is_transient(error)
        assert not is_conflict(error)


def test_a_file_that_was_cleaned_up_is_not_taken_for_a_table_that_is_not_there() -> None:
    with (
        pytest.raises(NotFoundError, match=r"a file of this version is gone(.|\n)*another version"),
        translated(LOCAL, ""),
    ):
        raise ValueError("External error: LanceError(IO): Generic N/A error: Not found: /data/t.lance/data/1010.lance")


@pytest.mark.parametrize("where", ["bogus = 500", "n = 403 and bogus = 1", "n == 'credential' and bogus=1",
                                   "n = 'timed out'", "n = 'os error 28'", "n = 'no space left'", "n ="])  # fmt: skip
def test_nothing_is_concluded_from_the_words_of_a_condition(tmp_path: Path, where: str) -> None:
    table = number_table(tmp_path, 2)
    for ask in (table.count_rows, lambda text: table.to_table(where=text), table.offsets):
        with pytest.raises(SchemaError):
            ask(where)


@pytest.mark.parametrize("folder", ["500", "401", "timeout", "forbidden", "timed out runs/a b"])
def test_a_folder_without_a_table_is_told_at_once_whatever_it_is_called(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder / "t.lance").mkdir(parents=True)
    with pytest.raises(NotFoundError, match="there is no Lance table"):
        open_table(tmp_path / folder / "t.lance")


def test_a_panic_of_lance_is_one_line(tmp_path: Path) -> None:
    table = number_table(tmp_path, 2)
    with pytest.raises(StorageError) as caught, translated(table.uri, "reading"):
        table.dataset.take([0], columns=["bogus"])  # past Table's own check
    assert caught.value.message.startswith(f"reading {table.uri}: Lance failed inside: ")
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None
