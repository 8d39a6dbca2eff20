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
    "Bench": "clipdata.rates:Bench",
    "Augmentation": "clipdata.encoder.augmentation:Augmentation",
    "ClassHead": "clipdata.steps.class_heads:ClassHead",
    "ClipdataError": "clipdata.errors:ClipdataError",
    "Cache": "clipdata.lance_io.kept_rows:Cache",
    "Canary": "clipdata.training.canary:Canary",
    "Comparison": "clipdata.comparison:Comparison",
    "Found": "clipdata.similarity.found:Found",
    "Evaluated": "clipdata.training.evaluation:Evaluated",
    "Curated": "clipdata.curation:Curated",
    "Encoder": "clipdata.encoder.model:Encoder",
    "Indexed": "clipdata.similarity.table_index:Indexed",
    "Lineage": "clipdata.lineage:Lineage",
    "Mapped": "clipdata.mapped:Mapped",
    "Mix": "clipdata.stream.mixing:Mix",
    "ModelConfig": "clipdata.encoder.model_config:ModelConfig",
    "Progress": "clipdata.progress:Progress",
    "Proof": "clipdata.curation:Proof",
    "Run": "clipdata.training.run:Run",
    "Similarity": "clipdata.similarity.records:Similarity",
    "Step": "clipdata.step_protocol:Step",
    "Storage": "clipdata.storage:Storage",
    "Stream": "clipdata.stream.dataset:Stream",
    "Table": "clipdata.lance_io.table:Table",
    "TrainConfig": "clipdata.training.config:TrainConfig",
    "TrainingPlan": "clipdata.training.plan:TrainingPlan",
    "Cleaned": "clipdata.lance_io.cleaning:Cleaned",
    "Sweep": "clipdata.training.interpolation:Sweep",
    "interpolate": "clipdata.training.interpolation:interpolate",
    "sweep": "clipdata.training.interpolation:sweep",
    "check_canary": "clipdata.training.canary:check_canary",
    "check_column": "clipdata.refreshing:check_column",
    "SplitCheck": "clipdata.split_check:SplitCheck",
    "check_split": "clipdata.split_check:check_split",
    "Compacted": "clipdata.lance_io.compacting:Compacted",
    "Deleted": "clipdata.lance_io.deleting:Deleted",
    "Diff": "clipdata.lance_io.differences:Diff",
    "Dropped": "clipdata.lance_io.dropping:Dropped",
    "Restored": "clipdata.lance_io.restoring:Restored",
    "Selected": "clipdata.lance_io.selecting:Selected",
    "Tagged": "clipdata.lance_io.tags:Tagged",
    "compact": "clipdata.lance_io.compacting:compact",
    "delete": "clipdata.lance_io.deleting:delete",
    "diff": "clipdata.lance_io.differences:diff",
    "drop": "clipdata.lance_io.dropping:drop",
    "restore": "clipdata.lance_io.restoring:restore",
    "select": "clipdata.lance_io.selecting:select",
    "tag": "clipdata.lance_io.tags:tag",
    "bench": "clipdata.rates:bench",
    "choose_recipe": "clipdata.training.recipe_facts:choose_recipe",
    "clean": "clipdata.lance_io.cleaning:clean",
    "compare": "clipdata.comparison:compare",
    "export": "clipdata.exports:export",
    "export_query": "clipdata.exports:export_query",
    "Exported": "clipdata.exports:Exported",
    "curate": "clipdata.curation:curate",
    "Checkup": "clipdata.checking:Checkup",
    "check": "clipdata.checking:check",
    "Diagnosis": "clipdata.diagnosis:Diagnosis",
    "doctor": "clipdata.diagnosis:doctor",
    "RayEngine": "clipdata.engines.ray:RayEngine",
    "Ranking": "clipdata.ranking:Ranking",
    "RecipesPlan": "clipdata.ranking:RecipesPlan",
    "compare_runs": "clipdata.ranking:compare_runs",
    "train_recipes": "clipdata.ranking:train_recipes",
    "compare_columns": "clipdata.comparison:compare_columns",
    "compare_seeds": "clipdata.comparison:compare_seeds",
    "evaluate": "clipdata.training.evaluation:evaluate",
    "filters": "clipdata.filters",
    "fit_head": "clipdata.training.head_fitting:fit_head",
    "Filter": "clipdata.filters:Filter",
    "Funnel": "clipdata.filters:Funnel",
    "funnel": "clipdata.filters:funnel",
    "export_towers": "clipdata.encoder.tower_exports:export_towers",
    "index": "clipdata.similarity.table_index:index",
    "RowErrors": "clipdata.row_errors:RowErrors",
    "list_errors": "clipdata.row_errors:list_errors",
    "load_encoder": "clipdata.encoder.loading:load_encoder",
    "log": "clipdata.lance_io.history:log",
    "map_column": "clipdata.mapping:map_column",
    "mix": "clipdata.stream.mixing:mix",
    "new_encoder": "clipdata.encoder.loading:new_encoder",
    "objectives": "clipdata.training.objectives",
    "open_run": "clipdata.training.run:open_run",
    "runs": "clipdata.training.listing:runs",
    "open_table": "clipdata.lance_io.table:open_table",
    "push": "clipdata.exports:push",
    "Pushed": "clipdata.exports:Pushed",
    "prove": "clipdata.curation:prove",
    "Report": "clipdata.reporting:Report",
    "report": "clipdata.reporting:report",
    "progress_bar": "clipdata.bars:progress_bar",
    "recipes": "clipdata.training.recipes",
    "Refreshed": "clipdata.refreshing:Refreshed",
    "refresh": "clipdata.refreshing:refresh",
    "Shown": "clipdata.showing:Shown",
    "show": "clipdata.showing:show",
    "retry_errors": "clipdata.refreshing:retry_errors",
    "search": "clipdata.similarity.table_search:search",
    "similar": "clipdata.similarity.request:similar",
    "TableStats": "clipdata.summary:TableStats",
    "stats": "clipdata.summary:stats",
    "step": "clipdata.steps.functions:step",
    "steps": "clipdata.steps",
    "to_hugging_face": "clipdata.exports.hugging_face:to_hugging_face",
    "to_datachain": "clipdata.chains:to_datachain",
    "ExportedView": "clipdata.viewer:ExportedView",
    "Viewer": "clipdata.viewer:Viewer",
    "export_view": "clipdata.viewer:export_view",
    "view": "clipdata.viewer:view",
    "Why": "clipdata.recomputing:Why",
    "why": "clipdata.recomputing:why",
    "train": "clipdata.training.fine_tuning:train",
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
