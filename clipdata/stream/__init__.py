"""A table as a stream of batches for training.

plan.py       the order of rows, as arithmetic
fetch.py      reading the rows of several batches at once
decode.py     images of a batch to one tensor
columns.py    Arrow columns to tensors and lists
assembly.py   rows to a batch, and a batch to samples
turns.py      numbered batches, made ahead
position.py   where a stream stands, heard by workers
dataset.py    Stream, the torch dataset
proportions.py  the order of parts in a mix, as arithmetic
joining.py    batches of several streams to one
mixing.py     several streams as one
loader.py     worker processes for it
"""

from clipdata.stream.dataset import Stream
from clipdata.stream.loader import load
from clipdata.stream.mixing import Mix, mix
from clipdata.stream.plan import Cursor, Plan

__all__ = ["Cursor", "Mix", "Plan", "Stream", "load", "mix"]
