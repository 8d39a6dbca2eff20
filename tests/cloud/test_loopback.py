"""The guard of the cloud tests: nothing leaves the machine, and no credentials of the machine are seen."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import pytest

from tests.cloud.loopback import NotLoopbackError, is_loopback, only_loopback


@pytest.mark.parametrize("address", ["169.254.169.254", "192.0.2.1", "2001:db8::1"])
def test_a_socket_to_another_address_fails_at_once(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with only_loopback() as tried, socket.socket(family) as out:
        for connect in (out.connect, out.connect_ex):
            with pytest.raises(NotLoopbackError, match=address):
                connect((address, 80))

    assert len(tried) == 2


def test_names_are_not_looked_up() -> None:
    with only_loopback() as tried, pytest.raises(NotLoopbackError, match="metadata"):
        socket.create_connection(("metadata.google.internal", 80))

    assert len(tried) == 1


def test_event_loops_are_guarded_too() -> None:
    async def go_out() -> None:
        await asyncio.open_connection("192.0.2.1", 80)

    with only_loopback() as tried, pytest.raises(NotLoopbackError):
        asyncio.run(go_out())

    assert tried


def test_the_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2]).close()

    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "example.org")] == [True, True, True, False]


def test_rust_clients_ask_the_address_that_the_guard_put_before_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["http_proxy"] == os.environ["https_proxy"] == "http://127.0.0.1:9"  # where nobody listens
    options = {"aws_endpoint": "http://192.0.2.1:80", "allow_http": "true", "aws_region": "us-east-1"}
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "client_max_retries": "0", "timeout": "5s"}

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(20)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        heard = pool.submit(_refuse_one, listener)
        with pytest.raises((OSError, ValueError)):
            lance.dataset("s3://bucket/table.lance", storage_options=options | keys)

    assert heard.result().startswith(b"GET http://192.0.2.1")


def _refuse_one(listener: socket.socket) -> bytes:
    link, _ = listener.accept()
    with link:
        heard = link.recv(4096)
        link.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    listener.close()
    return heard


def test_credentials_of_the_machine_are_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"]
    for name in names:
        monkeypatch.setenv(name, "from the machine")

    with only_loopback():
        seen = [os.environ.get(name) for name in names]

    assert seen == [None] * 4
    assert os.environ["AWS_PROFILE"] == "from the machine"
