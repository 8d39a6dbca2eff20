"""`--json-schema`: the schemas of what verbs print, by the words that name a verb."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence

from clipdata.errors import UsageError
from pipelines.cli.json_output import schema_of
from pipelines.cli.terminal import write
from pipelines.cli.verbs import Verb


def print_schemas(words: Sequence[str], verbs: Sequence[Verb]) -> None:
    """Print the schema of one verb, or an object of all of them.

    Args:
        words: those of a verb, and whatever else was typed; none asks for all.
        verbs: that there are.

    Raises:
        UsageError: there is no such verb.
    """
    asked = [verb for verb in verbs if list(words[: len(verb.words.split())]) == verb.words.split()]
    if words and not asked:
        known = [verb.words for verb in verbs]
        near = difflib.get_close_matches(" ".join(words[:2]), known, n=1) or difflib.get_close_matches(
            words[0], known, n=1
        )
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"there is no verb {words[0]!r}{meant}", hint=f"verbs: {', '.join(known)}")
    schemas = {verb.words: schema_of(verb.words, verb.found) for verb in asked or verbs}
    printed = schemas if not words else schemas[asked[0].words]
    write(sys.stdout, json.dumps(printed, ensure_ascii=False, indent=2) + "\n")
