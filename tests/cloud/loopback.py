"""Keeps the tests on the loopback: no credentials to be found, no other address to be reached.

Python sockets that connect elsewhere, and names that are looked up, fail at once and are remembered, since a library
may catch the error and try again. Rust code is out of reach of that; it honours the proxy variables, which point at a
port where nobody listens. This module knows nothing of storage.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_CLEARED = ("AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "STORAGE_EMULATOR_HOST", "BOTO_", "AZURE_", "GCS")
_NOBODY = "http://127.0.0.1:9"
_SET = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_GCE_CHECK": "true",
    "GCE_METADATA_HOST": "127.0.0.1:9",
    "GCE_METADATA_IP": "127.0.0.1:9",
    "DATACHAIN_NO_ANALYTICS": "1",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    "http_proxy": _NOBODY,
    "https_proxy": _NOBODY,
    "HTTPS_PROXY": _NOBODY,
    "no_proxy": "127.0.0.1,localhost",
    "NO_PROXY": "127.0.0.1,localhost",
}


class NotLoopbackError(OSError):
    """Something tried to leave the machine."""


def is_loopback(host: str | bytes | None) -> bool:
    """Tell whether a host stays on this machine."""
    text = host.decode() if isinstance(host, bytes) else host
    if text in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(text).is_loopback  # type: ignore[arg-type]
    except ValueError:
        return False


@contextmanager
def only_loopback() -> Iterator[list[str]]:
    """Forbid every other address inside the block; yield the list of what was tried."""
    tried: list[str] = []

    def refuse(what: str) -> None:
        tried.append(what)
        raise NotLoopbackError(f"a test tried to reach {what}; only the loopback is allowed")

    def guarded(original: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
                refuse(f"{address[0]}:{address[1]}")
            return original(self, address)

        return connect

    lookup = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **keywords: Any) -> Any:
        if not is_loopback(host):
            refuse(f"the name or address {host!r}")
        return lookup(host, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", look_up)
        for name in [name for name in os.environ if name.upper().startswith(_CLEARED)]:
            patch.delenv(name)
        for name, value in _SET.items():
            patch.setenv(name, value)
        yield tried
