"""Retrieval against plain loops, ties against every order there is."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipdata.training import retrieval as module
from clipdata.training.belonging import owners
from clipdata.training.retrieval import Recall, retrieval

SMALL = st.tuples(st.integers(-1, 1), st.integers(-1, 1))
ROW = st.tuples(st.integers(0, 2), SMALL, st.lists(st.tuples(st.integers(0, 3), SMALL), min_size=1, max_size=2))


def plain_recall(scores: list[list[float]], right: list[set[int]], sizes: list[int]) -> tuple[list[float], list[float]]:
    """Recall and ranks as the mean over all orders in which what scores alike may come."""
    recall, ranks = [0.0] * len(sizes), []
    for row, wanted in zip(scores, right, strict=True):
        orders = [sorted(order, key=lambda n: -row[n]) for order in itertools.permutations(range(len(row)))]
        places = [min(order.index(n) for n in wanted) + 1 for order in orders]
        ranks.append(sum(places) / len(places))
        for column, size in enumerate(sizes):
            recall[column] += sum(place <= size for place in places) / len(places) / len(scores)
    return recall, ranks


def assert_like(found: Recall, scores: list[list[float]], right: list[set[int]]) -> None:
    recall, ranks = plain_recall(scores, right, list(found.sizes))
    chance, _ = plain_recall([[0.0] * len(row) for row in scores], right, list(found.sizes))
    assert list(found.at.values()) == pytest.approx(recall)
    assert list(found.chance.values()) == pytest.approx(chance)
    assert found.median_rank == pytest.approx(statistics.median(ranks))
    assert (found.queries, found.gallery) == (len(scores), len(scores[0]))


@settings(max_examples=50, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=3))
def test_recall_and_ranks_are_those_of_plain_loops_with_ties_shared_ids_and_several_captions(rows) -> None:
    pictures, texts, belongs = {}, {}, set()
    for number, (picture, vector, captions) in enumerate(rows):
        name = picture or f"row {number}"
        pictures.setdefault(name, vector)
        for place, (text, embedded) in enumerate(captions):
            said = text or f"text {number} {place}"
            texts.setdefault(said, embedded)
            belongs.add((name, said))
    image_scores = [[float(np.dot(i, t)) for t in texts.values()] for i in pictures.values()]
    right_texts = [{n for n, said in enumerate(texts) if (name, said) in belongs} for name in pictures]
    text_scores = [list(column) for column in zip(*image_scores, strict=True)]
    right_images = [{n for n, name in enumerate(pictures) if (name, said) in belongs} for said in texts]
    flat = [caption for _, _, captions in rows for caption in captions]

    found = retrieval(
        torch.tensor([vector for _, vector, _ in rows], dtype=torch.float32),
        torch.tensor([vector for _, vector in flat], dtype=torch.float32),
        owner_K=owners(torch.tensor([len(captions) for _, _, captions in rows]), len(flat)),
        picture_B=torch.tensor([picture for picture, _, _ in rows]),
        text_K=torch.tensor([text for text, _ in flat]),
        sizes=(1, 2, 5, 100),
    )

    assert_like(found.text_of_image, image_scores, right_texts)
    assert_like(found.image_of_text, text_scores, right_images)


def pairs(num_rows: int, *, seed: int = 0, per_row: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    image, text = torch.randn(num_rows, 8, generator=random), torch.randn(num_rows * per_row, 8, generator=random)
    return image, text, torch.arange(num_rows).repeat_interleave(per_row)


def test_the_figures_do_not_depend_on_how_many_queries_are_ranked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image, text, owner = pairs(60, per_row=5)
    whole = retrieval(image, text, owner_K=owner)

    monkeypatch.setattr(module, "_SCORES_IN_MEMORY", 1)

    assert retrieval(image, text, owner_K=owner).to_json() == whole.to_json()


def test_a_model_that_gives_everything_the_same_features_has_the_recall_of_chance() -> None:
    image, text, owner = pairs(101, per_row=3)

    found = retrieval(image[:1].expand(101, -1) / 3, text[:1].expand(303, -1) / 7, owner_K=owner)

    assert found.text_of_image.at == pytest.approx(found.text_of_image.chance)
    assert found.image_of_text.at == pytest.approx({1: 1 / 101, 5: 5 / 101, 10: 10 / 101})
    assert found.image_of_text.median_rank == 51


def test_a_perfect_model_finds_everything_first_also_what_is_there_twice() -> None:
    image = torch.eye(4)[[0, 1, 2, 3, 0]]
    picture, text = torch.tensor([1, 2, 3, 4, 1]), torch.tensor([1, 2, 3, 4, 1])

    merged = retrieval(image, image, owner_K=torch.arange(5), picture_B=picture, text_K=text)
    apart = retrieval(image, image, owner_K=torch.arange(5))

    assert merged.text_of_image.at == {1: 1.0, 5: 1.0, 10: 1.0}
    assert merged.text_of_image.gallery == 4
    assert apart.text_of_image.at[1] == pytest.approx(4 / 5)  # of two that are equal one is right, by chance


def test_features_that_are_no_numbers_come_last() -> None:
    image, text = torch.eye(3), torch.eye(3)
    text[1] = torch.nan

    found = retrieval(image, text, owner_K=torch.arange(3))

    assert found.text_of_image.rank_Q.tolist() == [1, 3, 1]
    assert found.image_of_text.rank_Q.tolist() == [1, 2, 1]  # of nothing known the order is chance


def test_half_precision_is_ranked_as_it_stands() -> None:
    image, text, owner = pairs(20)

    found = retrieval(image.bfloat16(), text.bfloat16(), owner_K=owner)

    assert found.to_json() == retrieval(image.bfloat16().float(), text.bfloat16().float(), owner_K=owner).to_json()


def test_a_picture_without_texts_is_in_the_gallery_and_looks_nothing_up() -> None:
    found = retrieval(torch.eye(3), torch.eye(3)[:2], owner_K=torch.tensor([0, 1]))

    assert (found.text_of_image.queries, found.text_of_image.gallery) == (2, 2)
    assert (found.image_of_text.queries, found.image_of_text.gallery) == (2, 3)


def test_figures_are_told_with_gallery_chance_and_number() -> None:
    found = retrieval(torch.eye(4), torch.eye(4), owner_K=torch.arange(4), sizes=(1,))

    assert found.to_json()["text_to_image_recall@1"] == 1.0
    assert found.to_json()["text_to_image_chance@1"] == 0.25
    assert str(found.image_of_text) == "R@1 100.0% (chance 25.0%), median rank 1.0 of 4; 4 looked up"


def test_the_interval_holds_the_figure_and_is_wider_where_queries_hang_together() -> None:
    image, text, owner = pairs(40, per_row=5)
    hit = (torch.rand(40, 1, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    text = 10 * image[owner] * hit[owner] + text * (1 - hit[owner])

    recall = retrieval(image, text, owner_K=owner).image_of_text
    low, high = recall.interval(1)
    alone = Recall(recall.sizes, recall.gallery, recall.hit_QS, recall.chance_QS, recall.rank_Q, np.arange(200))

    assert low < recall.at[1] < high
    assert high - low > 1.5 * np.subtract(*reversed(alone.interval(1)))
    assert retrieval(torch.ones(1, 2), torch.ones(1, 2), owner_K=torch.arange(1)).text_of_image.interval(1) is None
