"""CaptionQuality, CaptionLanguage and CaptionCount: what is measured of captions, for SQL to filter by.

They know no thresholds; CaptionCount reads all captions of a table beforehand, the others a row.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.step_protocol import CAPTIONS, BaseStep, check_types, require_names
from clipdata.steps.caption_figures import CaptionFigures, measure
from clipdata.steps.captions import SCAN_ROWS, alike, captions_of

NO_CAPTION = "no caption"
WEB_LANGUAGES = ("en", "zh", "es", "ar", "pt", "fr", "de", "ru", "ja", "ko", "it", "nl")
_KINDS = {"int": pa.int32(), "float": pa.float32(), "bool": pa.bool_(), "str | None": pa.string()}
_NO_LANGUAGE, _UNSURE = "zxx", "und"  # ISO 639-3: no linguistic content; undetermined


class CaptionQuality(BaseStep):
    """Length, letters, script, repetition, addresses, markup and file names of captions, as one column.

    A condition names a figure with a dot: "caption_quality.words > 2 AND NOT caption_quality.filename". Of several
    captions in a row the worst decides. For what each figure is see `clipdata.steps.caption_figures`.

    Args:
        text: column of captions, one or a list a row.

    Raises:
        UsageError: the name of the column is no text.
    """

    name = "CaptionQuality"
    version = "1"
    returns = pa.struct([(entry.name, _KINDS[str(entry.type)]) for entry in fields(CaptionFigures)])

    def __init__(self, text: str = "caption") -> None:
        require_names(self.name, text=text)
        self.reads: tuple[str, ...] = (text,)
        self.takes = {text: CAPTIONS}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The figures of each row: struct [B]."""
        found = [
            vars(measure(captions)) if (captions := _given(value)) else None for value in batch.column(0).to_pylist()
        ]
        return pa.array(found, self.returns), [None if figures else NO_CAPTION for figures in found]


class CaptionLanguage(BaseStep):
    """The language that most likely a row's captions are in, as an ISO 639-1 code: "en", "zh", "de".

    Captions without a letter are "zxx". Of a few words the guess is weak, the weaker the more languages come into
    question; so only those of `among` do. All captions of a row are judged together.

    Args:
        text: column of captions, one or a list a row.
        among: codes of the languages that come into question; by default twelve that are frequent on the web. Of all
            139 that the library knows, one is told from the others less often.
        sure: least probability from 0 to 1; captions that it is not reached for are "und".

    Raises:
        UsageError: the library is not installed, it does not know a language, or an argument is of another kind.

    Source: langid.py (Lui and Baldwin 2012, ACL demo), in its fork py3langid.
    """

    name = "CaptionLanguage"
    returns = pa.string()

    def __init__(self, text: str = "caption", *, among: list[str] | None = None, sure: float = 0.0) -> None:
        require_names(self.name, text=text)
        if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1:
            raise UsageError(f"{self.name}: sure is {sure!r:.80}; expected a probability from 0 to 1")
        languages = list(WEB_LANGUAGES) if among is None else list(among)
        if len(languages) < 2 or not all(isinstance(code, str) and code for code in languages):
            raise UsageError(
                f"{self.name}: among is {among!r:.80}; expected two codes of languages at least",
                hint='among=["en", "de"], or on the command line -p among=en,de',
            )
        try:
            self.version = f"1-py3langid-{importlib.metadata.version('py3langid')}"
        except importlib.metadata.PackageNotFoundError as error:
            raise UsageError(
                f"{self.name}: the library that tells languages apart is not installed",
                hint="pip install 'clipdata[language]'; caption-quality tells scripts without it",
            ) from error
        self.reads: tuple[str, ...] = (text,)
        self.takes = {text: CAPTIONS}
        self.sure, self.languages = sure, languages
        self.parameters = {"among": languages, "sure": sure}
        self._identifier  # noqa: B018 - an unknown language is refused now

    @cached_property
    def _identifier(self) -> Any:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        try:
            identifier.set_languages(self.languages)
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}", hint=f"known: {', '.join(sorted(identifier.labels))}") from error
        return identifier

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The language of each row: string [B]."""
        found = [self._language(_given(value)) for value in batch.column(0).to_pylist()]
        return pa.array(found, pa.string()), [None if language else NO_CAPTION for language in found]

    def _language(self, captions: list[str]) -> str | None:
        if not captions:
            return None
        text = " ".join(captions)
        if not any(map(str.isalpha, text)):
            return _NO_LANGUAGE
        language, probability = self._identifier.classify(text)
        return str(language) if probability >= self.sure else _UNSURE

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_identifier"}


class CaptionCount(BaseStep):
    """In how many rows of the table the very caption appears; capitals and blanks make no difference.

    Of several captions in a row it is the one that appears most often. A stock text ("image not found", "product
    picture") shows as a large number. The count is that of the rows there are when the step is made: rows that have a
    value keep it, so overwrite the column once many rows have come.

    Args:
        table: all captions are read once, and take 12 bytes of memory for each different one, 16 while they are sorted;
            or the location of one.
        text: column of captions, one or a list a row.

    Raises:
        UsageError: the name of the column is no text.
        SchemaError: the table lacks the column, or it holds no captions.
    """

    name = "CaptionCount"
    version = "1"
    returns = pa.int32()

    def __init__(self, table: AnyTable, text: str = "caption") -> None:
        require_names(self.name, text=text)
        self.reads: tuple[str, ...] = (text,)
        self.takes = {text: CAPTIONS}
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        parts = [np.empty(0, np.uint64)]
        for batch in newest.scan([text], batch_rows=SCAN_ROWS):
            parts.append(np.array([key for value in batch.column(0).to_pylist() for key in _keys(value)], np.uint64))
        keys_N = np.concatenate(parts)
        del parts
        keys_N.sort()
        first_U = np.flatnonzero(np.diff(keys_N, prepend=keys_N[:1] ^ 1) != 0)
        self._keys_U = keys_N[first_U]
        self._counts_U = np.diff(first_U, append=len(keys_N)).astype(np.int32)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The count of each row: int32 [B]."""
        keys = [_keys(value) for value in batch.column(0).to_pylist()]
        found = [max(map(self._count, own)) if own else None for own in keys]
        return pa.array(found, pa.int32()), [NO_CAPTION if count is None else None for count in found]

    def notes(self) -> dict[str, Any]:
        """How many different captions there are, and how many of them appear once."""
        return {"different captions": len(self._keys_U), "that appear once": int((self._counts_U == 1).sum())}

    def _count(self, key: int) -> int:
        place = int(np.searchsorted(self._keys_U, np.uint64(key)))
        known = place < len(self._keys_U) and int(self._keys_U[place]) == key
        return int(self._counts_U[place]) if known else 1  # of a row that came since


def _given(value: str | list[str | None] | None) -> list[str]:
    """A row's captions, those that say nothing among them; none where all are null."""
    return [text for text in ([value] if isinstance(value, str) else value or ()) if text is not None]


def _keys(value: str | list[str | None] | None) -> set[int]:
    """64 bits for each different caption of a row; of ten million, two share theirs with a chance of 3 in a million."""
    digests = (
        hashlib.blake2b(alike(text).encode("utf-8", "surrogatepass"), digest_size=8) for text in captions_of(value)
    )
    return {int.from_bytes(digest.digest(), "little") for digest in digests}
