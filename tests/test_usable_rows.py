"""The rows a run trains on, and the digest that tells whether they are still the same."""

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.errors import SchemaError
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.trained_rows import digests
from clipdata.training.objectives import Choice
from clipdata.training.usable_rows import choose_rows
from tests.contests import contest_rows, contest_table


def choose(table: Table, **options):
    return choose_rows(table, Choice(), **options)


def test_rows_are_chosen_by_offset_and_texts_collected_in_order(tmp_path):
    table = contest_table(tmp_path, 30)

    chosen = choose(table, where="split = 'train'", max_texts=100)

    assert chosen.offsets.tolist() == [n for n in range(30) if n % 5 != 4]
    assert list(chosen.texts) == sorted(
        {text for row in table.to_table().column("caption_choices").to_pylist() for text in row}
    )
    assert chosen.refused == {}


def test_more_texts_than_asked_for_are_not_collected(tmp_path):
    table = contest_table(tmp_path, 30)

    assert choose(table, max_texts=7).texts is None
    assert choose(table, max_texts=8).texts is not None
    assert choose(table, max_texts=0).texts is None


def test_the_digest_does_not_depend_on_fragments_or_other_columns(tmp_path):
    table = contest_table(tmp_path, 30)
    whole = table.to_table()
    lance.write_dataset(whole, tmp_path / "cut.lance", max_rows_per_file=7)
    lance.write_dataset(whole.append_column("score", pa.array(np.arange(30.0))), tmp_path / "wide.lance")

    digests = {choose(open_table(tmp_path / name)).digest for name in ("contest.lance", "cut.lance", "wide.lance")}

    assert len(digests) == 1


@pytest.mark.parametrize("column", ["label_ind", "caption_choices", "sha256"])
def test_the_digest_changes_with_every_column_that_matters(tmp_path, column):
    table = contest_table(tmp_path, 30)
    changed = contest_rows(30).to_pydict()
    changed[column][11] = {"label_ind": 1 - min(changed["label_ind"][11], 1), "sha256": "0"}.get(
        column, [*changed["caption_choices"][11], "one more"]
    )
    other = contest_table(tmp_path, 0, name="other.lance")
    rows.upsert(other, pa.table(changed, schema=other.schema))

    assert choose(open_table(other.uri)).digest != choose(table).digest


def test_texts_that_differ_only_in_where_they_are_cut_have_other_digests(tmp_path):
    digests = set()
    for number, choices in enumerate((["ab", "c"], ["a", "bc"])):
        table = pa.table({"caption_choices": [choices], "label_ind": [0], "sha256": ["x"]})
        lance.write_dataset(table, tmp_path / f"{number}.lance")
        digests.add(choose(open_table(tmp_path / f"{number}.lance")).digest)

    assert len(digests) == 2


def without_digests(folder, **columns) -> Table:
    """Ten rows of another tool's, with pictures that nothing but their bytes identifies."""
    plain = contest_rows(10).drop_columns(["sha256"])
    rows_of = {name: plain[name] for name in plain.column_names}
    lance.write_dataset(pa.table({**rows_of, **columns}), folder / "t.lance", max_rows_per_file=4)
    return open_table(folder / "t.lance")


def test_without_a_digest_of_the_pictures_their_place_in_the_tables_files_tells(tmp_path):
    first = choose(without_digests(tmp_path))
    table = lance.dataset(tmp_path / "t.lance")
    table.add_columns({"score": "1.0"})
    scored = choose(open_table(table.uri))
    table.checkout_latest()
    table.update({"image": "X'00'"}, where="path = '00007.png'")

    assert scored.digest == first.digest
    assert choose(open_table(table.uri)).digest != first.digest


def test_a_digest_identifies_the_image_column_and_no_other_column_of_pictures(tmp_path):
    twice = contest_rows(10)
    plain = {name: twice[name] for name in twice.column_names}
    lance.write_dataset(pa.table({**plain, "photo2": plain["image"]}), tmp_path / "t.lance")
    before = {image: choose(open_table(tmp_path / "t.lance"), image=image).digest for image in ("image", "photo2")}

    lance.dataset(tmp_path / "t.lance").drop_columns(["photo2"])
    lance.dataset(tmp_path / "t.lance").add_columns({"photo2": "image"})
    table = open_table(tmp_path / "t.lance")

    assert choose(table, image="image").digest == before["image"]
    assert choose(table, image="photo2").digest != before["photo2"]


def test_the_digest_tells_features_by_their_values(tmp_path):
    def with_features(name: str, last: float | None) -> str:
        features = pa.array([[float(n), 0.5] for n in range(9)] + [[last, 0.5]], pa.list_(pa.float32(), 2))
        plain = contest_rows(10)
        columns = {one: plain[one] for one in plain.column_names}
        lance.write_dataset(pa.table({**columns, "features": features}), tmp_path / name, max_rows_per_file=3)
        return choose(open_table(tmp_path / name), features="features").digest

    assert with_features("one", 9) == with_features("same", 9) != with_features("other", 8)


def by_reference(folder, name: str, **columns) -> Table:
    """Three rows of which nothing but the given columns tells what their pictures are."""
    content = {column: pa.array(values, pa.string()) for column, values in columns.items()}
    content["image"] = pa.nulls(3, pa.large_binary())
    rows_of = {"caption_choices": [["a", "b"]] * 3, "label_ind": [0, 1, 0], **content}
    lance.write_dataset(pa.table(rows_of), folder / name)
    return open_table(folder / name)


def test_where_a_digest_is_null_the_etag_tells_row_by_row_whether_a_picture_changed(tmp_path):
    none = [None, None, None]
    some = {"uri": ["u", "v", "w"], "sha256": ["s", None, None]}
    found = [
        choose(by_reference(tmp_path, str(number), **columns))
        for number, columns in enumerate(
            (
                {**some, "etag": ["e", "f", "g"]},
                {**some, "etag": ["another", "f", "g"]},  # of a row that has a digest
                {**some, "etag": ["e", "f", "another"]},
                {**some, "uri": ["u", "v", "another"], "etag": ["e", "f", "g"]},
                {"uri": ["u", "v", "w"], "sha256": none, "etag": ["e", "f", "g"]},
            )
        )
    ]

    assert found[0].digest == found[1].digest
    assert len({one.digest for one in found}) == 4


@pytest.mark.parametrize("known", [{}, {"sha256": ["s", "s", None]}, {"etag": [None] * 3}])
def test_where_only_a_location_tells_pictures_apart_another_version_counts_as_changed(tmp_path, known):
    first = choose(by_reference(tmp_path, "t", uri=["u", "v", "w"], **known))
    lance.dataset(tmp_path / "t").add_columns({"score": "1.0"})

    assert choose(open_table(tmp_path / "t")).digest != first.digest


def test_columns_that_only_have_the_name_of_an_identity_are_no_identity(tmp_path):
    plain = contest_rows(10)
    columns = {one: plain[one] for one in plain.column_names}
    columns |= {"sha256": pa.array([[255]] * 10), "uri": pa.array([{"host": "h"}] * 10)}
    lance.write_dataset(pa.table(columns), tmp_path / "t.lance")

    chosen = choose(open_table(tmp_path / "t.lance"))

    assert (len(chosen.offsets), chosen.pictures_N.tolist()) == (10, [0] * 10)


def test_a_label_beyond_every_list_is_outside_its_choices_whatever_integer_holds_it(tmp_path):
    columns = {"caption_choices": [["a", "b"]] * 3, "label_ind": pa.array([1, 2**63, 2**64 - 1], pa.uint64())}
    lance.write_dataset(pa.table(columns), tmp_path / "t.lance")

    chosen = choose(open_table(tmp_path / "t.lance"))

    assert (chosen.offsets.tolist(), chosen.refused) == ([0], {"a label outside its choices": 2})


def test_pictures_are_known_by_digest_or_place_and_keys_by_the_key_column(tmp_path):
    table = contest_table(tmp_path, 10)
    located = choose(by_reference(tmp_path, "t", uri=["u", "u", None], etag=["e", "e", "e"]))

    found = choose(table, where="split = 'train'")

    assert found.keys_N.tolist() == digests(table.to_table(["path"], where="split = 'train'")["path"]).tolist()
    assert found.pictures_N.tolist() == digests(table.to_table(["sha256"], where="split = 'train'")["sha256"]).tolist()
    assert len(located.keys_N) == 0
    assert located.pictures_N[0] == located.pictures_N[1] != located.pictures_N[2] == 0


def test_deleted_rows_are_not_chosen(tmp_path):
    table = contest_table(tmp_path, 30)
    lance.dataset(table.uri).delete("path < '00010.png'")

    chosen = choose(table.latest())

    assert chosen.offsets.tolist() == list(range(20))
    assert table.latest().take(chosen.offsets[:1], ["path"]).column("path").to_pylist() == ["00010.png"]


def test_choices_must_be_lists_of_texts(tmp_path):
    lance.write_dataset(pa.table({"caption_choices": ["a"], "label_ind": [0]}), tmp_path / "t.lance")

    with pytest.raises(SchemaError, match="'caption_choices' holds string; expected lists of texts"):
        choose(open_table(tmp_path / "t.lance"))


def test_large_lists_and_large_strings_will_do(tmp_path):
    choices = pa.array([["a", "b"], None, ["a"]], pa.large_list(pa.large_string()))
    lance.write_dataset(
        pa.table({"caption_choices": choices, "label_ind": pa.array([1, 0, 0], pa.uint8())}), tmp_path / "t"
    )

    chosen = choose(open_table(tmp_path / "t"), max_texts=9)

    assert (chosen.offsets.tolist(), chosen.refused, chosen.texts) == ([0, 2], {"no choices": 1}, ("a", "b"))
