"""Locations and the settings that reach them, without a server (what servers make of them: tests/cloud)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from clipdata.errors import UsageError
from clipdata.storage import OPTION_WORDS, SECRET_WORDS, Storage, absolute, is_remote, join, scheme

SECRET = "hunter2-do-not-show"
ALL_WORDS = {word: SECRET if word in SECRET_WORDS else "value" for word in OPTION_WORDS}
ALL_WORDS |= {
    "endpoint": f"http://user:{SECRET}@127.0.0.1:9/",
    "timeout": "30s",
    "connect_timeout": "30s",
    "cache_bytes": "5GB",
    "fsspec.password": SECRET,
}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gs://b/k", "gs"),
        ("gcs://b/k", "gs"),
        ("s3://b/k", "s3"),
        ("S3A://b/k", "s3"),
        ("abfss://b/k", "az"),
        ("https://host/k", "https"),
        ("file:///tmp/x", "file"),
        ("/tmp/x", "file"),
        ("relative/gs:/x", "file"),
        ("C:/x", "file"),
        (Path("x"), "file"),
    ],
)
def test_scheme_of_a_location(uri: str | Path, expected: str) -> None:
    assert scheme(uri) == expected
    assert is_remote(uri) == (expected != "file")


def test_absolute_locations_do_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert absolute("a/b.lance") == str(tmp_path / "a" / "b.lance")
    assert absolute(f"file://{tmp_path}/x") == str(tmp_path / "x")
    assert absolute("gs://bucket/folder/") == "gs://bucket/folder"
    assert absolute("~/x") == str(Path.home() / "x")


def test_absolute_spells_a_scheme_as_lance_and_datachain_do() -> None:
    spelt = [absolute(f"{written}://b/K") for written in ("gcs", "s3a", "GS", "az")]

    assert spelt == ["gs://b/K", "s3://b/K", "gs://b/K", "az://b/K"]


def test_join_adds_segments_to_paths_and_urls() -> None:
    assert join("gs://b/folder/", "/x/", "y.lance") == "gs://b/folder/x/y.lance"
    assert join(Path("/a"), "b") == "/a/b"


def test_unknown_word_is_refused_with_the_words_that_exist() -> None:
    with pytest.raises(UsageError) as caught:
        Storage(options={"aws_secret": SECRET})

    assert all(word in str(caught.value) for word in OPTION_WORDS)
    assert "'aws_secret'" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "127.0.0.1:9000"}, "endpoint .* expected a URL"),
        ({"endpoint": ""}, "endpoint is empty"),
        ({"timeout": "30"}, "timeout is '30'; expected a duration"),
        ({"region": 1}, "region is of type int"),
    ],
)
def test_value_that_cannot_be_right_is_refused_at_once(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Storage(options=options)


def test_pairs_are_read_as_typed() -> None:
    read = Storage.parse(["endpoint=http://h:1/?a=b", "region=eu"], anonymous=True)

    assert read == Storage(anonymous=True, options={"endpoint": "http://h:1/?a=b", "region": "eu"})


def test_a_pair_without_a_value_is_not_shown_because_it_may_be_a_secret() -> None:
    with pytest.raises(UsageError) as caught:
        Storage.parse(["region=eu", SECRET])

    assert "number 2" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_no_secret_is_shown_by_repr_str_or_format() -> None:
    storage = Storage(options=ALL_WORDS)

    for shown in (repr(storage), str(storage), f"{storage}", f"{[storage]}", str(pickle.loads(pickle.dumps(storage)))):
        assert SECRET not in shown
        assert "Storage(anonymous=False" in shown
        assert "region" in shown


def test_pickled_settings_reach_the_same_place() -> None:
    storage = Storage(anonymous=True, options=ALL_WORDS)

    assert pickle.loads(pickle.dumps(storage)) == storage


def test_a_filesystem_that_does_not_exist_is_a_usage_error_without_secrets() -> None:
    with pytest.raises(UsageError, match="cannot open nosuch://") as caught:
        Storage(options=ALL_WORDS).filesystem(f"nosuch://user:{SECRET}@host/x?sig={SECRET}")

    assert SECRET not in str(caught.value)


def test_gcs_words_become_those_of_each_library() -> None:
    storage = Storage(options={"endpoint": "http://h:1", "token": "tok", "project": "p", "timeout": "500ms"})

    assert storage._gcsfs() == {"token": "tok", "endpoint_url": "http://h:1", "project": "p", "requests_timeout": 0.5}
    assert storage.lance_options("gs://b/t.lance") == {
        "google_base_url": "http://h:1",
        "google_bearer_token": "tok",
        "timeout": "500ms",
        "allow_http": "true",
    }
    assert Storage(anonymous=True).lance_options("gs://b/t") == {"google_skip_signature": "true"}
    assert Storage(anonymous=True).datachain_config("gs://b/x") == {"anon": True, "client_config": {"token": "anon"}}


def test_key_file_is_told_from_a_token_even_by_a_token_too_long_for_a_path(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")

    in_file, long = (Storage(options={"token": token}).lance_options("gs://b/t") for token in (str(key), "y" * 5000))

    assert in_file == {"google_application_credentials": str(key)}
    assert long == {"google_bearer_token": "y" * 5000}


def test_s3_words_become_those_of_each_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    words = {"endpoint": "https://h:1", "region": "eu", "access_key_id": "k", "secret_access_key": "s"}
    storage = Storage(options=words | {"session_token": "t"})

    assert storage.lance_options("s3://b/t.lance") == {
        "aws_endpoint": "https://h:1",
        "aws_region": "eu",
        "aws_access_key_id": "k",
        "aws_secret_access_key": "s",
        "aws_session_token": "t",
        "aws_virtual_hosted_style_request": "false",
    }
    assert storage.datachain_config("s3://b/x") == {
        "anon": None,
        "client_config": {
            "aws_endpoint_url": "https://h:1",
            "key": "k",
            "secret": "s",
            "token": "t",
            "client_kwargs": {"region_name": "eu"},
        },
    }
    assert Storage(anonymous=True).lance_options("s3://b/t") == {"aws_skip_signature": "true"}


def test_local_locations_need_no_options() -> None:
    assert Storage(options=ALL_WORDS).lance_options("/tmp/t.lance") == {}


def test_a_table_cannot_live_where_lance_cannot_write() -> None:
    with pytest.raises(UsageError, match="a table cannot live on https://"):
        Storage().lance_options("https://host/t.lance")


def test_own_keys_of_a_library_are_passed_through() -> None:
    storage = Storage(options={"lance.client_max_retries": "3", "fsspec.default_cache_type": "none"})

    assert storage.lance_options("s3://b/t")["client_max_retries"] == "3"
    assert storage.passthrough("fsspec") == {"default_cache_type": "none"}


def test_local_names_with_colons_are_no_chains_of_filesystems(tmp_path: Path) -> None:
    fs, path = Storage().filesystem(tmp_path / "a::b.jpg")
    fs.pipe_file(path, b"x")

    assert [found.name for found in tmp_path.iterdir()] == ["a::b.jpg"]


def test_aws_profile_is_read_for_lance_which_does_not_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "credentials"
    config.write_text(f"[lab]\naws_access_key_id = k\naws_secret_access_key = {SECRET}\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(config))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    options = Storage(options={"profile": "lab"}).lance_options("s3://b/t")

    assert (options["aws_access_key_id"], options["aws_secret_access_key"]) == ("k", SECRET)


def test_google_is_prepared_before_gcsfs_is_imported() -> None:
    program = """
import json, os, sys
from clipdata.storage import Storage
assert "gcsfs" not in sys.modules and "fsspec" not in sys.modules
{call}
import gcsfs
words = ("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "FETCH_RAW_TOKEN_EXPIRY", "GOOGLE_APPLICATION_CREDENTIALS")
print(json.dumps([gcsfs.GCSFileSystem.__name__, *[os.environ.get(word) for word in words]]))
"""
    for call in (
        'Storage(anonymous=True).filesystem("gs://b/x")',
        'Storage(anonymous=True).datachain_config("gs://b")',
    ):
        cleared = ("GCSFS_", "FETCH_", "GOOGLE_")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(cleared)}
        environ["GOOGLE_APPLICATION_CREDENTIALS"] = ""
        command = [sys.executable, "-c", program.format(call=call)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["GCSFileSystem", "false", "false", None]


def test_gcsfs_is_taken_plain_even_when_it_was_imported_before() -> None:
    code = (
        "import gcsfs\nfrom clipdata.storage import Storage\n"
        "fs, _ = Storage(anonymous=True, options={'endpoint': 'http://127.0.0.1:9'}).filesystem('gs://b/x')\n"
        "print(type(fs).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "gcsfs.core"


@pytest.mark.parametrize(
    "uri", ["s3://AKIA:s3cr3t@bucket/x", "s3a://AKIA@bucket", "gs://u:s3cr3t@b/x", "az://u:s3cr3t@c/x"]
)
def test_keys_in_the_url_of_a_bucket_are_refused_before_anybody_repeats_them(uri: str) -> None:
    with pytest.raises(UsageError, match="holds keys before its bucket") as caught:
        Storage().filesystem(uri)
    assert "s3cr3t" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_an_at_sign_elsewhere_is_no_key() -> None:
    for uri in ("s3://bucket/a@b.jpg", "az://container@account.dfs.core.windows.net/x", "https://u:p@host/x"):
        assert absolute(uri).endswith(uri.partition("://")[2])
