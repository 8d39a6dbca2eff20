"""`report` into an object store: written, replaced, and nothing else there is."""

from __future__ import annotations

import pyarrow as pa
import pytest

from clipdata import open_table, report
from clipdata.errors import UsageError
from clipdata.lance_io import rows
from tests.cloud.fixtures import Bucket
from tests.faults.history_actors import make_table


def test_a_page_is_written_and_replaced_and_what_is_no_page_stays(bucket: Bucket) -> None:
    uri, out, other = (bucket.url(name) for name in ("t.lance", "pages/t.html", "pages/notes.txt"))
    make_table(uri, bucket.storage)
    table = open_table(uri, storage=bucket.storage)
    rows.upsert(table, pa.table({"path": ["a", "b"], "n": pa.array([1, 2], pa.int64())}))
    fs, place = bucket.storage.filesystem(other)
    fs.pipe_file(place, b"of mine")

    for title in ("one", "two"):
        report(uri, out=out, title=title, storage=bucket.storage)
        page = bucket.storage.filesystem(out)[0].cat_file(bucket.storage.filesystem(out)[1]).decode()
        assert f"<title>{title}</title>" in page
    with pytest.raises(UsageError, match="no report"):
        report(uri, out=other, storage=bucket.storage)

    fs.invalidate_cache()
    assert fs.cat_file(place) == b"of mine"
