"""DrawnChoices: a row's own caption among captions of other pictures; DrawnPlace: where it stands among them.

What is drawn for a row depends on its key and the seed, and on the captions there are, but not on the order of rows.
This module must not know models.

Shapes: T captions that may be drawn, each a point on a ring of 64-bit numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_condition, check_count
from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.schema import key_of
from clipdata.step_protocol import CAPTIONS, TEXTS, BaseStep, check_types, require_names
from clipdata.steps.captions import alike, captions_of
from clipdata.trained_rows import picture_columns, picture_texts

SCAN_ROWS = 8192
_OTHERS_PICTURES = ("image_id", "filename", "file_name", "image_path")
_PROBES = 8


class DrawnChoices(BaseStep):
    """A row's own caption among captions of other pictures, a list for `ChoiceScores`; `DrawnPlace` finds it again.

    So a table of pictures and captions gives a question of as many choices as asked, of which chance is known. No
    caption of the same picture is drawn, none that equals one of these but for capitals and blanks, and none twice.
    A row's draw stays as it is when rows are added, unless one of the new captions falls to it: about one draw in T.

    Args:
        table: all of it is read once; or the location of one.
        text: column of captions, one or a list a row; of a list one is drawn too.
        num_choices: captions of each list, the own one among them.
        seed: another one draws anew.
        where: SQL condition of the rows whose captions are drawn, such as those held out: "split = 'test'".
        picture: column that is equal for equal pictures; by default what the table knows them by (`sha256`, or `etag`
            and `uri`), else `image_id`, `filename` and the like, else the key. A row without a value is a picture.
        key: column that a row is known by; by default the table's key, else the picture.

    Raises:
        UsageError: a number is none, a name of a column is no text, or nothing tells pictures apart.
        SchemaError: the table lacks a column, or the captions are none.

    Source: the draw is multi-probe consistent hashing (arXiv 1505.00062), so that captions are drawn about alike often.
    """

    name = "DrawnChoices"
    version = "1"
    returns = pa.list_(pa.string())

    def __init__(
        self,
        table: AnyTable,
        text: str = "caption",
        *,
        num_choices: int = 5,
        seed: int = 0,
        where: str | None = None,
        picture: str | None = None,
        key: str | None = None,
    ) -> None:
        check_count(num_choices, "DrawnChoices: num_choices", least=2)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"DrawnChoices: seed is {seed!r:.80}; expected a whole number")
        check_condition(where)
        require_names(self.name, text=text, picture=picture, key=key)
        newest = as_table(table).latest()
        newest.require([name for name in (text, picture, key) if name], verb="map DrawnChoices")
        self.tables = (newest.uri,)
        self.text, self.num_choices, self.seed = text, num_choices, seed
        pictures = _pictures(newest, picture)
        named = key or newest.key
        self._key = pictures if named is None else (named,)
        # Not the pictures: a row waits for what it reads, and of a picture that stands elsewhere nothing may be known.
        self.reads: tuple[str, ...] = tuple(dict.fromkeys((text, *self._key)))
        self.takes = {text: CAPTIONS}
        self.parameters = {"num_choices": num_choices, "seed": seed, "picture": list(pictures)}
        self.parameters |= {"where": where} if where else {}
        check_types(self, newest.schema)
        self._read(newest, pictures, where)

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:
        """As of every step; of the pictures the lineage holds what was found, and of a key nothing that is usual."""
        pictures, text, rest = tuple(lineage.parameters["picture"]), lineage.inputs[0], lineage.inputs[1:]
        usual = (key_of(schema),) if key_of(schema) else pictures
        key = rest[0] if rest and rest != tuple(name for name in usual if name != text) else None
        picture = pictures[0] if len(pictures) == 1 else None
        return {**lineage.parameters, "text": text, "picture": picture, "key": key}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Draw the choices of each row: list<string> [B]."""
        drawn: list[list[str] | None] = []
        reasons: list[str | None] = []
        captions, keys = _captions(batch, self.text), _known_by(batch, self._key)
        for own, key in zip(captions, keys, strict=True):
            choices, reason = self._draw(own, key)
            drawn.append(choices)
            reasons.append(reason)
        return pa.array(drawn, self.returns), reasons

    def notes(self) -> dict[str, Any]:
        """How many captions there are to draw from."""
        return {"captions to draw from": len(self._captions)}

    def _draw(self, captions: Sequence[str], key: str | None) -> tuple[list[str] | None, str | None]:
        if not captions or key is None:
            return None, "no caption" if key is not None else f"no {self._key[0]}"
        taken = self._places(captions) | self._taken_by.get(key, set())
        wanted, free = self.num_choices - 1, len(self._captions) - len(taken)
        if free < wanted:
            return None, f"too few captions of other pictures: {free} of {wanted}"
        numbers = _numbers(f"{self.seed}\x00{key}", 2 + wanted * _PROBES)
        others: list[str] = []
        for place in _nearest(self._points_T, numbers[2:].reshape(wanted, _PROBES)):
            while place in taken:
                place = (place + 1) % len(self._captions)
            taken.add(place)
            others.append(self._captions[place])
        at = int(numbers[0]) % self.num_choices
        own = captions[int(numbers[1]) % len(captions)]
        return [*others[:at], own, *others[at:]], None

    def _places(self, captions: Sequence[str]) -> set[int]:
        """Where captions stand among those that may be drawn."""
        return {self._place_of[one] for one in map(alike, captions) if one in self._place_of}

    def _read(self, table: Table, pictures: tuple[str, ...], where: str | None) -> None:
        """Find the captions to draw from, in the order of their points, and what rows of one picture take together."""
        spelled: dict[str, str] = {}  # as it is compared → as it stands
        for batch in table.scan([self.text], where=where, batch_rows=SCAN_ROWS):
            for caption in chain.from_iterable(_captions(batch, self.text)):
                compared = alike(caption)
                spelled[compared] = min(caption, spelled.get(compared, caption))
        points = np.array([_number(f"{self.seed}\x00{compared}") for compared in spelled], np.uint64)
        order = np.argsort(points, kind="stable")
        names = list(spelled)
        self._points_T = points[order]
        self._captions = [spelled[names[place]] for place in order]
        self._place_of = {names[old]: place for place, old in enumerate(order)}
        rows_of: dict[str, tuple[list[str], set[int]]] = {}  # picture → keys of its rows, and what they take
        for batch in table.scan(list(dict.fromkeys((*self.reads, *pictures))), batch_rows=SCAN_ROWS):
            columns = _captions(batch, self.text), _known_by(batch, self._key), _known_by(batch, pictures)
            for captions, key, picture in zip(*columns, strict=True):
                if key is not None and picture is not None:
                    keys, taken = rows_of.setdefault(picture, ([], set()))
                    keys.append(key)
                    taken |= self._places(captions)
        # What a picture of one row takes, that row says itself.
        self._taken_by = {key: taken for keys, taken in rows_of.values() if len(keys) > 1 for key in keys}


class DrawnPlace(BaseStep):
    """The place of a row's own caption among its choices: of the first choice that is one of its captions.

    Args:
        choices: column of lists of captions, as `DrawnChoices` makes them.
        text: column of captions, one or a list a row.

    Raises:
        UsageError: a name of a column is no text.
    """

    name = "DrawnPlace"
    version = "1"
    returns = pa.int32()

    def __init__(self, choices: str, text: str = "caption") -> None:
        require_names(self.name, choices=choices, text=text)
        self.reads: tuple[str, ...] = (choices, text)
        self.takes = {choices: TEXTS, text: CAPTIONS}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """Find the own caption of each row: int32 [B]."""
        places: list[int | None] = []
        reasons: list[str | None] = []
        for choices, text in zip(*(batch.column(name).to_pylist() for name in self.reads), strict=True):
            own = set(captions_of(text))
            place = next((place for place, choice in enumerate(choices or ()) if choice in own), None)
            places.append(place)
            missing = "no choices" if not choices else "none of its captions among the choices" if own else "no caption"
            reasons.append(missing if place is None else None)
        return pa.array(places, pa.int32()), reasons


def _pictures(table: Table, named: str | None) -> tuple[str, ...]:
    """The columns that tell pictures apart.

    Raises:
        UsageError: there is none.
    """
    if named is not None:
        return (named,)
    others = [name for name in (*_OTHERS_PICTURES, table.key) if name is not None and name in table.schema.names]
    found = picture_columns(table.schema) or tuple(others[:1])
    if not found:
        raise UsageError(
            "DrawnChoices: nothing tells which rows show one picture; "
            f"expected sha256, uri, {', '.join(_OTHERS_PICTURES)} or a key",
            hint="picture=… names a column that is equal for equal pictures",
        )
    return found


def _known_by(batch: pa.RecordBatch, names: Sequence[str]) -> list[str | None]:
    columns = {name: batch.column(name) for name in names}
    if len(columns) == 1 or not set(columns) <= {"sha256", "etag", "uri"}:
        values: Iterable[Any] = columns[names[0]].to_pylist()
        return [value if value is None else str(value) for value in values]
    known: list[str | None] = picture_texts(columns).to_pylist()
    return known


def _captions(batch: pa.RecordBatch, column: str) -> list[list[str]]:
    return [captions_of(value) for value in batch.column(column).to_pylist()]


def _nearest(points_T: np.ndarray, numbers_NP: np.ndarray) -> list[int]:
    """Of each row of numbers, the point that one of them is followed by most closely, around the ring."""
    after_NP = np.searchsorted(points_T, numbers_NP) % len(points_T)
    best_N = (points_T[after_NP] - numbers_NP).argmin(1)  # differences of unsigned numbers go around the ring, too
    places: list[int] = after_NP[np.arange(len(best_N)), best_N].tolist()
    return places


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _numbers(text: str, count: int) -> np.ndarray:
    """Random-looking uint64 [count] that depend on a text alone."""
    return np.frombuffer(hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(8 * count), "<u8")
