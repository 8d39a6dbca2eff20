"""What decoders say while they decode: not for the terminal, since what is wrong with a file is its refusal's to say.

libjpeg, libpng and libtiff write to C's `stderr`, and there is no switch for it in the packages that hold them; Pillow
warns and logs. Only what is said inside `hushed`, by the thread that is in it, is dropped: everything else that a
program, its other libraries and its other threads say comes through as ever. It must know nothing of images.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import warnings
from typing import Any

_LOGGERS = ("PIL.Image", "PIL.TiffImagePlugin", "PIL.PngImagePlugin", "PIL.JpegImagePlugin")


class _Depth(threading.local):
    """How many times a thread is inside `hushed`."""

    value = 0


_inside = _Depth()


class _WhileDecoding:
    """Stands where a filter of warnings has the pattern of its message, and matches by thread."""

    def match(self, _: str) -> bool:
        return _inside.value > 0


class _NotWhileDecoding(logging.Filter):
    def filter(self, _: logging.LogRecord) -> bool:
        return _inside.value == 0


_WARNINGS: Any = ("ignore", _WhileDecoding(), Warning, None, 0)
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_NotWhileDecoding())


class _Stream(ctypes.Structure):
    """glibc's `cookie_io_functions_t`: what a stream of our own does when it is written to."""

    Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    _fields_ = [("read", ctypes.c_void_p), ("write", Write), ("seek", ctypes.c_void_p), ("close", ctypes.c_void_p)]


def _pass_on(_: int, data: int, size: int) -> int:
    if not _inside.value:
        os.write(2, ctypes.string_at(data, size))
    return size


_write = _Stream.Write(_pass_on)


class _StandIn:
    """Stands in for C's `stderr` as long as any thread decodes; where the system has no such streams, does nothing."""

    def __init__(self) -> None:
        self._lock, self._num_inside, self._own = threading.Lock(), 0, None
        try:
            libc = ctypes.CDLL(None)
            libc.fopencookie.restype = ctypes.c_void_p
            libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Stream]
            self._stderr = ctypes.c_void_p.in_dll(libc, "stderr")
            self._own = libc.fopencookie(None, b"w", _Stream(None, _write, None, None))
            libc.setvbuf(ctypes.c_void_p(self._own), None, 2, 0)  # 2: unbuffered, as `stderr` itself is
        except (OSError, AttributeError, TypeError, ValueError):
            self._own = None
        os.register_at_fork(after_in_child=self._begin_anew)

    def enter(self) -> None:
        with self._lock:
            if self._own and self._num_inside == 0:
                self._before, self._stderr.value = self._stderr.value, self._own
            self._num_inside += 1

    def leave(self) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._own and self._num_inside == 0:
                self._stderr.value = self._before

    def _begin_anew(self) -> None:
        """In a forked child no other thread decodes, whatever they did in the parent."""
        self._lock = threading.Lock()
        if self._own and self._num_inside:
            self._stderr.value, self._num_inside = self._before, 0


_stand_in = _StandIn()


class Hushed:
    """Drops what the calling thread's decoders write, warn and log inside the block: `with hushed:`."""

    def __enter__(self) -> None:
        if not any(each is _WARNINGS for each in warnings.filters):  # after somebody's `catch_warnings`, it may be gone
            warnings.filters.insert(0, _WARNINGS)  # type: ignore[attr-defined]
        _inside.value += 1
        _stand_in.enter()

    def __exit__(self, *_: object) -> None:
        _stand_in.leave()
        _inside.value -= 1


hushed = Hushed()
