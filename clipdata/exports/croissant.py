"""Croissant: what a data set holds, as JSON-LD that search engines and loaders read.

Source: Croissant Format Specification 1.0, mlcommons.org (2024).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from clipdata.exports.card import TABLE, Facts
from clipdata.lineage import Lineage
from clipdata.schema import is_list, is_picture_struct

NAME = "croissant.json"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(facts: Facts, picture: str | None) -> dict[str, Any]:
    """The metadata of a data set that lies at `TABLE`; its licence is left to the person.

    Args:
        facts: of it.
        picture: column of the pictures, where there is one.
    """
    home = f"https://huggingface.co/datasets/{facts.repo}" if facts.repo else None
    repository = {
        "@type": "cr:FileObject",
        "@id": "repo",
        "name": "repo",
        "description": "The repository.",
        "contentUrl": f"{home}/tree/main" if home else ".",
        "encodingFormat": "git+https" if home else "inode/directory",
        "sha256": "https://github.com/mlcommons/croissant/issues/80",  # the specification's own word
    }
    files = {
        "@type": "cr:FileSet",
        "@id": "table",
        "name": "table",
        "description": "Files of the Lance table.",
        "containedIn": {"@id": "repo"},
        "encodingFormat": "application/vnd.lance",
        "includes": f"{TABLE}/**",
    }
    fields = [_field(column, picture) for column in facts.schema]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.name,
        "description": f"{facts.num_rows:,} rows, copied from version {facts.version} of a table that clipdata keeps.",
        **({"url": home} if home else {}),
        "version": f"{facts.version}.0.0",
        "datePublished": datetime.now(UTC).date().isoformat(),
        "distribution": [repository, files],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }


def _field(column: pa.Field, picture: str | None) -> dict[str, Any]:
    kind = column.type.value_type if is_list(column.type) else column.type
    is_picture = column.name == picture or is_picture_struct(column.type)
    lineage = Lineage.of(column)
    return {
        "@type": "cr:Field",
        "@id": f"rows/{column.name}",
        "name": column.name,
        **({"description": f"Made by {lineage.describe()}"} if lineage else {}),
        "dataType": "sc:ImageObject" if is_picture else _data_type(kind),
        **({"repeated": True} if is_list(column.type) else {}),
        "source": {"fileSet": {"@id": "table"}, "extract": {"column": column.name}},
    }


def _data_type(kind: pa.DataType) -> str:
    tests = {
        "sc:Boolean": pa.types.is_boolean,
        "sc:Integer": pa.types.is_integer,
        "sc:Float": lambda found: pa.types.is_floating(found) or pa.types.is_decimal(found),
        "sc:Date": pa.types.is_date,
        "sc:DateTime": pa.types.is_timestamp,
    }
    return next((word for word, test in tests.items() if test(kind)), "sc:Text")
