"""The ways in: each function brings a table up to date with one kind of source. None of them loads torch."""

from __future__ import annotations

from ingest.download_rules import DownloadRules
from ingest.entry import (
    from_captions,
    from_chain,
    from_class_list,
    from_images,
    from_parquet,
    from_shards,
    from_urls,
)
from ingest.job import ingest
from ingest.merging import Merged, merge, merge_report
from ingest.outcome import Ingested
from ingest.shard_export import Exported, export_shards

__all__ = [
    "DownloadRules",
    "Exported",
    "Ingested",
    "Merged",
    "export_shards",
    "from_captions",
    "from_chain",
    "from_class_list",
    "from_images",
    "from_parquet",
    "from_shards",
    "from_urls",
    "ingest",
    "merge",
    "merge_report",
]
