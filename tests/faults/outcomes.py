"""What may become of a strange file, and kinds of such files by name."""

from __future__ import annotations

KEPT = "kept"
"""A row with the file's own bytes; any other outcome is the reason for which the file has to be refused."""
LEFT_OUT = "left out"
"""Neither a row nor a refusal."""
MB = 1 << 20
Kinds = dict[str, tuple[str, bytes, str]]
"""Name of a kind → name of its file, its bytes, and what has to become of it."""
