"""Steps: each makes one column. They load their model's library only when they run."""

from clipdata.steps.best_of_cluster import BestOfCluster
from clipdata.steps.caption_quality import CaptionCount, CaptionLanguage, CaptionQuality
from clipdata.steps.captions import CleanCaptions, UnseenCaptions
from clipdata.steps.choice_scores import ChoiceScores
from clipdata.steps.class_scores import ClassScores
from clipdata.steps.concept_balance import ConceptBalance
from clipdata.steps.drawn_choices import DrawnChoices, DrawnPlace
from clipdata.steps.duplicates import EmbeddingDuplicates, NearDuplicates
from clipdata.steps.embeddings import ImageEmbedding, ImageTrunk, TextEmbedding
from clipdata.steps.functions import FunctionStep, step
from clipdata.steps.head_scores import HeadScores
from clipdata.steps.heads import Head
from clipdata.steps.label_noise import ChoiceNoise, LabelNoise
from clipdata.steps.labels import LabelIndex, Pick
from clipdata.steps.pair_scores import PairScore
from clipdata.steps.picture_hashes import PerceptualHash, PictureDigest, PixelDigest
from clipdata.steps.picture_quality import ImageQuality
from clipdata.steps.prepared_pixels import PreparedPixels
from clipdata.steps.prompts import ClassPrompt, Prompt
from clipdata.steps.semantic_deduplication import SemanticDeduplication
from clipdata.steps.splits import ClassSplit, GroupSplit, LeakProofSplit, PairSplit

__all__ = [
    "BestOfCluster",
    "CaptionCount",
    "CaptionLanguage",
    "CaptionQuality",
    "ChoiceNoise",
    "ChoiceScores",
    "ClassPrompt",
    "ClassScores",
    "ClassSplit",
    "CleanCaptions",
    "ConceptBalance",
    "DrawnChoices",
    "DrawnPlace",
    "EmbeddingDuplicates",
    "FunctionStep",
    "GroupSplit",
    "Head",
    "HeadScores",
    "ImageEmbedding",
    "ImageQuality",
    "ImageTrunk",
    "LabelIndex",
    "LabelNoise",
    "LeakProofSplit",
    "NearDuplicates",
    "PairScore",
    "PairSplit",
    "PerceptualHash",
    "Pick",
    "PictureDigest",
    "PixelDigest",
    "PreparedPixels",
    "Prompt",
    "SemanticDeduplication",
    "TextEmbedding",
    "UnseenCaptions",
    "step",
]
