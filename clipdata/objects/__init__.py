"""Objects: files in folders and buckets, listed and read many at a time, whatever goes wrong on the way.

It knows fsspec and Arrow, and nothing of tables, sources or images.
"""
