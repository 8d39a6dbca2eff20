"""Tiny models that tell the canary's pictures apart: cheap stand-ins for a model that has something to lose."""

from __future__ import annotations

import copy

import torch
from torch import nn

from clipdata.encoder import Encoder
from clipdata.training.canary_features import KeptFeatures
from clipdata.training.canary_set import canary_set
from tests.tiny_models import tiny_encoder


def knowing_encoder(language: str = "en", *, seed: int = 0) -> Encoder:
    """A tiny encoder whose image projection takes each of the pictures near the prompts of its class.

    Its trunk has more dimensions than there are pictures, so that a projection does which is found in closed form.
    """
    encoder, shown = tiny_encoder(seed=seed, vision_cfg={"width": 128}), canary_set()
    features = KeptFeatures(encoder, shown)
    trunk_PT = features.trunk(keep=False).double()
    class_CD = features.classes(language, keep=False).double()
    wanted_PD = nn.functional.normalize(class_CD - class_CD.mean(0), dim=-1)[torch.from_numpy(shown.label_P)]
    gram_PP = trunk_PT @ trunk_PT.T
    gram_PP += 1e-4 * gram_PP.diagonal().mean() * torch.eye(len(gram_PP), dtype=torch.float64)
    projection_TD = trunk_PT.T @ torch.linalg.solve(gram_PP, wanted_PD)
    with torch.no_grad():
        encoder.model.visual.proj.copy_(projection_TD)
    return encoder


def changed(encoder: Encoder, *, noise: float = 0.0) -> Encoder:
    """The same encoder with noise on its image projection."""
    model = copy.deepcopy(encoder.model)
    projection = model.visual.proj
    drawn = torch.randn(projection.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        projection.add_(noise * projection.std() * drawn)
    return Encoder(
        model,
        name="changed",
        model_cfg=encoder.model_cfg,
        prepare=encoder.prepare,
        tokenize=encoder.tokenize,
        device="cpu",
    )
