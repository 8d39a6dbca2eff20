"""What a model finds like what, beside the formula written out."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import clipdata as cd
from clipdata.errors import NotFoundError, TooManyRejectsError, UsageError
from tests.pictures import drawing, encoded, write_pictures
from tests.tiny_models import tiny_encoder

TEXTS = ["a photo of a cat", "桑巴军团", "一个圆圆的月亮", "a red square", "un carré rouge"]


@pytest.fixture(scope="module")
def encoder() -> cd.Encoder:
    found = tiny_encoder()
    torch.nn.init.constant_(found.model.logit_scale, np.log(30.0))
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_pictures(folder, 3)
    write_pictures(folder / "inside", 1, first=3, suffix=".png")
    return folder


def features_of_texts(encoder: cd.Encoder, texts: list[str]) -> np.ndarray:
    with torch.no_grad():
        features = encoder.model.encode_text(encoder.tokenize.tokenizer(texts, context_length=encoder.context_length))
    return features.double().numpy()


def naive(left: np.ndarray, right: np.ndarray, scale: float, *, same: bool) -> list[list[tuple[int, float]]]:
    """The published script, one row and one sum at a time."""
    left = [row / np.sqrt((row * row).sum()) for row in left]
    right = [row / np.sqrt((row * row).sum()) for row in right]
    rows = []
    for i, one in enumerate(left):
        scores = [float(one @ other) * scale for other in right]
        if same:
            scores[i] = -10000.0
        total = sum(np.exp(score - max(scores)) for score in scores)
        shares = [(j, float(np.exp(score - max(scores)) / total)) for j, score in enumerate(scores)]
        rows.append(sorted((pair for pair in shares if not same or pair[0] != i), key=lambda pair: -pair[1]))
    return rows


def told(rankings) -> list[list[tuple[int, float]]]:
    return [[(match.place, match.probability) for match in ranking.matches] for ranking in rankings]


def assert_alike(found, expected) -> None:
    assert [[place for place, _ in row] for row in found] == [[place for place, _ in row] for row in expected]
    for row, others in zip(found, expected, strict=True):
        assert [share for _, share in row] == pytest.approx([share for _, share in others], abs=1e-5)


def test_texts_are_ranked_by_a_softmax_over_all_others(encoder: cd.Encoder) -> None:
    found = cd.similar(encoder, texts=TEXTS)

    features_TD = features_of_texts(encoder, TEXTS)
    assert list(found.tables) == ["text-text"]
    assert found.logit_scale == pytest.approx(30.0)
    assert_alike(told(found.tables["text-text"]), naive(features_TD, features_TD, 30.0, same=True))
    for ranking in found.tables["text-text"]:
        assert ranking.name == TEXTS[ranking.place]
        assert ranking.place not in [match.place for match in ranking.matches]
        assert sum(match.probability for match in ranking.matches) == pytest.approx(1.0)


def test_pictures_are_ranked_among_texts_and_among_themselves(encoder: cd.Encoder, photos: Path) -> None:
    found = cd.similar(encoder, texts=TEXTS, images=photos)

    names = [str(photos / name) for name in ("0000.jpg", "0001.jpg", "0002.jpg", "inside/0003.png")]
    from clipdata.images import decode

    pixels = torch.stack([encoder.prepare(decode(Path(name).read_bytes())) for name in names])
    with torch.no_grad():
        features_ND = encoder.model.encode_image(encoder.normalise(pixels)).double().numpy()
    features_TD = features_of_texts(encoder, TEXTS)
    assert found.images == names
    assert list(found.tables) == ["image-text", "text-text", "image-image"]
    assert_alike(told(found.tables["image-text"]), naive(features_ND, features_TD, 30.0, same=False))
    assert_alike(told(found.tables["image-image"]), naive(features_ND, features_ND, 30.0, same=True))


def test_a_match_has_the_cosine_of_the_two(encoder: cd.Encoder) -> None:
    (first, _) = cd.similar(encoder, texts=TEXTS[:2]).tables["text-text"]

    left, right = features_of_texts(encoder, TEXTS[:2])
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    assert first.matches[0].cosine == pytest.approx(cosine, abs=1e-6)
    assert first.matches[0].probability == 1.0


def test_only_the_nearest_are_kept_on_request(encoder: cd.Encoder) -> None:
    whole = cd.similar(encoder, texts=TEXTS).tables["text-text"]

    found = cd.similar(encoder, texts=TEXTS, top=2).tables["text-text"]

    assert told(found) == [row[:2] for row in told(whole)]


def test_a_text_given_twice_leaves_out_itself_and_meets_its_equal(encoder: cd.Encoder) -> None:
    found = cd.similar(encoder, texts=["a cat", "a dog", "a cat"])

    nearest = {ranking.place: ranking.matches[0] for ranking in found.tables["text-text"]}
    assert (nearest[0].place, nearest[2].place) == (2, 0)
    assert nearest[0].cosine == pytest.approx(1.0)
    assert found.notes == ["texts given more than once: 1; each leaves out itself, and meets its equal"]


def test_equal_candidates_stand_in_their_own_order(encoder: cd.Encoder, photos: Path) -> None:
    found = cd.similar(encoder, texts=["a cat", "a dog", "a cat", "a cat"], images=photos)

    for ranking in found.tables["image-text"]:
        places = [match.place for match in ranking.matches if match.place != 1]
        assert places == [0, 2, 3]


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 1e6])
def test_whatever_the_scale_a_row_is_a_distribution_without_itself(scale: float) -> None:
    encoder = tiny_encoder()
    torch.nn.init.constant_(encoder.model.logit_scale, np.log(scale))

    for ranking in cd.similar(encoder, texts=TEXTS).tables["text-text"]:
        shares = [match.probability for match in ranking.matches]
        assert sum(shares) == pytest.approx(1.0)
        assert shares == sorted(shares, reverse=True)
        assert ranking.place not in [match.place for match in ranking.matches]


def test_rows_that_are_ranked_in_parts_are_ranked_alike(encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(cd.similar(encoder, texts=TEXTS).tables["text-text"])
    monkeypatch.setattr("clipdata.similarity.ranking._CELLS", 11)

    assert_alike(told(cd.similar(encoder, texts=TEXTS).tables["text-text"]), whole)


def test_a_picture_that_cannot_be_used_is_named_and_the_others_go_on(encoder: cd.Encoder, tmp_path: Path) -> None:
    good = write_pictures(tmp_path / "photos", 2)
    bad = tmp_path / "photos" / "bad.jpg"
    bad.write_bytes(encoded(9)[:300])
    (tmp_path / "photos" / "empty.png").write_bytes(b"")
    (tmp_path / "photos" / "words.jpg").write_text("no picture")
    os.mkfifo(tmp_path / "photos" / "pipe.png")

    found = cd.similar(encoder, images=[tmp_path / "photos", tmp_path / "gone.jpg"])

    assert found.images == [str(path) for path in good]
    reasons = {Path(name).name: why.partition(":")[0] for name, why in found.refused.items()}
    assert reasons == {
        "bad.jpg": "truncated",
        "empty.png": "empty",
        "words.jpg": "not_an_image",
        "pipe.png": "not_a_file",
        "gone.jpg": "missing",
    }
    assert f"refused: {bad}: truncated" in str(found)


def test_pictures_of_every_mode_and_format_are_read(encoder: cd.Encoder, tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(drawing(1))
    for name, mode in (("a.png", "RGBA"), ("b.png", "L"), ("c.png", "P"), ("d.jpg", "CMYK"), ("e.webp", "RGB")):
        picture.convert(mode).save(tmp_path / name)
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "read.me").write_text("x")

    found = cd.similar(encoder, images=tmp_path)

    assert [Path(name).name for name in found.images] == ["a.png", "b.png", "c.png", "d.jpg", "e.webp"]
    assert found.refused == {}


def test_one_picture_among_texts_is_no_fault_and_is_said(encoder: cd.Encoder, photos: Path) -> None:
    found = cd.similar(encoder, texts=TEXTS, images=photos / "0000.jpg")

    assert list(found.tables) == ["image-text", "text-text"]
    assert found.notes == ["one picture alone has no other to be compared with"]


def test_texts_longer_than_the_model_reads_are_counted(encoder: cd.Encoder) -> None:
    found = cd.similar(encoder, texts=["a cat", "a dog " * 40, "一只小狗在摇尾巴" * 9])

    assert found.notes == ["the model reads 24 tokens, and not the ends of longer texts: 2 of 3"]


def test_the_value_is_text_and_json(encoder: cd.Encoder) -> None:
    found = cd.similar(encoder, texts=TEXTS[:3])

    assert str(found).startswith(
        f"{encoder.name}: scale 30\n\ntext-text: each text among 2 other texts\n  a photo of a cat\n"
    )
    data = found.to_dict()
    assert data["identity"] == encoder.identity
    assert data["tables"]["text-text"][1]["name"] == "桑巴军团"
    assert len(list(found.records())) == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing is given to be compared"),
        ({"texts": ["a cat"]}, "one text alone has no other"),
        ({"texts": "a cat"}, "expected a list of texts"),
        ({"texts": ["a cat", " "]}, r"texts\[1\] is ' '; expected a text"),
        ({"texts": ["a cat", None]}, r"texts\[1\] is None"),
        ({"images": 3}, "images is 3; expected paths"),
        ({"images": [b"a.png"]}, r"images\[0\] is b'a.png'"),
        ({"texts": TEXTS, "top": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_to_give(encoder: cd.Encoder, given: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cd.similar(encoder, **given)


def test_one_picture_alone_is_refused_by_its_name(encoder: cd.Encoder, photos: Path) -> None:
    with pytest.raises(UsageError, match=r"one picture alone .*0001\.jpg"):
        cd.similar(encoder, images=[photos / "0001.jpg"])


def test_the_encoder_must_be_loaded() -> None:
    with pytest.raises(UsageError, match="expected Encoder"):
        cd.similar("starter", texts=TEXTS)


def test_pictures_none_of_which_can_be_used_are_refused_with_every_reason(encoder: cd.Encoder, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")

    with pytest.raises(TooManyRejectsError, match=r"a\.jpg: empty"):
        cd.similar(encoder, texts=TEXTS, images=tmp_path)


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_place_without_pictures_is_not_found(encoder: cd.Encoder, tmp_path: Path, place: str) -> None:
    with pytest.raises(NotFoundError):
        cd.similar(encoder, images=tmp_path / place)
