"""objective_for(): the objective that a table's columns ask for. It knows columns, and no rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.hints import merge_pictures
from clipdata.schema import columns_listed, is_binary, is_of
from clipdata.storage import redact
from clipdata.training.objectives.choice import Choice
from clipdata.training.objectives.class_prompts import ClassPrompts
from clipdata.training.objectives.multi_positive import MultiPositive
from clipdata.training.objectives.protocol import Objective

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

CAPTIONS = ("caption", "captions", "text", "texts", "title")
CLASSES = ("class_name", "class", "label_name")


def objective_for(table: Table) -> Objective:
    """Choose by the names and types of columns: choices with a place, then captions, then classes.

    Raises:
        UsageError: none of them is there.
    """
    kinds = {name: table.schema.field(name).type for name in table.schema.names}
    choice = Choice()
    places = kinds.get(choice.label)
    if is_of("texts", kinds.get(choice.choices, pa.null())) and places is not None and pa.types.is_integer(places):
        return choice
    for name in CAPTIONS:
        if name in kinds and (is_of("text", kinds[name]) or is_of("texts", kinds[name])):
            return MultiPositive(name, captions="random")
    for name in CLASSES:
        if name in kinds and is_of("text", kinds[name]):
            return ClassPrompts(name)
    if is_of("texts", kinds.get(choice.choices, pa.null())):
        return choice  # whose check says how to make the places
    named = (
        "name the objective and its column: --set objective=multi_positive --set text=COLUMN, or "
        "--set objective=choice, or --set objective=class_prompts --set label=COLUMN"
    )
    found = f"{redact(table.uri)} has the columns {columns_listed(table.schema.names)}; nothing tells what to train for"
    if any(is_binary(kind) or pa.types.is_fixed_size_list(kind) for kind in kinds.values()):
        raise UsageError(found, hint=named)
    merge = merge_pictures(table.uri, table.schema.names)
    raise UsageError(f"{found}, and none of them holds pictures", hint=f"{merge} joins them; then {named}")
