"""Encodings: which one bytes that are no UTF-8 are likely to be of. A guess for a hint, never one to read by."""

from __future__ import annotations

from collections.abc import Callable

_SAMPLE_BYTES = 1 << 16
_ENOUGH = 0.7


def guess(data: bytes) -> str:
    """Name the most likely encoding of a text's bytes."""
    sample = data[:_SAMPLE_BYTES]
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if has_zeros(sample):
        return "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
    shares = {name: _share(sample, name, is_usual) for name, is_usual in _USUAL.items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _ENOUGH else "cp1252"


def has_zeros(data: bytes) -> bool:
    """Whether so many bytes are zero that it is no text of single bytes."""
    return data.count(0) > len(data) // 8


def _share(sample: bytes, encoding: str, is_usual: Callable[[str], bool]) -> float:
    """How many of the letters beyond ASCII are usual ones of the scripts that an encoding is for."""
    for cut in range(3):  # a sample may end inside a letter
        try:
            text = sample[: len(sample) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
        letters = [letter for letter in text if ord(letter) > 0x7F]
        return sum(map(is_usual, letters)) / len(letters) if letters else 0.0
    return 0.0


def _leads(encoding: str, first: int, last: int) -> Callable[[str], bool]:
    """Letters in the rows of an encoding that hold its most used ones."""

    def is_usual(letter: str) -> bool:
        try:
            return first <= letter.encode(encoding)[0] <= last
        except UnicodeEncodeError:
            return False

    return is_usual


_USUAL: dict[str, Callable[[str], bool]] = {
    # Before Chinese, for which Korean letters pass too; among Chinese ones there are always some that are not Korean.
    "euc-kr": lambda letter: "\uac00" <= letter <= "\ud7a3",
    "gb18030": _leads("gb2312", 0xB0, 0xD7),
    "big5": _leads("big5", 0xA4, 0xC6),
    "shift_jis": lambda letter: "\u3000" <= letter <= "\u30ff" or "\u4e00" <= letter <= "\u9fff",
}
