"""The reference that is made from the code: nothing public lacks a description, and what is made says what is there."""

from __future__ import annotations

import dataclasses
import json

import pytest
import typer

import clipdata as cd
import ingest
from clipdata.training.objectives import OBJECTIVES
from clipdata.training.recipe_names import known_recipes
from docs.generate import reasons, steps, verbs
from docs.generate.markdown import description, plain, table
from docs.generate.reference import Reference, reference
from pipelines.cli.app import VERBS
from pipelines.cli.json_output import record
from pipelines.cli.named_steps import STEPS
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@pytest.fixture(scope="module")
def made() -> Reference:
    return reference()


def test_nothing_public_lacks_a_description(made: Reference) -> None:
    """Names, verbs, options, steps, parameters, fields, objectives, recipes, reasons, exit codes."""
    assert made.missing == ()


def test_every_verb_has_a_page_with_its_examples_and_its_schema(made: Reference) -> None:
    for one in VERBS:
        name = f"{verbs.FOLDER}/{one.words.replace(' ', '-')}"
        page = made.pages[f"{name}.md"]
        assert all(example in page for example in one.examples)
        assert "--quiet" in page
        assert json.loads(made.pages[f"{name}.json"])["title"] == f"clipdata {one.words}"


def test_every_step_field_objective_recipe_and_name_is_told(made: Reference) -> None:
    training = made.pages["reference/training.md"]
    assert all(f"## {name} {{ #{name} }}" in made.pages[steps.PATH] for name in STEPS)
    assert all(f"| `{field.name}` |" in training for field in dataclasses.fields(cd.TrainConfig))
    assert all(f"#objective-{name} }}" in training for name in OBJECTIVES)
    assert all(f"#recipe-{name} }}" in training for name in known_recipes())
    told = "".join(page for path, page in made.pages.items() if path.startswith("reference/python/"))
    names = [f"cd.{name}" for name in cd.__all__] + [f"ingest.{name}" for name in ingest.__all__]
    assert [name for name in names if name not in told] == []


def test_reasons_are_read_from_where_refusals_are_made() -> None:
    found = reasons.reasons_in_code()

    assert {"truncated", "link_outside", "no_class", "other_source", "null_key", "not_text", "http_404"} <= found
    assert found <= set(reasons.meanings())


def test_an_option_or_a_verb_without_a_text_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(terminal: Terminal, *, loud: bool = False) -> None:
        pass

    made = verb("bare", found=record(), examples=[])(bare)
    app = typer.Typer()
    app.callback()(lambda: None)
    made.add_to(app)
    monkeypatch.setattr(verbs, "VERBS", (made,))
    monkeypatch.setattr(verbs, "app", app)
    missing: list[str] = []

    verbs.pages(missing)

    assert missing == [
        "clipdata bare: --loud / --no-loud has no help",
        "clipdata bare: no docstring",
        "clipdata bare: no example",
    ]


def test_docstrings_become_markdown_without_their_sections() -> None:
    def documented() -> None:
        """Does *it* to <column>s, as `a|b` does.

            a figure   1
            another    2

        Args:
            what: not told here.

        Source: somewhere.
        """

    text = description(documented)

    assert text == (
        "Does \\*it\\* to \\<column>s, as `a|b` does.\n\n"
        "```text\na figure   1\nanother    2\n```\n\nSource: somewhere.\n"
    )


def test_cells_and_names_survive_markdown() -> None:
    assert table(["a"], [["one | two"]]) == "| a |\n| --- |\n| one \\| two |\n"
    assert plain("label_ind of __init__ [x]") == "label_ind of \\_\\_init\\_\\_ \\[x\\]"
