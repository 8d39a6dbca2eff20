"""From features to ranked matches: softmax over the candidates of a row, itself left out. It knows arrays alone.

Shapes: N rows, M candidates, D shared space, B rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipdata.similarity.records import Match, Ranking

_CELLS = 1 << 22
"""Scores at a time."""


def ranked(
    names: Sequence[str],
    features_ND: np.ndarray,
    candidates: Sequence[str] | None,
    candidates_MD: np.ndarray | None,
    scale: float,
    top: int | None,
) -> list[Ranking]:
    """Rank the candidates of each row by cosine; equal ones in their own order.

    Args:
        names: of the rows [N].
        features_ND: L2-normalised.
        candidates: their names [M]; None ranks each row among all others.
        candidates_MD: their features, L2-normalised; None with `candidates`.
        scale: of the cosines before the softmax.
        top: matches of a row to keep; None keeps all.

    Source: CLIP-Chinese, predict_similarity.py: softmax(scale * cosine) over a row, a row's own score at -10000; here
        at minus infinity, which gives the same probabilities and cannot be undercut.
    """
    features_ND = features_ND.astype(np.float64)
    among_themselves = candidates is None or candidates_MD is None
    others = names if candidates is None else candidates
    others_MD = features_ND if candidates_MD is None else candidates_MD.astype(np.float64)
    found: list[Ranking] = []
    for start in range(0, len(names), step := max(_CELLS // max(len(others), 1), 1)):
        cosine_BM = np.clip(features_ND[start : start + step] @ others_MD.T, -1, 1)
        logits_BM = scale * cosine_BM
        rows_B = np.arange(len(cosine_BM))
        if among_themselves:
            logits_BM[rows_B, start + rows_B] = -np.inf
        weights_BM = np.exp(logits_BM - logits_BM.max(axis=1, keepdims=True))
        probability_BM = weights_BM / weights_BM.sum(axis=1, keepdims=True)
        # Its own score is the lowest of a row, and so the last.
        order_BM = np.argsort(-logits_BM, axis=1, kind="stable")[:, : len(others) - among_themselves]
        for row in rows_B.tolist():
            matches = [
                Match(place, others[place], float(probability_BM[row, place]), float(cosine_BM[row, place]))
                for place in order_BM[row, :top].tolist()
            ]
            found.append(Ranking(start + row, names[start + row], matches))
    return found
