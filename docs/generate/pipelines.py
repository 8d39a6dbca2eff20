"""The page of pipelines: the settings of each, and the fields that its document's config sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pipelines as package
from docs.generate.markdown import description
from docs.generate.training import fields_of
from pipelines.caption_contest import ContestSettings
from pipelines.dual_encoder import DualEncoderSettings
from pipelines.from_scratch import FromScratchSettings
from pipelines.locked_image import LockedImageSettings
from pipelines.prompt_classification import ClassificationSettings

PATH = "reference/pipelines.md"
NAV = {"Pipelines": PATH}
SETTINGS = {
    "caption-contest": ContestSettings,
    "prompt-classification": ClassificationSettings,
    "from-scratch": FromScratchSettings,
    "dual-encoder": DualEncoderSettings,
    "locked-image": LockedImageSettings,
}
_CONFIGS = Path(next(iter(package.__path__))) / "configs"


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    text = """# Pipelines

Each pipeline is one command, `clipdata run NAME`, and one function, `pipelines.NAME.run_NAME(settings)`. The
options of the command
and the fields of the settings are the same things. What each tutorial says and what is done here stands in the
guide of the pipeline.
"""
    for name, settings in SETTINGS.items():
        text += f"""
## {name} {{ #{name} }}

Command: [`clipdata run {name}`](verbs/run-{name}.md). Guide: [{name}](../guides/{name}.md). Settings:
`pipelines.{name.replace("-", "_")}.{settings.__name__}`.

{description(settings)}
{fields_of(settings, f"pipelines.{settings.__name__}", missing)}
`--config document` trains with the settings of the tutorial:

```json
{json.dumps(json.loads((_CONFIGS / f"{name}.json").read_text(encoding="utf-8")), indent=2, ensure_ascii=False)}
```
"""
    return {PATH: text}
