"""A table as a stream of batches for training.

permutation.py  places of a shuffle, each computed by itself
plan.py         the order of rows, as arithmetic
windows.py      how many rows are shuffled together, by what they weigh
apart.py        rows of one id, kept out of each other's batches
selection.py    which rows, in few bytes
rows.py         the same of a table, and what columns hold of them
fetch.py        reading the rows of several batches at once
decode.py       images of a batch to one tensor
decode_gpu.py   the same on a device
columns.py      Arrow columns to tensors and lists
assembly.py     rows to a batch, and a batch to samples
turns.py        numbered batches, made ahead
shares.py       what making the batches cost, and the waits for them
span.py         which of them an iteration covers
position.py     where a stream stands, heard by workers
state.py        the same with what it depends on, checked and merged
evenness.py     how well an order mixes the values of a column
dataset.py      Stream, the torch dataset
loader.py       worker processes for it
"""

from clipdata.lance_io.kept_rows import Cache
from clipdata.stream.dataset import Stream
from clipdata.stream.loader import load
from clipdata.stream.plan import Cursor, Plan

__all__ = ["Cache", "Cursor", "Plan", "Stream", "load"]
