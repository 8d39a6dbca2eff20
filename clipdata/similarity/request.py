"""similar(): which of some texts and pictures a model finds like which. It knows encoders and records, and no table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipdata.arguments import PROGRESS, check_able, check_count, check_kind
from clipdata.encoder.model import Encoder
from clipdata.errors import ClipdataError, TooManyRejectsError, UsageError
from clipdata.progress import Progress, Silent
from clipdata.similarity.pictures import EncodedPictures, encode_pictures
from clipdata.similarity.ranking import ranked
from clipdata.similarity.records import Kind, Ranking, Similarity
from clipdata.storage import Storage

_NO_FEATURES = np.zeros((0, 0), np.float32)


def similar(
    model: Encoder,
    *,
    texts: Sequence[str] = (),
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    top: int | None = None,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Similarity:
    """Find what a model takes for alike: each picture among the texts, each text among the others, each picture too.

    A score is the cosine of two features; multiplied by the model's scale and through a softmax over the candidates
    of a row, it is a probability. A text is no candidate of itself, nor is a picture; one that is given twice is met
    by its equal. A picture that cannot be used is named with the reason, and the others go on.

    Args:
        model: gives features and scale.
        texts: to compare; alone, or with `images`.
        images: files, folders, URLs of objects or of a bucket's prefix.
        top: matches of each to keep; None keeps all.
        storage: how to reach the pictures.
        progress: watches.

    Returns:
        Tables of what was given: "image-text" of both; "text-text" of two texts or more, "image-image" likewise.

    Raises:
        UsageError: nothing was given, or one text or picture alone.
        NotFoundError: a folder of pictures is not there, or holds none.
        TooManyRejectsError: none of the pictures can be used.

    Source: CLIP-Chinese, predict_similarity.py.
    """
    check_kind(model, Encoder, "similar: model", 'clipdata.load_encoder("starter")')
    check_able(progress, "similar: progress", ("task", "say"), PROGRESS)
    if top is not None:
        check_count(top, "similar: top", least=1)
    texts, places = _checked_texts(texts), _checked_places(images)
    _require_company(len(texts), len(places))
    pictures = _encoded(model, places, storage or Storage(), progress or Silent())
    text_TD = _encoded_texts(model, texts)
    tables = _tables(texts, text_TD, pictures, model.logit_scale, top)
    if not tables:
        raise UsageError(
            f"one picture alone has no other to be compared with: {pictures.names[0]}{_refusals(pictures.refused)}",
            hint="name more pictures, or give texts to compare it with (--texts, texts=[…])",
        )
    return Similarity(
        model=model.name,
        identity=model.identity,
        logit_scale=model.logit_scale,
        texts=texts,
        images=pictures.names,
        tables=tables,
        refused=pictures.refused,
        notes=_notes(model, texts, pictures.names),
    )


def _tables(
    texts: Sequence[str], text_TD: np.ndarray, pictures: EncodedPictures, scale: float, top: int | None
) -> Mapping[Kind, Sequence[Ranking]]:
    found: dict[Kind, Sequence[Ranking]] = {}
    if texts and pictures.names:
        found["image-text"] = ranked(pictures.names, pictures.features_ND, texts, text_TD, scale, top)
    if len(texts) > 1:
        found["text-text"] = ranked(texts, text_TD, None, None, scale, top)
    if len(pictures.names) > 1:
        found["image-image"] = ranked(pictures.names, pictures.features_ND, None, None, scale, top)
    return found


def _checked_texts(texts: Any) -> list[str]:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, (Sequence, np.ndarray)):
        raise UsageError(f"similar: texts is {texts!r:.80}; expected a list of texts", hint='texts=["a cat", "a dog"]')
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"similar: texts[{place}] is {text!r:.80}; expected a text")
    return [str(text) for text in texts]


def _checked_places(images: Any) -> list[str]:
    places = [images] if isinstance(images, (str, os.PathLike)) else images
    if not isinstance(places, Sequence) or isinstance(places, bytes):
        raise UsageError(
            f"similar: images is {images!r:.80}; expected paths of files or folders", hint='images=["a.png", "photos/"]'
        )
    for place, one in enumerate(places):
        if not isinstance(one, (str, os.PathLike)) or not os.fspath(one):
            raise UsageError(f"similar: images[{place}] is {one!r:.80}; expected a path of a file or folder")
    return [str(os.fspath(one)) for one in places]


def _require_company(num_texts: int, num_places: int) -> None:
    if not num_texts and not num_places:
        raise UsageError(
            "nothing is given to be compared; expected texts, pictures, or both",
            hint="--texts FILE_OR_TEXT … --images FILES_OR_FOLDER … (texts=[…], images=[…])",
        )
    if num_texts == 1 and not num_places:
        raise UsageError(
            "one text alone has no other to be compared with",
            hint="give more texts, or pictures to compare it with (--images, images=[…])",
        )


def _encoded(model: Encoder, places: Sequence[str], storage: Storage, progress: Progress) -> EncodedPictures:
    if not places:
        return EncodedPictures((), _NO_FEATURES, {})
    pictures = encode_pictures(model, places, storage, progress)
    if not pictures.names:
        raise TooManyRejectsError(f"none of the pictures can be used{_refusals(pictures.refused)}")
    return pictures


def _encoded_texts(model: Encoder, texts: Sequence[str]) -> np.ndarray:
    if not texts:
        return _NO_FEATURES
    text_TD = model.encode_texts(texts).float().cpu().numpy()
    if not np.isfinite(text_TD).all():
        raise ClipdataError(f"{model.name} gave NaN or infinity for a text", hint="precision fp32 may mend it")
    return text_TD


def _refusals(refused: Mapping[str, str]) -> str:
    return "".join(f"\n  - {name}: {why}" for name, why in refused.items())


def _notes(model: Encoder, texts: Sequence[str], names: Sequence[str]) -> list[str]:
    notes = []
    if num_cut := model.count_truncated(texts):
        length = model.context_length
        notes.append(
            f"the model reads {length:,} tokens, and not the ends of longer texts: {num_cut:,} of {len(texts):,}"
        )
    for what, given in (("texts", texts), ("pictures", names)):
        if repeated := sum(count > 1 for count in Counter(given).values()):
            notes.append(f"{what} given more than once: {repeated:,}; each leaves out itself, and meets its equal")
    for what, given in (("text", texts), ("picture", names)):
        if len(given) == 1:
            notes.append(f"one {what} alone has no other to be compared with")
    return notes
