"""scores_of(): the step whose column says row by row how well a model does what an objective trains for.

Written before and after a training, it is what `compare` takes. It knows objectives and steps, and no tables.
"""

from __future__ import annotations

import pyarrow as pa

from clipdata.encoder import Encoder
from clipdata.errors import UsageError
from clipdata.schema import is_of
from clipdata.step_protocol import Step
from clipdata.steps import ChoiceScores, ClassScores, PairScore
from clipdata.training.objectives import Choice, ClassPrompts, Objective
from clipdata.training.objectives.pairs import Pairs


def scores_of(
    encoder: Encoder, objective: Objective, schema: pa.Schema, *, image: str = "image", trunk: str | None = None
) -> Step:
    """Make the step: probabilities of a row's choices or of all classes, or the cosine of a picture and its captions.

    Args:
        encoder: scores.
        objective: says what.
        schema: of the table, which tells one caption a row from a list of them.
        image: column of pictures.
        trunk: column of the image trunk's features, read instead.

    Raises:
        UsageError: nothing of the objective is a row's own.
    """
    if isinstance(objective, Choice):
        return ChoiceScores(encoder, objective.choices, image=image, trunk=trunk)
    if isinstance(objective, ClassPrompts):
        return ClassScores(encoder, list(objective.classes), templates=objective.templates, image=image, trunk=trunk)
    if isinstance(objective, Pairs):
        if is_of("texts", schema.field(objective.text).type):
            return ChoiceScores(encoder, objective.text, image=image, trunk=trunk, probabilities=False)
        return PairScore(encoder, objective.text, image=image, trunk=trunk)
    raise UsageError(f"objective {objective.kind} has no score of a row")
