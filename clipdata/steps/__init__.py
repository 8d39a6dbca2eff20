"""Steps: each makes one column. They load their model's library only when they run."""

from clipdata.steps.choice_scores import ChoiceScores
from clipdata.steps.embeddings import ImageEmbedding, ImageTrunk, TextEmbedding
from clipdata.steps.functions import FunctionStep, step
from clipdata.steps.labels import LabelIndex, Pick
from clipdata.steps.pair_scores import PairScore

__all__ = [
    "ChoiceScores",
    "FunctionStep",
    "ImageEmbedding",
    "ImageTrunk",
    "LabelIndex",
    "PairScore",
    "Pick",
    "TextEmbedding",
    "step",
]
