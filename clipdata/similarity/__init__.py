"""Likeness of pictures and texts, given as files or standing in a table.

Nothing is imported here: a search for words or by rows, and an index, need no torch.
"""
