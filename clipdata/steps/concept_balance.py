"""ConceptBalance: rows kept so that frequent concepts do not crowd out rare ones.

It reads the captions of a table beforehand to count concepts, 16 bytes of memory for each, and keeps none.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.schema import columns_listed
from clipdata.step_protocol import CAPTIONS, BaseStep, check_types, require_names
from clipdata.steps.captions import SCAN_ROWS, captions_of
from clipdata.steps.concepts import listed_concepts
from clipdata.storage import redact

_SHOWN = 5
METACLIP_CAP = 20_000


class ConceptBalance(BaseStep):
    """Concepts that a row's captions name, the probability that the row is kept, and whether it is, as one column.

    A concept that c rows name is kept in each with probability cap / c, at most 1; a row is kept if one of its concepts
    is, and so with probability 1 - Π(1 - cap / c). A row whose captions name none is not. The draw is a hash of the
    seed and the row, and so does not depend on the order of rows. A condition names a field with a dot: "balance.kept".
    Concepts are counted over the rows there are when the step is made; rows that have a value keep it.

    Args:
        table: all captions are read once; or the location of one.
        concepts: list of words and phrases; or a file with one a line.
        text: column of captions, one or a list a row.
        cap: rows that a concept is cut to, about.
        row: column that tells rows apart; by default the table's key, or `sha256`.
        seed: of the draw.

    Raises:
        UsageError: there is no concept, the cap or the seed is no whole number, or nothing tells rows apart.
        NotFoundError: there is no such file.
        SchemaError: the table lacks a column, or it holds no captions.

    Source: MetaCLIP (arXiv 2309.16671, section 3 and algorithm 1), whose cap for 400 million pairs is 20,000.
    """

    name = "ConceptBalance"
    version = "1"
    returns = pa.struct(
        [
            ("concepts", pa.int32()),
            ("rarest", pa.string()),
            ("probability", pa.float32()),
            ("kept", pa.bool_()),
        ]
    )

    def __init__(
        self,
        table: AnyTable,
        concepts: str | os.PathLike[str] | Sequence[str],
        text: str = "caption",
        *,
        cap: int = METACLIP_CAP,
        row: str | None = None,
        seed: int = 0,
    ) -> None:
        require_names(self.name, text=text, row=row)
        check_count(cap, f"{self.name}: cap", least=1)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"{self.name}: seed is {seed!r:.80}; expected a whole number")
        self.cap, self.seed = cap, seed
        self._concepts, told = listed_concepts(concepts, asker=self.name)
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        self.reads: tuple[str, ...] = (text, row or _row_column(newest))
        self.takes = {text: CAPTIONS}
        self.parameters = {"concepts": told, "cap": cap, "seed": seed}
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        self.num_kept = 0
        self.counts_C = np.zeros(len(self._concepts), np.int64)
        for batch in newest.scan([text], batch_rows=SCAN_ROWS):
            named = [place for own in self._named(batch) for place in own]
            self.counts_C += np.bincount(np.array(named, np.int64), minlength=len(self._concepts))
        self._counts: list[int] = self.counts_C.tolist()
        # Probability that a concept leaves a row out; 0 for one that only a row names that came since.
        self._left_out: list[float] = (1 - cap / np.maximum(self.counts_C, cap)).tolist()

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """What each row names, and whether it is kept: struct [B]."""
        captions = [captions_of(value) for value in batch.column(0).to_pylist()]
        rows = zip(captions, self._named(batch), batch.column(1).to_pylist(), strict=True)
        found = [self._judged(texts, named, row) if texts else None for texts, named, row in rows]
        self.num_kept += sum(one is not None and bool(one["kept"]) for one in found)
        return pa.array(found, self.returns), [None if one else "no caption" for one in found]

    def notes(self) -> dict[str, Any]:
        """How many concepts are named, how many above the cap, and which are the most frequent."""
        order_C = np.argsort(-self.counts_C, kind="stable")[:_SHOWN]
        most = [
            f"{self._concepts.phrases[place]} {self.counts_C[place]:,}" for place in order_C if self.counts_C[place]
        ]
        named = int((self.counts_C > 0).sum())
        above = int((self.counts_C > self.cap).sum())
        return {
            "concepts named": f"{named:,} of {len(self._concepts):,}, {above:,} in more than {self.cap:,} rows",
            "most frequent": ", ".join(most) or "none",
            "rows kept": self.num_kept,
        }

    def _named(self, batch: pa.RecordBatch) -> list[set[int]]:
        return [self._concepts.named_in(captions_of(value)) for value in batch.column(0).to_pylist()]

    def _judged(self, captions: Sequence[str], named: set[int], row: Any) -> dict[str, Any]:
        if not named:
            return {"concepts": 0, "rarest": None, "probability": 0.0, "kept": False}
        places = sorted(named)
        probability = 1 - math.prod(self._left_out[place] for place in places)
        drawn = hashlib.blake2b("\x00".join([str(self.seed), str(row), *captions]).encode("utf-8", "surrogatepass"))
        return {
            "concepts": len(places),
            "rarest": self._concepts.phrases[min(places, key=self._counts.__getitem__)],
            "probability": probability,
            "kept": int.from_bytes(drawn.digest()[:8], "little") / 2**64 < probability,
        }


def _row_column(table: Table) -> str:
    """The column that tells a table's rows apart.

    Raises:
        UsageError: nothing says which.
    """
    found = table.key or ("sha256" if "sha256" in table.schema.names else None)
    if found is None:
        raise UsageError(
            f"ConceptBalance: {redact(table.uri)} declares no key, and so nothing tells its rows apart",
            hint=f'row="…" names a column that does: {columns_listed(table.schema.names)}',
        )
    return found
