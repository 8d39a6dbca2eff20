"""Data sets of Hugging Face's `datasets` as sources: what `load_dataset` reads is what is taken in.

    a Dataset, DatasetDict, IterableDataset …     as they are
    a folder of `save_to_disk`                    read where it lies
    any other folder, or a name on the hub        read by `load_dataset`, which keeps a copy in its own cache

Pictures keep their bytes. Splits become the column `split`, names of classes the column `<label>_name`. It knows data
sets; what becomes of their rows, `pictures` and `metadata` know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from clipdata import hints
from clipdata.errors import NotFoundError, SchemaError, TransientError, UsageError
from clipdata.exports.hugging_face import require_datasets
from clipdata.schema import is_picture_struct
from clipdata.storage import Storage, absolute, is_remote, redact
from ingest.metadata import class_names
from ingest.metadata.list_file import TextOptions
from ingest.metadata.metadata_files import MetadataFiles
from ingest.metadata.row_files import RowFiles
from ingest.pictures.embedded_columns import picture_columns
from ingest.pictures.embedded_images import EmbeddedImages
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import BrokenFile, Item, Refuse

SPLIT = "split"
_PICTURE_ROWS, _NARROW_ROWS = 32, 4096
_SAVED = ("dataset_dict.json", "state.json")


class DatasetFiles(RowFiles):
    """The splits of a data set, each as a file of rows.

    Args:
        splits: name → `Dataset` or `IterableDataset`.
        origin: what the data set is called, or where it lies; rows of another one have another.
        inside: folder in which the pictures of rows may lie that only name them; None for any.
    """

    stays_here: str | None = "a data set of Hugging Face is open in this process"

    def __init__(self, splits: Mapping[str, Any], origin: str, inside: Path | None = None) -> None:
        self.origin, self.text, self.storage = origin, TextOptions(), Storage()
        self._splits = dict(splits)
        self._inside = inside
        self._texts = {}
        self._found_schemas: dict[str, pa.Schema] = {}

    def items(self) -> list[Item]:
        """One a split; of one that is read as it goes, nobody knows whether it changed."""
        return [
            Item(name, getattr(data, "_fingerprint", "") or "", None, self._where(name))
            for name, data in self._splits.items()
        ]

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is one of this data set."""
        return where.rpartition("#")[0] == self.origin

    def schemas(self) -> Mapping[str, pa.Schema | BrokenFile]:
        """The columns of each split, with the names of classes and the split itself."""
        if not self._found_schemas:
            for name, data in self._splits.items():
                self._found_schemas[self._where(name)] = self._with_split(_schema_of(data, name))
        return self._found_schemas

    def notes(self) -> dict[str, str]:
        """Nothing beside what is said of columns."""
        return {}

    def _with_split(self, schema: pa.Schema) -> pa.Schema:
        whole = class_names.added_to(schema)
        return whole if SPLIT in whole.names else whole.append(pa.field(SPLIT, pa.string()))

    def _where(self, split: str) -> str:
        return f"{self.origin}#{split}"

    def _batches(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        data = self._splits[item.key]
        schema = _schema_of(data, item.key)
        names = class_names.of(schema)
        plain = pa.schema([pa.field(column.name, _storage_type(column.type)) for column in schema])
        for table in _tables_of(data, plain):
            for batch in table.combine_chunks().to_batches():
                whole = class_names.added(self._with_pictures(batch), names)
                if SPLIT not in whole.schema.names:
                    whole = whole.append_column(SPLIT, pa.array([item.key] * whole.num_rows, pa.string()))
                yield whole

    def _with_pictures(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the bytes of pictures that they only name; of one that cannot be read, the name stays."""
        for place, column in enumerate(batch.schema):
            if not is_picture_struct(column.type) or column.type.get_field_index("bytes") < 0:
                continue
            held = batch.column(place).to_pylist()
            if any(one is not None and one["bytes"] is None and one["path"] for one in held):
                filled = [one if one is None or one["bytes"] else self._read(one) for one in held]
                batch = batch.set_column(place, column, pa.array(filled, column.type))
        return batch

    def _read(self, named: Mapping[str, Any]) -> dict[str, Any]:
        path = named["path"] or ""
        is_ours = self._inside is None or Path(path).resolve().is_relative_to(self._inside.resolve())
        data = _bytes_at(path) if path and (is_ours or "://" in path) else None
        return {**named, "bytes": data, "path": os.path.basename(path) if data is not None else path}


def _bytes_at(path: str) -> bytes | None:
    """What is at a path of `datasets`, which may lead into an archive or to the hub."""
    from datasets.utils.file_utils import xopen

    try:
        with xopen(path, "rb") as stream:
            data: bytes = stream.read()
            return data
    except OSError:
        return None


def _schema_of(data: Any, split: str) -> pa.Schema:
    """The columns of a split, with what `datasets` says of them.

    Raises:
        SchemaError: nothing tells them.
    """
    features = data.features
    if features is None:
        features = data._resolve_features().features
    if features is None:
        raise SchemaError(
            f"split {split!r} of the data set has no features", hint="give it some: dataset.cast(features)"
        )
    plain = pa.schema([pa.field(c.name, _storage_type(c.type)) for c in features.arrow_schema])
    return plain.with_metadata(features.arrow_schema.metadata)


def _storage_type(kind: pa.DataType) -> pa.DataType:
    """What an extension type, such as that of arrays, is made of."""
    return _storage_type(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def _tables_of(data: Any, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a split as they are stored: nothing is decoded."""
    holds_pictures = any(is_picture_struct(kind) for kind in schema.types)
    step = _PICTURE_ROWS if holds_pictures else _NARROW_ROWS
    if hasattr(data, "num_rows"):
        arrow = data.with_format("arrow")
        for start in range(0, data.num_rows, step):
            found = arrow[start : min(start + step, data.num_rows)]
            columns = [_stored(found.column(name)).cast(schema.field(name).type) for name in schema.names]
            yield pa.table(columns, schema=schema)
        return
    import datasets

    features = data.features or data._resolve_features().features
    held: list[dict[str, Any]] = []
    for example in data.with_format(None).cast(datasets.Features({n: _undecoded(f) for n, f in features.items()})):
        held.append(example)
        if len(held) == step:
            yield pa.Table.from_pylist(held, schema)
            held = []
    if held:
        yield pa.Table.from_pylist(held, schema)


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _undecoded(feature: Any) -> Any:
    """A feature whose pictures and sounds stay bytes."""
    if isinstance(feature, dict):
        return {name: _undecoded(inner) for name, inner in feature.items()}
    if hasattr(feature, "decode"):
        return type(feature)(decode=False)
    if hasattr(feature, "feature"):
        length = {"length": feature.length} if hasattr(feature, "length") else {}
        return type(feature)(_undecoded(feature.feature), **length)
    return feature


def opened(data: Any, *, config: str | None = None, split: str | None = None, name: str | None = None) -> DatasetFiles:
    """The splits of a data set, of a folder with one, or of one on the hub.

    Args:
        data: as `from_hugging_face` takes it.
        config: of several in one place.
        split: this one only.
        name: what to call a data set that has no place.

    Raises:
        NotFoundError: there is none, or no such split.
        TransientError: the hub cannot be reached.
        UsageError: it is no data set.
    """
    library = require_datasets("ingest hugging-face")
    inside = None
    if isinstance(data, str | os.PathLike):
        where = os.fspath(data)
        data, origin, inside = _loaded(library, where, config)
    elif isinstance(
        data, library.Dataset | library.DatasetDict | library.IterableDataset | library.IterableDatasetDict
    ):
        origin = f"hugging face data set {name or _called(data)}".rstrip()
    else:
        raise UsageError(
            f"a {type(data).__name__} is no data set; expected a Dataset, DatasetDict, a folder or a name on the hub",
            hint='ingest.from_hugging_face("folder", into="t.lance")',
        )
    splits = dict(data) if isinstance(data, dict) else {str(data.split or "train"): data}
    if split is not None:
        if split not in splits:
            raise NotFoundError(f"{redact(origin)} has no split {split!r}; it has {', '.join(splits)}")
        splits = {split: splits[split]}
    return DatasetFiles(splits, origin, inside)


def _called(data: Any) -> str:
    first = next(iter(data.values())) if isinstance(data, dict) else data
    return first.info.dataset_name or ""


def _loaded(library: Any, where: str, config: str | None) -> tuple[Any, str, Path | None]:
    """A data set by its place: itself, what to call it, and the folder that it lies in."""
    folder = Path(absolute(where)) if not is_remote(where) else None
    if folder is not None and folder.is_dir():
        if any((folder / name).is_file() for name in _SAVED):
            return _asked(lambda: library.load_from_disk(str(folder)), where), str(folder), folder
        return _asked(lambda: library.load_dataset(str(folder), config), where), str(folder), folder
    looks_local = folder is not None and (folder.exists() or where.startswith((".", "/", "~")) or where.count("/") > 1)
    if looks_local or (where.count("/") != 1 and "/" in where):
        is_of_rows = folder is not None and folder.is_file() and hints.is_file_of_rows(where)
        raise NotFoundError(
            f"there is no folder {redact(where)}; expected one, or a name on the hub such as org/name",
            hint=hints.ingest_file(where) if is_of_rows else None,
        )
    return _asked(lambda: library.load_dataset(where, config), where), f"hf://datasets/{where}", None


def _asked(load: Callable[[], Any], where: str) -> Any:
    """What a loader gives; its errors in our words."""
    from datasets.exceptions import DatasetNotFoundError

    try:
        return load()
    except DatasetNotFoundError as error:
        raise NotFoundError(
            f"there is no data set {redact(where)} on the hub, or it is not public: {_first_line(error)}",
            hint="log in with `hf auth login`, or name a folder on this machine",
        ) from error
    except ConnectionError as error:
        raise TransientError(
            f"the hub cannot be asked for {redact(where)}: {_first_line(error)}",
            hint="check the network (HF_HUB_OFFLINE forbids it), or name a folder on this machine",
        ) from error
    except Exception as error:  # of whatever reader the library chose
        raise UsageError(f"`datasets` cannot read {redact(where)}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return redact((str(error).strip() or type(error).__name__).splitlines()[0][:300])


def from_hugging_face(
    data: Any,
    *,
    into: str | os.PathLike[str],
    config: str | None = None,
    split: str | None = None,
    name: str | None = None,
    image: str | None = None,
    required: str | None = None,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in a data set of Hugging Face's `datasets`: rows with pictures become image rows, others metadata rows.

    Args:
        data: a `Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict`; a folder that `load_dataset` or
            `load_from_disk` reads; or the name of one on the hub.
        into: location of the table.
        config: of several in one place.
        split: this split only; by default all, told apart by the column `split`.
        name: what to call a data set that is given itself; rows of data sets of one name replace each other.
        image: column of the pictures, where several hold any.
        required: column without which a metadata row is refused.
        storage: how to reach the table.
        options: of `ingest.updating.job.ingest`.

    Raises:
        NotFoundError: there is no such data set.
        TransientError: the hub cannot be reached.
        UsageError: `datasets` is not installed, or cannot read what is there.
    """
    files = opened(data, config=config, split=split, name=name)
    if image is not None or picture_columns(files):
        return ingest(EmbeddedImages(files, image=image), into, storage=storage, **options)
    return ingest(MetadataFiles(files, required=required), into, storage=storage, **options)
