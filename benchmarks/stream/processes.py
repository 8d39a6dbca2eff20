"""The process of a side, from the outside: started with the same threads for all, asked, and ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 300.0
QUIET = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"), "1"),
    "LITDATA_DISABLE_VERSION_CHECK": "1",
    "LANCE_LOG": "error",
    "PYTHONWARNINGS": "ignore",
}
"""One thread for the libraries that would take all cores, and no word to the network."""


class SideProcess:
    """A side's process; leaving the block ends it and all that it started.

    Args:
        name: of the side.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stream.worker", name],
            cwd=ROOT,
            env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,
        )

    @cached_property
    def about(self) -> dict[str, Any]:
        """Version and settings of the side, said once it is ready; so that several can start at the same time."""
        return self._answer()

    def __enter__(self) -> SideProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        self._said.close()

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order, and return the figures; under "failed" or "unable" why there are none."""
        if is_error(self.about):
            return self.about
        if self._process.poll() is not None:
            return {"failed": "its process has ended"}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], LIMIT_S)
        line = self._process.stdout.readline() if ready else ""
        if line:
            found = dict(json.loads(line))
            if "failed" in found:
                print(self._last_words(), file=sys.stderr)
            return found
        self._end()
        why = "no answer" if ready else f"no answer in {LIMIT_S:.0f} s"
        print(self._last_words(), file=sys.stderr)
        return {"failed": why}

    def _last_words(self) -> str:
        self._said.seek(0)
        return f"{self.name}:\n{self._said.read()[-2000:]}"

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def is_error(figures: dict[str, Any]) -> bool:
    """Tell whether there are no figures."""
    return "failed" in figures or "unable" in figures
