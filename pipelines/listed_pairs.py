"""Pairs of a list `text,url,filename` into a table: with pictures that are at hand, or downloaded.

A row of which there is no picture, or none that can be read, is among the table's rejects with the reason. It knows
lists and tables, and no pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ingest
from clipdata.errors import NotFoundError, TooManyRejectsError
from clipdata.hints import typed
from clipdata.storage import is_remote, redact

if TYPE_CHECKING:
    from ingest import Ingested


@dataclass(frozen=True)
class PairList:
    """How lists are read.

    Args:
        images: folder of the pictures, by their file names; None downloads them.
        text, url, filename: columns.
        encoding: of the lists.
        allow_private: hosts of a private network that may be downloaded from.
    """

    images: str | None
    text: str = "text"
    url: str = "url"
    filename: str = "filename"
    encoding: str = "utf-8"
    allow_private: tuple[str, ...] = ()

    def take_in(self, listed: str, into: str, *, anonymous: bool, **options: Any) -> Ingested:
        """Bring a table up to date with a list.

        Args:
            listed: location of the list.
            into: location of the table.
            anonymous: the pictures' folder is public.
            options: of `ingest.updating.job.ingest`.

        Raises:
            NotFoundError: there is no list, or no folder.
            SchemaError: the list lacks a column.
            TooManyRejectsError: no row of it gives a pair.
        """
        options |= {"encoding": self.encoding, "into": into}
        if self.images is not None:
            if not is_remote(self.images) and not Path(self.images).expanduser().is_dir():
                raise NotFoundError(
                    f"there is no folder of pictures {self.images}",
                    hint="--download takes them from the addresses in the list",
                )
            done = ingest.from_captions(
                self.images,
                listed,
                rows="caption",
                image_column=self.filename,
                caption_columns=[self.text],
                anonymous=anonymous,
                **options,
            )
        else:
            rules = ingest.DownloadRules(allow_private=self.allow_private)
            done = ingest.from_urls(
                listed, url=self.url, caption=self.text, filename=self.filename, rules=rules, **options
            )
        if not done.usable or not done.table.num_rows:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.refused.items())
            raise TooManyRejectsError(
                f"none of the {done.listed:,} rows of {redact(listed)} gives a pair: {reasons or 'it has none'}",
                hint=f"clipdata rejects {typed(into)} lists the reasons",
            )
        return done
