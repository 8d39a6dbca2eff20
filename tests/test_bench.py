"""What limits the rate at which a table feeds a model: measured, told, and with what to type."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.encoder import Encoder, export
from clipdata.encoder.preparation import Preparation
from clipdata.errors import ClipdataError, SchemaError, UsageError
from clipdata.images import decode
from clipdata.lance_io.table import Table, open_table
from clipdata.rates.decoding import error_of
from clipdata.rates.records import Rate
from clipdata.rates.verdict import Way, verdict_of
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import encoded, write_pictures
from tests.telling import Told
from tests.tiny_models import tiny_encoder

SMALL = Preparation((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NUM_ROWS = 20


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Pictures, two of them bad, with captions, vectors and a column that is not filled."""
    pictures = [encoded(number, height=60, width=90) for number in range(NUM_ROWS - 2)] + [b"no picture", None]
    return written(
        tmp_path_factory.mktemp("bench") / "t.lance",
        image=pa.array(pictures, pa.large_binary()),
        caption=pa.array([f"picture {number}" for number in range(NUM_ROWS)]),
        vector=pa.array(np.ones((NUM_ROWS, 4), np.float32).tolist(), pa.list_(pa.float32(), 4)),
        split=pa.array(["train"] * 8 + ["test"] * (NUM_ROWS - 8)),
        empty=pa.array([None] * NUM_ROWS, pa.int64()),
    )


def written(path: Path, **columns: pa.Array) -> Table:
    lance.write_dataset(pa.table(columns), path)
    return open_table(path)


def quick(table: Table, encoder: Encoder | None = None, **options) -> cd.Bench:
    return cd.bench(table, encoder, **{"seconds": 0.3, "batch_size": 8, **options})


def test_every_part_of_the_way_to_a_model_is_measured(table, encoder):
    told = Told()

    found = quick(table, encoder, train=True, progress=told)

    rates = {rate.name: rate for rate in found.rates}
    assert next(iter(rates)) == "read"
    assert {"decode, exact", "decode, fast", "stream", "model, forward", "model, with backward"} <= set(rates)
    assert all(rate.rows_s > 0 and rate.num_rows > 0 and rate.seconds > 0 for rate in found.rates)
    assert rates["read"].bytes_s / rates["read"].rows_s == pytest.approx(found.row_bytes, rel=0.5)
    assert "requests for 1,024 rows" in rates["read"].note
    assert "exact" not in {error.fidelity for error in found.errors} >= {"fast"}
    assert found.refused == {"not_an_image": 1}
    assert (found.num_rows, found.batch_size, found.model) == (NUM_ROWS, 8, encoder.name)
    assert found.verdict.limit in ("model", "decode", "read", "workers")
    assert told.steps == 3 * len(found.rates)
    assert found.verdict.text in str(found)
    assert all(len(line) <= 80 for line in str(found).splitlines()[1 : 2 + len(found.rates)])
    assert "fast pixels are off open_clip's own by" in str(found)


def test_a_model_is_left_as_it_was(table, encoder):
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}

    quick(table, encoder, train=True)

    assert not encoder.model.training
    assert all(parameter.grad is None for parameter in encoder.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.model.state_dict().items())


@pytest.mark.parametrize("column", ["vector", "caption", "split"])
def test_what_is_no_picture_is_read_and_streamed_alone(table, encoder, column):
    found = quick(table, encoder, column=column)

    assert [rate.part for rate in found.rates] == ["read", "stream"]
    assert (found.column, found.errors, found.verdict.limit) == (column, [], "read")


def test_a_table_without_pictures_is_measured_by_its_vectors_or_else_its_texts(tmp_path):
    texts = pa.array(["a", "b", "c"])
    vectors = pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2))

    assert quick(written(tmp_path / "v.lance", text=texts, vector=vectors)).column == "vector"
    found = quick(written(tmp_path / "t.lance", number=pa.array([1, 2, 3]), text=texts), batch_size=64)
    assert (found.column, found.batch_size, found.num_rows) == ("text", 3, 3)


def test_pictures_behind_references_are_read_from_where_they_are(tmp_path):
    paths = write_pictures(tmp_path / "in", 5)
    uris = pa.array([str(path) for path in paths])
    table = written(tmp_path / "t.lance", image=pa.array([None] * 5, pa.large_binary()), uri=uris)
    paths[0].unlink()

    found = quick(table)

    assert found.row_bytes > 500
    assert {rate.part for rate in found.rates} == {"read", "decode", "stream"}


def test_a_column_of_prepared_pixels_is_measured_beside_the_pictures(tmp_path, encoder):
    images = pa.array([encoded(number) for number in range(6)], pa.large_binary())
    table = written(tmp_path / "t.lance", image=images, label=pa.array([0] * 3 + [1] * 3))
    cd.map_column(table, cd.steps.PreparedPixels(encoder), "prepared")

    found = quick(table, encoder, mixing="label", fidelity="exact", batch_size=3)

    rates = {rate.name: rate for rate in found.rates}
    assert rates["prepared, prepared"].rows_s > 0
    assert rates["stream"].bytes_s / rates["stream"].rows_s == pytest.approx(
        sum(map(len, images.to_pylist())) / 6, rel=0.3
    )
    assert rates["prepared, prepared"].bytes_s / rates["prepared, prepared"].rows_s == pytest.approx(
        3 * 32 * 32, rel=0.3
    )
    assert (found.mixing.num_values, found.mixing.batch_rows) == (2, 3)
    assert "values of 'label'" in str(found)
    assert found.to_dict()["mixing"]["share"] == found.mixing.share


def test_a_table_of_bad_pictures_alone_says_so(tmp_path):
    found = quick(written(tmp_path / "t.lance", image=pa.array([b"no picture", b"none"], pa.large_binary())))

    assert found.refused == {"not_an_image": 2}
    assert found.errors == []
    assert "these cannot be used: 2 not_an_image" in str(found)


def test_the_error_of_a_fidelity_is_that_of_its_levels():
    sample = [pa.py_buffer(encoded(number, height=75, width=100)) for number in range(3)] + [pa.py_buffer(b"bad")]
    fast = SMALL.with_fidelity("fast")

    found = error_of(fast, sample)

    off = [np.abs(fast(decode(one)).numpy().astype(int) - SMALL(decode(one)).numpy()) for one in map(bytes, sample[:3])]
    assert found.mean == pytest.approx(np.mean(off))
    assert (found.p99, found.largest, found.num_pictures) == (np.quantile(off, 0.99), np.max(off), 3)
    assert error_of(SMALL, sample).mean == 0


def rate(part: str, rows_s: float) -> Rate:
    return Rate(part, part, rows_s, 100, 1.0, rows_s * 50_000)


def way(stream: float, read: float = 5000, **more) -> Way:
    return Way(table="t.lance", read=rate("read", read), stream=rate("stream", stream), **more)


@pytest.mark.parametrize(
    ("given", "limit", "text", "command"),
    [
        (way(412, decode=450, eats=300), "model", "it eats 300 of the 412 rows/s", None),
        (
            way(412, decode=450, eats=2900, prepares_to=7800, model="starter"),
            "decode",
            "412 of 2,900 rows/s that the model could eat → prepared pixels make it about 7×",
            "clipdata map t.lance prepared-pixels prepared --model starter",
        ),
        (way(412, decode=450, quicker=("scaled", 1.6)), "decode", "--set fidelity=scaled decodes 1.6×", None),
        (way(412, decode=450, quicker=("scaled", 1.1)), "decode", "the decoder limits: 412 rows/s", None),
        (
            way(200, decode=1600, num_cores=4),
            "workers",
            "1,600 rows/s are in reach of disk and decoder → --set num_workers=4",
            "clipdata bench t.lance --workers 4",
        ),
        (way(200, decode=1600, num_cores=4, num_workers=4), "workers", "in reach of disk and decoder", None),
        (way(380, read=400, decode=1600), "read", "the disk limits: 380 rows/s", None),
        (
            way(380, read=400, decode=1600, is_remote=True),
            "read",
            "the bucket limits",
            "clipdata bench t.lance -O cache_folder=FOLDER",
        ),
        (way(9000), "read", "the disk limits: 9,000 rows/s", None),
        (
            way(400, decode=450, prepared=rate("stream", 6000), eats=9000),
            "read",
            "reading the prepared column limits: 6,000 of 9,000",
            None,
        ),
    ],
)
def test_the_slowest_part_is_named_with_what_to_type(given, limit, text, command):
    found = verdict_of(given)

    assert found.limit == limit
    assert text in found.text
    assert found.command == command


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"column": "nothing"}, SchemaError, "nothing"),
        ({"column": "empty"}, SchemaError, "hold no 'empty'"),
        ({"where": "split = 'none'"}, UsageError, "no row where split = 'none'"),
        ({"where": "nonsense ="}, ClipdataError, ""),
        ({"batch_size": 0}, UsageError, "batch_size is 0"),
        ({"num_workers": -1}, UsageError, "num_workers is -1"),
        ({"seconds": 0}, UsageError, "seconds is 0"),
        ({"fidelity": "blurred"}, UsageError, "fidelity is 'blurred'"),
        ({"train": True}, UsageError, "none is named"),
        ({"mixing": "nothing"}, SchemaError, "nothing"),
    ],
)
def test_wrong_arguments_are_refused(table, options, error, said):
    with pytest.raises(error) as caught:
        quick(table, **options)

    assert said in str(caught.value)


def test_the_command_prints_a_table_or_one_object(table, encoder, tmp_path, capsys):
    model = f"local-dir:{export(encoder.model, encoder, tmp_path / 'model')}"
    words = ["bench", table.uri, "--seconds", "0.3", "--batch-size", "4", "--where", "split = 'train'", "-m", model]

    assert main(words) == 0
    shown = capsys.readouterr()
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)

    assert "decode, fast" in shown.out
    assert "…" not in shown.out
    assert all(len(line) <= 80 for line in shown.out.split("\n\n")[1].splitlines())
    check_schema(printed, schema_of("bench", next(one for one in VERBS if one.words == "bench").found))
    assert printed["num_rows"] == 8


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.lance"], 3, "nowhere.lance"),
        (["{table}", "--train"], 2, "none is named"),
        (["{table}", "--workers", "-1"], 2, "--workers"),
        (["{table}", "--fidelity", "blurred"], 2, "blurred"),
        (["{table}", "--seconds", "-1"], 2, "--seconds"),
        (["{table}", "--column", "x"], 2, "has no column 'x'"),
    ],
)
def test_wrong_words_end_with_their_exit_code(table, capsys, words, code, said):
    assert main(["bench", *(word.format(table=table.uri) for word in words)]) == code
    assert said in capsys.readouterr().err
