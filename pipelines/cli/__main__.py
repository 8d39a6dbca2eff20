"""`python -m pipelines.cli`, the same as `clipdata`."""

from pipelines.cli.app import entry

entry()
