"""Join keys: how the values that tables are joined on are written, and in which ways two may differ and yet be meant.

A key is compared as text: a whole number is written without a fraction, whatever its type. Names that are equal join.
Of those left, each rule of `RULES` folds a bit more away; what one folds, all that follow fold too. This module knows
Arrow, and nothing of tables or of who joins what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError

# What image files are called; another ending is a part of the name.
_SUFFIX = r"(?i)\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|heic|heif|jxl|jp2|ppm)$"
_HINT = "name columns that hold the same thing: --on for the images, --metadata-on for the metadata"


@dataclass(frozen=True)
class Rule:
    """One way in which two names of the same thing differ.

    Args:
        name: for people.
        fold: takes the difference away, from texts that all rules before it have folded.
        is_guess: whether two things may well differ in nothing else. Then an image that another name has already
            taken is no candidate, and of two names that would take the same image neither may.
    """

    name: str
    fold: Callable[[pa.Array], pa.Array]
    is_guess: bool = False


def key_texts(values: pa.Array, *, where: str) -> pa.Array:
    """Keys as texts.

    Args:
        values: of a column to join on, [N].
        where: names the column in errors.

    Returns:
        large_string [N].

    Raises:
        SchemaError: the column holds nothing that names something, such as lists or bytes.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return key_texts(values.dictionary_decode(), where=where)
    if pa.types.is_floating(kind):
        return _whole_as_integers(values.cast(pa.float64()).cast(pa.large_string()))
    if pa.types.is_decimal(kind):
        return _whole_as_integers(values.cast(pa.string()).cast(pa.large_string()))
    if pa.types.is_nested(kind) or is_bytes(kind):
        raise SchemaError(f"{where} holds {kind}, which names nothing: no row can match", hint=_HINT)
    return values.cast(pa.large_string())


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds numbers."""
    if pa.types.is_dictionary(kind):
        return is_number(kind.value_type)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Tell whether a column holds bytes, in whatever layout."""
    plain = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return plain or pa.types.is_fixed_size_binary(kind)


def has_suffix(texts: pa.Array) -> pa.Array:
    """Which names end in the suffix of an image file."""
    return pc.match_substring_regex(texts, _SUFFIX)


def is_inside(one: str, other: str) -> bool:
    """Tell whether two names are one path, of which one of them leaves out the first folders."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def _whole_as_integers(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"^([+-]?[0-9]+)\.0*$", r"\1")


def _unix_slashes(texts: pa.Array) -> pa.Array:
    slashes = pc.replace_substring(texts, "\\", "/")
    return pc.replace_substring_regex(pc.replace_substring_regex(slashes, r"/(\.?/)+", "/"), r"^(\./|/)+", "")


def _lower_suffix(texts: pa.Array) -> pa.Array:
    """The suffix of an image file in small letters; nothing else changes."""
    stems = pc.replace_substring_regex(texts, _SUFFIX, "")
    lengths = pc.utf8_length(stems)
    if pc.all(pc.equal(lengths, pc.utf8_length(texts))).as_py() is not False:
        return texts
    suffixes = pc.utf8_lower(pc.extract_regex(texts, r"(?P<suffix>\.[A-Za-z0-9]+)$").field("suffix")).fill_null("")
    folded = pc.binary_join_element_wise(stems, suffixes, pa.scalar("", texts.type))
    return pc.if_else(pc.less(lengths, pc.utf8_length(texts)), folded, texts)


RULES: tuple[Rule, ...] = (
    Rule("number type", _whole_as_integers),
    Rule("Unicode normalisation", lambda texts: pc.utf8_normalize(texts, form="NFC")),
    Rule("surrounding spaces", pc.utf8_trim_whitespace),
    Rule("slashes", _unix_slashes),
    Rule("case of the suffix", _lower_suffix, is_guess=True),
    Rule("missing suffix", lambda texts: pc.replace_substring_regex(texts, _SUFFIX, ""), is_guess=True),
    Rule("folder", lambda texts: pc.replace_substring_regex(texts, r"^.*/", ""), is_guess=True),
)
