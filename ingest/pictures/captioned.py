"""One caption of one image, as a file of captions has it, before anyone looked for the image."""

from __future__ import annotations

from dataclasses import dataclass

AS_THEY_COME = -1


@dataclass(frozen=True, slots=True)
class Captioned:
    """One caption of one image, or why a place of the file gives none.

    Args:
        image: name of the image as the file has it; empty for a fault.
        number: number of the caption among those of its image; `AS_THEY_COME` where the file does not say.
        caption: the text, without the line's end.
        fault: why there is no caption.
        place: where in the file it stands.
        order: of the captions of one image; those of equal order come as they are in the file.
        split: to which the image belongs, where the file says so.
    """

    image: str
    number: int
    caption: str
    fault: str = ""
    place: str = ""
    order: int = 0
    split: str = ""

    @classmethod
    def fault_at(cls, place: str, fault: str) -> Captioned:
        """A place that gives no caption."""
        return cls("", 0, "", fault, place)
