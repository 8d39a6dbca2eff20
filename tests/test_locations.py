"""Where a verb takes a table, the table's location does as well."""

from __future__ import annotations

from pathlib import Path

import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError
from tests.tables import number_table
from tests.tiny_models import tiny_encoder

pytestmark = pytest.mark.usefixtures("datachain_root")


def test_verbs_that_read_take_a_path(tmp_path: Path) -> None:
    table = number_table(tmp_path, 40)
    for name, step in (("before", abs), ("after", lambda n: n + 1)):
        cd.map_column(table, cd.step(reads="number", returns="float64", version="1")(step), name)
    path = tmp_path / "t.lance"

    assert cd.compare(path, "before", "after").to_dict() == cd.compare(table, "before", "after").to_dict()
    assert str(cd.compare(str(path), "before", "after", table_before=str(path)))
    assert len(list(cd.Stream(path, ["number"], batch_size=8))) == 5
    assert cd.to_datachain(path, ["number"]).count() == 40
    assert len(cd.log(path)) == len(cd.log(table))


@pytest.mark.parametrize(
    "verb",
    [
        lambda path: cd.compare(path, "a", "b"),
        lambda path: cd.Stream(path, ["number"], batch_size=8),
        lambda path: cd.to_datachain(path),
        lambda path: cd.log(path),
        lambda path: cd.export(path, f"{path}.shards"),
        lambda path: ingest.merge(path, path, into=f"{path}.merged"),
        lambda path: cd.train(path, tiny_encoder(), cd.recipes.caption_contest(), out=f"{path}.run"),
    ],
)
def test_a_location_without_a_table_is_said_with_what_to_type(tmp_path: Path, verb) -> None:
    with pytest.raises(NotFoundError, match=r"there is no table at .*none\.lance"):
        verb(tmp_path / "none.lance")
    assert [entry.name for entry in tmp_path.iterdir()] == ["datachain"]


def test_a_file_is_no_table_and_the_hint_makes_one_of_it(tmp_path: Path) -> None:
    (tmp_path / "some rows.csv").write_text("a\n1\n")
    with pytest.raises(NotFoundError, match=r"some rows\.csv is a file; expected a Lance table") as caught:
        cd.open_table(tmp_path / "some rows.csv")
    assert f"clipdata ingest parquet '{tmp_path}/some rows.csv' --into" in str(caught.value.hint)
