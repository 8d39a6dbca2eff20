"""Recipes: the filters of published data sets, each over columns that steps make, each with its source.

What a paper says is kept to the number; where it leaves something open, the function says how it was read. They filter
what can be said of one row; duplicates and splits are columns and conditions of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from clipdata.errors import SchemaError
from clipdata.filters.naming import find
from clipdata.filters.records import Filter
from clipdata.filters.thresholds import at_least, top_share
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.schema import is_text

_LAION_400M = "LAION-400M (arXiv 2111.02114, section 2)"
_LAION_5B = "LAION-5B (arXiv 2210.08402, section 3)"
_DATACOMP = "DataComp (arXiv 2304.14108, section 3.4 and appendix on baselines)"
_AESTHETICS = "LAION-Aesthetics V2 (laion.ai/blog/laion-aesthetics)"
_METACLIP = "MetaCLIP (arXiv 2309.16671, section 3)"
_FEWEST_BYTES = 5_000
_SCORE = "clipdata map TABLE pair-score {column} --model ViT-B-32/openai gives it (the cosine of picture and caption)"
_CAPTIONS = "clipdata map TABLE caption-quality {column} gives it"
_LANGUAGE = "clipdata map TABLE caption-language {column} gives it"


def laion_400m(
    table: AnyTable, *, clip_score: str = "clip_score", caption: str = "caption", size: str = "bytes"
) -> tuple[Filter, ...]:
    """What LAION-400M kept: cosine at least 0.3, captions of 5 characters and files of 5 KB at least.

    The cosine is that of ViT-B/32 of OpenAI; 5 KB are read as 5,000 bytes.

    Args:
        table: that is filtered, or where it is.
        clip_score: column of cosines.
        caption: column of texts; or a field that holds their length, such as "caption_quality.characters".
        size: column of the files' sizes in bytes.

    Raises:
        SchemaError: a column is missing, or of another type.
    """
    return _laion(as_table(table), 0.3, _LAION_400M, clip_score, caption, size)


def laion_2b_en(
    table: AnyTable,
    *,
    clip_score: str = "clip_score",
    caption: str = "caption",
    size: str = "bytes",
    language: str = "language",
) -> tuple[Filter, ...]:
    """What LAION-2B-en kept: as LAION-400M, but cosine at least 0.28, and captions in English.

    Args:
        language: column of languages; theirs were told by CLD3.
        table, clip_score, caption, size: as of `laion_400m`.

    Raises:
        SchemaError: a column is missing, or of another type.
    """
    held = as_table(table)
    return (*_laion(held, 0.28, _LAION_5B, clip_score, caption, size), _english(held, language, _LAION_5B))


def laion_aesthetics(table: AnyTable, *, aesthetic: str = "aesthetic", least: float = 5.0) -> tuple[Filter, ...]:
    """Pictures that the aesthetic predictor gives 5 of 10 at least; the published subsets end at 4.5, 5, 6 and 6.5.

    Args:
        table: that is filtered, or where it is.
        aesthetic: column of its scores.
        least: score.

    Raises:
        SchemaError: there is no such column of numbers.
        UsageError: `least` is no number.
    """
    hint = f"clipdata map TABLE head {aesthetic} -p weights=FILE -p embedding=COLUMN gives it"
    return (at_least(table, aesthetic, least, source=_AESTHETICS, hint=hint),)


def datacomp_basic(
    table: AnyTable,
    *,
    captions: str = "caption_quality",
    language: str = "language",
    width: str = "width",
    height: str = "height",
) -> tuple[Filter, ...]:
    """DataComp's basic filtering: English, over two words and five characters, sides at most 3:1, the short one 200.

    Args:
        table: that is filtered, or where it is.
        captions: column of the step caption-quality.
        language: column of languages; theirs were told by fastText.
        width, height: columns, in pixels.

    Raises:
        SchemaError: a column is missing, or of another type.
    """
    held = as_table(table)
    hint = _CAPTIONS.format(column=captions)
    words, characters = (find(held, f"{captions}.{field}", hint=hint).sql for field in ("words", "characters"))
    sides = ", ".join(find(held, name).sql for name in (width, height))
    return (
        _english(held, language, _DATACOMP),
        Filter("more than 2 words", f"{words} > 2", _DATACOMP),
        Filter("more than 5 characters", f"{characters} > 5", _DATACOMP),
        Filter("short side at least 200", f"least({sides}) >= 200", _DATACOMP),
        Filter("sides at most 3:1", f"greatest({sides}) <= 3 * least({sides})", _DATACOMP),
    )


def datacomp_clip_score(
    table: AnyTable, *, clip_score: str = "clip_score", share: float = 0.3, where: str | None = None
) -> tuple[Filter, ...]:
    """DataComp's CLIP-score filtering: the top 30 % by the cosine of ViT-L/14 of OpenAI.

    Its best baseline also asks that the picture lie near one of ImageNet's: that takes their embeddings, and is a
    column and a condition of your own beside this one.

    Args:
        table: that is filtered, or where it is.
        clip_score: column of cosines.
        share: that is kept.
        where: SQL condition of the rows that it is a share of.

    Raises:
        SchemaError: there is no such column of numbers.
        UsageError: the share is none, or no row has a score.
    """
    hint = _SCORE.format(column=clip_score).replace("ViT-B-32", "ViT-L-14")
    return (top_share(table, clip_score, share, where=where, source=_DATACOMP, hint=hint),)


def metaclip(table: AnyTable, *, kept: str = "balance.kept") -> tuple[Filter, ...]:
    """Captions that name a concept, with a cap on the frequent ones: what the step concept-balance kept.

    Args:
        table: that is filtered, or where it is.
        kept: column of yes and no.

    Raises:
        SchemaError: there is no such column.
    """
    hint = "clipdata map TABLE concept-balance balance -p concepts=FILE gives it"
    named = find(as_table(table), kept, hint=hint)
    return (Filter("balanced by concept", f"{named.sql} = true", _METACLIP),)


Recipe = Callable[..., tuple[Filter, ...]]

RECIPES: dict[str, Recipe] = {
    "laion-400m": laion_400m,
    "laion-2b-en": laion_2b_en,
    "laion-aesthetics": laion_aesthetics,
    "datacomp-basic": datacomp_basic,
    "datacomp-clip-score": datacomp_clip_score,
    "metaclip": metaclip,
}
"""Name on the command line → the function, which takes the table and gives its filters in their order."""


def _laion(held: Table, least: float, source: str, clip_score: str, caption: str, size: str) -> tuple[Filter, ...]:
    return (
        at_least(held, clip_score, least, source=source, hint=_SCORE.format(column=clip_score)),
        Filter("caption of 5 characters at least", f"{_length(held, caption)} >= 5", source),
        at_least(held, size, _FEWEST_BYTES, source=source),
    )


def _length(held: Table, caption: str) -> str:
    """A caption's characters in SQL: of a column of texts, or a field that holds their number."""
    named = find(held, caption, hint=_CAPTIONS.format(column=caption.partition(".")[0]))
    if is_text(named.kind):
        return f"char_length({named.sql})"
    if named.field is not None:
        return named.sql
    raise SchemaError(
        f"filter: column {caption!r} holds {named.kind}; expected texts, or a field with their length",
        hint='clipdata map TABLE caption-quality caption_quality; then caption="caption_quality.characters"',
    )


def _english(held: Table, language: str, source: str) -> Filter:
    named = find(held, language, hint=_LANGUAGE.format(column=language))
    return Filter("in English", f"{named.sql} = 'en'", source)
