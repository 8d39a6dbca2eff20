"""What lies in a folder of pictures beside files: strange names, links, pipes, folders and holes.

Each with what has to become of it, as in `tests.faults.outcomes`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from tests.faults.outcomes import KEPT, LEFT_OUT
from tests.pictures import encoded

NAMES = {
    "a line's end": "two\nlines.jpg",
    "a tab": "a\tb.jpg",
    "an order to the terminal": "\x1b[31mred\x1b[0m\x07.jpg",
    "emoji": "🦊👩‍👩‍👧‍👦.jpg",
    "text from right to left": "photo\u202egpj.exe.jpg",
    "Arabic": "صورة.jpg",
    "Chinese": "猫在沙发上.jpg",
    "one letter composed": "caf\u00e9.jpg",
    "the same letter decomposed": "cafe\u0301.jpg",
    "255 bytes": "n" * 251 + ".jpg",
    "255 bytes of letters of three": "猫" * 83 + "ab.jpg",
    "a space at both ends": " a .jpg",
    "only spaces": "   .jpg",
    "an option": "--into=x.jpg",
    "quotes": 'o\'clock "5" `x`.jpg',
    "a backslash": "c:\\dir\\a.jpg",
    "a parent folder of another system": "up\\..\\..\\up.jpg",
    "a percent sign": "100%20%ff.jpg",
    "a query": "a.jpg?token=1#b.jpg",
    "a glob": "[a-z]*?{b}.jpg",
    "a statement": "a'; DROP TABLE t; --.jpg",
    "a variable": "$HOME$(id).jpg",
    "a device of Windows": "CON.jpg",
    "an address": "s3:__bucket:80.jpg",
    "upper case": "A.JPG",
    "two suffixes": "a.png.jpg",
    "a NUL that is spelled": "a\\x00b.jpg",
    "a zero width space": "a\u200bb.jpg",
    "a private letter": "a\ue000\ufffd.jpg",
    "a letter beyond the first plane": "𝕬.jpg",
    "the name of a column": "_rowid.jpg",
    "dots": "a...jpg",
    "a formula": "=1+1.jpg",
}
"""Names of pictures that are kept, by what is strange in them."""


def make_places(folder: Path, outside: Path) -> dict[str, tuple[str, str]]:
    """Put all of them into a folder: kind → key, and what has to become of it.

    Args:
        folder: of pictures.
        outside: another folder.
    """
    kinds = {f"name with {what}": (name, KEPT) for what, name in NAMES.items()}
    for number, name in enumerate(NAMES.values()):
        (folder / name).write_bytes(encoded(number))
    (folder / os.fsdecode(b"latin-\xe9.jpg")).write_bytes(encoded(40))
    (folder / os.fsdecode(b"surrogate-\xed\xa0\x80.jpg")).write_bytes(encoded(40))
    (folder / ".jpg").write_bytes(encoded(41))
    (folder / "._resource.jpg").write_bytes(encoded(41))
    (folder / "without_suffix").write_bytes(encoded(42))
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.jpg").write_bytes(encoded(43))
    (folder / "empty_folder.jpg").mkdir()
    deep = Path(*["deep"] * 40)
    (folder / deep).mkdir(parents=True)
    (folder / deep / "a.jpg").write_bytes(encoded(44))
    (outside / "secret.jpg").write_bytes(encoded(45))
    os.symlink(outside / "secret.jpg", folder / "out.jpg")
    os.symlink("/dev/zero", folder / "device.jpg")
    os.symlink("A.JPG", folder / "link.jpg")
    os.symlink("gone", folder / "dangling.jpg")
    os.symlink("loop.jpg", folder / "loop.jpg")
    os.symlink(outside, folder / "out_folder")
    os.symlink(".", folder / "self")
    os.link(folder / "A.JPG", folder / "twin.jpg")
    os.mkfifo(folder / "pipe.jpg")
    _listen(folder / "socket.jpg")
    with open(folder / "hole.jpg", "wb") as hole:
        hole.truncate(10 << 30)
    (folder / "nothing.jpg").touch()
    return kinds | {
        "name of another encoding": ("latin-\\xe9.jpg", "bad_name"),
        "name with half a letter": ("surrogate-\\xed\\xa0\\x80.jpg", "bad_name"),
        "name that is a suffix": (".jpg", LEFT_OUT),
        "what a Mac leaves": ("._resource.jpg", LEFT_OUT),
        "no suffix": ("without_suffix", LEFT_OUT),
        "folder named as a picture": ("folder.jpg", LEFT_OUT),
        "picture in a folder named as one": ("folder.jpg/inside.jpg", KEPT),
        "empty folder named as a picture": ("empty_folder.jpg", LEFT_OUT),
        "picture 40 folders down": (f"{deep.as_posix()}/a.jpg", KEPT),
        "link out of the folder": ("out.jpg", "link_outside"),
        "link to a device": ("device.jpg", "link_outside"),
        "link inside the folder": ("link.jpg", KEPT),
        "link to nothing": ("dangling.jpg", "broken_link"),
        "link to itself": ("loop.jpg", "broken_link"),
        "link to a folder outside": ("out_folder", "link_outside"),
        "link to the folder itself": ("self", LEFT_OUT),
        "another name of the same file": ("twin.jpg", KEPT),
        "pipe": ("pipe.jpg", "not_a_file"),
        "socket": ("socket.jpg", "not_a_file"),
        "hole of 10 GB": ("hole.jpg", "too_large"),
        "file of no bytes": ("nothing.jpg", "empty"),
    }


def _listen(path: Path) -> None:
    """Leave a socket; its own path may be too long for one."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(before)


assert sys.platform != "win32", "names like these are those of Linux"
