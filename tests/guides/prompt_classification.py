"""Pictures in class folders with lists, names of classes, a small CLIP and a small one with a ResNet."""

from __future__ import annotations

from pathlib import Path

from tests.class_folders import RESNET, write_lists
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    write_lists(folder, 6)
    (folder / "names.txt").write_text("green\ndark red\nblue\n", encoding="utf-8")
    for name, changes in (("clip", {}), ("resnet", RESNET)):
        tiny_encoder(folder, **changes)
        (folder / "tiny-0").rename(folder / name)
