"""`doctor`: what of a machine and a place decides whether work there goes well; a secret is in none of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.diagnosis.machine import extras
from clipdata.diagnosis.store import credential
from clipdata.storage import Storage
from pipelines.cli.app import main
from pipelines.cli.commands.doctor import doctor as doctor_verb
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tables import number_table

SECRET = "s3cr3tS3cr3tS3cr3t"


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without credentials, and a home folder of its own."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_the_machine_alone_is_told_without_importing_what_is_heavy() -> None:
    found = cd.doctor()

    assert found.sound
    assert found.place is None
    assert found.finding("pylance").value
    assert found.finding("cores").value[0].isdigit()
    assert "free of" in found.finding("disk").value


def test_missing_extras_are_named_with_the_command_that_brings_them() -> None:
    listed = [
        "numpy>=1",
        "pyarrow>=1; extra == 'here'",
        "no-such-package>=2; extra == 'heic'",
        "numpy; extra == 'heic'",
        "also-none; extra == 'test'",
        "clipdata[gcs]; extra == 'bench'",
    ]

    found = {one.name: (one.value, one.hint) for one in extras(listed)}

    assert found == {
        "here": ("installed", None),
        "heic": ("missing no-such-package", "pip install 'clipdata[heic]'"),
    }


def test_a_folder_a_table_and_a_place_that_is_not_there_yet_are_probed_and_left_as_they_were(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    before = sorted(path for path in tmp_path.rglob("*"))

    for place in (table.uri, str(tmp_path), str(tmp_path / "to" / "come.lance")):
        found = cd.doctor(place)
        assert found.sound
        assert found.finding("conditional writes").value.startswith("honoured")
        assert "ms (median of 5" in found.finding("list").value
        found.hold()

    assert cd.doctor(table.uri).finding("table").value.endswith("3 rows")
    assert cd.doctor(tmp_path, write=False).finding("conditional writes").verdict == "note"
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        found = cd.doctor(tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert "nothing may be written here" in found.finding("conditional writes").value


def test_which_credential_is_used_is_told_and_never_its_value(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = clean / "key.json"
    key.write_text(json.dumps({"type": "service_account", "private_key": SECRET}))

    def told(place: str, anonymous: bool = False, **options: str) -> str:
        return credential(place, Storage(anonymous=anonymous, options=options))

    answers = [
        (told("s3://b", access_key_id=SECRET, secret_access_key=SECRET), "access_key_id of the storage options"),
        (told("s3://b", profile="work"), "profile 'work', named by the storage options"),
        (told("s3://b", anonymous=True), "unsigned requests"),
        (told("s3://b"), "none found"),
        (told("gs://b", token=str(key)), "key of a service account at"),
        (told("gs://b", token=SECRET), "bearer token of the storage options"),
        (told("gs://b"), "none found here"),
        (told("az://b", account_key=SECRET), "account_key of the storage options"),
        (told("az://b"), "as Azure's own tools find it"),
        (told("/tmp"), "none needed"),
    ]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", SECRET)
    answers += [
        (told("s3://b"), "AWS_ACCESS_KEY_ID of the environment"),
        (told("gs://b"), "named by GOOGLE_APPLICATION_CREDENTIALS"),
        (told("az://b"), "AZURE_STORAGE_SAS_TOKEN of the environment"),
    ]

    for found, expected in answers:
        assert expected in found
        assert SECRET not in found


def test_the_command_prints_findings_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    check_schema(found, schema_of("doctor", doctor_verb.found))
    assert found["sound"] is True
    assert main(["doctor"]) == 0
    assert "packages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch://bucket/x"], 2, "nosuch"),
        (["s3://b/x", "-O", "nosuch=1"], 2, "unknown storage option"),
        (["s3://b/x", "-O", "endpoint=localhost"], 2, "endpoint"),
        (["one", "two"], 2, "two"),
    ],
)
def test_what_is_wrong_is_said(
    clean: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["doctor", *words]) == code

    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
