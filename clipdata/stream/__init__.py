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
sharing.py      loaders that would share its rows out once more
state.py        the same with what it depends on, checked and merged
evenness.py     how well an order mixes the values of a column
resumable.py    turns as a torch dataset that knows where it stands
dataset.py      Stream: a table as one
proportions.py  the order of parts in a mix, as arithmetic
joining.py      batches of several streams to one
mixing.py       several streams as one
parcels.py      batches from process to process
workers.py      processes that make the turns
loader.py       a stream with or without them
"""

from clipdata.lance_io.kept_rows import Cache
from clipdata.stream.dataset import Stream
from clipdata.stream.evenness import Mixing
from clipdata.stream.loader import load
from clipdata.stream.mixing import Mix, mix
from clipdata.stream.plan import Cursor, Plan

__all__ = ["Cache", "Cursor", "Mix", "Mixing", "Plan", "Stream", "load", "mix"]
