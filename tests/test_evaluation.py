"""Measuring held-out rows: what counts as right."""

import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from clipdata.answers import judge
from clipdata.training.evaluation import evaluate, right_answers
from clipdata.training.forward import Features


def features(choices: list[list[tuple[float, float]]], labels: list[int]) -> Features:
    """Rows of a picture (1, 0) and choices at angles of their own."""
    flat = torch.tensor([choice for row in choices for choice in row])
    return Features(
        image_BD=torch.tensor([[1.0, 0.0]] * len(choices)),
        text_TD=functional.normalize(flat, dim=-1),
        logit_scale=torch.tensor(10.0),
        text_index_K=torch.arange(len(flat)),
        text_counts_B=torch.tensor([len(row) for row in choices]),
        label_B=torch.tensor(labels),
    )


BEST, SECOND, WORST = (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)


def test_right_is_what_scores_above_every_other():
    found = features([[BEST, SECOND], [SECOND, BEST, WORST], [WORST, SECOND]], [0, 0, 1])

    assert right_answers(found).tolist() == [True, False, True]


def test_a_tie_for_the_top_is_not_right_and_compare_says_the_same():
    found = features([[BEST, BEST], [BEST, BEST, WORST], [BEST, WORST, WORST]], [0, 1, 0])
    scores = pa.array([[0.5, 0.5], [0.4, 0.4, 0.2], [0.8, 0.1, 0.1]])

    measured = evaluate([{}], lambda _: found)

    assert right_answers(found).tolist() == [False, False, True]
    assert measured.accuracy == pytest.approx(1 / 3)
    assert judge(scores, pa.array([0, 1, 0])).right_N.tolist() == [0, 0, 1]


def test_a_row_with_a_single_choice_is_right():
    assert right_answers(features([[WORST]], [0])).tolist() == [True]


def test_a_score_that_is_no_number_is_not_right():
    found = features([[BEST, SECOND]], [0])
    found.image_BD[0, 0] = float("nan")

    assert right_answers(found).tolist() == [False]
