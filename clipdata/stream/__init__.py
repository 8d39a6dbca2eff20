"""A table as a stream of batches for training.

plan.py       the order of rows, as arithmetic
fetch.py      reading the rows of several batches at once
decode.py     images of a batch to one tensor
columns.py    Arrow columns to tensors and lists
assembly.py   rows to a batch, and a batch to samples
turns.py      numbered batches, made ahead
position.py   where a stream stands, heard by workers
dataset.py    Stream, the torch dataset
loader.py     worker processes for it
"""

from clipdata.lance_io.kept_rows import Cache
from clipdata.stream.dataset import Stream
from clipdata.stream.loader import load
from clipdata.stream.plan import Cursor, Plan

__all__ = ["Cache", "Cursor", "Plan", "Stream", "load"]
