"""The folder of this user's machine that keeps what was computed or built once; whatever is in it may be removed."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`$CLIPDATA_CACHE`, else the platform's folder for caches; it need not exist."""
    return Path(os.environ.get("CLIPDATA_CACHE") or platformdirs.user_cache_dir("clipdata")).expanduser().absolute()
