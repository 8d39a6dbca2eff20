"""Uploads: each checkpoint is copied to its other place in a thread, while training goes on.

A copy that cannot be written is said, and the next one is tried; none of it ends a training. Where checkpoints come
faster than they can be copied, the newest is taken and those between are left out. It knows copies and files.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import TracebackType

from clipdata.errors import ClipdataError
from clipdata.progress import Progress
from clipdata.storage import redact
from clipdata.training.copies import Copies

_PATIENCE_S = 1.0  # whoever waits longer is told what for
_NOT_COPIED = frozenset({"summary.json"})
_FOLDERS = ("best",)


class Uploads:
    """Copies the checkpoints of a run; leaving it waits for the last one.

    Args:
        copies: where to; None copies nothing.
        run: the run's folder.
        keep: copies to keep.
        progress: is told what failed.
    """

    def __init__(self, copies: Copies | None, run: Path, keep: int, progress: Progress) -> None:
        self._copies, self._run, self._keep, self._progress = copies, run, keep, progress
        self._aside = run / ".copying"
        self._lock = threading.Lock()
        self._waiting: int | None = None
        self._thread: threading.Thread | None = None
        self._failed: list[str] = []
        self.copied_step: int | None = None

    def __enter__(self) -> Uploads:
        shutil.rmtree(self._aside, ignore_errors=True)  # what a process that was killed left there
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            thread = self._thread
        if thread is not None and self._copies is not None:
            thread.join(_PATIENCE_S)
            if thread.is_alive():
                self._progress.say(f"waiting for the newest checkpoint to be copied to {redact(self._copies.uri)}")
                thread.join()
        self._tell()
        shutil.rmtree(self._aside, ignore_errors=True)

    def add(self, step: int, num_metrics_bytes: int) -> None:
        """Have the checkpoint of a step copied, with all that a run needs to go on from it.

        Args:
            step: of a checkpoint that is complete.
            num_metrics_bytes: of the metrics that were written before it.
        """
        if self._copies is None:
            return
        self._tell()
        if not self._hold(step, num_metrics_bytes):
            return
        with self._lock:
            passed, self._waiting = self._waiting, step
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=[self._copies], daemon=True)
                self._thread.start()
        if passed is not None and passed != step:
            shutil.rmtree(self._aside / str(passed), ignore_errors=True)

    def _hold(self, step: int, num_metrics_bytes: int) -> bool:
        """Keep the files as they are now, by further links to them: checkpoints are pruned while they are copied.

        False where not all of them could be kept: a copy of some would be the newest, and no run goes on from it.
        """
        held = self._aside / str(step)
        try:
            shutil.rmtree(held, ignore_errors=True)
            inside = [self._run / "checkpoints" / f"step-{step}", *(self._run / name for name in _FOLDERS)]
            found = [one for folder in inside for one in folder.rglob("*") if one.is_file()]
            found += [one for one in self._run.iterdir() if one.is_file() and not one.name.startswith(".")]
            for path in found:
                if path.name in _NOT_COPIED:
                    continue
                target = held / path.relative_to(self._run)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.name == "metrics.jsonl":  # which is appended to
                    with path.open("rb") as stream:
                        target.write_bytes(stream.read(num_metrics_bytes))
                else:
                    _link(path, target)
        except OSError as error:
            self._failed.append(f"the checkpoint of step {step} cannot be prepared for copying: {error}")
            shutil.rmtree(held, ignore_errors=True)
            return False
        return True

    def _work(self, copies: Copies) -> None:
        while True:
            with self._lock:
                step, self._waiting = self._waiting, None
                if step is None:
                    self._thread = None
                    return
            held = self._aside / str(step)
            try:
                if held.is_dir():
                    copies.put(step, held, keep=self._keep)
                    self.copied_step = step
            except (ClipdataError, OSError) as error:
                said = error.message if isinstance(error, ClipdataError) else str(error)
                self._failed.append(f"the checkpoint of step {step} could not be copied: {said}")
            finally:
                shutil.rmtree(held, ignore_errors=True)

    def _tell(self) -> None:
        """Say what failed since the last time; here, because whoever watches need not know of threads."""
        while self._failed:
            self._progress.say(f"{self._failed.pop(0)}; training goes on, and the next one is tried")


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # a disk that knows no links
        shutil.copyfile(path, target)
