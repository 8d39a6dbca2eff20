"""Texts as they are typed: a sentence, or the name of a file; a word that is neither for sure is asked about.

It knows words of the command line, and nothing of what is done with a text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from clipdata.errors import NotFoundError, StorageError, UsageError

_TEXT_SUFFIXES = {".txt", ".text", ".csv", ".tsv", ".json", ".jsonl", ".md"}
_AS_TEXT = "a text that looks like a name can stand in a text file, as a line of it"


def texts_of(given: str, encoding: str) -> Sequence[str]:
    """The texts that a word stands for: the lines of a file, blank ones left out, or itself.

    Raises:
        NotFoundError: it looks like the name of a file that is not there.
        UsageError: it names a picture or a folder, or the file is in another encoding, or holds no text.
    """
    if not os.path.isfile(given) or _is_picture(given):
        return [sentence(given, files="pass texts, or text files with one a line")]
    try:
        lines = Path(given).read_bytes().decode("utf-8-sig" if encoding == "utf-8" else encoding).splitlines()
    except OSError as error:
        raise StorageError(f"{given} cannot be read: {error.strerror}") from error
    except LookupError as error:
        raise UsageError(f"there is no encoding {encoding!r}", hint="--encoding gb18030, big5, utf-16, …") from error
    except UnicodeDecodeError as error:
        from clipdata.file_kinds import kind_of_file
        from ingest.metadata.encodings import guess

        if (kind := kind_of_file(given)) is not None:
            raise UsageError(f"{given} is {kind.name}; expected texts, one a line", hint=kind.mend) from error
        likely = guess(Path(given).read_bytes())
        raise UsageError(f"{given} is not {encoding}: {error.reason}", hint=f"--encoding {likely}") from error
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise UsageError(f"{given} holds no text; expected one a line")
    return texts


def sentence(given: str, *, files: str = "pass a text; pictures go to --image") -> str:
    """A word that is a text itself.

    Args:
        files: what to type instead of the name of a file.

    Raises:
        NotFoundError: it looks like the name of a file that is not there.
        UsageError: it names a file or a folder that is.
    """
    if given.strip() and os.path.exists(given) and _looks_like_a_name(given):
        kind = "folder" if os.path.isdir(given) else "picture" if _is_picture(given) else "file"
        raise UsageError(f"{given} is a {kind}; expected a text", hint=f"{files}; {_AS_TEXT}")
    if _looks_like_a_name(given):
        raise NotFoundError(f"there is no file {given}", hint=f"check the path; {_AS_TEXT}")
    return given


def _looks_like_a_name(given: str) -> bool:
    """Whether a word ends as a file does, or is one word with a separator of folders."""
    ends = PurePath(given).suffix.lower() in _TEXT_SUFFIXES or _is_picture(given)
    is_word = len(given.split()) == 1
    return ends or (is_word and ("/" in given or "\\" in given or given.startswith("~")))


def _is_picture(given: str) -> bool:
    from clipdata.images.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES

    return PurePath(given).suffix.lower() in IMAGE_SUFFIXES | OTHER_SUFFIXES.keys()
