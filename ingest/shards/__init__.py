"""WebDataset tar shards, in and out."""
