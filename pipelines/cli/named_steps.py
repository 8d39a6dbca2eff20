"""Steps and recipes by the names that the command line knows them by."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from clipdata.errors import ClipdataError, ConfigError, NotFoundError, SchemaError, UsageError
from clipdata.file_kinds import kind_of_file
from clipdata.hints import merge_pictures
from clipdata.printable import shell_word

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table
    from clipdata.step_protocol import Step
    from clipdata.training.config import TrainConfig

# Name → class in clipdata.steps, and whether it takes a model.
STEPS = {
    "choice-scores": ("ChoiceScores", True),
    "class-scores": ("ClassScores", True),
    "pair-score": ("PairScore", True),
    "image-trunk": ("ImageTrunk", True),
    "image-embedding": ("ImageEmbedding", True),
    "text-embedding": ("TextEmbedding", True),
    "prepared-pixels": ("PreparedPixels", True),
    "image-quality": ("ImageQuality", False),
    "caption-quality": ("CaptionQuality", False),
    "caption-language": ("CaptionLanguage", False),
    "caption-count": ("CaptionCount", False),
    "concept-balance": ("ConceptBalance", False),
    "head": ("Head", False),
    "head-scores": ("HeadScores", False),
    "label-noise": ("LabelNoise", False),
    "choice-noise": ("ChoiceNoise", False),
    "label-index": ("LabelIndex", False),
    "drawn-choices": ("DrawnChoices", False),
    "drawn-place": ("DrawnPlace", False),
    "leak-proof-split": ("LeakProofSplit", False),
    "group-split": ("GroupSplit", False),
    "class-split": ("ClassSplit", False),
    "pair-split": ("PairSplit", False),
    "clean-captions": ("CleanCaptions", False),
    "unseen-captions": ("UnseenCaptions", False),
    "picture-digest": ("PictureDigest", False),
    "pixel-digest": ("PixelDigest", False),
    "perceptual-hash": ("PerceptualHash", False),
    "near-duplicates": ("NearDuplicates", False),
    "embedding-duplicates": ("EmbeddingDuplicates", False),
    "semantic-deduplication": ("SemanticDeduplication", False),
    "best-of-cluster": ("BestOfCluster", False),
    "pick": ("Pick", False),
    "prompt": ("Prompt", False),
    "class-prompt": ("ClassPrompt", False),
}
_EXAMPLE = "clipdata map TABLE my_steps.py:sharpness sharpness, of a function marked with @clipdata.step"
GIVEN = ("encoder", "table")  # parameters that the command line has from elsewhere


def build_step(
    name: str,
    given: Mapping[str, str],
    *,
    model: str | None,
    device: str | None,
    say: Callable[[str], None],
    table: Table | None = None,
    column: str | None = None,
    anew: bool = False,
) -> Step:
    """Make a step from its name and its parameters as texts.

    Args:
        name: of `STEPS`, or `FILE.py:function` for a function marked with `clipdata.step`.
        given: parameters.
        model: for the steps that need one.
        device: for the model.
        say: told what is loaded.
        table: for the steps that read all of it beforehand.
        column: to fill; for the steps that read what an earlier run left in it.
        anew: the column is overwritten: steps that can forget what an earlier run decided do so.

    Raises:
        UsageError: the name or a parameter is unknown, or a model is missing.
    """
    if ":" in name:
        if given or model:
            raise UsageError(
                f"{name} is a function of your own, which takes no {'-p' if given else '--model'}",
                hint="write the values into the file: clipdata.step(functools.partial(function, key=value), …)",
            )
        return own_step(name)
    if name not in STEPS:
        if Path(name).is_file():
            raise UsageError(f"{name} is a file; expected FILE.py:function", hint=_steps_in(name))
        near = difflib.get_close_matches(name, STEPS, n=2)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"there is no step {name!r}{meant}", hint=f"steps: {', '.join(STEPS)}, or FILE.py:function")
    import clipdata as cd

    class_name, takes_model = STEPS[name]
    step_class: Any = getattr(cd.steps, class_name)
    parameters = _converted(step_class, given, name)
    if not takes_model:
        if model:
            raise UsageError(f"step {name} takes no model", hint="leave --model out")
        offered: dict[str, Any] = {"table": table, "column": column}
        known = inspect.signature(step_class).parameters
        whole: dict[str, Any] = {name: value for name, value in offered.items() if name in known and value is not None}
        if anew and "column" in known and "None" in str(known["column"].annotation):
            whole["column"] = None
        plain: Step = step_class(**{**whole, **parameters})
        return plain
    if model is None:
        raise UsageError(f"step {name} needs a model", hint="--model starter, or --model ViT-B-32/openai")
    say(f"loading {model}")
    built: Step = step_class(cd.load_encoder(model, device=device), **parameters)
    return built


def columns_named_otherwise(
    name: str, given: Mapping[str, str], missing: Mapping[str, Sequence[str]], table: Table
) -> str | None:
    """What to type so that a step reads other columns than those which are not there; None where nothing does it.

    Args:
        name: of the step, as of `build_step`.
        given: its parameters.
        missing: columns, each with the names that are like it.
    """
    from clipdata.schema import is_binary

    if "image" in missing and not any(is_binary(column.type) for column in table.schema):
        return f"{merge_pictures(table.uri, table.schema.names)} joins pictures to it"
    instead = {column: (near or ["COLUMN"])[0] for column, near in missing.items()}
    if ":" in name:
        read = [instead.get(column, column) for column in own_step(name).reads]
        return f"@clipdata.step(reads={json.dumps(read, ensure_ascii=False)}) in {name.rpartition(':')[0]}"
    import clipdata as cd

    signature = inspect.signature(getattr(cd.steps, STEPS[name][0])).parameters
    values = {key: given.get(key, one.default) for key, one in signature.items() if key not in GIVEN}
    said = []
    for key, value in values.items():
        if isinstance(value, str) and value not in instead:
            names = value.split(",")
        else:
            names = [str(column) for column in (value if isinstance(value, tuple) else (value,))]
        if any(column in instead for column in names):
            said.append(f"-p {key}={shell_word(','.join(instead.get(column, column) for column in names))}")
    return " ".join(said) or None


@contextmanager
def columns_told(name: str, given: Mapping[str, str], table: Table) -> Iterator[None]:
    """Says of columns that a step misses in here how another is named; see `columns_named_otherwise`."""
    try:
        yield
    except SchemaError as error:
        if error.missing and error.hint is None:
            error.hint = columns_named_otherwise(name, given, error.missing, table)
        raise


def config_named(table: Table, recipe: str | None, settings: Mapping[str, str]) -> TrainConfig:
    """How to train: a recipe with settings over it, about what the table's columns ask for where neither says.

    Without a recipe it is what `auto` makes where nothing is known of the rows; `choose_recipe` knows them.

    Raises:
        UsageError: there is no such recipe, or no column tells what to train for.
        ConfigError: lists every setting that is wrong.
    """
    import clipdata as cd
    from clipdata.training.objectives import objective_with, own_fields
    from clipdata.training.recipe_choice import AUTO
    from clipdata.training.recipe_names import recipe_named

    given = cd.TrainConfig.parse_settings(settings)
    named = recipe not in (None, AUTO) or "objective" in given
    objective = {} if named else {"objective": objective_with(table, own_fields(given))}
    return recipe_named(recipe or AUTO)(**{**given, **objective})


def _converted(step_class: Any, given: Mapping[str, str], name: str) -> dict[str, Any]:
    """Give parameters the types that the step's own signature names."""
    from clipdata.training import settings

    signature = inspect.signature(step_class)
    known = {n: p for n, p in signature.parameters.items() if n not in GIVEN}
    problems = [f"{key!r} is unknown; known: {', '.join(known)}" for key in given if key not in known]
    missing = [n for n, p in known.items() if p.default is inspect.Parameter.empty and n not in given]
    problems += [f"{key!r} is missing: -p {key}=…" for key in missing]
    values: dict[str, Any] = {}
    absent = {"Encoder": Any, "Preparation": Any}  # which are imported for type checkers alone
    kinds = get_type_hints(step_class.__init__, localns=absent)
    for key, text in given.items():
        if key not in known:
            continue
        try:
            values[key] = settings.from_text(text, kinds[key])
        except ValueError:
            problems.append(f"{key} is {text!r:.80}; expected {settings.describe(kinds[key])}")
    if problems:
        raise ConfigError(problems, what=f"step {name}")
    return values


def _steps_in(file: str) -> str:
    """The steps of a file as they are typed; it is read, and nothing of it runs."""
    try:
        body = ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return _EXAMPLE
    made = [one.name for one in body if isinstance(one, ast.FunctionDef) and any(map(_is_step, one.decorator_list))]
    return " or ".join(shell_word(f"{file}:{function}") for function in made) or _EXAMPLE


def _is_step(decorator: ast.expr) -> bool:
    """Whether it is `step`, or `step` of a module, called or not."""
    made = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", None)) == "step"


def own_step(name: str) -> Step:
    """Load a function of the user's own file.

    Raises:
        UsageError: it is no function of a file that `clipdata.step` marks.
        NotFoundError: there is no such file.
    """
    from clipdata.steps.functions import FunctionStep
    from clipdata.steps.own_errors import place_of, told

    file, _, function = name.rpartition(":")
    if not file or not function:
        hint = _steps_in(name) if Path(name).is_file() else None
        raise UsageError(f"{name!r} is no function of yours; expected FILE.py:function", hint=hint)
    path = Path(file)
    if not path.is_file():
        raise NotFoundError(f"there is no file {file}; expected FILE.py:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:  # Python tells by the suffix
        kind = kind_of_file(path)
        found = f"it is {kind.name}" if kind is not None else "its name does not end in .py"
        raise UsageError(f"{file} is no Python module: {found}; expected FILE.py:function", hint=_EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ClipdataError as error:
        raise UsageError(f"{file}{place_of(error)}: {error.message}", hint=error.hint) from error
    except SystemExit as asked:
        raise UsageError(f"{file} asks to end the program when it is read{place_of(asked)}") from asked
    except Exception as error:  # whatever the user's own file does when it is read
        raise UsageError(f"{file} cannot be read as a module: {told(error)}") from error
    made = getattr(module, function, None)
    if not isinstance(made, FunctionStep):
        steps = [n for n, value in vars(module).items() if isinstance(value, FunctionStep)]
        listed = f"it has {', '.join(steps)}" if steps else "no function there is marked with @clipdata.step"
        raise UsageError(f"{file} has no step {function!r}; {listed}")
    return made
