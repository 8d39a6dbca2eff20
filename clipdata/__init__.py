"""clipdata: one versioned Lance table from raw images and text to scores before and after fine-tuning CLIP.

Public names load on first use, so that `import clipdata` costs nothing: neither torch nor lance is imported by it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from clipdata import telemetry

__version__ = "0.1.0"

# Public name → where it lives ("module:name", or a module).
_PUBLIC = {
    "ClipdataError": "clipdata.errors:ClipdataError",
    "Comparison": "clipdata.comparison:Comparison",
    "Evaluated": "clipdata.training.evaluation:Evaluated",
    "Encoder": "clipdata.encoder.model:Encoder",
    "Lineage": "clipdata.lineage:Lineage",
    "Mapped": "clipdata.mapped:Mapped",
    "ModelConfig": "clipdata.encoder.model_config:ModelConfig",
    "Progress": "clipdata.progress:Progress",
    "Run": "clipdata.training.run:Run",
    "Similarity": "clipdata.similarity:Similarity",
    "Step": "clipdata.step_protocol:Step",
    "Storage": "clipdata.storage:Storage",
    "Stream": "clipdata.stream.dataset:Stream",
    "Table": "clipdata.lance_io.table:Table",
    "TrainConfig": "clipdata.training.config:TrainConfig",
    "TrainingPlan": "clipdata.training.plan:TrainingPlan",
    "Cleaned": "clipdata.lance_io.cleaning:Cleaned",
    "clean": "clipdata.lance_io.cleaning:clean",
    "compare": "clipdata.comparison:compare",
    "compare_columns": "clipdata.comparison:compare_columns",
    "compare_seeds": "clipdata.comparison:compare_seeds",
    "evaluate": "clipdata.training.evaluation:evaluate",
    "export_towers": "clipdata.encoder.tower_exports:export_towers",
    "load_encoder": "clipdata.encoder.loading:load_encoder",
    "log": "clipdata.lance_io.history:log",
    "map_column": "clipdata.mapping:map_column",
    "new_encoder": "clipdata.encoder.loading:new_encoder",
    "objectives": "clipdata.training.objectives",
    "open_run": "clipdata.training.run:open_run",
    "open_table": "clipdata.lance_io.table:open_table",
    "progress_bar": "clipdata.bars:progress_bar",
    "recipes": "clipdata.training.recipes",
    "similar": "clipdata.similarity:similar",
    "step": "clipdata.steps.functions:step",
    "steps": "clipdata.steps",
    "to_datachain": "clipdata.chains:to_datachain",
    "train": "clipdata.training.loop:train",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

telemetry.turn_off()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'clipdata' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _PUBLIC[name].partition(":")
    loaded = import_module(module)
    value = getattr(loaded, attribute) if attribute else loaded
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
