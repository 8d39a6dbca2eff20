"""Recipes and runs as they are listed on the command line: names with settings, files of fields, folders of runs.

--recipes caption-contest,caption-contest:lr=1e-4,pull=0,my.json
--runs runs/a,runs/b      --runs trials/      --runs 'trials/auto*'
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata.errors import ConfigError, NotFoundError, UsageError
from clipdata.json_parsing import json_kind, parse_json

if TYPE_CHECKING:
    from clipdata.encoder import Encoder
    from clipdata.lance_io.table import Table
    from clipdata.progress import Progress
    from clipdata.training.config import TrainConfig

_JSON = ".json"


@dataclass
class _Listed:
    """A recipe as it was typed: a name or a file, and what is set."""

    words: str
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the person will know it again: `name:key=value,key=value`, or the file without its folder and ending."""
        plain = Path(self.words).stem if self.words.endswith(_JSON) else self.words
        return plain + (":" if self.settings else "") + ",".join(f"{key}={text}" for key, text in self.settings.items())


@dataclass(frozen=True)
class Training:
    """What recipes are to train.

    Args:
        table: says what to train for, and names the column of the image trunk's features, where nobody does.
        encoder: what they begin with.
        where: condition of the rows to train on.
        limit, sample: as of `clipdata.train`.
        progress: is told what `auto` chooses, and why.
    """

    table: Table
    encoder: Encoder
    where: str | None
    limit: int | None
    sample: int | None
    progress: Progress


def recipes_listed(training: Training, text: str, settings: Mapping[str, str]) -> dict[str, TrainConfig]:
    """Recipes by name, as `--recipes` and `--set` say.

    Args:
        text: recipes with commas between; each a name or a JSON file, with `:key=value` and further `,key=value`.
        settings: of all of them; a recipe's own come before.

    Raises:
        UsageError: there is no such recipe, or one is listed twice.
        NotFoundError: there is no such file.
        ConfigError: lists every setting that is wrong.
    """
    found: dict[str, TrainConfig] = {}
    for one in _read(text):
        if one.name in found:
            raise UsageError(f"--recipes names {one.name!r} twice; expected each once, or with other settings")
        found[one.name] = _made(training, one, settings)
    return found


def _read(text: str) -> list[_Listed]:
    """Split what was typed; a part with "=" and no ":" before it belongs to the recipe on its left.

    Raises:
        UsageError: a part says nothing, or sets something of no recipe.
    """
    listed: list[_Listed] = []
    for part in (part.strip() for part in text.split(",")):
        key, equals, value = part.partition("=")
        words, colon, key = key.rpartition(":") if equals else (part, "", "")
        if equals and not colon:
            if not listed or not key:
                raise UsageError(f"--recipes: {part!r} sets something of no recipe", hint="NAME:key=value,key=value")
        elif not words:
            raise UsageError(f"--recipes is {text!r}; expected names with commas between, such as projections,my.json")
        else:
            listed.append(_Listed(words))
        if equals:
            listed[-1].settings[key.strip()] = value.strip()
    return listed


def _made(training: Training, one: _Listed, settings: Mapping[str, str]) -> TrainConfig:
    """The config of a recipe as it was typed: what it says itself comes before what is set for all.

    Raises:
        UsageError: there is no such recipe.
        ConfigError: lists every field that is wrong.
    """
    import clipdata as cd
    from clipdata.training.objectives import objective_with, own_fields
    from clipdata.training.recipe_choice import AUTO
    from clipdata.training.recipe_facts import find_trunk
    from clipdata.training.recipe_names import recipe_named

    of_file = _fields_of(Path(one.words)) if one.words.endswith(_JSON) else {"recipe": one.words}
    parse = cd.TrainConfig.parse_settings
    given = {**parse(settings), **of_file, **parse(one.settings)}
    recipe = given.pop("recipe", None)
    try:
        if recipe == AUTO:
            return cd.choose_recipe(
                training.table,
                training.encoder,
                where=training.where,
                limit=training.limit,
                sample=training.sample,
                progress=training.progress,
                **given,
            )
        make = cd.TrainConfig.from_json if recipe is None else lambda fields: recipe_named(str(recipe))(**fields)
        made = make(given)
        if "objective" not in given and type(made.objective) is type(cd.TrainConfig().objective):
            made = make({**given, "objective": objective_with(training.table, own_fields(given))})
    except ConfigError as error:
        raise ConfigError(error.problems, what=f"recipe {one.name}", hint=error.hint) from error
    if made.image_trunk_trains or "image_trunk" in given:
        return made
    return replace(made, image_trunk=find_trunk(training.table, training.encoder, made.image, training.where))


def _fields_of(path: Path) -> dict[str, Any]:
    """Fields of the training config in a JSON file; `recipe` among them names what they stand over.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it holds no JSON object.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}; expected a JSON object of the training config's fields")
    try:
        fields = parse_json(path.read_bytes())
    except ValueError as error:
        raise ConfigError([f"not JSON: {error}"], what=f"recipe {path}") from error
    if not isinstance(fields, dict):
        raise ConfigError([f"found {json_kind(fields)}; expected a JSON object"], what=f"recipe {path}")
    return fields


def numbers_listed(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers as typed, with commas between.

    Raises:
        UsageError: one is none.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise UsageError(f"{option} is {text!r}; expected whole numbers with commas between, such as 0,1,2")
    return tuple(map(int, parts))


def runs_listed(texts: Sequence[str]) -> list[Path]:
    """Folders of runs: those that are named, those inside a folder of runs, those that a pattern finds.

    Raises:
        NotFoundError: there is no such folder, or no run in it.
    """
    found: list[Path] = []
    for text in (part.strip() for one in texts for part in one.split(",")):
        path = Path(text).expanduser()
        matched = [Path(one) for one in sorted(glob.glob(str(path)))] if glob.has_magic(text) else [path]
        folders = [one for one in matched if one.is_dir()]
        if not folders:
            raise NotFoundError(f"there is no folder {text or '(nothing)'}; expected that of a run, or of several")
        for folder in folders:
            inside = [] if _is_run(folder) else sorted(one for one in folder.iterdir() if _is_run(one))
            found += inside or [folder]
    return list(dict.fromkeys(found))


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file()
