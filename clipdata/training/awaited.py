"""What branches that are not merged yet will give: this file goes away with them."""

from __future__ import annotations

import inspect
from typing import Any

from clipdata.stream import Stream


def prepare_of(encoder: Any, fidelity: str) -> Any:
    change = getattr(encoder.prepare, "with_fidelity", None)
    return change(fidelity) if change else encoder.prepare


def on_bad_image() -> dict[str, Any]:
    known = "on_bad_image" in inspect.signature(Stream.__init__).parameters
    return {"on_bad_image": "leave_out"} if known else {}
