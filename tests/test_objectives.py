"""The choice objective against the loop it replaces: one forward a row, its losses summed."""

import pytest
import torch
from torch.nn import functional

from clipdata.stream.columns import distinct_texts
from clipdata.training.objectives import choice_logits, choice_loss
from tests.tiny_models import tiny_encoder

RAGGED = [["a red cat", "a dog"], ["a dog", "two chairs", "a red cat", "a table"], ["a lamp", "a dog", "the cat"]]
EQUAL = [[f"text {row} {place}" for place in range(5)] for row in range(3)]
LABELS = [1, 3, 0]


def features(size: int = 6) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    texts, index, counts = distinct_texts(RAGGED)
    image = functional.normalize(torch.randn(3, size), dim=-1)
    text = functional.normalize(torch.randn(len(texts), size), dim=-1)
    return image, text, {"text_index_K": index, "text_counts_B": counts}


def test_logits_of_ragged_rows_are_those_of_each_row_alone():
    image, text, places = features()

    logits = choice_logits(image, text, torch.tensor(10.0), **places)

    texts, _, _ = distinct_texts(RAGGED)
    for row, choices in enumerate(RAGGED):
        alone = 10 * torch.stack([text[texts.index(choice)] for choice in choices]) @ image[row]
        assert torch.allclose(logits[row, : len(choices)], alone)
        assert torch.isneginf(logits[row, len(choices) :]).all()


@pytest.mark.parametrize("choices", [RAGGED, EQUAL], ids=["ragged", "equal"])
def test_loss_and_gradient_are_those_of_the_tutorials_loop(choices):
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
        looped = looped + functional.cross_entropy(logits, torch.tensor(LABELS[row : row + 1]))
    expected = gradients(looped / len(choices))

    texts, index, counts = distinct_texts(choices)
    tokens = towers.trim_tokens(encoder.tokenize(texts))
    loss = choice_loss(
        functional.normalize(towers.image_head(towers.image_trunk(image)), dim=-1),
        functional.normalize(towers.text_head(towers.text_trunk(tokens)), dim=-1),
        model.logit_scale.exp(),
        text_index_K=index,
        text_counts_B=counts,
        label_B=torch.tensor(LABELS),
    )
    found = gradients(loss)

    assert torch.allclose(loss, looped / len(choices), rtol=1e-5)
    assert found.keys() == expected.keys()
    whole = torch.cat([expected[name].flatten() for name in expected])
    difference = torch.cat([(found[name] - expected[name]).flatten() for name in expected])
    assert difference.norm() / whole.norm() < 1e-5


def test_padding_gives_no_gradient_that_is_not_a_number():
    image, text, places = features()
    image.requires_grad_()

    choice_loss(image, text, torch.tensor(100.0), label_B=torch.tensor(LABELS), **places).backward()

    assert torch.isfinite(image.grad).all()


def test_the_gradient_is_the_same_every_time_with_several_threads():
    """Plain indexing sums gradients in an order that threads decide."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    image = torch.randn(512, 256, requires_grad=True)
    text = torch.randn(40, 256, requires_grad=True)
    counts = torch.full((512,), 5)
    index = torch.randint(0, 40, (512 * 5,))

    def gradient() -> torch.Tensor:
        image.grad = text.grad = None
        scale = torch.tensor(3.0)
        label = torch.zeros(512, dtype=torch.int64)
        choice_loss(image, text, scale, text_index_K=index, text_counts_B=counts, label_B=label).backward()
        return torch.cat([image.grad.flatten(), text.grad.flatten()])

    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(10))
    finally:
        torch.set_num_threads(threads)
