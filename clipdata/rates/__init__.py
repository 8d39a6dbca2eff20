"""Rates: what a table, a decoder, workers and a model can do, and which of them limits a training.

records.py    what was measured, a line a rate, and what limits
reading.py    rows as the stream reads them
decoding.py   pictures on one core, at each fidelity, and how far each is from open_clip's own pixels
streaming.py  whole batches
eating.py     what a model takes
verdict.py    which of these limits, and what to type
asking.py     `bench`
"""

from clipdata.rates.asking import bench
from clipdata.rates.records import Bench, Rate

__all__ = ["Bench", "Rate", "bench"]
