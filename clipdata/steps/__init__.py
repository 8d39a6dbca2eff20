"""Steps: each makes one column. They load their model's library only when they run."""

from clipdata.steps.captions import CleanCaptions, PictureDigest, UnseenCaptions
from clipdata.steps.choice_scores import ChoiceScores
from clipdata.steps.class_scores import ClassScores
from clipdata.steps.class_split import ClassSplit
from clipdata.steps.drawn_choices import DrawnChoices, DrawnPlace
from clipdata.steps.embeddings import ImageEmbedding, ImageTrunk, TextEmbedding
from clipdata.steps.functions import FunctionStep, step
from clipdata.steps.labels import LabelIndex, Pick
from clipdata.steps.pair_scores import PairScore
from clipdata.steps.picture_quality import ImageQuality
from clipdata.steps.prompts import ClassPrompt, Prompt
from clipdata.steps.splits import GroupSplit, PairSplit

__all__ = [
    "ChoiceScores",
    "ClassPrompt",
    "ClassScores",
    "ClassSplit",
    "CleanCaptions",
    "DrawnChoices",
    "DrawnPlace",
    "FunctionStep",
    "GroupSplit",
    "ImageEmbedding",
    "ImageQuality",
    "ImageTrunk",
    "LabelIndex",
    "PairScore",
    "PairSplit",
    "Pick",
    "PictureDigest",
    "Prompt",
    "TextEmbedding",
    "UnseenCaptions",
    "step",
]
