"""Outcome: what an export wrote, as a value with a text view."""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.storage import redact


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        out: folder of the shards.
        num_shards: shards there are now.
        num_new_shards: of these, written by this call.
        num_samples: samples in all shards.
        num_bytes: bytes of all shards.
        num_without_caption: samples that open_clip will pass over, because they have no text.
        num_other_formats: samples that open_clip will pass over, because it reads jpg, png and webp only.
        num_without_image: rows left out, because their image is neither in the table nor where `uri` says.
        num_not_an_image: rows left out, because what they hold is no image.
        columns: fields in the JSON of each sample.
        left_out: columns that JSON cannot hold, or that are long vectors.
        pictures_from: other tables that the rows refer to for their pictures, and of which these were read.
        is_dry: nothing was written; samples, bytes and shards are those that there would be, the bytes about.
    """

    out: str
    num_shards: int
    num_new_shards: int
    num_samples: int
    num_bytes: int
    num_without_caption: int
    num_other_formats: int
    num_without_image: int
    num_not_an_image: int
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    pictures_from: tuple[str, ...] = ()
    is_dry: bool = False

    def __str__(self) -> str:
        size = f"{self.num_samples:,} samples in {self.num_shards:,} shards, {self.num_bytes:,} bytes"
        now = f"{self.num_new_shards:,} shards {'would be written' if self.is_dry else 'written now'}"
        lines = [f"{redact(self.out)}: {'about ' if self.is_dry else ''}{size} ({now})"]
        counts = {
            "without a caption, passed over by open_clip": self.num_without_caption,
            "neither jpg, png nor webp, passed over by open_clip": self.num_other_formats,
            "without an image, left out": self.num_without_image,
            "that hold no image we know, left out": self.num_not_an_image,
        }
        lines += [f"  {count:,} {words}" for words, count in counts.items() if count]
        if self.left_out:
            lines.append(f"  columns left out: {', '.join(self.left_out)}")
        if self.pictures_from:
            lines.append(f"  pictures read from {', '.join(self.pictures_from)}")
        return "\n".join(lines)
