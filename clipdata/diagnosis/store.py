"""A place: which credential is used there, how fast it answers, and whether two writers can commit there safely.

A commit is safe where the store refuses to write an object that is there already: then of two writers who make one
version at once, one is refused and tries again. That is tried on an object of a few bytes, which is removed again.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipdata import hints
from clipdata.diagnosis.records import Finding
from clipdata.errors import ClipdataError, CredentialsError, NotFoundError, StorageError
from clipdata.json_parsing import parse_json
from clipdata.lance_io.layout import Layout
from clipdata.lance_io.table import open_table
from clipdata.objects.faults import as_clipdata_error, status_of, words_of
from clipdata.objects.removing import remove
from clipdata.plurals import counted
from clipdata.storage import Storage, absolute, is_remote, join, redact, scheme

_TIMES = 5
_SLOW_S = 0.5
_PROBE = b"clipdata doctor: this object can be removed\n"
_REFUSED = (409, 412)
_AZURE = (
    "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY", "AZURE_CLIENT_ID",
)  # fmt: skip
_GOOGLE_FILE = "~/.config/gcloud/application_default_credentials.json"


def store(uri: str, storage: Storage, *, write: bool = True) -> Iterator[Finding | ClipdataError]:
    """What is found of a place; an error ends it and is found too.

    Args:
        uri: of a table, or of a folder or prefix where one may come to be.
        storage: how to reach it.
        write: also try to write.
    """
    location = absolute(uri)
    yield Finding("store", "place", redact(location))
    yield Finding("store", "credential", credential(location, storage))
    try:
        yield from _table(location, storage)
        if not is_remote(location) and not Path(location).is_dir() and not write:
            return
        yield from _timed(location, storage)
        if write:
            yield from _written(location, storage)
        else:
            yield Finding("store", "conditional writes", "not tried (--no-write)", "note")
    except ClipdataError as error:
        yield Finding("store", "reachable", error.message, "bad", error.hint)
        yield error


def _table(location: str, storage: Storage) -> Iterator[Finding]:
    """Whether a table is there, and how it lies in files."""
    try:
        table = open_table(location, storage=storage)
    except NotFoundError:
        yield Finding("store", "table", "none there")
        return
    yield Finding("store", "table", f"version {table.version}, {counted(table.num_rows, 'row')}")
    layout = Layout.of(table.dataset)
    if layout.fault:
        yield Finding("store", "layout", layout.fault, "note", f"{hints.compact(location)} mends it")
    else:
        yield Finding("store", "layout", str(layout))


def _timed(location: str, storage: Storage) -> Iterator[Finding]:
    """Time a listing, which every store has."""
    fs, path = storage.filesystem(location)

    def listed() -> None:
        with suppress(FileNotFoundError):
            fs.ls(path, detail=False)

    yield _latency("list", listed, f"listing {redact(location)}", storage)


def _latency(name: str, ask: Callable[[], Any], doing: str, storage: Storage) -> Finding:
    """Time of one request: the median of several, the first of which is left out.

    Raises:
        ClipdataError: the request fails.
    """
    taken_s = []
    for _ in range(_TIMES + 1):
        started_s = time.perf_counter()
        try:
            ask()
        except Exception as error:
            raise as_clipdata_error(error, doing, storage) from error
        taken_s.append(time.perf_counter() - started_s)
    median, most = statistics.median(taken_s[1:]), max(taken_s[1:])
    text = (
        f"{1000 * median:.1f} ms (median of {_TIMES}, most {1000 * most:.1f} ms, the first {1000 * taken_s[0]:.1f} ms)"
    )
    hint = "work in the region of the bucket; maps and training read ahead, single rows do not"
    return Finding("store", name, text, "note", hint) if median > _SLOW_S else Finding("store", name, text)


def _written(location: str, storage: Storage) -> Iterator[Finding | ClipdataError]:
    """Write an object where there must be none, twice; read it; remove it."""
    probe = join(_folder(location), f".clipdata-doctor-{uuid.uuid4().hex}")
    try:
        _create(probe, storage)
    except Exception as error:
        found = as_clipdata_error(error, f"writing {redact(probe)}", storage)
        if isinstance(found, CredentialsError) or isinstance(error, PermissionError):
            why = f"not tried: nothing may be written here ({words_of(error, storage)})"
            yield Finding("store", "conditional writes", why, "note", "to read a table, no more is needed: --no-write")
            return
        raise found from error
    try:
        fs, path = storage.filesystem(probe)
        yield _latency("read", lambda: fs.cat_file(path), f"reading {redact(probe)}", storage)
        if _is_refused(probe, storage):
            yield Finding("store", "conditional writes", "honoured: of two writers of one version, one is refused")
        else:
            text = "NOT honoured: an object that was there was written over, so commits of two writers can be lost"
            hint = "let one writer at a time write here, or use a store with conditional writes (If-None-Match)"
            yield Finding("store", "conditional writes", text, "bad", hint)
            yield StorageError(f"commits to {redact(location)} are not safe: {text}", hint=hint)
    finally:
        remove(storage, probe)


def _folder(location: str) -> str:
    """The place itself; of a folder that is not there yet, the nearest one that is."""
    if is_remote(location):
        return location
    path = Path(location)
    while not path.is_dir():
        path = path.parent
    return str(path)


def _is_refused(probe: str, storage: Storage) -> bool:
    try:
        _create(probe, storage)
    except Exception as error:
        if isinstance(error, FileExistsError) or status_of(error) in _REFUSED or "PreconditionFailed" in str(error):
            return True
        raise as_clipdata_error(error, f"writing {redact(probe)}", storage) from error
    return False


def _create(probe: str, storage: Storage) -> None:
    """Write an object only if there is none, by what each store has for it."""
    if not is_remote(probe):
        with open(probe, "xb") as opened:
            opened.write(_PROBE)
        return
    fs, path = storage.filesystem(probe)
    fs.pipe_file(path, _PROBE, mode="create")


def credential(location: str, storage: Storage) -> str:
    """Where the credential comes from that is used at a place; never its value."""
    kind = scheme(location)
    if kind == "file":
        return "none needed: a local path"
    if storage.anonymous:
        return "none: unsigned requests (--anonymous)"
    found = {"s3": _of_amazon, "gs": _of_google, "az": _of_azure}.get(kind)
    return found(storage) if found is not None else "as fsspec finds it"


def _of_amazon(storage: Storage) -> str:
    if "access_key_id" in storage.options:
        return "access_key_id of the storage options"
    profile = storage.options.get("profile") or os.environ.get("AWS_PROFILE")
    if profile:
        where = "the storage options" if "profile" in storage.options else "AWS_PROFILE"
        return f"profile {profile!r}, named by {where}"
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "AWS_ACCESS_KEY_ID of the environment"
    try:
        import botocore.session
    except ImportError:
        return "not known: s3fs is not installed (pip install 'clipdata[s3]')"
    found = botocore.session.Session().get_credentials()
    return f"found by botocore: {found.method}" if found is not None else "none found (--anonymous for a public bucket)"


def _of_google(storage: Storage) -> str:
    token = storage.options.get("token")
    if token:
        path = os.path.expanduser(token)
        return (
            f"{_kind_of_key(path)} at {path}, of the storage options"
            if os.path.isfile(path)
            else ("bearer token of the storage options")
        )
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return f"{_kind_of_key(named)} at {named}, named by GOOGLE_APPLICATION_CREDENTIALS"
    usual = os.path.expanduser(_GOOGLE_FILE)
    if os.path.isfile(usual):
        return f"{_kind_of_key(usual)} at {usual} (gcloud auth application-default login)"
    return "none found here: the service account of this machine, if it runs at Google"


def _kind_of_key(path: str) -> str:
    try:
        kind = parse_json(Path(path).read_text(encoding="utf-8")).get("type")
    except (OSError, ValueError, AttributeError):
        return "a file that is no key"
    known = {"service_account": "key of a service account", "authorized_user": "login of a user"}
    return known.get(str(kind), "key")


def _of_azure(storage: Storage) -> str:
    for word in ("account_key", "sas_token"):
        if word in storage.options:
            return f"{word} of the storage options"
    named = next((name for name in _AZURE if os.environ.get(name)), None)
    return f"{named} of the environment" if named else "as Azure's own tools find it (az login, managed identity)"
