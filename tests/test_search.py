"""`search`: rows by texts, pictures, other rows and words, beside the sums written out; and what is typed wrongly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import LineageMismatchError, NotFoundError, SchemaError, TooManyRejectsError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from clipdata.similarity.words import Words
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contests import contest_table
from tests.json_schemas import check_schema
from tests.pictures import write_pictures
from tests.tiny_models import TINY_EMBED_DIM, tiny_encoder

NUM = 12
TEXTS = ["a red square", "two dogs on a table", "一只猫坐在沙发上", "A DOG’s house", "小猪佩奇在足球场", "the cat"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder of pictures, a table of them with captions, two columns of embeddings, and the models behind."""
    folder = tmp_path_factory.mktemp("search")
    write_pictures(folder / "photos", NUM)
    shutil.copy(folder / "photos" / "0000.jpg", folder / "photos" / "copy.jpg")
    encoder = tiny_encoder(folder)
    table = ingest.from_images(folder / "photos", into=folder / "t.lance").table
    captions = iter(TEXTS * NUM)

    @cd.step(reads="filename", returns="string")
    def caption(filename: str) -> str | None:
        return None if filename == "0011.jpg" else next(captions)

    @cd.step(reads="caption", returns=pa.list_(pa.string()))
    def captions_(caption: str) -> list[str]:
        return ["no words here", caption]

    cd.map_column(table, caption, "caption")
    cd.map_column(table, captions_, "captions")
    cd.map_column(table, cd.steps.ImageEmbedding(encoder), "image_embedding")
    cd.map_column(table, cd.steps.TextEmbedding(encoder), "text_embedding")
    return SimpleNamespace(
        folder=folder, encoder=encoder, table=table, uri=table.uri, other=tiny_encoder(folder, seed=1)
    )


def ranked(made: SimpleNamespace, query_D: np.ndarray, column: str) -> list[tuple[str, float]]:
    """Every row with a vector, one sum at a time."""
    held = [row for row in made.table.to_table(["path", column]).to_pylist() if row[column] is not None]
    cosines = {row["path"]: float(np.dot(query_D, row[column])) for row in held}
    return sorted(cosines.items(), key=lambda one: -one[1])


def told(answer) -> list[tuple[str, float]]:
    return [(hit.row, hit.cosine) for hit in answer.hits]


def assert_ranked(found, expected) -> None:
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
    assert {row for row, _ in found} == {row for row, _ in expected}


def test_texts_and_pictures_find_pictures_and_texts(made: SimpleNamespace) -> None:
    photo = made.folder / "photos" / "0003.jpg"
    text_QD = made.encoder.encode_texts(TEXTS[:2]).numpy()

    found = cd.search(made.uri, text=TEXTS[:2], image=photo, top=100)  # the model is loaded by its lineage
    assert (found.model, found.identity) == (made.encoder.name, made.encoder.identity)
    assert [(one.by, one.query) for one in found.answers] == [*(("text", t) for t in TEXTS[:2]), ("image", str(photo))]
    for answer, text_D in zip(found.answers[:2], text_QD, strict=True):
        assert_ranked(told(answer), ranked(made, text_D, "image_embedding"))
    assert found.answers[2].hits[0].row == "0003.jpg"
    assert found.answers[2].hits[0].distance == pytest.approx(0, abs=1e-5)
    assert found.notes == ["--column text_embedding would search that instead"]

    among_texts = cd.search(made.uri, text=TEXTS[0], column="text_embedding", model=made.encoder, top=3)
    assert told(among_texts.answers[0])[0][1] == pytest.approx(1.0, abs=1e-5)
    assert {hit.values["caption"] for hit in among_texts.answers[0].hits[:2]} == {TEXTS[0]}
    assert among_texts.ways[0].not_searched == {"empty": 1}


def test_a_row_finds_others_and_its_duplicates_are_left_out_on_request(made: SimpleNamespace) -> None:
    (answer,) = cd.search(made.uri, like="0000.jpg", top=3).answers
    assert answer.hits[0].row == "copy.jpg"
    assert "0000.jpg" not in [hit.row for hit in answer.hits]

    (answer,) = cd.search(made.uri, like="0000.jpg", top=100, distinct="sha256").answers
    assert {hit.row for hit in answer.hits} == {f"{n:04d}.jpg" for n in range(1, NUM)}

    (answer,) = cd.search(made.uri, like="#1", column="text_embedding", like_column="image_embedding", top=100).answers
    vector_D = np.array(made.table.to_table(["image_embedding"], where="path = '0001.jpg'").column(0)[0].as_py())
    expected = [one for one in ranked(made, vector_D, "text_embedding") if one[0] != "0001.jpg"]
    assert_ranked(told(answer), expected)


def test_a_filter_and_the_columns_to_show_are_named(made: SimpleNamespace) -> None:
    found = cd.search(
        made.table,
        text="a cat",
        where="caption LIKE '%dog%'",
        model=made.encoder,
        top=100,
        columns=["width", "caption"],
    )
    expected = set(made.table.to_table(["path"], where="caption LIKE '%dog%'").column(0).to_pylist())
    assert {hit.row for hit in found.answers[0].hits} == expected
    assert all(set(hit.values) == {"width", "caption"} for hit in found.answers[0].hits)


def test_no_picture_is_read(made: SimpleNamespace) -> None:
    table = cd.open_table(made.uri)
    size = sum(len(value) for value in table.to_table(["image"]).column(0).to_pylist())
    table = cd.open_table(made.uri)
    table.dataset.io_stats_incremental()
    cd.search(table, text="a cat", words="dog", model=made.encoder)
    assert table.dataset.io_stats_incremental().read_bytes < max(size // 2, 60_000)


@pytest.mark.parametrize("column", ["caption", "captions"])
def test_words_are_found_whatever_their_ending_and_wherever_characters_stand_together(
    made: SimpleNamespace, column: str
) -> None:
    def texts_with(words: str) -> set[str]:
        (answer,) = cd.search(made.uri, words=words, words_column=column, top=100).answers
        held = made.table.to_table(["path", "caption"]).to_pylist()
        captions = {row["path"]: row["caption"] for row in held}
        return {captions[hit.row] for hit in answer.hits}

    assert texts_with("dog") == texts_with("DOGS") == {TEXTS[1], TEXTS[3]}
    assert texts_with("cat") == {TEXTS[5]}
    assert texts_with("猫") == texts_with("沙发") == {TEXTS[2]}
    assert texts_with("球") == texts_with("足球") == texts_with("佩奇") == texts_with("小猪佩奇") == {TEXTS[4]}
    assert texts_with("小狗") == texts_with("elephant") == set()
    assert texts_with("猫 square") == {TEXTS[2], TEXTS[0]}


def test_words_and_vectors_are_fused_by_rank(made: SimpleNamespace) -> None:
    near = [hit.row for hit in cd.search(made.uri, text="a cat", model=made.encoder, top=100).answers[0].hits]
    by_words = [hit.row for hit in cd.search(made.uri, words="dogs", words_column="caption", top=100).answers[0].hits]
    scores = {row: 1 / (60 + place) for place, row in enumerate(near, start=1)}
    for place, row in enumerate(by_words, start=1):
        scores[row] += 1 / (60 + place)

    found = cd.search(made.uri, text="a cat", words="dogs", words_column="caption", model=made.encoder, top=4)

    hits = found.answers[0].hits
    assert [hit.score for hit in hits] == pytest.approx(sorted(scores.values(), reverse=True)[:4])
    assert [hit.row for hit in hits] == sorted(scores, key=lambda row: -scores[row])[:4]
    assert [way.column for way in found.ways] == ["image_embedding", "caption"]


def test_a_picture_in_several_rows_is_one_in_both_orders(tmp_path: Path) -> None:
    schema = pa.schema([key_field("path"), *(pa.field(n, pa.string()) for n in ("filename", "caption"))])
    table = rows.create_table(tmp_path / "t.lance", schema.append(pa.field("v", pa.list_(pa.float32(), 2))))
    captions = ["a cat", "a dog"] * 4
    vectors = [[1.0, 0.1 * (n // 2)] for n in range(8)]
    names = {"path": [f"{n}" for n in range(8)], "filename": [f"{n // 2}.jpg" for n in range(8)], "caption": captions}
    rows.upsert(table, pa.table({**names, "v": pa.array(vectors, pa.list_(pa.float32(), 2))}))

    found = cd.search(table.uri, like="0", words="dog", column="v", words_column="caption", distinct="filename")
    assert [hit.row for hit in found.answers[0].hits] == ["3", "5", "7"]
    best = found.answers[0].hits[0]
    assert best.score == pytest.approx(1 / 61 + 1 / 61)
    assert best.cosine == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-6)


def test_a_text_longer_than_the_model_reads_and_a_picture_that_is_refused_are_told(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    found = cd.search(
        made.table, text="a dog " * 40, image=[tmp_path / "bad.jpg", made.folder / "photos"], model=made.encoder
    )
    assert len(found.answers) == 1 + NUM + 1
    assert any("reads 24 tokens, and not the end of the text 'a dog a dog" in note for note in found.notes)
    assert any("bad.jpg: not_an_image" in note for note in found.notes)


def foreign(folder: Path, vectors: list[list[float] | None], kind: pa.DataType) -> str:
    columns = {"id": [5, 6, 7, 7][: len(vectors)], "v": pa.array(vectors, kind), "n": pa.array(range(len(vectors)))}
    import lance

    lance.write_dataset(pa.table(columns), str(folder / "theirs.lance"))
    return str(folder / "theirs.lance")


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.list_(pa.float16(), 2), pa.large_list(pa.float32())]
)
def test_tables_of_other_tools_are_searched_by_whatever_lists_of_floats_they_hold(tmp_path: Path, kind) -> None:
    vectors = [[3.0, 0.0], [0.0, 2.0], [1.0, 1.0], None]
    if kind.value_type == pa.float16():
        vectors = [None if one is None else list(np.array(one, np.float16)) for one in vectors]
    uri = foreign(tmp_path, vectors, kind)

    found = cd.search(uri, like="5", column="v")
    assert [(hit.row, round(hit.cosine, 4)) for hit in found.answers[0].hits] == [("7", 0.7071), ("6", 0.0)]
    assert (found.ways[0].rows, found.ways[0].not_searched) == (3, {"empty": 1})


def test_vectors_that_point_nowhere_are_counted_and_found_by_nobody(tmp_path: Path) -> None:
    vectors = [[1.0, 0.0], [0.0, 0.0], [float("nan"), 1.0], [1.0, 1.0, 1.0]]
    uri = foreign(tmp_path, vectors, pa.list_(pa.float32()))

    found = cd.search(uri, like="#0", column="v")
    assert found.answers[0].hits == []
    assert found.ways[0].not_searched == {"zero": 1, "not_finite": 1, "length": 1}
    for row, said in (("6", "holds zeros alone"), ("#2", "holds NaN or infinity")):
        with pytest.raises(UsageError, match=said):
            cd.search(uri, like=row, column="v")
    with pytest.raises(UsageError, match=r"2 rows .* have id '7'; expected one\n.*'#2', '#3'"):
        cd.search(uri, like="7", column="v")


def test_weights_that_differ_are_refused_with_both_named(made: SimpleNamespace) -> None:
    with pytest.raises(LineageMismatchError) as raised:
        cd.search(made.uri, text="a cat", column="image_embedding", model=made.other)
    assert made.encoder.identity in str(raised.value)
    assert made.other.identity in str(raised.value)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, UsageError, "nothing is given to search for"),
        ({"text": " "}, UsageError, "expected a text that says something"),
        ({"text": 3}, UsageError, "text is 3"),
        ({"words": "…!"}, UsageError, "holds no word"),
        ({"words": "cat", "words_column": "width"}, SchemaError, "expected texts"),
        ({"like": "gone.jpg"}, NotFoundError, "has no row 'gone.jpg' in path"),
        ({"like": "#99"}, NotFoundError, "there is no #99"),
        ({"like": "0011.jpg", "column": "text_embedding"}, UsageError, "has no vector"),
        ({"like": "0001.jpg", "column": "caption"}, SchemaError, "expected vectors"),
        ({"like": "0001.jpg", "column": "gone"}, SchemaError, "no column 'gone'"),
        ({"like": "0001.jpg", "distinct": "image"}, SchemaError, "distinct is 'image'"),
        ({"like": "0001.jpg", "columns": ["image"]}, UsageError, "bytes of pictures"),
        ({"like": "0001.jpg", "columns": "width"}, UsageError, "expected a list of names"),
        ({"like": "0001.jpg", "where": "nothing = 1"}, SchemaError, "nothing"),
        ({"like": "0001.jpg", "top": 0}, UsageError, "at least 1"),
        ({"image": "gone.jpg"}, NotFoundError, "there is no picture gone.jpg"),
        ({"image": "bad.jpg"}, TooManyRejectsError, "bad.jpg: not_an_image"),
        ({"text": "a", "model": 3}, UsageError, "model is 3"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(
    made: SimpleNamespace, given, error, said, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    if "image" in given:
        given = given | {"model": made.encoder}
    with pytest.raises(error, match=said):
        cd.search(made.uri, **given)


def test_words_in_several_columns_or_none_are_refused(tmp_path: Path) -> None:
    texts = rows.create_table(tmp_path / "x.lance", pa.schema([key_field("one"), pa.field("two", pa.string())]))
    with pytest.raises(UsageError, match=r"several columns: one, two\n.*--words-column one"):
        cd.search(texts, words="cat")
    numbers = foreign(tmp_path, [[1.0, 2.0]], pa.list_(pa.float32(), 2))
    with pytest.raises(SchemaError, match="no column of texts"):
        cd.search(numbers, words="cat")


def test_tables_without_embeddings_of_a_known_model_say_what_to_type(made: SimpleNamespace, tmp_path: Path) -> None:
    uri = foreign(tmp_path, [[1.0, 2.0]], pa.list_(pa.float32(), 2))
    with pytest.raises(SchemaError, match=r"clipdata map .* image-embedding .* --column v --model MODEL"):
        cd.search(uri, text="a cat")
    with pytest.raises(UsageError, match="nobody recorded which model made column 'v'"):
        cd.search(uri, text="a cat", column="v")
    with pytest.raises(SchemaError, match=f"holds vectors of 2 numbers; .* makes {TINY_EMBED_DIM}"):
        cd.search(uri, text="a cat", column="v", model=made.encoder)
    cd.map_column(made.table, cd.steps.ImageEmbedding(made.other), "other_embedding")
    cd.map_column(made.table, cd.steps.ImageTrunk(made.encoder), "trunk")

    @cd.step(reads="width", returns=pa.list_(pa.float32(), TINY_EMBED_DIM))
    def own(width: int) -> list[float]:
        return [float(width)] * TINY_EMBED_DIM

    cd.map_column(made.table, own, "own")
    try:
        with pytest.raises(UsageError, match="no text or picture can be held against that"):
            cd.search(made.uri, text="a cat", column="trunk", model=made.encoder)
        assert len(cd.search(made.uri, like="#0", column="trunk", top=3).answers[0].hits) == 3
        with pytest.raises(UsageError, match="nobody recorded which model made column 'own'"):
            cd.search(made.uri, text="a cat", column="own")
        assert cd.search(made.uri, text="a cat", column="own", model=made.encoder).model == made.encoder.name
        with pytest.raises(UsageError, match=r"several columns can be searched: image_embedding: .*other_embedding: "):
            cd.search(made.uri, text="a cat")
        assert cd.search(made.uri, text="a cat", model=made.other).ways[0].column == "other_embedding"
    finally:
        made.table.dataset.drop_columns(["other_embedding", "trunk", "own"])


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["search", *map(str, words)])
    return code, *capsys.readouterr()


def test_the_command_shows_rows_and_says_beside_them_how_they_were_found(
    made: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = run(capsys, made.uri, "--text", "a red square", "--like", "0001.jpg", "--top", 2)
    assert code == 0, err
    first, second = out.rstrip("\n").split("\n\n")
    assert first.splitlines()[0] == "text: a red square"
    assert second.splitlines()[0] == "row: 0001.jpg"
    assert first.splitlines()[1].split() == ["rank", "cosine", "row", "filename"]
    assert len(first.splitlines()) == 4
    assert f"image_embedding: {NUM + 1} rows, exact" in err

    schema = schema_of("search", next(verb for verb in VERBS if verb.words == "search").found)
    for words in (
        ["--text", "a cat", "--words", "猫", "--words-column", "captions"],
        ["--words", "dog"],
        ["--like", "#0"],
    ):
        code, out, err = run(capsys, made.uri, *words, "--json")
        assert code == 0, err
        check_schema(json.loads(out), schema)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "nothing is given to search for"),
        (["--text", "photo.jpg"], 3, "there is no file photo.jpg"),
        (["--text", "photos/cat"], 3, "there is no file photos/cat"),
        (["--like", "gone"], 3, "has no row 'gone'"),
        (["--image", "gone.jpg"], 3, "there is no picture"),
        (["--like", "0001.jpg", "--version", "99"], 3, "no version 99"),
        (["--text", "a", "--model", "no-such-model"], 3, "no-such-model"),
        (["--like", "0001.jpg", "--column", "path"], 2, "expected vectors"),
    ],
)
def test_wrong_words_end_with_what_to_type(made, words, code, said, capsys) -> None:
    ended, out, err = run(capsys, made.uri, *words)
    assert (ended, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_words_of_a_query_are_told_apart_by_script() -> None:
    found = Words.of("A DOG’s cafés 足球 小猪佩奇")
    assert found.spaced == {"a", "dog", "cafe"}
    assert found.unspaced == ("足球", "小猪", "猪佩", "佩奇")
    assert found.counts(["小猪和小猪, the Dogs", "café"]) == {"小猪": 2, "dog": 1, "cafe": 1}
    assert not Words.of("?!")


def test_only_columns_that_a_text_can_be_held_against_are_offered(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    table = contest_table(tmp_path, 6)
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "image_trunk")
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    with pytest.raises(SchemaError) as refused:
        cd.search(table, text="a dog")
    assert refused.value.hint is not None
    assert "--column" not in refused.value.hint

    of_others = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 6 * 4, pa.float32()), 4)
    lance.write_dataset(pa.table({"vector": of_others}), tmp_path / "others.lance")
    with pytest.raises(SchemaError, match="no column of embeddings") as refused:
        cd.search(tmp_path / "others.lance", text="a dog")
    assert "--column vector --model MODEL" in (refused.value.hint or "")
