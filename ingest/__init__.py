"""The ways in: each function brings a table up to date with one kind of source. None of them loads torch."""

from __future__ import annotations

from ingest.chains import from_chain
from ingest.hugging_face import from_hugging_face
from ingest.merging.merged_table import merge, merge_report
from ingest.merging.outcome import Merged
from ingest.pictures.caption_files import from_captions
from ingest.pictures.class_lists import from_class_list
from ingest.pictures.embedded_images import from_parquet
from ingest.pictures.image_files import from_images
from ingest.shards.tar_shards import from_shards
from ingest.tables import from_lance
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.web.download_rules import DownloadRules
from ingest.web.url_list import from_urls

__all__ = [
    "DownloadRules",
    "Ingested",
    "Merged",
    "from_captions",
    "from_chain",
    "from_class_list",
    "from_hugging_face",
    "from_images",
    "from_lance",
    "from_parquet",
    "from_shards",
    "from_urls",
    "ingest",
    "merge",
    "merge_report",
]
