"""The fit of a class head: what it minimises, and its minimum. Arithmetic on arrays; knows no table, model or file.

Shapes: N rows, C classes, D numbers of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PULL = 0.1
"""Strength of the pull towards the prompts; what it reaches: benchmarks/class_head.py."""
SCALE_PULL = 10.0
"""Rows that a class's scale must be worth before it leaves the model's own."""
MAX_ITERATIONS = 1_000


@dataclass(frozen=True)
class FittedWeights:
    """Where the fit ended.

    Args:
        weight_CD: float64, image and text part together.
        scale_C: float64, what the text part of each class was multiplied by.
        loss: mean cross-entropy of the rows.
        steps: of the solver.
        converged: it stands at the minimum.
    """

    weight_CD: np.ndarray
    scale_C: np.ndarray
    loss: float
    steps: int
    converged: bool


def objective(
    parts: np.ndarray, embedding_ND: np.ndarray, label_N: np.ndarray, text_CD: np.ndarray, scale: float
) -> tuple[float, np.ndarray]:
    """Sum of the rows' cross-entropies and of both pulls, with its gradient: convex in all parts together.

    The logits of class c are its prompts' cosines times a scale of its own, and products with a vector of its own that
    begins at 0:  f · (w_c + a_c t_c). The pull on the vectors grows with the spread of the embeddings, so that what it
    allows the logits does not depend on the model.

    Args:
        parts: float64 [C·D + C], vectors and then scales.
        embedding_ND: float64, L2-normalised.
        label_N: int64.
        text_CD: float64, L2-normalised features of the classes' prompts.
        scale: the model's own logit scale, where the scales begin.

    Source: the classifier of LP++ (arXiv 2404.02285, equation 3), whose validation-free fit by a number of steps is
        replaced by one that has a single minimum; the pull in place of a validation set is ProLIP's (arXiv 2410.05270).
    """
    num_classes, size = text_CD.shape
    own_CD, scale_C = parts[: num_classes * size].reshape(num_classes, size), parts[num_classes * size :]
    cosine_NC = embedding_ND @ text_CD.T
    logits_NC = embedding_ND @ own_CD.T + cosine_NC * scale_C
    logits_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
    share_NC = np.exp(logits_NC)
    total_N1 = share_NC.sum(axis=1, keepdims=True)
    rows_N, away_C = np.arange(len(label_N)), scale_C / scale - 1
    pull = PULL * float(embedding_ND.var(axis=0).sum())
    loss = float((np.log(total_N1[:, 0]) - logits_NC[rows_N, label_N]).sum())
    loss += pull / 2 * float((own_CD**2).sum()) + SCALE_PULL / 2 * float((away_C**2).sum())
    slope_NC = share_NC / total_N1
    slope_NC[rows_N, label_N] -= 1
    own_slope_CD = slope_NC.T @ embedding_ND + pull * own_CD
    scale_slope_C = (slope_NC * cosine_NC).sum(axis=0) + SCALE_PULL * away_C / scale
    return loss, np.concatenate([own_slope_CD.reshape(-1), scale_slope_C])


def fit(embedding_ND: np.ndarray, label_N: np.ndarray, text_CD: np.ndarray, scale: float) -> FittedWeights:
    """Find the minimum of `objective`; the same rows give the same weights, whatever order they come in to rounding.

    Args: as of `objective`.
    """
    from scipy.optimize import minimize

    num_classes, size = text_CD.shape
    begin = np.concatenate([np.zeros(num_classes * size), np.full(num_classes, scale)])
    found = minimize(
        objective,
        begin,
        args=(embedding_ND, label_N, text_CD, scale),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-4},
    )
    own_CD, scale_C = found.x[:-num_classes].reshape(num_classes, size), found.x[-num_classes:]
    weight_CD = own_CD + scale_C[:, None] * text_CD
    logits_NC = embedding_ND @ weight_CD.T
    top_N = logits_NC.max(axis=1)
    loss_N = (
        top_N + np.log(np.exp(logits_NC - top_N[:, None]).sum(axis=1)) - logits_NC[np.arange(len(label_N)), label_N]
    )
    return FittedWeights(weight_CD, scale_C, float(loss_N.mean()), int(found.nit), bool(found.success))
