"""Lance's errors in clipdata's words."""

from __future__ import annotations

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
from clipdata.lance_io.faults import translated, with_retries

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
        SchemaError,
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
