"""Kinds of strange parquet files, each with what has to become of its rows."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.metadata_kinds import Kind

NAMES = ["a.jpg", "b.jpg"]


def parquet_bytes(columns: dict[str, Any] | pa.Table, **options: Any) -> bytes:
    """A parquet file of these columns."""
    stream = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), stream, **options)
    return stream.getvalue()


def parquets() -> dict[str, Kind]:
    """All kinds."""
    found = {**_broken(), **_odd_rows(), **_odd_values()}
    return {f"parquet: {what}": Kind(f"{n:02d}.parquet", *made) for n, (what, made) in enumerate(found.items())}


def _broken() -> dict[str, tuple[bytes, int, dict[str, int]]]:
    whole = parquet_bytes({"filename": NAMES, "caption": ["x", "y"]}, compression="none")
    footer = struct.unpack("<I", whole[-8:-4])[0]
    pages = parquet_bytes(
        {"filename": [f"{n:05d}" for n in range(3000)]},
        compression="none", use_dictionary=False, row_group_size=1000, write_page_checksum=True,
    )  # fmt: skip
    at = pages.index(b"01500")
    # Now a column without nulls, of which the footer still counts what it counts of one with nulls.
    miscounted = whole.replace(b"\x15\x0c%\x02\x18\x08filename", b"\x15\x0c%\x00\x18\x08filename")
    nameless = parquet_bytes(pa.table({}))
    lessened = nameless.replace(b"\x16\x00&\x00", b"\x16\x01&\x00")
    assert miscounted != whole
    assert lessened != nameless
    corrupt = (0, {"corrupt": 1})
    return {
        "nothing": (b"", *corrupt),
        "magic alone": (b"PAR1", *corrupt),
        "magic at both ends alone": (b"PAR1PAR1", *corrupt),
        "wrong magic at its end": (whole[:-4] + b"PAR2", *corrupt),
        "wrong magic at its start": (b"XXXX" + whole[4:], 2, {}),
        "encrypted footer": (whole[:-4] + b"PARE", *corrupt),
        "footer longer than the file": (whole[:-8] + struct.pack("<I", 2**31) + b"PAR1", *corrupt),
        "footer of no length": (whole[:-8] + bytes(4) + b"PAR1", *corrupt),
        "footer of zeros": (whole[: -8 - footer] + bytes(footer) + whole[-8:], *corrupt),
        "footer that counts a column in another way than it is laid out": (miscounted, *corrupt),
        "footer that tells of less than no rows": (lessened, 0, {"no_column": 1}),
        "footer cut": (whole[:-8][:-20] + whole[-8:], *corrupt),
        "last byte gone": (whole[:-1], *corrupt),
        "first half gone": (whole[len(whole) // 2 :], *corrupt),
        "twice in one file": (whole + whole, 2, {}),
        "page with a wrong checksum": (pages[:at] + b"99999" + pages[at + 5 :], 2000, {"corrupt": 1}),
        "text under this name": (b"filename,caption\na.jpg,x\n", *corrupt),
        "arrow under this name": (b"ARROW1\0\0" + bytes(99), *corrupt),
    }


def _odd_rows() -> dict[str, tuple[bytes, int, dict[str, int]]]:
    folded = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int8()), pa.array(["x" * (1 << 20)]))
    empty = pa.schema([("filename", pa.string()), ("caption", pa.string())]).empty_table()
    no_groups = io.BytesIO()
    pq.ParquetWriter(no_groups, empty.schema).close()
    names = [f"{n}.jpg" for n in range(64)]
    named = pa.table({"filename": NAMES})
    return {
        "no rows": (parquet_bytes(empty), 0, {}),
        "no row groups": (no_groups.getvalue(), 0, {}),
        "no columns": (parquet_bytes(pa.table({})), 0, {"no_column": 1}),
        "a row group a row": (parquet_bytes({"filename": [f"{n}" for n in range(500)]}, row_group_size=1), 500, {}),
        "one text for 64 rows": (parquet_bytes({"filename": names, "caption": folded}), 64, {}),
        "20,000 equal rows in a few bytes": (parquet_bytes({"filename": ["a"] * 20_000}), 20_000, {}),
        "100 columns": (parquet_bytes({"filename": NAMES, **{f"c{n}": [n, n] for n in range(100)}}), 2, {}),
        "names that differ in case": (parquet_bytes({"filename": NAMES, "C": [1, 2], "c": [3, 4]}), 2, {}),
        "name that comes twice": (
            parquet_bytes(pa.table([pa.array(NAMES), pa.array(NAMES)], ["filename", "filename"])), 2, {}
        ),
        "file names that are null": (parquet_bytes({"filename": ["a", None, ""]}), 1, {"null_key": 2}),
        "file names that are no UTF-8": (
            parquet_bytes({"filename": pa.array([b"a", b"\xff\xfe"]).view(pa.string())}), 1, {"bad_value": 1}
        ),
        "metadata of junk": (
            parquet_bytes(named.replace_schema_metadata({"huggingface": b"\xff{", "pandas": "["})), 2, {}
        ),
        "metadata of a million letters": (
            parquet_bytes(named.replace_schema_metadata({"pandas": json.dumps("x" * 10**6)})), 2, {}
        ),
    }  # fmt: skip


def _odd_values() -> dict[str, tuple[bytes, int, dict[str, int]]]:
    columns: dict[str, pa.Array] = {
        "decimals of 76 digits": pa.array([decimal.Decimal("1.5"), None], pa.decimal256(76, 30)),
        "dates before Christ": pa.array([-1_000_000, 2**31 - 1], pa.date32()),
        "times beyond the year 9999": pa.array([2**62, -(2**62)], pa.timestamp("us")),
        "nanoseconds": pa.array([2**63 - 1, -(2**63)], pa.timestamp("ns")),
        "not a number": pa.array([float("nan"), float("-inf")]),
        "half floats": pa.array(np.array([1, np.nan], np.float16)),
        "unsigned integers": pa.array([2**64 - 1, 0], pa.uint64()),
        "bytes": pa.array([b"\xff\0", b""]),
        "lists of lists of nothing": pa.array([[[], [None]], None], pa.list_(pa.list_(pa.null()))),
        "records of records": pa.array([{"a": {"b": {"c": [{"d": 1}]}}}, None]),
        "maps": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "months and days": pa.array([datetime.timedelta(days=1), None], pa.duration("us")),
        "only nulls": pa.nulls(2),
    }
    # Each under a name of its own, or their types would have to agree.
    return {
        what: (parquet_bytes({"filename": NAMES, f"v{n}": values}), 2, {})
        for n, (what, values) in enumerate(columns.items())
    }
