"""Keeps what model libraries say to developers from the people who use clipdata.

It must know nothing of models, and leaves logging and warnings as it found them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

_NOISY = {"open_clip", "timm", "transformers", "huggingface_hub"}


def _is_noise(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR and not _NOISY.isdisjoint(PurePath(record.pathname).parts)


class _WithoutNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_noise(record)


class _LastResort(logging.Handler):
    """Stands in where the program set up no logging, because open_clip's `logging.warning` would set it up instead."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level and not _is_noise(record):
            logging.lastResort.handle(record)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop the log records below ERROR and the warnings of the model libraries, of nobody else."""
    root, noise, stand_in = logging.getLogger(), _WithoutNoise(), _LastResort()
    loggers = [root, *(logging.getLogger(name) for name in sorted(_NOISY))]
    # A logger's filter does not see the records of its children; a handler's does.
    filtered: list[logging.Filterer] = [*loggers, *(handler for logger in loggers for handler in logger.handlers)]
    bare = not root.handlers
    for place in filtered:
        place.addFilter(noise)
    if bare:
        root.addHandler(stand_in)
    try:
        with warnings.catch_warnings():
            for name in sorted(_NOISY):
                warnings.filterwarnings("ignore", module=rf"{name}(\..*)?$")
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            yield
    finally:
        if bare:
            root.removeHandler(stand_in)
        for place in filtered:
            place.removeFilter(noise)
