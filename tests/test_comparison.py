"""Comparing two columns: pairing, clusters, answers, groups and coverage."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.answers import judge
from clipdata.comparison import compare
from clipdata.comparison.codes import GroupCodes, hashes
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io.table import open_table
from clipdata.lineage import METADATA_KEY, Lineage
from clipdata.schema import key_field
from tests.comparisons import answered, contest, ids


def test_difference_is_the_mean_of_the_paired_differences(save):
    table = save(id=ids(4), before=[0.1, 0.2, 0.3, 0.4], after=[0.5, 0.2, 0.1, 0.8])

    comparison = compare(table, "before", "after")

    assert comparison.mean.before == pytest.approx(0.25)
    assert comparison.mean.after == pytest.approx(0.4)
    assert comparison.difference == pytest.approx(0.15)
    assert (comparison.num_wins, comparison.num_losses, comparison.num_ties) == (2, 1, 1)


def test_images_are_resampled_and_not_rows(save):
    table = contest(save, questions=8)

    by_image = compare(table, "before", "after")
    by_row = compare(table, "before", "after", cluster="id")

    assert (by_image.mean.num_rows, by_image.mean.num_clusters) == (480, 60)
    assert by_image.mean.standard_error > 2 * by_row.mean.standard_error
    assert by_image.interval[0] < 0.2 < by_image.interval[1]
    assert by_image.mean.verdict == "better"


def test_rows_with_equal_bytes_are_one_image_even_under_two_paths(save):
    sha256 = ["a", "a", "b", None, None]
    table = save(id=ids(5), path=list("vwxyz"), sha256=sha256, before=[0.0] * 5, after=[1.0, 2.0, 3.0, 4.0, 5.0])

    assert compare(table, "before", "after").mean.num_clusters == 4


def test_rows_without_a_cluster_value_stand_alone(save):
    table = save(id=ids(4), photo=["a", "a", None, None], before=[0.0] * 4, after=[1.0, 2.0, 3.0, 4.0])

    assert compare(table, "before", "after", cluster="photo").mean.num_clusters == 3


def test_one_image_gets_no_interval_and_says_so(save):
    table = save(id=ids(3), path=["a"] * 3, before=[0.0] * 3, after=[1.0, 2.0, 3.0])

    comparison = compare(table, "before", "after")

    assert comparison.interval is None
    assert comparison.mean.verdict == "too few to say"
    assert "no interval can be given" in str(comparison)


def test_few_images_are_called_a_rough_guide(save):
    comparison = compare(contest(save, num_images=10), "before", "after")

    assert comparison.interval is not None
    assert any("rough guide" in note for note in comparison.notes)


def test_the_same_seed_gives_the_same_comparison(save):
    table = contest(save)

    assert compare(table, "before", "after", seed=3) == compare(table, "before", "after", seed=3)
    assert compare(table, "before", "after", seed=3).interval != compare(table, "before", "after", seed=4).interval


def test_rows_known_on_one_side_only_are_left_out_counted_and_said(save):
    table = save(id=ids(6), before=[0.1, None, 0.3, None, float("nan"), 0.5], after=[0.2, 0.9, None, None, 0.4, 0.7])

    comparison = compare(table, "before", "after")
    coverage = comparison.coverage

    assert (coverage.num_rows, coverage.num_both) == (6, 2)
    assert (coverage.num_only_before, coverage.num_only_after, coverage.num_neither) == (1, 2, 1)
    assert comparison.difference == pytest.approx(0.15)
    assert "NOT compared: 1 only before, 2 only after; 1 more have no value on either side" in str(comparison)


def test_nothing_in_common_is_an_error_that_counts_what_there_is(save):
    table = save(id=ids(2), before=[0.1, 0.2], after=pa.nulls(2, pa.float64()))

    with pytest.raises(UsageError, match="2 have only 'before'"):
        compare(table, "before", "after")


def test_tables_without_a_common_key_are_said_to_have_none(save):
    other = save("other", id=["a", "b"], before=[0.1, 0.2])
    table = save(id=["c", "d"], before=[0.1, 0.2])

    with pytest.raises(UsageError, match="none of them has a row with the same 'id'") as caught:
        compare(table, "before", "before", table_before=other)
    assert "on=" in caught.value.hint


@pytest.mark.parametrize("size", [1e-200, 1e-112, 1e-12, 1.0, 1e290])
@pytest.mark.parametrize("anytime", [False, True])
def test_values_of_any_size_give_the_figures_of_others_times_that_size(save, size, anytime):
    table, one = contest(save), contest(save)
    before_N, after_N = (np.array(table.to_table([name]).column(name)) for name in ("before", "after"))
    sized = save("sized", id=ids(len(before_N)), before=before_N * size, after=after_N * size)

    found, plain = (compare(t, "before", "after", cluster="id", anytime=anytime) for t in (sized, one))

    assert (found.num_wins, found.num_losses, found.num_ties) == (plain.num_wins, plain.num_losses, plain.num_ties)
    for word in ("difference", "low", "high", "standard_error"):
        assert getattr(found.mean, word) / size == pytest.approx(getattr(plain.mean, word), rel=1e-3)
    assert found.mean.verdict == plain.mean.verdict
    assert max(map(len, str(found).splitlines())) < 120
    assert "+0.000000000" not in str(found)


def test_a_mark_for_no_value_that_cannot_be_added_up_is_refused(save):
    table = save(id=ids(3), before=[0.1, 0.2, 1.7e308], after=[0.1, 0.2, -1.7e308])

    with pytest.raises(SchemaError, match=r"'before' holds 1.7e\+308"):
        compare(table, "before", "after")
    assert compare(table, "before", "after", where="before < 1e300").mean.num_rows == 2


def test_one_row_is_one_row(save):
    found = compare(save(id=["a"], before=[0.1], after=[0.2]), "before", "after")

    assert found.notes[0] == "one row alone: no interval can be given"


def test_where_selects_the_rows(save):
    table = save(id=ids(4), split=["train", "test"] * 2, before=[0.0] * 4, after=[1.0, 2.0, 3.0, 4.0])

    comparison = compare(table, "before", "after", where="split = 'test'")

    assert comparison.mean.num_rows == 2
    assert comparison.difference == pytest.approx(3.0)


def test_score_lists_of_any_length_give_accuracy_and_its_two_by_two_table(save):
    answers = compare(answered(save), "scores", "tuned").accuracy

    assert (answers.num_both_right, answers.num_mended, answers.num_broken, answers.num_both_wrong) == (1, 3, 0, 0)
    assert (answers.change.before, answers.change.after) == (0.25, 1.0)
    assert answers.p_value == pytest.approx(0.25)
    assert answers.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 4) / 4)


def test_a_right_choice_that_shares_the_top_score_is_wrong_and_said(save):
    comparison = compare(answered(save), "scores", "tuned")

    assert comparison.accuracy.num_tied == 1
    assert any("shares the top score" in note for note in comparison.notes)


def test_list_columns_are_compared_at_the_right_choice(save):
    comparison = compare(answered(save), "scores", "tuned")

    assert comparison.mean.before == pytest.approx((0.7 + 0.2 + 0.1 + 0.25) / 4)
    assert comparison.mean.after == pytest.approx((0.8 + 0.6 + 0.8 + 0.7) / 4)
    assert comparison.coverage.num_only_after == 1


def test_ragged_answers_and_ties_agree_with_a_plain_loop_also_in_slices_and_with_scores_that_are_no_numbers():
    rng = np.random.default_rng(0)
    some = [0.0, 1.0, 2.0, 3.0, float("nan")]
    lists = [None if rng.random() < 0.1 else rng.choice(some, rng.integers(0, 6)).tolist() for _ in range(500)]
    labels = [None if rng.random() < 0.1 else int(rng.integers(0, 6)) for _ in range(500)]

    def plain(scores, label):
        if scores is None or label is None or label >= len(scores) or any(np.isnan(scores)):
            return None, False
        others = scores[:label] + scores[label + 1 :]
        return float(all(scores[label] > other for other in others)), scores[label] == max(others, default=-1.0)

    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64())):
        for start, count in ((0, 500), (123, 200), (7, 0)):
            judged = judge(pa.array(lists, kind).slice(start, count), pa.array(labels).slice(start, count))
            expected = [plain(s, i) for s, i in zip(lists, labels, strict=True)][start : start + count]
            right = [None if np.isnan(x) else x for x in judged.right_N]
            assert list(zip(right, judged.tied_N.tolist(), strict=True)) == expected


def test_lineage_says_which_scores_a_column_was_picked_from(save, tmp_path):
    scores, tuned = [[0.7, 0.3], [0.2, 0.8]] * 20, [[0.9, 0.1], [0.6, 0.4]] * 20
    first, second = (
        Lineage("ChoiceScores", "1", {"scale": 100}, model=letter * 64, inputs=("image", "choices")) for letter in "ab"
    )

    def picked(column, origin):
        return Lineage("Pick", "1", inputs=(column, "right"), upstream={column: origin.fingerprint})

    made = {
        "id": (ids(40), None),
        "zero_shot": (scores, first),
        "tuned": (tuned, second),
        "right": ([0] * 40, None),
        "p0": ([s[0] for s in scores], picked("zero_shot", first)),
        "p1": ([s[0] for s in tuned], picked("tuned", second)),
    }
    fields = [
        pa.field(name, pa.array(values).type, metadata={METADATA_KEY: lineage.to_json()} if lineage else None)
        for name, (values, lineage) in made.items()
    ]
    arrays = [pa.array(values) for values, _ in made.values()]
    lance.write_dataset(pa.table(arrays, schema=pa.schema(fields)), str(tmp_path / "l.lance"))

    comparison = compare(open_table(tmp_path / "l.lance"), "p0", "p1")

    assert (comparison.before.scores, comparison.after.scores) == ("zero_shot", "tuned")
    assert (comparison.before.model, comparison.after.model) == ("a" * 64, "b" * 64)
    assert (comparison.accuracy.change.before, comparison.accuracy.change.after) == (0.5, 1.0)
    assert "scale=100) with bbbbbbbbbbbb" in str(comparison)


def test_two_tables_pair_by_key_in_any_order_and_say_what_has_no_partner(save):
    old = save("old", id=["c", "a", "x", "b"], score=[0.3, 0.1, 0.9, 0.2])
    new = save("new", id=["a", "b", "c", "d"], score=[0.2, 0.4, 0.6, 0.8])

    comparison = compare(new, "score", "score", table_before=old)

    assert comparison.difference == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert comparison.coverage.num_without_partner == 1
    assert comparison.coverage.num_not_in_table == 1
    assert not comparison.coverage.complete
    assert "1 only in the other table" in str(comparison)
    assert "old.lance" in str(comparison)


def test_two_versions_of_a_column_are_compared_under_one_name(save):
    first = save(id=ids(3), score=[0.1, 0.2, 0.3])
    second = save(id=ids(3), score=[0.3, 0.4, 0.5])

    comparison = compare(second, "score", "score", table_before=open_table(first.uri, version=first.version))

    assert comparison.difference == pytest.approx(0.2)
    assert (comparison.before.version, comparison.after.version) == (first.version, second.version)


def test_score_lists_of_another_table_are_judged_by_this_tables_labels(save):
    old = save("old", id=["b", "a"], scores=[[0.9, 0.1], [0.8, 0.2]])
    new = save("new", id=["a", "b"], scores=[[0.3, 0.7], [0.9, 0.1]], label_ind=[1, 0])

    answers = compare(new, "scores", "scores", table_before=old).accuracy

    assert (answers.num_both_right, answers.num_mended) == (1, 1)


def test_a_key_that_stands_twice_in_the_other_table_is_refused_with_examples(save):
    old = save("old", id=["a", "b", "c"], photo=["p", "p", "q"], score=[0.1, 0.2, 0.3])
    new = save("new", id=["a"], photo=["p"], score=[0.2])

    with pytest.raises(UsageError, match=r"more than once in .*'p'"):
        compare(new, "score", "score", table_before=old, on="photo")


def test_groups_have_their_own_figures_and_small_ones_get_no_verdict(save):
    kinds = (["animals"] * 3 + ["food"] * 3) * 40 + ["flags"] * 6
    comparison = compare(contest(save, num_images=82, category=kinds), "before", "after", by="category")
    groups = {group.value: group for group in comparison.groups}

    assert {value: group.mean.num_rows for value, group in groups.items()} == {"animals": 120, "food": 120, "flags": 6}
    assert groups["animals"].mean.verdict == "better"
    assert groups["animals"].p_value < 0.05
    assert groups["flags"].mean.verdict == "too few to say"
    assert groups["flags"].mean.low is None
    assert groups["flags"].p_value is None


def test_rows_without_a_group_are_a_group(save):
    table = save(id=ids(3), kind=["x", None, None], before=[0.0] * 3, after=[1.0] * 3)

    comparison = compare(table, "before", "after", by="kind")

    assert [(group.value, group.mean.num_rows) for group in comparison.groups] == [(None, 2), ("x", 1)]
    assert "(none)" in str(comparison)


def test_among_many_groups_without_a_change_hardly_any_is_called_better_or_worse(save):
    rng = np.random.default_rng(0)
    count = 40 * 50
    moved_N = rng.normal(size=count)
    table = save(id=ids(count), kind=[f"k{i % 50}" for i in range(count)], before=[0.0] * count, after=moved_N.tolist())

    groups = compare(table, "before", "after", by="kind").groups

    plain = [group for group in groups if group.mean.low > 0 or group.mean.high < 0]
    assert len(plain) >= 1, "the seed shows at least one false alarm without the adjustment"
    assert all(group.mean.verdict == "unclear" for group in groups)


def test_worst_and_best_rows_come_back_through_a_where_clause(save):
    names = ["it's", "b", "c", "d"]
    table = save(
        id=names, caption=["one", "two", "three", "four"], before=[0.9, 0.5, 0.5, 0.1], after=[0.1, 0.4, 0.5, 0.9]
    )

    comparison = compare(table, "before", "after", num_rows_shown=2)

    assert [row.key for row in comparison.worst] == ["it's", "b"]
    assert [row.key for row in comparison.best] == ["d"]
    assert comparison.worst[0].shown == {"caption": "one"}
    assert table.to_table(["id"], where=comparison.worst_where()).column("id").to_pylist() == ["it's", "b"]


def test_rows_of_a_table_without_a_key_come_back_by_offset(tmp_path):
    uri = str(tmp_path / "plain.lance")
    lance.write_dataset(pa.table({"b": [0.5, 0.5, 0.5], "a": [0.5, 0.1, 0.9]}), uri)
    table = open_table(uri)

    comparison = compare(table, "b", "a")

    assert table.to_table(["a"], where=comparison.worst_where()).column("a").to_pylist() == [0.1]


def test_rows_that_were_trained_on_are_counted_and_shouted(save):
    table = contest(save, num_images=4, questions=2, split=["train", "test"] + ["train"] * 2 + ["test"] * 4)

    everything = compare(table, "before", "after")
    held_out = compare(table, "before", "after", where="split = 'test'")
    clean = compare(table, "before", "after", where="split = 'test'", trained_where="path = 'cartoons/1.jpg'")

    assert everything.trained.num_rows == 3
    assert "3 TRAINED ON" in str(everything)
    assert (held_out.trained.num_rows, held_out.trained.num_rows_of_seen_clusters) == (0, 1)
    assert any("share an image" in note for note in held_out.notes)
    assert (clean.trained.num_rows, clean.trained.num_rows_of_seen_clusters) == (0, 0)
    assert "none of them trained on" not in str(clean)
    assert "no record says which rows the models were trained on" in str(clean)


def test_without_a_split_it_says_that_training_is_not_known(save):
    comparison = compare(contest(save), "before", "after")

    assert comparison.trained is None
    assert "which rows were trained on is not known" in str(comparison)


def test_wrong_columns_are_named_before_anything_is_read(save):
    table = save(id=ids(2), before=[0.1, 0.2], caption=["a", "b"], scores=[[0.1], [0.2]])

    with pytest.raises(SchemaError, match=r"befor.*did you mean before"):
        compare(table, "befor", "before")
    with pytest.raises(SchemaError, match="'caption' holds string; expected numbers"):
        compare(table, "before", "caption")
    with pytest.raises(SchemaError, match="beside a column with the right index"):
        compare(table, "before", "scores")
    with pytest.raises(UsageError, match="compared with itself"):
        compare(table, "before", "before")


def test_truth_values_and_whole_numbers_are_numbers(save):
    table = save(id=ids(4), before=[False, False, True, True], after=[1, 1, 1, 0])

    assert compare(table, "before", "after").difference == pytest.approx(0.25)


@pytest.mark.parametrize("keys", [["a", None], [0.5, None], [0.5, float("nan")]])
def test_rows_without_a_key_pair_with_none(save, keys):
    old = save("old", question=keys, before=[0.0, 5.0])
    new = save("new", question=keys, after=[1.0, 9.0])

    comparison = compare(new, "before", "after", table_before=old, on="question")

    assert comparison.mean.num_rows == 1
    assert (comparison.coverage.num_without_partner, comparison.coverage.num_not_in_table) == (1, 1)


def test_clusters_minus_one_and_minus_two_are_two(save):
    table = save(id=ids(3), photo=[-1, -2, 3], before=[0.0] * 3, after=[1.0, 2.0, 3.0])

    assert compare(table, "before", "after", cluster="photo").mean.num_clusters == 3


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_the_train_split_is_found_whatever_type_the_texts_are_held_in(save, kind):
    split = pa.array(["train", "train", "test"]).cast(kind)
    table = save(id=ids(3), split=split, before=[0.0] * 3, after=[1.0, 2.0, 3.0])

    assert compare(table, "before", "after").trained.num_rows == 2


def test_a_column_of_another_model_than_expected_is_refused(tmp_path):
    def made_by(name, model):
        lineage = Lineage(step="true-prob", step_version="1", model=model)
        return pa.field(name, pa.float64(), metadata={METADATA_KEY: lineage.to_json()})

    schema = pa.schema([key_field("id"), made_by("before", "model-a"), made_by("after", "model-b")])
    uri = str(tmp_path / "models.lance")
    lance.write_dataset(pa.table([ids(2), [0.0, 0.0], [1.0, 2.0]], schema=schema), uri)
    table = open_table(uri)

    assert compare(table, "before", "after", models=("model-a", "model-b")).mean.num_rows == 2
    with pytest.raises(LineageMismatchError, match=r"'before'.*model-a, expected model-c"):
        compare(table, "before", "after", models=("model-c", None))
    with pytest.raises(LineageMismatchError, match=r"'after'.*model-b, expected model-c"):
        compare(table, "before", "after", models=(None, "model-c"))


GROUP_COLUMNS = {
    "truth values": ([True, False, None, True, True, False], {"True": 3, "False": 2, None: 1}),
    "numbers with NaN": ([1.5, float("nan"), float("nan"), 2.0, None, 2.0], {"2.0": 2, "nan": 2, "1.5": 1, None: 1}),
    "dictionary": (pa.array([*list("abaab"), None]).dictionary_encode(), {"a": 3, "b": 2, None: 1}),
    "large texts": (pa.array([*list("abaab"), None], pa.large_string()), {"a": 3, "b": 2, None: 1}),
    "times": (
        pa.array([0, 0, 0, 1, 1, None], pa.timestamp("ns")),
        {"1970-01-01 00:00:00.000000000": 3, "1970-01-01 00:00:00.000000001": 2, None: 1},
    ),
    "days": (pa.array([0, 0, 0, 1, 1, None], pa.date32()), {"1970-01-01": 3, "1970-01-02": 2, None: 1}),
    "half numbers": (pa.array(np.array([1, 1, 1, 2, 2, 3], np.float16)), {"1.0": 3, "2.0": 2, "3.0": 1}),
}


@pytest.mark.parametrize("kind", sorted(GROUP_COLUMNS))
def test_any_type_of_one_value_a_row_makes_groups(save, kind):
    values, expected = GROUP_COLUMNS[kind]
    table = save(by=values, x=[1.0, 2, 3, 4, 5, 6], y=[2.0, 2, 3, 5, 5, 7])

    comparison = compare(table, "x", "y", by="by")

    assert {group.value: group.mean.num_rows for group in comparison.groups} == expected
    assert comparison.to_text()
    assert comparison.to_json()


def test_nan_of_two_batches_is_one_group():
    groups = GroupCodes()

    codes = [groups.encode(pa.array([1.0, float("nan")])).tolist() for _ in range(2)]

    assert codes == [[0, 1], [0, 1]]


@pytest.mark.parametrize("purpose", ["by", "cluster"])
@pytest.mark.parametrize("values", [[["a"], ["b"]], [{"a": 1}, {"a": 2}]])
def test_columns_of_many_values_a_row_are_refused_in_one_line(save, purpose, values):
    table = save(many=values, x=[1.0, 2.0], y=[2.0, 3.0])

    with pytest.raises(SchemaError, match=rf"{purpose}='many' holds .*; expected one text, number, date or truth"):
        compare(table, "x", "y", **{purpose: "many"})


CLUSTER_COLUMNS = {
    "dictionary": pa.array([*list("aabbc"), None, None]).dictionary_encode(),
    "large texts": pa.array([*list("aabbc"), None, None], pa.large_string()),
    "numbers": pa.array([1.5, 1.5, float("nan"), float("nan"), -0.5, None, None]),
    "truth values and days": pa.array([0, 0, 1, 1, 2, None, None], pa.date32()),
    "bytes": pa.array([b"", b"", b"\0", b"\0", b"\0\0", None, None]),
}


@pytest.mark.parametrize("kind", sorted(CLUSTER_COLUMNS))
def test_any_type_of_one_value_a_row_makes_clusters_and_a_null_is_its_own(save, kind):
    table = save(g=CLUSTER_COLUMNS[kind], x=[0.0] * 7, y=[1.0, 2, 3, 4, 5, 6, 7])

    assert compare(table, "x", "y", cluster="g").mean.num_clusters == 5


def test_paths_and_digests_of_different_text_types_name_clusters_together(save):
    sha256 = pa.array(["s", "s", None]).dictionary_encode()
    table = save(sha256=sha256, path=pa.array(["a", "b", "c"], pa.large_string()), x=[0.0] * 3, y=[1.0, 2.0, 3.0])

    assert compare(table, "x", "y").mean.num_clusters == 2


def test_hashes_are_equal_for_equal_texts_in_any_slice_and_type_and_for_no_others():
    texts = [" " * (n % 40) + str(n) for n in range(5_000)] + ["", "-1", "-2", "x" * 1024, "x" * 1025, "x" * 1026]
    values = pa.array(texts)

    found = hashes(values)

    assert len(np.unique(found)) == len(set(texts))
    assert (hashes(values.slice(7, 4_000)) == found[7:4_007]).all()
    assert (hashes(values.cast(pa.large_string())) == found).all()
    assert (hashes(values.dictionary_encode()) == found).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.int64())),
        (pa.array([1, 2], pa.int64()), pa.array([1, 2], pa.uint64())),
        (pa.array(["1", "2"]), pa.array(["1", "2"], pa.large_string())),
        (pa.array(["1", "2"]), pa.array(["1", "2"]).dictionary_encode()),
        (pa.array(["1", "2"]).dictionary_encode(), pa.array(["1", "2"]).dictionary_encode()),
    ],
)
def test_keys_pair_by_value_whatever_type_holds_them(save, one, other):
    table, before = save("a", k=one, v=[1.0, 2.0]), save("b", k=other, v=[0.0, 0.0])

    assert compare(table, "v", "v", table_before=before, on="k").difference == pytest.approx(1.5)


@pytest.mark.parametrize("values", [["1", "2"], [[1], [2]], [1.0, 2.0]])
def test_keys_of_two_kinds_are_refused_with_both_types(save, values):
    table, before = save("a", k=[1, 2], v=[1.0, 2.0]), save("b", k=values, v=[0.0, 0.0])

    with pytest.raises(SchemaError, match=r"'k' holds int64 in .* and .* in .*; expected texts on both sides"):
        compare(table, "v", "v", table_before=before, on="k")


def test_moved_rows_paired_by_times_come_back_by_offset(save):
    times = pa.array([1, 2], pa.timestamp("us"))
    table, before = save("a", k=times, v=[1.0, 2.0]), save("b", k=times, v=[5.0, 0.0])

    comparison = compare(table, "v", "v", table_before=before, on="k")

    assert [row.where for row in (*comparison.worst, *comparison.best)] == ["_rowoffset = 0", "_rowoffset = 1"]
    assert table.count_rows(comparison.worst_where()) == 1


def test_where_selects_the_same_rows_on_both_sides_of_two_tables(save):
    before = save("before", id=["d", "c", "b", "a"], v=[40.0, 30.0, 20.0, 10.0])
    table = save("after", id=list("abcd"), v=[11.0, 22.0, 33.0, 44.0], number=[0, 1, 0, 1])

    comparison = compare(table, "v", "v", table_before=before, where="number = 1")

    assert (comparison.mean.before, comparison.mean.after) == (30.0, 33.0)
    assert comparison.coverage.num_not_in_table == 0
