"""The ways in: each function brings a table up to date with one kind of source. None of them loads torch."""

from __future__ import annotations

from ingest.entry import from_images, from_parquet
from ingest.job import Ingested, ingest
from ingest.merging import Merged, merge, merge_report

__all__ = ["Ingested", "Merged", "from_images", "from_parquet", "ingest", "merge", "merge_report"]
