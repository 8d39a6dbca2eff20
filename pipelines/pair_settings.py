"""What pipelines over pictures with captions work on, held to what makes sense before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipdata.errors import UsageError
from pipelines.settings import PipelineSettings


@dataclass(frozen=True, kw_only=True)
class PairsSettings(PipelineSettings):
    """What pipelines over pictures with captions work on.

    Args:
        model: to begin with, anything `clipdata.load_encoder` takes; "new" makes one as the other settings say.
        captions_column: of captions, one or a list a row; by default the one with a usual name.
        image_column: of the bytes of pictures; by default the one that the table declares, or with a usual name.
        choices: captions of each question that is drawn, the right one among them.
        test_share: of the pictures, where nothing says which are held out.
        search: texts to look for among all pictures at the end; by default captions of held-out pictures.
        top: pictures to show of each.
    """

    model: str = "new"
    captions_column: str | None = None
    image_column: str | None = None
    choices: int = 5
    test_share: float = 0.2
    search: Sequence[str] = ()
    top: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share is {self.test_share}; expected a share between 0 and 1")
        if self.choices < 2:
            raise UsageError(f"choices is {self.choices}; expected at least 2 captions of each question")
        if self.top < 1:
            raise UsageError(f"top is {self.top}; expected at least 1 picture of each search")
        if any(not text.strip() for text in self.search):
            raise UsageError("a text to search for is empty")
