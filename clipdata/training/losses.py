"""Losses: what a step minimises, as pure functions of features and of what a batch says of its rows.

They know neither models, towers nor tables, nor which ranks the rows came from. Features of any precision are compared
in single precision at least, also under autocast.

Shapes: B images; K texts of all rows laid end to end, T distinct texts among these, N most texts of one row; M further
texts that are only there to be told from a row's own; C classes, P prompts of all classes; D shared space, E that of a
teacher.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from clipdata.training.belonging import owners


def pair_logits(
    image_BD: torch.Tensor,
    text_KD: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Score every image against every text.

    Args:
        image_BD: float.
        text_KD: float.
        logit_scale: the factor itself, not its logarithm.
        logit_bias: is added to every score.

    Returns:
        float [B, K], in single precision at least.
    """
    logits_BK = logit_scale * _products(image_BD, text_KD)
    return logits_BK if logit_bias is None else logits_BK + logit_bias


def _products(one_MD: torch.Tensor, other_ND: torch.Tensor) -> torch.Tensor:
    """Dot products of all pairs [M, N]; autocast would take them back to half precision."""
    with torch.autocast(one_MD.device.type, enabled=False):
        return _wide(one_MD) @ _wide(other_ND).T


def _wide(features: torch.Tensor) -> torch.Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))


def choice_logits(
    image_BD: torch.Tensor,
    text_TD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    text_index_K: torch.Tensor,
    text_counts_B: torch.Tensor,
) -> torch.Tensor:
    """Score every image against its own choices, all rows at once though they have different numbers of them.

    Args:
        image_BD: float, L2-normalised.
        text_TD: float, L2-normalised; each distinct text once.
        logit_scale: the factor itself, not its logarithm.
        text_index_K: int64, the text of each choice.
        text_counts_B: int64, number of choices of each row.

    Returns:
        float [B, N]; -inf where a row has fewer choices.
    """
    # index_select, because its gradient sums in a fixed order on a CPU, which that of plain indexing does not.
    owner_K = owners(text_counts_B, len(text_index_K))
    image_KD, text_KD = _wide(image_BD).index_select(0, owner_K), _wide(text_TD).index_select(0, text_index_K)
    logits_K = logit_scale * (image_KD * text_KD).sum(-1)
    places = torch.arange(int(text_counts_B.max()), device=text_counts_B.device)
    present_BN = places < text_counts_B[:, None]
    absent_BN = torch.full(present_BN.shape, -torch.inf, dtype=logits_K.dtype, device=logits_K.device)
    return absent_BN.masked_scatter(present_BN, logits_K)


def choice_loss(
    image_BD: torch.Tensor,
    text_TD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    text_index_K: torch.Tensor,
    text_counts_B: torch.Tensor,
    label_B: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of the right choice among each row's own, in the mean over rows.

    Equal in value and gradient to one forward a row, as long as the text tower has no dropout: a text that occurs in
    several rows is encoded once.

    Args:
        label_B: int64, the place of the right choice in its row, from 0.

    Source: the contest tutorial of DataChain's "Fine-tuning CLIP", whose loop sums the rows one by one.
    """
    logits_BN = choice_logits(image_BD, text_TD, logit_scale, text_index_K=text_index_K, text_counts_B=text_counts_B)
    return functional.cross_entropy(logits_BN, label_B)


def contrastive_loss(
    image_BD: torch.Tensor,
    text_BD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    logit_bias: torch.Tensor | None = None,
    same_BB: torch.Tensor | None = None,
    wrong_BM: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric cross-entropy of each image's own text among the batch's, and of each text's own image.

    Args:
        image_BD: float.
        text_BD: float, the text of each image.
        logit_scale: the factor itself, not its logarithm.
        logit_bias: is added to every score.
        same_BB: bool, the pairs of `same_pairs`; these leave the denominators, but for each row's own pair. Without
            it every other row is a negative, as the loss is written.
        wrong_BM: float, scores of further texts, among which each image's own is told apart as well; -inf adds nothing.

    Source: figure 3 of CLIP (arXiv 2103.00020); open_clip's `ClipLoss` is the same without `same_BB` and `wrong_BM`.
        Further texts: NegCLIP (arXiv 2210.01936, section 4), where they enter the images' side alone, too.
    """
    logits_BB = pair_logits(image_BD, text_BD, logit_scale, logit_bias)
    own_B = torch.arange(len(logits_BB), device=logits_BB.device)
    if same_BB is not None:
        logits_BB = logits_BB.masked_fill(same_BB & (own_B != own_B[:, None]), -torch.inf)
    texts_BN = logits_BB if wrong_BM is None else torch.cat([logits_BB, wrong_BM], dim=1)
    return (functional.cross_entropy(texts_BN, own_B) + functional.cross_entropy(logits_BB.T, own_B)) / 2


def multi_positive_loss(
    image_BD: torch.Tensor,
    text_KD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    positive_BK: torch.Tensor,
    wrong_BM: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy against targets spread evenly over each image's texts, and over each text's images.

    Rows of one picture and rows of one text are positives of each other. Where the texts of a class are equal and one
    belongs to each image, value and gradient are those of `contrastive_loss`; where they differ (templates, dropout,
    several captions a picture) they are not, and this is the loss that pulls together what belongs together.

    Args:
        image_BD: float.
        text_KD: float; any number of texts an image.
        logit_scale: the factor itself, not its logarithm.
        positive_BK: bool, the pairs of `same_pairs`; at least one in each row and column.
        wrong_BM: float, scores of further texts, among which an image's own are told apart as well; -inf adds nothing.

    Source: L_out of "Supervised Contrastive Learning" (arXiv 2004.11362, equation 2), here across two modalities and
        with the pair itself among the positives, so in both directions of figure 3 of CLIP (arXiv 2103.00020).
    """
    logits_BK = pair_logits(image_BD, text_KD, logit_scale)
    target_BK = positive_BK.to(logits_BK.dtype)
    texts_BN = logits_BK if wrong_BM is None else torch.cat([logits_BK, wrong_BM], dim=1)
    texts_B = -(target_BK * texts_BN.log_softmax(1)[:, : len(text_KD)]).sum(1) / target_BK.sum(1)
    images_K = -(target_BK * logits_BK.log_softmax(0)).sum(0) / target_BK.sum(0)
    return (texts_B.mean() + images_K.mean()) / 2


def siglip_loss(
    image_BD: torch.Tensor,
    text_KD: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor,
    *,
    positive_BK: torch.Tensor,
    ignored_BK: torch.Tensor | None = None,
    wrong_BM: torch.Tensor | None = None,
) -> torch.Tensor:
    """Tell of every pair by itself whether it belongs together: the sum over pairs, divided by the images.

    As it is written each image has one text and every other pair is told apart, also pairs that are equal; then the
    loss cannot fall below a floor that such pairs decide. Here they are positives, or left out.

    Args:
        image_BD: float.
        text_KD: float.
        logit_scale: the factor itself, not its logarithm.
        logit_bias: is added to every score.
        positive_BK: bool, the pairs that belong together; an identity is the loss as it is written.
        ignored_BK: bool, pairs of which nothing is learned.
        wrong_BM: float, scores of more pairs that do not belong together; -inf adds nothing.

    Source: algorithm 1 of "Sigmoid Loss for Language Image Pre-Training" (arXiv 2303.15343); open_clip's `SigLipLoss`.
    """
    logits_BK = pair_logits(image_BD, text_KD, logit_scale, logit_bias)
    loss_BK = -functional.logsigmoid(torch.where(positive_BK, logits_BK, -logits_BK))
    if ignored_BK is not None:
        loss_BK = loss_BK.masked_fill(ignored_BK, 0.0)
    loss = loss_BK.sum()
    if wrong_BM is not None:
        loss = loss - functional.logsigmoid(-wrong_BM).sum()
    return loss / len(image_BD)


def distillation_loss(
    image_BD: torch.Tensor,
    text_KD: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    teacher_image_BE: torch.Tensor,
    teacher_text_KE: torch.Tensor,
    teacher_scale: float,
) -> torch.Tensor:
    """How far a student's likeness of images and texts is from a teacher's: the mean of both directions.

    Each image has a distribution over the batch's texts, each text one over its images; the loss is the divergence
    KL(teacher | student) of these, in the mean over images and over texts. Where both agree it is 0.

    Args:
        image_BD: float.
        text_KD: float; any number of texts an image.
        logit_scale: the student's factor itself, not its logarithm.
        teacher_image_BE: float, L2-normalised, of the same images; E is the teacher's own size.
        teacher_text_KE: float, L2-normalised, of the same texts.
        teacher_scale: the teacher's factor.

    Source: the distillation term of MobileCLIP (arXiv 2311.17049, section 3.3); open_clip's `DistillClipLoss` has the
        cross-entropy in place of the divergence, of which the gradient is the same.
    """
    student_BK = pair_logits(image_BD, text_KD, logit_scale)
    teacher_BK = teacher_scale * _products(teacher_image_BE, teacher_text_KE)
    return (_divergence(teacher_BK, student_BK, 1) + _divergence(teacher_BK, student_BK, 0)) / 2


def _divergence(teacher_BK: torch.Tensor, student_BK: torch.Tensor, dim: int) -> torch.Tensor:
    """Mean KL(teacher | student) of the distributions along a dimension."""
    student_log, teacher_log = student_BK.log_softmax(dim), teacher_BK.log_softmax(dim)
    return functional.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim).mean()


def soft_target_loss(image_BD: torch.Tensor, text_BD: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Symmetric cross-entropy against targets made of the features' own likeness, in the mean over rows.

    It is kept as it was written, with what ails it: the targets pass gradients, the transposed targets of the images
    do not sum to 1, and features that are all equal are a stationary point (ln B). It wants raw, unnormalised features.

    Args:
        image_BD: float.
        text_BD: float, the text of each image.
        temperature: divides the scores, and multiplies the likeness of the targets.

    Source: `loss_fn` of Lance's "Training Multi-Modal models using a Lance dataset", after "Implement CLIP with
        PyTorch Lightning".
    """
    logits_BB = _products(text_BD, image_BD) / temperature
    likeness_BB = (_products(image_BD, image_BD) + _products(text_BD, text_BD)) / 2
    target_BB = (likeness_BB * temperature).softmax(-1)
    images_B = (-target_BB.T * logits_BB.T.log_softmax(-1)).sum(1)
    texts_B = (-target_BB * logits_BB.log_softmax(-1)).sum(1)
    return ((images_B + texts_B) / 2).mean()


def class_embeddings(text_PD: torch.Tensor, class_P: torch.Tensor, num_classes: int) -> torch.Tensor:
    """One unit vector a class: the mean of its prompts' unit vectors, normalised again.

    Args:
        text_PD: float, features of prompts.
        class_P: int64, the class of each prompt; every class has one at least.
        num_classes: C.

    Returns:
        float [C, D], in single precision at least.

    Source: prompt ensembling of CLIP (arXiv 2103.00020, section 3.1.4), as in open_clip's `build_zero_shot_classifier`.
    """
    unit_PD = functional.normalize(_wide(text_PD), dim=-1)
    sum_CD = unit_PD.new_zeros(num_classes, unit_PD.shape[1]).index_add(0, class_P, unit_PD)
    return functional.normalize(sum_CD, dim=-1)


def class_prompt_loss(
    image_BD: torch.Tensor, class_CD: torch.Tensor, logit_scale: torch.Tensor, label_B: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each image's class among all classes, in the mean over rows.

    Args:
        image_BD: float, L2-normalised.
        class_CD: float, as `class_embeddings` makes them.
        logit_scale: the factor itself, not its logarithm.
        label_B: int64, the class of each image.

    Source: zero-shot prediction of CLIP (arXiv 2103.00020, section 3.1.2), trained on.
    """
    return functional.cross_entropy(pair_logits(image_BD, class_CD, logit_scale), label_B)
