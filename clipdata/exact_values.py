"""Exact values: any plain value as JSON that differs wherever the value does, in its type too.

JSON's own kinds stand for themselves, so a lineage stays readable; every other kind is `{"!kind": content}`, with a
digest for content that is long. A dict whose keys are no texts in alphabetical order is told as its pairs: their order
decides what a loop over it gives. Telling what was told already changes nothing. This module must not know functions or
objects; what it cannot tell, whoever derives from `ExactValues` may.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

DIGEST_CHARS = 32
_OWN_KINDS = (bool, int, float, str)
_CONSTANTS = {id(Ellipsis): "Ellipsis", id(NotImplemented): "NotImplemented"}
_ARROW_ARRAYS = (pa.Array, pa.ChunkedArray)
_ARROW_TABLES = (pa.Table, pa.RecordBatch)


class Untold(Exception):  # noqa: N818 - a verdict on one value; whoever asked makes an error of it
    """Nothing tells this value from another one.

    Args:
        value: the one that cannot be told.
    """

    def __init__(self, value: Any) -> None:
        super().__init__(type(value).__name__)
        self.value = value


def digest(data: bytes) -> str:
    """Of bytes, as it stands in an exact value."""
    return f"sha256:{hashlib.sha256(data).hexdigest()[:DIGEST_CHARS]}"


def digest_of_told(told: Any) -> str:
    """Of an exact value."""
    return digest(json.dumps(told, sort_keys=True).encode())


class ExactValues:
    """Tells values. One instance tells one whole: it remembers what it is inside of."""

    def __init__(self) -> None:
        self._inside: list[int] = []

    def told(self, value: Any) -> Any:
        """The value as JSON.

        Raises:
            Untold: it holds something of which nothing tells the content.
        """
        if value is None or type(value) in _OWN_KINDS:
            return value
        if id(value) in self._inside:
            return {"!itself": len(self._inside) - self._inside.index(id(value))}
        self._inside.append(id(value))
        try:
            for tell in (self._told_container, _told_array, self._told_arrow, _told_plain):
                told = tell(value)
                if told is not None:
                    return told
            return self._told_other(value)
        finally:
            self._inside.pop()

    def _told_other(self, value: Any) -> Any:
        """What is no plain value."""
        raise Untold(value)

    def _told_apart(self, value: Any) -> Any:
        """A value whose telling must not depend on what was told just before it: a member of a set."""
        return self.told(value)

    def _told_container(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return [self.told(each) for each in value]
        if kind is tuple:
            return {"!tuple": [self.told(each) for each in value]}
        if kind is dict or kind is MappingProxyType:
            return self._told_mapping(value)
        if kind in (set, frozenset):
            return {f"!{kind.__name__}": self._told_unordered(value)}
        if kind is np.ndarray and value.dtype == object:
            return {"!array": ["object", list(value.shape), [self.told(each) for each in value.ravel().tolist()]]}
        return None

    def _told_mapping(self, value: Mapping[Any, Any]) -> Any:
        names = list(value)
        if all(type(name) is str for name in names) and names == sorted(names):
            return {name: self.told(each) for name, each in value.items()}
        return {"!dict": [[self.told(name), self.told(each)] for name, each in value.items()]}

    def _told_unordered(self, members: Iterable[Any]) -> list[Any]:
        return sorted((self._told_apart(each) for each in members), key=lambda told: json.dumps(told, sort_keys=True))

    def _told_arrow(self, value: Any) -> Any:
        if isinstance(value, pa.DataType):
            return {"!arrow type": str(value)}
        if isinstance(value, pa.Scalar):
            return {"!arrow scalar": [str(value.type), self.told(value.as_py())]}
        if isinstance(value, _ARROW_ARRAYS):
            return {"!arrow array": [str(value.type), digest_of_told(self.told(value.to_pylist()))]}
        if isinstance(value, _ARROW_TABLES):
            return {"!arrow table": [[str(field) for field in value.schema], [self.told(c) for c in value.columns]]}
        return None


def _told_plain(value: Any) -> Any:
    """Bytes, paths, dates and the constants of Python."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {f"!{type(value).__name__}": digest(bytes(value))}
    if isinstance(value, os.PathLike):
        return {"!path": os.fspath(value)}
    if type(value) in (date, timedelta) or (type(value) in (datetime, time) and value.tzinfo is None):
        return {f"!{type(value).__name__}": repr(value)}
    if id(value) in _CONSTANTS:
        return {"!constant": _CONSTANTS[id(value)]}
    return None


def _told_array(value: Any) -> Any:
    """Numbers and arrays of numpy and torch: kind, shape and a digest of all that they hold."""
    if isinstance(value, np.generic):
        if value.dtype.hasobject:
            return None
        number = value.item() if value.dtype.kind in "biufU" and value.dtype.itemsize <= 8 else None
        return {f"!{value.dtype}": value.tobytes().hex() if number is None else number}
    if isinstance(value, np.ma.MaskedArray):
        parts = [_told_array(np.asarray(part)) for part in (value.data, np.ma.getmaskarray(value), value.fill_value)]
        return None if None in parts else {"!masked array": parts}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = digest(np.ascontiguousarray(value).tobytes())
        told = f"{value.dtype.descr if value.dtype.names else value.dtype}{list(value.shape)} {content}"
        return {"!array" if type(value) is np.ndarray else f"!{type(value).__name__}": told}
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _told_tensor(value, torch)
    return None


def _told_tensor(value: Any, torch: Any) -> Any:
    """A tensor of whichever device; its bytes, because numpy has no bfloat16."""
    if value.layout != torch.strided or value.device.type == "meta" or value.is_quantized:
        return None
    content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {f"!{type(value).__name__}": f"{value.dtype}{list(value.shape)} {digest(content)}"}
