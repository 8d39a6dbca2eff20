"""Rates: what a table, a decoder, workers and a model can do, and which of them limits a training."""

from clipdata.rates.asking import bench
from clipdata.rates.records import Bench, Rate

__all__ = ["Bench", "Rate", "bench"]
