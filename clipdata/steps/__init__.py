"""Steps: each makes one column. They load their model's library only when they run."""

from clipdata.steps.best_of_cluster import BestOfCluster
from clipdata.steps.captions import CleanCaptions, UnseenCaptions
from clipdata.steps.choice_scores import ChoiceScores
from clipdata.steps.class_scores import ClassScores
from clipdata.steps.drawn_choices import DrawnChoices, DrawnPlace
from clipdata.steps.duplicates import EmbeddingDuplicates, NearDuplicates
from clipdata.steps.embeddings import ImageEmbedding, ImageTrunk, TextEmbedding
from clipdata.steps.functions import FunctionStep, step
from clipdata.steps.labels import LabelIndex, Pick
from clipdata.steps.pair_scores import PairScore
from clipdata.steps.picture_hashes import PerceptualHash, PictureDigest, PixelDigest
from clipdata.steps.picture_quality import ImageQuality
from clipdata.steps.prompts import ClassPrompt, Prompt
from clipdata.steps.semantic_deduplication import SemanticDeduplication
from clipdata.steps.splits import ClassSplit, GroupSplit, LeakProofSplit, PairSplit

__all__ = [
    "BestOfCluster",
    "ChoiceScores",
    "ClassPrompt",
    "ClassScores",
    "ClassSplit",
    "CleanCaptions",
    "DrawnChoices",
    "DrawnPlace",
    "EmbeddingDuplicates",
    "FunctionStep",
    "GroupSplit",
    "ImageEmbedding",
    "ImageQuality",
    "ImageTrunk",
    "LabelIndex",
    "LeakProofSplit",
    "NearDuplicates",
    "PairScore",
    "PairSplit",
    "PerceptualHash",
    "Pick",
    "PictureDigest",
    "PixelDigest",
    "Prompt",
    "SemanticDeduplication",
    "TextEmbedding",
    "UnseenCaptions",
    "step",
]
