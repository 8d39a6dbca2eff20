"""The built-in sample: 1,800 captioned drawings and 5,400 multiple-choice questions about them; see `README.md` in it.

900 emoji, each drawn twice and named in three languages, with a test split that shares no drawing, caption or subject
with the training split. `layouts` lays them out in other formats. Importing this loads nothing.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def images_path() -> Path:
    """Folder of the pictures."""
    return Path(str(files("pipelines.sample"))) / "images"


def questions_path() -> Path:
    """Parquet file of the questions; they name the pictures by `filename`."""
    return Path(str(files("pipelines.sample"))) / "questions.parquet"


def names_path() -> Path:
    """Parquet file of the pictures' names, captions and classes, one row a picture by `filename`."""
    return Path(str(files("pipelines.sample"))) / "names.parquet"
