"""fit_head(): a classifier on a column of embeddings, from the classes' prompts and the rows' labels; no picture read.

It knows tables, encoders and prompts; the arithmetic is `head_objective`'s.
"""

from __future__ import annotations

import numpy as np
import torch

from clipdata.arguments import check_condition, check_kind
from clipdata.encoder import Encoder
from clipdata.errors import LineageMismatchError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.origin import changed_inputs
from clipdata.steps.class_heads import ClassHead
from clipdata.steps.class_prompts import TEMPLATE, Classes, Templates, class_names, prompt_templates
from clipdata.steps.head_scores import require_embeddings
from clipdata.steps.vectors import vectors_of
from clipdata.storage import redact
from clipdata.stream.columns import to_batch
from clipdata.training import head_objective
from clipdata.training.losses import class_embeddings
from clipdata.training.objectives import ClassPrompts
from clipdata.training.objectives.class_prompts import check_classes, classes_in
from clipdata.training.usable_rows import ChosenRows, choose_rows

_LABEL = "--label COLUMN (label=) names the one of classes"


def fit_head(
    table: AnyTable,
    encoder: Encoder,
    *,
    embedding: str = "embedding",
    label: str = "class_name",
    classes: Classes | None = None,
    templates: Templates = TEMPLATE,
    where: str | None = None,
) -> ClassHead:
    """Fit a classifier on embeddings: few rows leave it at what the prompts say, many at what the rows say.

    Each class has the features of its prompts, as for zero-shot classification, times a scale, and a vector that the
    rows teach it: LP++'s classifier. Both are pulled towards the zero-shot one, so there is no rate, no number of steps
    and no validation set to choose. It takes seconds for thousands of rows.

    Args:
        table: read at the version it is pinned to.
        encoder: made the embeddings, and reads the prompts.
        embedding: column of its image embeddings.
        label: column of class names, or of their places.
        classes: list of names, or a file with one a line; by default the distinct values of the column.
        templates: prompts with braces for the name; several are a list or a file.
        where: SQL condition on the rows to fit.

    Raises:
        SchemaError: a column is missing, of another type or not filled yet.
        LineageMismatchError: another model made the embeddings, or they are of other pictures than are there now.
        UsageError: no row can be used, or the classes or templates are no such.

    Source: LP++ (arXiv 2404.02285); see `head_objective.objective` for what differs.
    """
    check_kind(encoder, Encoder, "fit_head: encoder", 'clipdata.load_encoder("starter")')
    check_condition(where)
    pinned = as_table(table).pinned()
    named = () if classes is None else tuple(map(str, class_names(classes, asker="fit_head")))
    told = prompt_templates(templates, asker="fit_head")
    check_classes(pinned, label, verb="fit-head", hint=_LABEL)
    prompts = ClassPrompts(label=label, classes=named or classes_in(pinned, label, hint=_LABEL), templates=told)
    _check(pinned, embedding, encoder)
    chosen = choose_rows(pinned, prompts, where=where, features=embedding)
    embedding_ND, label_N = _read(pinned, prompts, embedding, chosen)
    found = head_objective.fit(embedding_ND, label_N, _text_features(encoder, prompts), encoder.logit_scale)
    return ClassHead(
        prompts.classes,
        found.weight_CD.astype(np.float32),
        encoder.identity,
        encoder.name,
        (*encoder.trained_on, chosen.trained(pinned, where)),
        {
            "table": redact(pinned.uri),
            "version": pinned.version,
            "where": where,
            "embedding": embedding,
            "label": label,
            "templates": list(told),
            "rows": len(label_N),
            "classes_seen": len(np.unique(label_N)),
            "refused": dict(chosen.refused),
            "digest": chosen.digest,
            "loss": found.loss,
            "steps": found.steps,
            "converged": found.converged,
        },
    )


def _check(table: Table, embedding: str, encoder: Encoder) -> None:
    hint = f"clipdata map {redact(table.uri)} image-embedding {embedding} --model {encoder.name}"
    table.require([embedding], verb="fit-head", hint=hint)
    require_embeddings(table.schema, embedding, encoder.identity, encoder.name, asker="fit-head")
    lineage = table.lineage(embedding)
    if lineage is not None and (changed := changed_inputs(table, lineage)):
        raise LineageMismatchError(
            f"fit-head: column {embedding!r} holds embeddings of other pictures: {'; '.join(changed)}",
            hint=f"{hint} --overwrite",
        )


def _read(table: Table, prompts: ClassPrompts, embedding: str, chosen: ChosenRows) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings float64 [N, D] and places of classes int64 [N]."""
    read = table.take(chosen.offsets, [embedding, prompts.label]).combine_chunks()
    column = read.column(embedding)
    embedding_ND = vectors_of(column.chunk(0), column.type.list_size)[0].astype(np.float64)
    norm_N1 = np.linalg.norm(embedding_ND, axis=1, keepdims=True)
    label_N = prompts.tensor_of(prompts.label, to_batch(read.column(prompts.label))).numpy()
    return embedding_ND / np.where(norm_N1 == 0, 1, norm_N1), label_N


def _text_features(encoder: Encoder, prompts: ClassPrompts) -> np.ndarray:
    """Unit features of each class: float64 [C, D]."""
    class_P = torch.arange(len(prompts.classes)).repeat_interleave(len(prompts.templates))
    text_PD = encoder.encode_texts(prompts.prompts).cpu()
    return class_embeddings(text_PD, class_P, len(prompts.classes)).double().numpy()
