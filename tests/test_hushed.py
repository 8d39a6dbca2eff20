"""What decoders say of damaged pictures stays off the terminal, and what anybody else says does not."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8))

# Takes in a folder, maps and streams what was taken, and decodes all once more while another thread speaks.
WORK = """
import ctypes, logging, sys, threading, warnings
from pathlib import Path
import pyarrow as pa
import clipdata as cd, ingest
from clipdata.images import ImageRefused, decode

folder = Path(sys.argv[1])
table = ingest.from_images(folder / "photos", into=folder / "t.lance").table
@cd.step(returns=pa.int64())
def height(image): return decode(image).shape[0]
cd.map_column(table, height, "decoded")

def everything():
    for path in sorted((folder / "photos").iterdir()):
        try: decode(path.read_bytes())
        except ImageRefused: pass

libc = ctypes.CDLL(None)
decoding = threading.Thread(target=lambda: [everything() for _ in range(20)])
decoding.start()
while decoding.is_alive():
    libc.fputs(b"mine in C\\n", ctypes.c_void_p.in_dll(libc, "stderr"))
    decoding.join(0.02)
warnings.warn("mine of Python")
logging.getLogger("PIL.TiffImagePlugin").error("mine of a log")
"""


def encoded(kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    PICTURE.convert(str(how.pop("mode", "RGB"))).save(stream, kind, **how)
    return stream.getvalue()


def with_chunk(name: bytes, data: bytes) -> bytes:
    png = encoded("PNG")
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return png[:33] + chunk + png[33:]


def damaged_pictures() -> dict[str, bytes]:
    jpeg, fax, lzw = encoded("JPEG"), encoded("TIFF", mode="1", compression="group4"), encoded("TIFF")
    broken_fax, broken_tags = bytearray(fax), bytearray(lzw)
    broken_fax[20:60] = b"\xff" * 40
    tags = struct.unpack_from("<I", lzw, 4)[0]
    broken_tags[tags + 6 : tags + 10] = b"\xff\xff\xff\x00"  # a tag of more entries than the file has bytes
    return {
        "extraneous.jpg": jpeg[:-200] + b"\xff\x00" * 5 + b"\xff\xd3" + jpeg[-200:],
        "huffman.jpg": jpeg[:-150] + b"\x00\xfe" * 40 + jpeg[-70:],
        "jfif.jpg": jpeg.replace(b"JFIF\0\x01", b"JFIF\0\x03"),
        "profile.png": with_chunk(b"iCCP", b"x\0\0junk"),
        "clear.png": with_chunk(b"tRNS", b"\0"),
        "fax.tiff": bytes(broken_fax),
        "tags.tiff": bytes(broken_tags),
        "exif.tiff": lzw[: tags + 40],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere C's stderr cannot be stood in for")
def test_decoders_are_not_heard_and_everybody_else_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, data in damaged_pictures().items():
        (tmp_path / "photos" / name).write_bytes(data)

    run = [sys.executable, "-W", "default::UserWarning", "-c", WORK, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    heard = [line for line in done.stderr.splitlines() if line.strip() != 'warnings.warn("mine of Python")']
    assert {line.rpartition(": ")[2] for line in heard} == {"mine in C", "mine of Python", "mine of a log"}
