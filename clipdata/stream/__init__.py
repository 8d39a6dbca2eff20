"""A table as a stream of batches for training."""

from clipdata.lance_io.kept_rows import Cache
from clipdata.stream.dataset import Stream
from clipdata.stream.evenness import Mixing
from clipdata.stream.loader import load
from clipdata.stream.mixing import Mix, mix
from clipdata.stream.plan import Cursor, Plan

__all__ = ["Cache", "Cursor", "Mix", "Mixing", "Plan", "Stream", "load", "mix"]
