"""Stores that do not answer: said, and given up in time, by whichever client is used, with an exit that is clean."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clipdata.errors import TransientError
from clipdata.objects.faults import as_clipdata_error
from clipdata.storage import Storage

# What reaches a store first: opening a table, making one, listing a folder.
ASK = """
import sys
import pyarrow as pa
from clipdata.errors import ClipdataError
from clipdata.lance_io.rows import create_table
from clipdata.lance_io.table import open_table
from clipdata.objects.listing import list_objects
from clipdata.schema import key_field
from clipdata.storage import Storage

scheme, endpoint, limit = sys.argv[1:]
keys = {"access_key_id": "nobodys", "secret_access_key": "secrets", "region": "us-east-1"} if scheme == "s3" else {}
storage = Storage(anonymous=scheme == "gs", options={"endpoint": endpoint, "connect_timeout": limit, **keys})
place = f"{scheme}://bucket/images"
for ask in (
    lambda: open_table(place, storage=storage),
    lambda: create_table(place, pa.schema([key_field("path")]), storage=storage),
    lambda: next(list_objects(storage, place)),
    lambda: storage.filesystem(f"{place}/meta.parquet")[0].open("bucket/images/meta.parquet").read(),
):
    try:
        ask()
    except ClipdataError as error:
        print(error.exit_code, error.message)
"""


@contextmanager
def silent(*, accepts: bool) -> Iterator[str]:
    """The address of somebody who takes calls and says nothing, or takes no call at all because too many wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50 if accepts else 0)
        held: list[socket.socket] = []
        if accepts:
            threading.Thread(target=lambda: [held.append(listener.accept()[0]) for _ in range(50)], daemon=True).start()
        else:
            for _ in range(4):
                held.append(socket.socket())
                held[-1].setblocking(False)
                held[-1].connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_store_that_does_not_answer_is_given_up_in_time(scheme: str, accepts: bool) -> None:
    with silent(accepts=accepts) as endpoint:
        run = [sys.executable, "-c", ASK, scheme, endpoint, "300ms"]
        done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)

    place, silence = f"{scheme}://bucket/images", f"{endpoint} gave no answer in 0.3 s"
    assert done.stdout.splitlines() == [
        f"5 opening {place}: {silence}",
        f"5 opening {place}: {silence}",
        f"5 reaching {place}: {silence}",
        f"5 reaching {place}: {silence}",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_who_waits_is_told_for_whom(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipdata import answering

    monkeypatch.setattr(answering, "SAID_AFTER_S", 0.01)
    storage = Storage(anonymous=True, options={"endpoint": "http://127.0.0.1:9"})

    def refuse() -> None:
        time.sleep(0.1)
        raise ConnectionRefusedError

    for _ in range(3):  # tried again, it is said once
        with pytest.raises(ConnectionRefusedError):
            storage.answered(refuse, "gs://bucket/x", "opening")
    assert storage.answered(lambda: time.sleep(0.1) or "answer", "gs://bucket/x", "opening") == "answer"
    waited = ["connecting to http://127.0.0.1:9 … (giving up after 30 s)"]
    assert caplog.messages == waited

    assert storage.answered(lambda: time.sleep(0.1) or "answer", "gs://bucket/x", "opening") == "answer"
    assert caplog.messages == waited * 2


@pytest.mark.parametrize("client", ["aiohttp", "botocore"])
def test_where_nobody_listens_the_endpoint_is_to_be_checked(client: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(Exception, match=r"[Cc]onnect") as caught:
        _ask_once(client, endpoint)
    error = as_clipdata_error(caught.value, "listing s3://bucket/images", Storage())

    assert isinstance(error, TransientError)
    assert "check the endpoint" in str(error.hint)


def _ask_once(client: str, endpoint: str) -> None:
    """Ask as gcsfs and s3fs do, which try again for half a minute."""
    if client == "botocore":
        from botocore.config import Config
        from botocore.session import Session

        keys = {"aws_access_key_id": "nobodys", "aws_secret_access_key": "secrets", "region_name": "us-east-1"}
        once = Config(retries={"total_max_attempts": 1})
        Session().create_client("s3", endpoint_url=endpoint, config=once, **keys).list_buckets()
    else:
        import aiohttp

        async def get() -> None:
            async with aiohttp.ClientSession() as session:
                await session.get(endpoint)

        asyncio.run(get())
