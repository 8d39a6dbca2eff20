"""The parts that a model is put together from: one trunk with its weights, of one kind each.

A part knows nothing of the other tower, nor of what the whole becomes (assembling.py).
"""
