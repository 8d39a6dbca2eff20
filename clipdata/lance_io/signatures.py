"""Signatures: what the values of a fragment depend on, so that none is committed where something else is by now.

A fragment's rows, the very columns, and the files that hold them; the filled column itself is among them, since another
writer may have filled it meanwhile, and so is what says where the images of rows are: a row of a version of another
table is named with the digest of that version's files. Reads metadata alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clipdata.errors import StorageError
from clipdata.lance_io.columns import identity_of
from clipdata.lance_io.pictures import places_needed
from clipdata.lance_io.presence import field_ids
from clipdata.objects.references import columns_needed

if TYPE_CHECKING:
    import lance


class Signatures:
    """Signatures of the fragments of one version.

    Args:
        dataset: at that version.
        column: that is filled.
        inputs: columns that its values are computed from.
    """

    def __init__(self, dataset: lance.LanceDataset, column: str, inputs: Sequence[str]) -> None:
        schema = dataset.schema
        names = (*inputs, *columns_needed(schema, inputs), *places_needed(schema, inputs), column)
        self._columns = {name: identity_of(dataset, name) for name in names}
        self._ids = field_ids(dataset, names)

    def of(self, fragment: Any) -> str:
        """The signature of one fragment, as JSON."""
        if fragment.physical_rows is None:
            raise StorageError(f"fragment {fragment.fragment_id} does not say how many rows it has")
        metadata = fragment.metadata
        depends_on = {
            "rows": fragment.physical_rows,
            "columns": self._columns,
            "files": sorted(file.path for file in metadata.files if self._ids & set(file.fields)),
            "overlays": [str(overlay) for overlay in metadata.overlays],
        }
        return json.dumps(depends_on, sort_keys=True)
