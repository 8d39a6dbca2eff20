"""Discriminant: out-of-fold probabilities of classes from vectors, in closed form and one pass over any number of rows.

A linear discriminant has the form of multinomial logistic regression, and is made of sums alone: counts, sums of
vectors and sums of their products. What a fold is judged by are the sums of all rows less its own; so k folds cost one
pass, nothing depends on the order of rows, and no row is held. Its probabilities rank labels well and are too sure of
themselves: scaled until they fit, they ranked worse. It knows arrays, and no table.

Shapes: B rows of a batch, C classes, D numbers of a vector, F folds.
"""

from __future__ import annotations

import numpy as np

_SMALLEST = 1e-300


def bytes_needed(num_folds: int, num_classes: int, size: int) -> int:
    """Bytes of memory that discriminants take: sums of products for each fold, sums and weights for each class."""
    return 8 * num_folds * size * (size + 2 * num_classes)


class FoldedDiscriminant:
    """Linear discriminants, one for each fold, of the rows outside of it.

    Takes `bytes_needed` of memory.

    Args:
        num_folds: F.
        num_classes: C.
        size: D.

    Source: Gaussian discriminant analysis with a shared covariance as a classifier of CLIP features, with the ridge of
    Kubokawa and Srivastava 2008 (trace of the covariance over rows less one): Wang et al. 2024 (arXiv 2402.04087).
    """

    def __init__(self, num_folds: int, num_classes: int, size: int) -> None:
        self._count_FC = np.zeros((num_folds, num_classes))
        self._sum_FCD = np.zeros((num_folds, num_classes, size))
        self._product_FDD = np.zeros((num_folds, size, size))
        self._weight_FCD = np.zeros((num_folds, num_classes, size))
        self._bias_FC = np.zeros((num_folds, num_classes))

    def add(self, vectors_BD: np.ndarray, class_B: np.ndarray, fold_B: np.ndarray) -> None:
        """Take in rows.

        Args:
            vectors_BD: float.
            class_B: int64, place of each row's class.
            fold_B: int64.
        """
        unit_BD = _units(vectors_BD)
        np.add.at(self._count_FC, (fold_B, class_B), 1)
        np.add.at(self._sum_FCD, (fold_B, class_B), unit_BD)
        for fold in np.unique(fold_B):
            own_BD = unit_BD[fold_B == fold]
            self._product_FDD[fold] += own_BD.T @ own_BD

    def solve(self) -> None:
        """Make the discriminants of all rows that were taken in."""
        counts_C, sums_CD, products_DD = (
            total.sum(axis=0) for total in (self._count_FC, self._sum_FCD, self._product_FDD)
        )
        for fold in range(len(self._count_FC)):
            self._weight_FCD[fold], self._bias_FC[fold] = _discriminant(
                counts_C - self._count_FC[fold],
                sums_CD - self._sum_FCD[fold],
                products_DD - self._product_FDD[fold],
            )

    def others(self, class_B: np.ndarray, fold_B: np.ndarray) -> np.ndarray:
        """How many rows of each row's class lie outside of its fold: float64 [B]."""
        others_B: np.ndarray = self._count_FC.sum(axis=0)[class_B] - self._count_FC[fold_B, class_B]
        return others_B

    def probabilities(self, vectors_BD: np.ndarray, fold_B: np.ndarray) -> np.ndarray:
        """Out-of-fold probabilities: float64 [B, C]; 0 for a class that no other fold has."""
        unit_BD = _units(vectors_BD)
        logits_BC = np.zeros((len(unit_BD), self._bias_FC.shape[1]))
        for fold in np.unique(fold_B):
            own_B = fold_B == fold
            logits_BC[own_B] = unit_BD[own_B] @ self._weight_FCD[fold].T + self._bias_FC[fold]
        powers_BC = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True))
        shares_BC: np.ndarray = powers_BC / powers_BC.sum(axis=1, keepdims=True)
        return shares_BC


def _discriminant(count_C: np.ndarray, sum_CD: np.ndarray, product_DD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [C, D] and biases [C] of the discriminant of so many rows with these sums."""
    num_rows, size = count_C.sum(), sum_CD.shape[1]
    mean_CD = sum_CD / np.maximum(count_C, 1)[:, None]
    num_free = max(num_rows - (count_C > 0).sum(), 1)
    covariance_DD = (product_DD - (mean_CD * count_C[:, None]).T @ mean_CD) / num_free
    trace = max(float(np.trace(covariance_DD)), np.finfo(np.float64).eps)
    ridge_DD = covariance_DD + trace / max(num_rows - 1, 1) * np.eye(size)
    weight_CD = np.linalg.solve(ridge_DD, mean_CD.T).T
    share_C = count_C / max(num_rows, 1)
    prior_C = np.where(count_C > 0, np.log(np.maximum(share_C, _SMALLEST)), np.log(_SMALLEST) * 1e3)
    return weight_CD, prior_C - 0.5 * (weight_CD * mean_CD).sum(axis=1)


def _units(vectors_BD: np.ndarray) -> np.ndarray:
    values_BD = vectors_BD.astype(np.float64)
    norms_B1 = np.linalg.norm(values_BD, axis=1, keepdims=True)
    units_BD: np.ndarray = values_BD / np.where(norms_B1 == 0, 1, norms_B1)
    return units_BD
