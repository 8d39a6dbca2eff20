"""Measuring held-out rows: what counts as right."""

import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from clipdata.answers import judge
from clipdata.training.evaluation import figures_of
from clipdata.training.features import BatchFacts, Features
from clipdata.training.measures import right_answers
from clipdata.training.objectives import Choice


def measured(choices: list[list[tuple[float, float]]], labels: list[int]) -> tuple[Features, BatchFacts]:
    """Rows of a picture (1, 0) and choices at angles of their own."""
    flat = torch.tensor([choice for row in choices for choice in row])
    features = Features(
        image_BD=torch.tensor([[1.0, 0.0]] * len(choices)),
        text_TD=functional.normalize(flat, dim=-1),
        logit_scale=torch.tensor(10.0),
    )
    facts = BatchFacts(
        text_index_K=torch.arange(len(flat)),
        text_counts_B=torch.tensor([len(row) for row in choices]),
        text_id_T=torch.arange(len(flat)) + 1,
        picture_B=torch.zeros(len(choices), dtype=torch.int64),
        columns={"label_ind": torch.tensor(labels)},
    )
    return features, facts


def accuracy(found: tuple[Features, BatchFacts]) -> float:
    return figures_of([{}], lambda _: found, Choice()).metrics["accuracy"]


BEST, SECOND, WORST = (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)


def test_right_is_what_scores_above_every_other():
    logits_BN = torch.tensor([[1.0, 0.7, -torch.inf], [0.7, 1.0, 0.0], [0.0, 0.7, -torch.inf]])

    assert right_answers(logits_BN, torch.tensor([0, 0, 1])).tolist() == [True, False, True]
    assert accuracy(measured([[BEST, SECOND], [SECOND, BEST, WORST], [WORST, SECOND]], [0, 0, 1])) == pytest.approx(
        2 / 3
    )


def test_a_tie_for_the_top_is_not_right_and_compare_says_the_same():
    found = measured([[BEST, BEST], [BEST, BEST, WORST], [BEST, WORST, WORST]], [0, 1, 0])
    scores = pa.array([[0.5, 0.5], [0.4, 0.4, 0.2], [0.8, 0.1, 0.1]])

    assert accuracy(found) == pytest.approx(1 / 3)
    assert judge(scores, pa.array([0, 1, 0])).right_N.tolist() == [0, 0, 1]


def test_a_row_with_a_single_choice_is_right():
    assert accuracy(measured([[WORST]], [0])) == 1


def test_a_score_that_is_no_number_is_not_right():
    found = measured([[BEST, SECOND]], [0])
    found[0].image_BD[0, 0] = float("nan")

    assert accuracy(found) == 0
