"""Lists that went through CSV and came back as texts."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipdata.errors import SchemaError
from clipdata.step_protocol import TEXTS, BaseStep, check_types
from ingest.metadata.listed_texts import list_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['a dog', 'a cat']", ["a dog", "a cat"]),
        ('["a dog", "a cat"]', ["a dog", "a cat"]),
        ("['a dog' 'a cat']", ["a dog", "a cat"]),
        ("['it''s' \"a dog's\"\n 'x']", None),
        ("['a dog'\n \"a dog's\"]", ["a dog", "a dog's"]),
        ("('a', 'b')", ["a", "b"]),
        (" [] ", []),
        ("[1, 2.5]", ["1", "2.5"]),
        ("[1 2 3]", ["1", "2", "3"]),
        ("['one']", ["one"]),
        ("['a', None]", ["a"]),
        ('[null, "a"]', ["a"]),
        ("[['a'], ['b']]", None),
        ("a dog", None),
        ("[a dog, a cat]", None),
        ("[__import__('os').getcwd()]", None),
        ("[" * 5000 + "]" * 5000, None),
        ('["\\ud800"]', None),
        ("{'a': 1}", None),
        ("", None),
    ],
)
def test_what_writes_out_a_list_is_read_as_one_and_nothing_else_is(text: str, expected: list[str] | None) -> None:
    assert list_in(text) == expected


@given(st.lists(st.text(), min_size=1))
def test_what_python_json_and_pandas_write_comes_back(values: list[str]) -> None:
    assert list_in(str(values)) == values
    assert list_in(json.dumps(values)) == values


@given(st.lists(st.text(alphabet="ab c'", min_size=1), min_size=2, max_size=4))
def test_what_numpy_writes_comes_back(values: list[str]) -> None:
    assert list_in(str(np.array(values, object))) == values


def test_a_step_that_wants_lists_of_texts_names_the_option_that_reads_them() -> None:
    class Wanting(BaseStep):
        name = "Wanting"
        takes: ClassVar = {"choices": TEXTS}

    with pytest.raises(SchemaError, match=r"expected lists of texts[\s\S]*hint: .*--lists choices reads"):
        check_types(Wanting(), pa.schema([("choices", pa.string())]))
