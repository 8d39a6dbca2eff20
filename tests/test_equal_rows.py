"""Equal rows told apart by numbers."""

from __future__ import annotations

from collections import Counter as Tally

from hypothesis import given
from hypothesis import strategies as st

from ingest.metadata.equal_rows import EqualRows

# Zero bytes at the end of a digest are part of it.
DIGESTS = [f"{number:032x}" for number in range(4)] + ["ab" * 15 + "00", "ab" * 14 + "0000", "00" * 16]


@given(st.lists(st.lists(st.sampled_from(DIGESTS), max_size=12), max_size=6))
def test_the_second_of_two_equal_rows_bears_a_number_across_batches(batches: list[list[str]]) -> None:
    rows, seen = EqualRows(), Tally[str]()
    for batch in batches:
        expected = []
        for digest in batch:
            expected.append(digest if not seen[digest] else f"{digest}-{seen[digest]}")
            seen[digest] += 1
        assert rows.numbered(batch) == expected
