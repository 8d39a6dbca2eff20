"""No telemetry: libraries that report who uses them are told not to, unless the person's own environment decided.

Set when `clipdata` is imported, which is before anything here imports one of them; their child processes inherit it. It
knows the names of their switches, and nothing of what they would send.
"""

from __future__ import annotations

import os
import sys

_SWITCHES = {
    "DATACHAIN_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
_HUB = "huggingface_hub.constants"


def turn_off() -> None:
    """Switch off what the environment says nothing about, also where the program imported Hugging Face's hub before."""
    undecided = [name for name in _SWITCHES if name not in os.environ]
    os.environ.update({name: _SWITCHES[name] for name in undecided})
    if "HF_HUB_DISABLE_TELEMETRY" in undecided and _HUB in sys.modules:  # it reads its switch once, when imported
        sys.modules[_HUB].HF_HUB_DISABLE_TELEMETRY = True  # type: ignore[attr-defined]
