"""Matching: which metadata row goes with which image, and what the merged rows are called.

It works on the columns that tables are joined on, as Arrow and numpy arrays, and reads and writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError, UsageError
from ingest.updating.digests import digest

EXAMPLES = 5
_NAMED_AT_ONCE = 65_536


@dataclass(frozen=True)
class Matches:
    """Output rows: an image each, with one metadata row or several. They are sorted by the path of the image.

    Args:
        images: int64 [N], positions of the images.
        starts: int64 [N + 1], where the metadata rows of each output begin in `members`.
        members: int64 [M], positions of metadata rows, in the metadata's own order for one image.
        unmatched_metadata: keys of the metadata rows without an image.
        unmatched_images: paths of the images without metadata.
    """

    images: np.ndarray
    starts: np.ndarray
    members: np.ndarray
    unmatched_metadata: pa.Array
    unmatched_images: pa.Array

    def __len__(self) -> int:
        return len(self.images)

    def members_of(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metadata rows of some outputs, one output after the other.

        Args:
            outputs: int64 [B].

        Returns:
            positions int64 [M'], and int64 [B + 1] where each output's begin among them.
        """
        counts = self.starts[outputs + 1] - self.starts[outputs]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        within = np.arange(ends[-1]) - np.repeat(ends[:-1], counts)
        return self.members[np.repeat(self.starts[outputs], counts) + within], ends


def match(paths: pa.Array, image_keys: pa.Array, metadata_keys: pa.Array, *, on: str, group: bool) -> Matches:
    """Find the image of each metadata row.

    Args:
        paths: of the images, string [I].
        image_keys: what the images are joined on, [I].
        metadata_keys: what the metadata is joined on, [R]; nulls match nothing.
        on: name of the images' column, for errors.
        group: one output an image, instead of one a metadata row.

    Raises:
        UsageError: a key that the metadata names belongs to several images.
        SchemaError: text is joined with something else.
    """
    wanted = _as_type(metadata_keys, image_keys.type, on)
    _check_ambiguous(paths, image_keys, wanted, on)
    image_of = pc.index_in(wanted, value_set=image_keys, skip_nulls=True)
    rows = np.flatnonzero(image_of.is_valid().to_numpy(zero_copy_only=False))
    places = image_of.drop_null().to_numpy().astype(np.int64)
    rank = np.empty(len(paths), np.int64)
    rank[pc.sort_indices(paths).to_numpy()] = np.arange(len(paths))
    order = np.lexsort((rows, rank[places]))
    rows, places = rows[order], places[order]
    firsts = np.flatnonzero(np.diff(places, prepend=-1)) if group else np.arange(len(places))
    unmatched = np.ones(len(paths), np.bool_)
    unmatched[places] = False
    return Matches(
        images=places[firsts],
        starts=np.append(firsts, len(places)),
        members=rows,
        unmatched_metadata=metadata_keys.filter(image_of.is_null()),
        unmatched_images=paths.filter(pa.array(unmatched)),
    )


def names_of(
    matches: Matches, paths: pa.Array, etags: pa.Array, digests: pa.Array, *, group: bool
) -> tuple[pa.Array, pa.Array]:
    """Keys and etags of the output rows: they change when the image or the metadata does.

    Args:
        matches: N outputs.
        paths: of the images, string [I].
        etags: of the images, string [I].
        digests: of the metadata rows, no two of them equal, string [R].
        group: the key is of the image alone, and the metadata rows decide the etag.
    """
    keys, tags = [pa.array([], pa.string())], [pa.array([], pa.string())]
    for first in range(0, len(matches), _NAMED_AT_ONCE):
        outputs = np.arange(first, min(first + _NAMED_AT_ONCE, len(matches)))
        members, starts = matches.members_of(outputs)
        contents: Sequence[str] = digests.take(pa.array(members)).to_pylist()
        images = pa.array(matches.images[outputs])
        here, etags_here = paths.take(images).to_pylist(), etags.take(images)
        if group:
            several = [contents[start:end] for start, end in pairwise(starts)]
            keys.append(pa.array([digest(path) for path in here], pa.string()))
            joined = zip(etags_here.to_pylist(), several, strict=True)
            tags.append(pa.array([digest(str(etag), *content) for etag, content in joined], pa.string()))
        else:
            keys.append(pa.array([digest(*pair) for pair in zip(here, contents, strict=True)], pa.string()))
            tags.append(etags_here)
    return pa.concat_arrays(keys), pa.concat_arrays(tags)


def _as_type(metadata_keys: pa.Array, wanted: pa.DataType, on: str) -> pa.Array:
    """The metadata's keys in the type of the images' keys.

    Raises:
        SchemaError: one side is text and the other is not.
    """
    plain = metadata_keys.type.value_type if pa.types.is_dictionary(metadata_keys.type) else metadata_keys.type
    if _is_text(plain) == _is_text(wanted):
        return metadata_keys.cast(wanted)
    raise SchemaError(
        f"the images' {on!r} is {wanted} and the metadata's column is {plain}: no row can match",
        hint="name columns that hold the same thing: --on for the images, --metadata-on for the metadata",
    )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _check_ambiguous(paths: pa.Array, image_keys: pa.Array, wanted: pa.Array, on: str) -> None:
    counted = image_keys.value_counts()
    several = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    named = several.filter(pc.is_in(several, value_set=wanted, skip_nulls=True))
    if not len(named):
        return
    examples = ""
    for key in named[:EXAMPLES]:
        where = paths.filter(pc.equal(image_keys, key))[:3].to_pylist()
        examples += f"\n  {key}: {', '.join(where)}"
    raise UsageError(
        f"{len(named):,} values of {on!r} that the metadata names belong to several images:{examples}",
        hint="merge on a column that is unique among the images: --on path (the metadata must have it too)",
    )
