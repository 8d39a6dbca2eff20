"""What the stream will give: with `Stream(on_bad_image=…)` there, this file goes away."""

from __future__ import annotations

import inspect
from typing import Any

from clipdata.stream import Stream


def on_bad_image() -> dict[str, Any]:
    known = "on_bad_image" in inspect.signature(Stream.__init__).parameters
    return {"on_bad_image": "leave_out"} if known else {}
