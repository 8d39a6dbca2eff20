"""Folders that may no longer be written, or not even be read, and a superuser who obeys that."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

READ_ONLY, NO_ACCESS, ALL = 0o555, 0o000, 0o755
_VERSION, _MAY_ANYTHING = 0x20080522, 0b1110  # of Linux's capabilities: to override, to read and to own all files


def obey_permissions() -> None:
    """Take the right to pass over permissions from this thread and those that it starts; others never had it.

    Raises:
        OSError: the system refuses.
    """
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, low half and high half
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~_MAY_ANYTHING
    sets[1] &= ~_MAY_ANYTHING
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def forbid(folder: Path, mode: int) -> None:
    """Give all folders below one, and itself, a mode; and their files as much of it as files have."""
    for above, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.chmod(os.path.join(above, name), mode & 0o666)
        os.chmod(above, mode)


def allow(folder: Path) -> None:
    """Let everything below a folder be read and written again; for one who may pass over permissions or owns it."""
    os.chmod(folder, ALL)
    for above, below, files in os.walk(folder):
        for name in below:
            os.chmod(os.path.join(above, name), ALL)
        for name in files:
            os.chmod(os.path.join(above, name), ALL & 0o666)
