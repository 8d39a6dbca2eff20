"""The losses against the documents' own formulas, written out in plain loops, and against open_clip's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from clipdata.stream.columns import distinct_texts
from clipdata.training import belonging, losses
from tests.tiny_models import tiny_encoder

RAGGED = [["a red cat", "a dog"], ["a dog", "two chairs", "a red cat", "a table"], ["a lamp", "a dog", "the cat"]]
EQUAL = [[f"text {row} {place}" for place in range(5)] for row in range(3)]
LABELS = torch.tensor([1, 3, 0])
SCALE = torch.tensor(10.0)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def unit(rows: int, size: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(rows, size, generator=random, dtype=dtype), dim=-1)


def valued(loss: Loss, image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A loss and its gradients."""
    image, text = image.detach().clone().requires_grad_(), text.detach().clone().requires_grad_()
    value = loss(image, text)
    value.backward()
    assert image.grad is not None
    assert text.grad is not None
    return value.detach(), image.grad, text.grad


def assert_equal(found: Loss, expected: Loss, image: torch.Tensor, text: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal in value and gradients."""
    for one, other in zip(valued(found, image, text), valued(expected, image, text), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, check_dtype=False)


def log_share(scores: list[torch.Tensor], place: int) -> torch.Tensor:
    return scores[place] - torch.stack(scores).exp().sum().log()


# Who belongs to whom


def plainly_same(picture: list[int], text: list[int], owner: list[int]) -> list[list[bool]]:
    def one_picture(one: int, other: int) -> bool:
        return one == other or picture[one] == picture[other] != 0

    def one_text(one: int, other: int) -> bool:
        return one == other or text[one] == text[other] != 0

    places = range(len(text))
    return [
        [any(one_picture(row, owner[held]) and one_text(held, k) for held in places) for k in places]
        for row in range(len(picture))
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-2, 2), st.lists(st.integers(-2, 2), min_size=1, max_size=3)), min_size=1, max_size=6
    )
)
def test_a_text_belongs_to_its_own_row_to_rows_of_that_picture_and_where_an_equal_text_stands(rows) -> None:
    counts = torch.tensor([len(texts) for _, texts in rows])
    owner = belonging.owners(counts, int(counts.sum()))
    picture, text = [picture for picture, _ in rows], [text for _, texts in rows for text in texts]

    same = belonging.same_pairs(torch.tensor(picture), torch.tensor(text), owner)

    assert same.tolist() == plainly_same(picture, text, owner.tolist())


def test_ids_are_whole_numbers_of_any_size_and_nobody_shares_an_unknown_one() -> None:
    picture = torch.tensor([0, 0, -(2**63), -(2**63)])
    text = torch.tensor([2**63 - 1, 0, 0, 2**63 - 1])

    same = belonging.same_pairs(picture, text, torch.arange(4))

    assert same.int().tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]


# Choice


def features() -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    texts, index, counts = distinct_texts(RAGGED)
    return unit(3), unit(len(texts), seed=1), {"text_index_K": index, "text_counts_B": counts}


def test_logits_of_ragged_rows_are_those_of_each_row_alone() -> None:
    image, text, places = features()

    logits = losses.choice_logits(image, text, SCALE, **places)

    texts, _, _ = distinct_texts(RAGGED)
    for row, choices in enumerate(RAGGED):
        alone = 10 * torch.stack([text[texts.index(choice)] for choice in choices]) @ image[row]
        assert torch.allclose(logits[row, : len(choices)], alone)
        assert torch.isneginf(logits[row, len(choices) :]).all()


@pytest.mark.parametrize("choices", [RAGGED, EQUAL], ids=["ragged", "equal"])
def test_loss_and_gradient_are_those_of_the_tutorials_loop(choices) -> None:
    encoder = tiny_encoder()
    model, towers = encoder.model.train(), encoder.towers
    image = torch.randn(3, 3, encoder.image_size, encoder.image_size, generator=torch.Generator().manual_seed(1))

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    looped = torch.zeros(())
    for row, texts in enumerate(choices):
        image_features, text_features, scale = model(image[row : row + 1], encoder.tokenize(texts))
        logits = scale * image_features @ text_features.T
        looped = looped + functional.cross_entropy(logits, LABELS[row : row + 1])
    expected = gradients(looped / len(choices))

    texts, index, counts = distinct_texts(choices)
    tokens = towers.trim_tokens(encoder.tokenize(texts))
    loss = losses.choice_loss(
        functional.normalize(towers.image_head(towers.image_trunk(image)), dim=-1),
        functional.normalize(towers.text_head(towers.text_trunk(tokens)), dim=-1),
        model.logit_scale.exp(),
        text_index_K=index,
        text_counts_B=counts,
        label_B=LABELS,
    )
    found = gradients(loss)

    assert torch.allclose(loss, looped / len(choices), rtol=1e-5)
    assert found.keys() == expected.keys()
    whole = torch.cat([expected[name].flatten() for name in expected])
    difference = torch.cat([(found[name] - expected[name]).flatten() for name in expected])
    assert difference.norm() / whole.norm() < 1e-5


def test_the_gradient_is_the_same_every_time_with_several_threads() -> None:
    """Plain indexing sums gradients in an order that threads decide."""
    threads = torch.get_num_threads()
    image = unit(512, 256, dtype=torch.float32).requires_grad_()
    text = unit(40, 256, dtype=torch.float32).requires_grad_()
    counts = torch.full((512,), 5)
    index = torch.randint(0, 40, (512 * 5,), generator=torch.Generator().manual_seed(0))

    def gradient() -> torch.Tensor:
        image.grad = text.grad = None
        label = torch.zeros(512, dtype=torch.int64)
        losses.choice_loss(image, text, SCALE, text_index_K=index, text_counts_B=counts, label_B=label).backward()
        assert image.grad is not None
        assert text.grad is not None
        return torch.cat([image.grad.flatten(), text.grad.flatten()])

    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(10))
    finally:
        torch.set_num_threads(threads)


# Contrastive


def plain_contrastive(image: torch.Tensor, text: torch.Tensor, *, same: list[list[bool]] | None = None) -> torch.Tensor:
    """Both cross-entropies of the document, pair by pair; what is the same counts in no denominator."""
    size, total = len(image), torch.zeros((), dtype=image.dtype)

    def kept(row: int, other: int) -> bool:
        return row == other or same is None or not same[row][other]

    for row in range(size):
        among = [other for other in range(size) if kept(row, other)]
        total = total - log_share([10 * image[row] @ text[other] for other in among], among.index(row)) / size
        among = [other for other in range(size) if kept(other, row)]
        total = total - log_share([10 * text[row] @ image[other] for other in among], among.index(row)) / size
    return total / 2


def test_contrastive_is_the_documents_symmetric_cross_entropy_and_open_clips() -> None:
    from open_clip.loss import ClipLoss

    image, text = unit(5), unit(5, seed=1)

    assert_equal(lambda i, t: losses.contrastive_loss(i, t, SCALE), plain_contrastive, image, text)
    assert_equal(
        lambda i, t: losses.contrastive_loss(i, t, SCALE),
        lambda i, t: ClipLoss()(i, t, SCALE),
        image.float(),
        text.float(),
    )
    biased = losses.contrastive_loss(image, text, SCALE, logit_bias=torch.tensor(-3.0))
    torch.testing.assert_close(biased, ClipLoss()(image, text, SCALE, torch.tensor(-3.0)))


def test_contrastive_leaves_what_is_the_same_out_of_the_denominators() -> None:
    image, text = unit(5), unit(5, seed=1)
    same = belonging.same_pairs(torch.tensor([1, 2, 1, 3, 4]), torch.tensor([7, 8, 9, 8, 0]), torch.arange(5))

    assert_equal(
        lambda i, t: losses.contrastive_loss(i, t, SCALE, same_BB=same),
        lambda i, t: plain_contrastive(i, t, same=same.tolist()),
        image,
        text,
    )


def test_a_batch_in_which_all_is_the_same_teaches_nothing() -> None:
    same = torch.ones(4, 4, dtype=torch.bool)

    value, *gradients = valued(
        lambda i, t: losses.contrastive_loss(i, t, SCALE, same_BB=same), unit(4), unit(4, seed=1)
    )

    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


# Several positives


def test_multi_positive_is_the_mean_over_each_rows_positives_in_both_directions() -> None:
    counts = torch.tensor([2, 1, 3])
    owner = belonging.owners(counts, 6)
    positive = belonging.same_pairs(torch.tensor([1, 2, 1]), torch.tensor([5, 6, 7, 6, 8, 9]), owner)

    def plainly(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=image.dtype)
        for row in range(3):
            scores = [10 * image[row] @ text[k] for k in range(6)]
            right = [k for k in range(6) if positive[row, k]]
            total = total - sum(log_share(scores, k) for k in right) / len(right) / 3
        for k in range(6):
            scores = [10 * image[row] @ text[k] for row in range(3)]
            right = [row for row in range(3) if positive[row, k]]
            total = total - sum(log_share(scores, row) for row in right) / len(right) / 6
        return total / 2

    assert_equal(
        lambda i, t: losses.multi_positive_loss(i, t, SCALE, positive_BK=positive), plainly, unit(3), unit(6, seed=1)
    )


def test_where_equal_texts_have_equal_features_it_is_open_clips_loss_and_only_there() -> None:
    from open_clip.loss import ClipLoss

    text_of = torch.tensor([0, 1, 0, 2, 1, 0])
    positive = belonging.same_pairs(torch.zeros(6, dtype=torch.int64), text_of + 1, torch.arange(6))

    def found(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return losses.multi_positive_loss(image, text.index_select(0, text_of), SCALE, positive_BK=positive)

    assert_equal(
        found, lambda i, t: ClipLoss()(i, t.index_select(0, text_of), SCALE.double()), unit(6), unit(3, seed=1)
    )
    apart = unit(6, seed=2)
    told = losses.multi_positive_loss(unit(6), apart, SCALE, positive_BK=positive)
    assert abs(float(told - ClipLoss()(unit(6), apart, SCALE.double()))) > 0.1


def test_one_text_a_row_and_nothing_shared_is_the_contrastive_loss() -> None:
    positive = torch.eye(5, dtype=torch.bool)

    assert_equal(
        lambda i, t: losses.multi_positive_loss(i, t, SCALE, positive_BK=positive),
        lambda i, t: losses.contrastive_loss(i, t, SCALE),
        unit(5),
        unit(5, seed=1),
    )


# SigLIP


def test_siglip_with_each_row_apart_is_open_clips() -> None:
    from open_clip.loss import SigLipLoss

    bias = torch.tensor(-10.0)

    assert_equal(
        lambda i, t: losses.siglip_loss(i, t, SCALE, bias, positive_BK=torch.eye(5, dtype=torch.bool)),
        lambda i, t: SigLipLoss()(i, t, SCALE, bias),
        unit(5, dtype=torch.float32),
        unit(5, seed=1, dtype=torch.float32),
    )


def test_siglip_tells_pairs_that_are_the_same_together_and_passes_over_the_ignored() -> None:
    positive = belonging.same_pairs(torch.tensor([1, 2, 1]), torch.tensor([5, 6, 7, 6]), torch.tensor([0, 1, 1, 2]))
    ignored = torch.zeros(3, 4, dtype=torch.bool)
    ignored[0, 2] = ignored[1, 0] = True

    def plainly(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=image.dtype)
        for row in range(3):
            for k in range(4):
                sign = 1 if positive[row, k] else -1
                if not ignored[row, k]:
                    total = total + (1 + (-sign * (10 * image[row] @ text[k] - 2)).exp()).log()
        return total / 3

    assert_equal(
        lambda i, t: losses.siglip_loss(i, t, SCALE, torch.tensor(-2.0), positive_BK=positive, ignored_BK=ignored),
        plainly,
        unit(3),
        unit(4, seed=1),
    )


def test_siglips_floor_is_gone_where_equal_pairs_are_positives() -> None:
    """Two classes of two rows each, told apart perfectly: as written the loss stays high, by id it falls to nothing."""
    text_of = torch.tensor([0, 0, 1, 1])
    image = torch.eye(2)[text_of]
    positive = belonging.same_pairs(torch.zeros(4, dtype=torch.int64), text_of + 1, torch.arange(4))
    scale, bias = torch.tensor(40.0), torch.tensor(-20.0)

    by_id = losses.siglip_loss(image, image, scale, bias, positive_BK=positive)
    as_written = losses.siglip_loss(image, image, scale, bias, positive_BK=torch.eye(4, dtype=torch.bool))

    assert by_id < 1e-6
    assert as_written > 10


# Soft targets


def documents_loss_fn(img_embed: torch.Tensor, text_embed: torch.Tensor, temperature: float) -> torch.Tensor:
    """The document's own function, letter by letter."""
    logits = (text_embed @ img_embed.T) / temperature
    img_sim = img_embed @ img_embed.T
    text_sim = text_embed @ text_embed.T
    targets = functional.softmax((img_sim + text_sim) / 2 * temperature, dim=-1)
    img_loss = (-targets.T * torch.nn.LogSoftmax(dim=-1)(logits.T)).sum(1)
    text_loss = (-targets * torch.nn.LogSoftmax(dim=-1)(logits)).sum(1)
    return (img_loss + text_loss) / 2.0


@pytest.mark.parametrize("temperature", [1.0, 0.2, 3.0])
def test_soft_targets_are_the_documents_loss_in_value_and_gradient(temperature: float) -> None:
    assert_equal(
        lambda i, t: losses.soft_target_loss(i, t, temperature),
        lambda i, t: documents_loss_fn(i, t, temperature).mean(),
        2 * unit(5),
        2 * unit(5, seed=1),
    )


def test_soft_targets_stand_still_where_all_features_are_equal() -> None:
    collapsed = torch.ones(6, 8, dtype=torch.float64)

    value, *gradients = valued(losses.soft_target_loss, collapsed, collapsed)

    assert float(value) == pytest.approx(math.log(6))
    assert all(gradient.norm() < 1e-6 for gradient in gradients)


# Distillation


def taught(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    teacher = {"teacher_image_BE": unit(4, 3, seed=2), "teacher_text_KE": unit(4, 3, seed=3)}
    return losses.distillation_loss(i, t, SCALE, **teacher, teacher_scale=20.0)


def test_distillation_has_open_clips_gradient_and_is_a_divergence_in_both_directions() -> None:
    from open_clip.loss import DistillClipLoss

    image, text, teacher = unit(4), unit(4, seed=1), (unit(4, 3, seed=2), unit(4, 3, seed=3))

    def published(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return DistillClipLoss()(i, t, SCALE, *teacher, 20.0)[1]

    def plain(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=i.dtype)
        for one, other, (ours, theirs) in ((i, t, teacher), (t, i, teacher[::-1])):
            for row in range(4):
                student = [10 * one[row] @ each for each in other]
                wanted = [20 * ours[row] @ each for each in theirs]
                for place in range(4):
                    share = log_share(wanted, place)
                    total = total + share.exp() * (share - log_share(student, place)) / 8
        return total

    assert_equal(taught, plain, image, text)
    for mine, theirs in zip(valued(taught, image, text)[1:], valued(published, image, text)[1:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn() -> None:
    image, text = unit(4), unit(4, seed=1)

    def agreed(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        held = {"teacher_image_BE": image, "teacher_text_KE": text}
        return losses.distillation_loss(i, t, SCALE, **held, teacher_scale=10.0)

    loss, *gradients = valued(agreed, image, text)

    assert abs(float(loss)) < 1e-7
    assert all(float(one.norm()) < 1e-6 for one in gradients)


# Class prompts


def test_class_embeddings_are_those_of_open_clips_zero_shot_classifier() -> None:
    import open_clip

    encoder = tiny_encoder()
    classes, templates = ["cat", "red dog", "lamp"], ["a photo of {}", "{}, seen from above", "the {}"]
    expected = open_clip.build_zero_shot_classifier(encoder.model.eval(), encoder.tokenize, classes, templates).T
    texts = [template.format(name) for template in templates for name in classes]

    found = losses.class_embeddings(encoder.encode_texts(texts), torch.arange(9) % 3, 3)

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_class_prompts_are_a_softmax_over_every_class_also_those_absent_from_the_batch() -> None:
    label = torch.tensor([2, 0, 2])

    def plainly(image: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        shares = [
            log_share([10 * image[row] @ classes[c] for c in range(4)], int(label[row])) for row in range(len(image))
        ]
        return -torch.stack(shares).mean()

    assert_equal(lambda i, c: losses.class_prompt_loss(i, c, SCALE, label), plainly, unit(3), unit(4, seed=1))


# Texts that belong to none of the pictures


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-2, 2), st.lists(st.integers(-2, 2), min_size=1, max_size=3)), min_size=1, max_size=5
    ),
    st.lists(st.integers(-3, 3), max_size=6),
)
def test_a_further_text_belongs_to_every_picture_of_which_a_caption_is_equal(rows, further) -> None:
    owner = [row for row, (_, texts) in enumerate(rows) for _ in texts]
    picture, captions = [picture for picture, _ in rows], [text for _, texts in rows for text in texts]
    given_ids = (torch.tensor(ids, dtype=torch.int64) for ids in (picture, captions, owner, further))

    found = belonging.belonging_texts(*given_ids)

    def belongs(row: int, text: int) -> bool:
        shows = [r for r in range(len(rows)) if r == row or picture[r] == picture[row] != 0]
        return text != 0 and any(text in rows[r][1] for r in shows)

    assert found.tolist() == [[belongs(row, text) for text in further] for row in range(len(rows))]


@settings(deadline=None)
@given(st.lists(st.integers(-2, 2), max_size=5), st.lists(st.integers(-2, 2), max_size=6))
def test_of_equal_texts_the_first_is_told_and_none_that_stands_among_the_others(others, texts) -> None:
    found = belonging.first_of_each(*(torch.tensor(ids, dtype=torch.int64) for ids in (others, texts)))

    assert found.tolist() == [text == 0 or text not in others + texts[:n] for n, text in enumerate(texts)]


def published_negclip(image: torch.Tensor, text: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """As NegCLIP is described: pictures among all texts, texts among the pictures, wrong ones have no row of theirs."""
    logits = 10 * image @ torch.cat([text, wrong]).T
    right = torch.arange(len(image))
    pictures = functional.cross_entropy(logits, right)
    return (pictures + functional.cross_entropy(logits.T[: len(image)], right)) / 2


def wrong_logits(image: torch.Tensor, wrong: torch.Tensor, negative: torch.Tensor | None = None) -> torch.Tensor:
    told = torch.ones(len(image), len(wrong), dtype=torch.bool) if negative is None else negative
    return losses.pair_logits(image, wrong, SCALE).masked_fill(~told, -torch.inf)


def test_wrong_texts_enter_the_pictures_side_as_negclip_has_it() -> None:
    image, text, wrong = unit(5), unit(5, seed=1), unit(7, seed=2)
    own = torch.eye(5, dtype=torch.bool)

    def contrastive(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return losses.contrastive_loss(i, t, SCALE, wrong_BM=wrong_logits(i, wrong))

    def multi_positive(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return losses.multi_positive_loss(i, t, SCALE, positive_BK=own, wrong_BM=wrong_logits(i, wrong))

    for found in (contrastive, multi_positive):
        assert_equal(found, lambda i, t: published_negclip(i, t, wrong), image, text)


def test_a_text_that_is_no_negative_of_a_picture_leaves_its_denominator_alone() -> None:
    image, text, wrong = unit(3), unit(3, seed=1), unit(2, seed=2)
    negative = torch.tensor([[True, False], [False, False], [True, True]])

    def expected(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=i.dtype)
        for row in range(3):
            among = [10 * i[row] @ one for one in t] + [10 * i[row] @ wrong[m] for m in range(2) if negative[row, m]]
            total = total - log_share(among, row) / 3 - log_share([10 * t[row] @ one for one in i], row) / 3
        return total / 2

    def found(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return losses.contrastive_loss(i, t, SCALE, wrong_BM=wrong_logits(i, wrong, negative))

    assert_equal(found, expected, image, text)


def test_siglip_tells_wrong_texts_apart_pair_by_pair() -> None:
    image, text, wrong = unit(3), unit(3, seed=1), unit(2, seed=2)
    own, bias = torch.eye(3, dtype=torch.bool), torch.tensor(-2.0)
    negative = torch.tensor([[True, False], [False, False], [True, True]])

    def found(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        told = losses.pair_logits(i, wrong, SCALE, bias).masked_fill(~negative, -torch.inf)
        return losses.siglip_loss(i, t, SCALE, bias, positive_BK=own, wrong_BM=told)

    def expected(i: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        pairs = [(row, m) for row in range(3) for m in range(2) if negative[row, m]]
        told = sum((1 + (10 * i[row] @ wrong[m] + bias).exp()).log() for row, m in pairs)
        return losses.siglip_loss(i, t, SCALE, bias, positive_BK=own) + told / 3

    assert_equal(found, expected, image, text)


# What every loss must bear

EVERY: dict[str, Loss] = {
    "choice": lambda i, t: losses.choice_loss(
        i,
        t,
        torch.tensor(100.0),
        text_index_K=torch.arange(2 * len(i)) % len(i),
        text_counts_B=torch.full((len(i),), 2),
        label_B=torch.zeros(len(i), dtype=torch.int64),
    ),
    "contrastive": lambda i, t: losses.contrastive_loss(
        i, t, torch.tensor(100.0), same_BB=torch.ones(len(i), len(i), dtype=torch.bool).tril()
    ),
    "multi-positive": lambda i, t: losses.multi_positive_loss(
        i, t, torch.tensor(100.0), positive_BK=torch.eye(len(i), dtype=torch.bool)
    ),
    "siglip": lambda i, t: losses.siglip_loss(
        i, t, torch.tensor(100.0), torch.tensor(-10.0), positive_BK=torch.eye(len(i), dtype=torch.bool)
    ),
    "contrastive with negatives": lambda i, t: losses.contrastive_loss(
        i,
        t,
        torch.tensor(100.0),
        wrong_BM=losses.pair_logits(i, t, torch.tensor(100.0)).masked_fill(
            torch.ones(len(i), len(i), dtype=torch.bool).triu(), -torch.inf
        ),
    ),
    "distillation": lambda i, t: losses.distillation_loss(
        i,
        t,
        torch.tensor(100.0),
        teacher_image_BE=unit(len(i), 3, seed=2, dtype=torch.float32),
        teacher_text_KE=unit(len(i), 3, seed=3, dtype=torch.float32),
        teacher_scale=100.0,
    ),
    "soft target": losses.soft_target_loss,
    "class prompts": lambda i, t: losses.class_prompt_loss(
        i, losses.class_embeddings(t, torch.arange(len(t)), len(t)), torch.tensor(100.0), torch.arange(len(i))
    ),
}


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_every_loss_is_computed_in_single_precision_whatever_the_features(name: str, dtype, autocast: bool) -> None:
    image, text = 16 * unit(4, 256).to(dtype), 16 * unit(4, 256, seed=1).to(dtype)  # norms that fp16's sums overflow at

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value, *gradients = valued(EVERY[name], 8 * image, 8 * text)

    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert all(torch.isfinite(gradient.float()).all() for gradient in gradients)
    exact = EVERY[name]((8 * image).double(), (8 * text).double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_one_row_is_no_special_case(name: str) -> None:
    value, *gradients = valued(EVERY[name], unit(1), unit(1, seed=1))

    assert torch.isfinite(value)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
