"""clipdata fine-tune: which pipeline the data asks for, and that it says so."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.encoder import export
from clipdata.errors import NotFoundError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from clipdata.training.recipe_names import known_recipes
from pipelines.fine_tune import fine_tune, fitting
from pipelines.recipe import AskedRecipe
from pipelines.settings import PipelineSettings
from tests.contests import contest_table
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(number, place.suffix, height=12, width=16))
    return folder


def table(folder: Path, **columns: pa.Array) -> str:
    key = pa.array([f"{number}.png" for number in range(2)])
    held = pa.table({"path": key, **columns}).cast(
        pa.schema([key_field("path"), *(pa.field(n, column.type) for n, column in columns.items())])
    )
    made = rows.create_table(folder / "t.lance", held.schema)
    rows.upsert(made, held)
    return str(folder / "t.lance")


@pytest.mark.parametrize("name", [None, *known_recipes()])
def test_a_recipe_says_how_and_each_pipeline_for_what(name):
    asked = AskedRecipe(name)

    assert asked.or_else(cd.recipes.caption_contest, choices="choices").objective.choices == "choices"
    assert asked.or_else(cd.recipes.dual_encoder, text="text").objective.kind == "multi_positive"
    assert asked.or_else(cd.recipes.locked_image, text="text").objective.text == "text"
    assert asked.or_else(cd.recipes.prompt_classification, objective="siglip", group="g").objective.group == "g"


def test_a_folder_of_captioned_pictures_is_trained_on_by_default(tmp_path):
    folder = tmp_path / "pictures"
    names = [f"{number}.png" for number in range(24)]
    pictures(folder, *names)
    (folder / "captions.csv").write_text("filename,caption\n" + "".join(f"{n},the picture {n}\n" for n in names))
    encoder = tiny_encoder()
    model = export(encoder.model, encoder, tmp_path / "tiny")
    settings = PipelineSettings(model=str(model), out=str(tmp_path / "out"), training={"steps": "2", "canary": "false"})

    found, result = fine_tune(str(folder), settings)

    assert found.pipeline == "dual-encoder"
    assert result.run.config.recipe == "auto: projections"
    assert result.run.is_finished


def test_one_class_is_refused_by_its_name(tmp_path):
    folder = pictures(tmp_path, "cat/1.png", "cat/2.png")

    with pytest.raises(UsageError, match=r"pictures of one class, cat/: there is nothing to tell apart"):
        fitting(str(folder))


def test_class_folders_are_classified(tmp_path):
    folder = pictures(tmp_path, "cat/1.png", "dog/2.png")

    found = fitting(str(folder))

    assert (found.pipeline, found.settings) == ("prompt-classification", {"images": str(folder)})
    assert found.reason == "pictures lie in 2 class folders, such as cat/"


def test_class_folders_may_lie_in_folders_of_a_split_or_stand_beside_lists(tmp_path):
    split = pictures(tmp_path / "a", "train/cat/1.png", "train/dog/2.png", "test/cat/3.png")
    listed = pictures(tmp_path / "b", "cat/1.png", "dog/2.png")
    (listed / "train.txt").write_text("cat/1\n")

    assert fitting(str(split)).reason == "pictures lie in 2 class folders, such as cat/"
    assert fitting(str(listed)).settings == {"images": str(listed), "lists": str(listed)}


def test_pictures_beside_a_file_of_captions_are_pairs(tmp_path):
    folder = pictures(tmp_path, "images/1.png", "images/2.png")
    (folder / "captions.csv").write_text("filename,caption\n1.png,a cat\n2.png,a dog\n")

    found = fitting(str(folder))

    assert (found.pipeline, found.reason) == ("dual-encoder", "captions.csv stands beside pictures")
    assert found.captions == (str(folder), str(folder / "captions.csv"))


def test_questions_beside_pictures_are_a_contest(tmp_path):
    folder = pictures(tmp_path, "1.png")
    pq.write_table(
        pa.table({"filename": ["1.png"], "caption_choices": [["a", "b"]], "label": ["A"]}), folder / "q.parquet"
    )

    found = fitting(str(folder))

    assert found.pipeline == "caption-contest"
    assert found.settings == {"images": str(folder), "metadata": str(folder / "q.parquet")}


@pytest.mark.parametrize(
    ("columns", "pipeline", "settings"),
    [
        (
            {"caption_choices": pa.array([["a", "b"]] * 2), "label": pa.array(["A", "B"])},
            "caption-contest",
            {"label": "label"},
        ),
        ({"captions": pa.array([["a"], ["b"]])}, "dual-encoder", {}),
        ({"text": pa.array(["a", "b"])}, "dual-encoder", {}),
        ({"class_name": pa.array(["a", "b"])}, "prompt-classification", {"label": "class_name"}),
    ],
)
def test_a_table_is_taken_by_its_columns(tmp_path, columns, pipeline, settings):
    place = table(tmp_path, **columns)

    found = fitting(place)

    assert (found.pipeline, found.settings) == (pipeline, {"table": place, **settings})


def test_a_contest_of_which_places_are_known_goes_by_these(tmp_path):
    place = contest_table(tmp_path, 5).uri

    assert fitting(place).settings == {"table": place, "label": "label_ind"}


def test_what_says_nothing_is_refused_with_what_would_do(tmp_path):
    with pytest.raises(UsageError, match="nothing that says what its pictures show"):
        fitting(str(pictures(tmp_path / "a", "1.png")))
    with pytest.raises(UsageError, match="nothing tells what to train for"):
        fitting(table(tmp_path, price=pa.array([1.0, 2.0])))
    with pytest.raises(NotFoundError, match="no folder or Lance table"):
        fitting(str(tmp_path / "nowhere"))


def test_a_table_made_by_ingest_of_class_folders_is_classified(tmp_path):
    folder = pictures(tmp_path / "pictures", "cat/1.png", "dog/2.png")
    made = ingest.from_class_list(folder, into=tmp_path / "t.lance").table

    assert fitting(made.uri).pipeline == "prompt-classification"


def test_a_list_of_classes_or_a_licence_beside_class_folders_changes_nothing(tmp_path):
    folder = pictures(tmp_path, "cat/1.png", "dog/2.png")
    (folder / "classes.txt").write_text("cat\ndog\n")
    (folder / "dataset_info.json").write_text("{}")

    assert fitting(str(folder)).pipeline == "prompt-classification"


def test_a_file_is_to_be_taken_in_first(tmp_path):
    (tmp_path / "q.parquet").write_bytes(b"")

    with pytest.raises(UsageError) as caught:
        fitting(str(tmp_path / "q.parquet"))

    assert "clipdata ingest parquet" in caught.value.hint
