"""What mkdocs calls while it builds the site; `hooks` in mkdocs.yml names this file.

The reference and the pages that lie outside docs/ become pages of the site, the package READMEs one page of it,
and the Markdown of every page is published beside it, for whoever reads text: agents, and people with `less`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# mkdocs loads this file by itself, with its folder in the path, where `pipelines.py` would hide the package.
sys.path[:] = [str(ROOT), *(place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent)]

from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

from docs.generate import packages  # noqa: E402
from docs.generate.reference import WRITERS, reference  # noqa: E402

OUTSIDE = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation."""
    nav: list[Any] = list(config.nav or [])
    for entry in nav:
        if "Reference" in entry:
            entry["Reference"] = ["reference/index.md", *(writer.NAV for writer in WRITERS)]
        if "Project" in entry:
            entry["Project"] = [*OUTSIDE, packages.PATH, *entry["Project"]]
    config.nav = nav
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code, and those that lie beside docs/."""
    made = reference()
    if made.missing:
        raise SystemExit("no description:\n" + "".join(f"  {what}\n" for what in made.missing))
    pages = {**made.pages, packages.PATH: packages.page()}
    for path, source in OUTSIDE.items():
        pages[path] = within_site((ROOT / source).read_text(encoding="utf-8"))
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_build(*, config: MkDocsConfig) -> None:
    """Publish the Markdown of the pages that are written by hand, beside the pages."""
    site, docs = Path(config.site_dir), Path(config.docs_dir)
    for page in (found for found in docs.rglob("*.md") if "generate" not in found.parts):
        copy = site / page.relative_to(docs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")


def within_site(text: str) -> str:
    """A file of the project's root as a page: links into docs/ are links within it, those to other files are names."""
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\[([^\]]+)\]\(CHANGELOG\.md\)", r"[\1](changelog.md)", text)
    return re.sub(
        r"\[`?([^\]`]+)`?\]\((?!https?:|#|changelog|guides/|concepts/|benchmarks/|reference/|decisions)[^)]+\)",
        r"`\1`",
        text,
    )
