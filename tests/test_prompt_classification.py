"""Classification by prompts, from class folders and lists to figures, on small drawings of colours."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import clipdata as cd
import ingest
from clipdata.encoder.loading import load_encoder
from clipdata.errors import ClipdataError
from clipdata.images import decode
from clipdata.progress import Silent
from clipdata.training.objectives import ClassPrompts, Contrastive, MultiPositive
from pipelines.cli.app import main
from pipelines.prompt_classification import (
    ClassificationSettings,
    PromptClassification,
    run_prompt_classification,
)
from pipelines.results import PipelineResult
from tests.class_folders import RESNET, draw, draw_folders, write_lists
from tests.tiny_models import tiny_encoder

SHORT = {"steps": "2", "batch_size": "4"}


class Heard(Silent):
    """What was said."""

    def __init__(self, until: str | None = None) -> None:
        self.lines: list[str] = []
        self._until = until

    def say(self, message: str) -> None:
        """Note it; end everything at the one that was waited for."""
        self.lines.append(message)
        if self._until is not None and self._until in message:
            raise KeyboardInterrupt

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """images/ and meta/ as the document reads them, and models."""
    folder = tmp_path_factory.mktemp("sources")
    write_lists(folder, 6)
    tiny_encoder(folder)
    tiny_encoder(folder / "resnet", **RESNET)
    return folder


@pytest.fixture(scope="module")
def asked(sources: Path) -> ClassificationSettings:
    return ClassificationSettings(
        images=str(sources / "images"),
        lists=str(sources / "meta"),
        model=str(sources / "tiny-0"),
        training=SHORT,
        device="cpu",
    )


def documented(
    asked: ClassificationSettings, out: Path, *, resnet: bool = False, **training: str
) -> ClassificationSettings:
    """The document's settings, on fewer epochs, without the weights of each where no test looks at them."""
    training = {"export_every_epochs": "0", **training}
    folder, name = Path(asked.model).parent, Path(asked.model).name
    model = str(folder / "resnet" / name if resnet else folder / name)
    return replace(asked, model=model, out=str(out), config="document", training=training)


def test_lists_are_read_as_the_document_reads_them_and_the_test_list_is_measured(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    heard = Heard()
    result = run_prompt_classification(replace(asked, out=str(tmp_path)), heard)

    rows = result.table.to_table(["path", "label", "split", "prompt", "label_ind"]).to_pylist()
    assert len(rows) == 18
    assert {
        "path": "dark_red/4.0.jpg",
        "label": "dark red",
        "split": "test",
        "prompt": "a photo of dark red",
    }.items() <= (next(row for row in rows if row["path"] == "dark_red/4.0.jpg").items())
    assert {(row["label"], row["label_ind"]) for row in rows} == {("blue", 0), ("dark red", 1), ("green", 2)}
    assert result.run.record["table"]["num_rows"] == 12
    assert result.comparison.mean.num_rows == 6
    assert result.comparison.accuracy is not None
    assert result.comparison.accuracy.chance == pytest.approx(1 / 3)
    assert "before training, test: 6 pictures" in heard.text


def test_its_figures_are_those_that_evaluate_finds_with_the_same_prompts(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    templates = ("a photo of {}", "{label}, a kind of colour")
    result = run_prompt_classification(replace(asked, out=str(tmp_path), templates=templates))

    found = result.evaluations["classification"].to_dict()
    objective = ClassPrompts("label", ("blue", "dark red", "green"), templates)
    models = {"before": load_encoder(asked.model, device="cpu"), "after": result.run.encoder(device="cpu")}
    for side, encoder in models.items():
        metrics = cd.evaluate(result.table, encoder, objective, where="split = 'test'").evaluation.metrics
        for figure, name in (("top1", "top1_accuracy"), ("top5", "top5_accuracy")):
            assert found[side][figure] == pytest.approx(metrics[name])
        assert found[side]["mean_class_recall"] == pytest.approx(metrics["mean_class_recall"])
        assert sum(kind["rows"] for kind in found[side]["confusion"]) == 6
    assert found["after"]["top1"] == pytest.approx(result.comparison.accuracy.change.after)


def test_the_same_command_again_changes_nothing_and_another_template_gives_figures_of_its_own(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    """The document's two listings differ in "a photo of" and "photo if"."""
    one = replace(asked, out=str(tmp_path))
    first = run_prompt_classification(one)
    again = run_prompt_classification(one)
    other = run_prompt_classification(replace(one, templates=("photo if {}",)))

    assert (again.changed, str(again)) == (False, str(first))
    assert other.changed
    assert other.run.path != first.run.path
    assert set(other.table.to_table(["prompt"])["prompt"].to_pylist()) == {
        f"photo if {name}" for name in ("blue", "dark red", "green")
    }


def test_the_documents_own_settings_are_those_of_its_code(asked: ClassificationSettings) -> None:
    config = PromptClassification(replace(asked, config="document", training={})).config

    assert (config.train, config.optimizer, config.lr) == ("all", "adam", 1e-6)
    assert (config.betas, config.eps, config.weight_decay, config.decay_all) == ((0.9, 0.98), 1e-6, 1e-3, True)
    assert (config.schedule, config.step_epochs, config.step_gamma) == ("step", 10, 0.1)
    assert (config.batch_size, config.epochs, config.num_steps(5)) == (4, 30, 150)
    assert (config.shuffle, config.drop_last, config.grad_clip, config.pull) == (True, False, None, 0.0)
    assert (config.precision, config.export_every_epochs, config.checkpoint_every_epochs) == ("fp16", 1, 4)
    assert (config.tell_every_steps, config.warmup_steps, config.image_trunk) == (4, 0, None)
    assert config.objective == MultiPositive("prompt", group="label_ind")


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("as-written", Contrastive("prompt", same="negatives")),
        ("in-batch", MultiPositive("prompt", group="label_ind")),
        ("class-softmax", ClassPrompts("label_ind", templates=("a photo of {}",))),
    ],
)
def test_the_objective_is_an_option_and_any_other_is_set(
    asked: ClassificationSettings, name: str, objective: object
) -> None:
    chosen: Any = name
    assert PromptClassification(replace(asked, objective=chosen)).config.objective == objective
    kind = {"objective": objective.kind, **({"same": "negatives"} if name == "as-written" else {})}
    assert PromptClassification(replace(asked, training=kind)).config.objective == objective


def test_a_resnet_is_trained_whole_as_the_document_does_it(asked: ClassificationSettings, tmp_path: Path) -> None:
    heard = Heard()
    one = documented(asked, tmp_path, resnet=True, epochs="5", step_epochs="2", export_every_epochs="1")
    result = run_prompt_classification(one, heard)

    rates = [line["lr"] for line in result.run.metrics if line["kind"] == "step"]
    assert rates == pytest.approx([rate for epoch in range(5) for rate in [1e-6 * 0.1 ** (epoch // 2)] * 3], rel=1e-12)
    assert sorted(int(path.name) for path in (result.run.path / "epochs").iterdir()) == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in (result.run.path / "checkpoints").iterdir()) == ["step-12", "step-15"]
    assert "step 4 of 15: loss" in heard.text
    assert "computing in fp32 on this CPU" in heard.text
    assert (result.run.config.precision, result.run.config.image_trunk) == ("fp32", None)
    assert load_encoder(str(result.run.path / "epochs" / "1"), device="cpu").embed_dim == 32


def test_every_weight_moves_at_a_rate_of_a_millionth_and_no_statistics_of_batches_do(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    """In half precision, as the document has its weights, most of these updates would be rounded away."""
    one = documented(asked, tmp_path, resnet=True, steps="6")
    result = run_prompt_classification(one)

    model = load_encoder(one.model, device="cpu").model
    trained = {name: value for name, value in model.named_parameters() if name != "token_embedding.weight"}
    after = result.run.encoder(device="cpu").model.state_dict()
    moved, moved_in_half, num = 0.0, 0.0, 0
    for name, value in model.state_dict().items():
        if name in trained:
            moved += float((value != after[name]).sum())
            moved_in_half += float((value.half() != after[name].half()).sum())
            num += value.numel()
        elif name != "token_embedding.weight":  # of which only the words that occur have a gradient
            assert torch.equal(value, after[name]), name
    assert moved / num > 0.95
    assert moved_in_half / num < 0.5


def by_hand(encoder: cd.Encoder, table: cd.Table) -> list[float]:
    """The document's loop over the rows in their order, with weights in single precision."""
    rows = table.to_table(["path", "image", "label"], where="split = 'train'").to_pylist()
    pixels_NCHW = torch.stack([encoder.prepare(decode(row["image"])) for row in rows])
    tokens_NL = encoder.tokenize([f"a photo of {row['label']}" for row in rows])
    net, cross_entropy = encoder.model.eval(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.001)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    losses = []
    for _ in range(4):
        for start in range(0, len(rows), 5):
            image_BCHW = encoder.normalise(pixels_NCHW[start : start + 5])
            optimizer.zero_grad()
            image_BD, text_BD, scale = net(image_BCHW, tokens_NL[start : start + 5])[:3]
            logits_BB = scale * image_BD @ text_BD.T
            truth_B = torch.arange(len(logits_BB))
            loss = (cross_entropy(logits_BB, truth_B) + cross_entropy(logits_BB.T, truth_B)) / 2
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    return losses


def losses_of(result: PipelineResult) -> list[float]:
    return [line["loss"] for line in result.run.metrics if line["kind"] == "step"]


@pytest.mark.parametrize("objective", ["as-written", "in-batch"])
def test_its_losses_are_those_of_the_documents_loop(
    asked: ClassificationSettings, tmp_path: Path, objective: Any
) -> None:
    """Batches of five, the last of two: equal prompts and others in each."""
    ordered = {"epochs": "4", "lr": "1e-3", "step_epochs": "2", "batch_size": "5", "shuffle": "false"}
    one = replace(documented(asked, tmp_path, fidelity="exact", **ordered), objective=objective)

    result = run_prompt_classification(one)

    expected = by_hand(load_encoder(one.model, device="cpu"), result.table)
    assert losses_of(result) == pytest.approx(expected, rel=1e-3)
    assert len(expected) == 12
    assert max(expected) - min(expected) > 0.1


def test_equal_prompts_put_a_floor_under_the_loss_as_it_is_written_and_none_under_a_softmax(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    """Rows are in the order of their classes here, and batches of four are of one class: ln 4 is all that is left."""
    one = documented(asked, tmp_path, epochs="12", lr="1e-3", shuffle="false")

    written = losses_of(run_prompt_classification(replace(one, objective="as-written")))
    softmax = losses_of(run_prompt_classification(replace(one, objective="class-softmax")))

    assert min(written) == pytest.approx(math.log(4), abs=0.05)
    assert min(written) >= math.log(4) - 1e-5
    assert min(softmax) < 0.9


def test_killed_while_it_trains_it_goes_on_and_ends_as_if_it_had_not_been(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    training = {"epochs": "5", "lr": "1e-4"}
    whole = run_prompt_classification(documented(asked, tmp_path / "whole", **training))
    killed = documented(asked, tmp_path / "killed", **training)
    with pytest.raises(KeyboardInterrupt):
        run_prompt_classification(killed, Heard(until="epoch 5 of 5"))

    heard = Heard()
    resumed = run_prompt_classification(killed, heard)

    assert "going on after step 12 of 15" in heard.text
    assert resumed.comparison.figures() == whole.comparison.figures()


def test_folders_without_a_list_hold_out_a_share_of_every_class(asked: ClassificationSettings, tmp_path: Path) -> None:
    heard = Heard()
    result = run_prompt_classification(replace(asked, lists=None, out=str(tmp_path)), heard)

    rows = result.table.to_table(["label", "class_split"]).to_pylist()
    held_out = [row["label"] for row in rows if row["class_split"] == "test"]
    assert sorted(held_out) == ["blue", "dark red", "green"]
    assert result.comparison.mean.num_rows == 3
    assert "nothing says which pictures are held out" in heard.text
    assert "epoch 1" in str(result.run)


@pytest.mark.parametrize("measured", ["test", "val"])
def test_split_folders_are_taken_as_they_are(asked: ClassificationSettings, tmp_path: Path, measured: str) -> None:
    draw_folders(tmp_path / "in", 4, "train/")
    draw_folders(tmp_path / "in", 2, f"{measured}/", seed=50)
    one = replace(asked, images=str(tmp_path / "in"), lists=None, out=str(tmp_path / "out"))

    result = run_prompt_classification(one)

    assert result.run.record["table"]["num_rows"] == 12
    assert result.comparison.mean.num_rows == 6


def test_a_part_of_the_rows_is_trained_on_in_a_table_of_its_own(asked: ClassificationSettings, tmp_path: Path) -> None:
    result = run_prompt_classification(replace(asked, out=str(tmp_path), sample=7, held_out=3))

    assert result.trained is not None
    assert (result.trained.mean.num_rows, result.comparison.mean.num_rows) == (7, 3)


def test_a_table_that_is_there_gets_the_columns(asked: ClassificationSettings, sources: Path, tmp_path: Path) -> None:
    table = ingest.from_class_list(sources / "images", sources / "meta", into=tmp_path / "mine.lance").table
    one = replace(asked, images=None, lists=None, table=table.uri, label="class_name", out=str(tmp_path / "out"))

    result = run_prompt_classification(one)

    assert result.table.uri == table.uri
    assert not list((tmp_path / "out").glob("*.lance"))
    assert cd.open_table(table.uri).count_rows("class_prob_fine_tune IS NOT NULL") == 18


def test_classes_of_a_file_are_prompted_in_its_order_and_others_left_out(
    asked: ClassificationSettings, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("Green\nDark red\nviolet\n")
    heard = Heard()
    result = run_prompt_classification(
        replace(asked, classes=str(tmp_path / "names.txt"), out=str(tmp_path), templates=("a {}, in colour",)), heard
    )

    rows = result.table.to_table(["label", "label_ind", "prompt"]).to_pylist()
    assert {(row["label"], row["label_ind"], row["prompt"]) for row in rows} == {
        ("green", 0, "a Green, in colour"),
        ("dark red", 1, "a Dark red, in colour"),
        ("blue", None, None),
    }
    assert "left out: 6 rows of 1 classes that the list has not: 'blue'" in heard.text
    assert result.comparison.mean.num_rows == 4
    assert result.evaluations["classification"].to_dict()["after"]["classes"] == 3


def only_train(folder: Path, one: ClassificationSettings) -> ClassificationSettings:
    (folder / "meta").mkdir()
    (folder / "meta" / "train.txt").write_text("green/0.1\nblue/0.2\n")
    return replace(one, lists=str(folder / "meta"))


def one_class(folder: Path, one: ClassificationSettings) -> ClassificationSettings:
    draw(folder / "in" / "green" / "a.jpg", "green", 0)
    return replace(one, images=str(folder / "in"), lists=None)


def no_picture(folder: Path, one: ClassificationSettings) -> ClassificationSettings:
    (folder / "in" / "green").mkdir(parents=True)
    (folder / "in" / "green" / "a.jpg").write_bytes(b"no picture")
    return replace(one, images=str(folder / "in"), lists=None)


def other_names(folder: Path, one: ClassificationSettings) -> ClassificationSettings:
    (folder / "names.txt").write_text("cat\ndog\n")
    return replace(one, classes=str(folder / "names.txt"))


def own_columns(folder: Path, one: ClassificationSettings) -> ClassificationSettings:
    table = ingest.from_class_list(one.images, one.lists, into=folder / "mine.lance").table
    import lance

    lance.dataset(table.uri).add_columns({"prompt": "'my own words'"})
    return replace(one, images=None, lists=None, table=table.uri)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _, one: replace(one, images="nowhere"), "nowhere"),
        (lambda folder, one: replace(one, lists=str(folder)), "holds none of train.txt"),
        (lambda _, one: replace(one, classes="nowhere.txt"), "there is no such file"),
        (lambda _, one: replace(one, templates=("a photo",)), "has no braces"),
        (lambda _, one: replace(one, training={"objective": "contrastiv"}), "did you mean contrastive"),
        (lambda _, one: replace(one, images=None, lists=None, table="nowhere.lance"), "nowhere.lance"),
        (only_train, "gives 2 'train'; expected rows 'train'"),
        (one_class, "one class alone, 'green'"),
        (no_picture, "no picture under .* can be used"),
        (other_names, "no row is of a class in the list: rows are of 'blue', 'dark red', 'green', the list has 'cat'"),
        (own_columns, "columns of its own called prompt"),
    ],
)
def test_what_is_wrong_with_the_request_is_one_clear_error(
    asked: ClassificationSettings,
    tmp_path: Path,
    change: Callable[[Path, ClassificationSettings], ClassificationSettings],
    said: str,
) -> None:
    with pytest.raises(ClipdataError, match=said):
        run_prompt_classification(change(tmp_path, replace(asked, out=str(tmp_path / "out"))))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"table": "t.lance"}, "--table and --images are both given"),
        ({"images": None}, "--lists is given without --images"),
        ({"objective": "inbatch"}, "expected one of in-batch, as-written, class-softmax"),
        ({"objective": "in-batch", "training": {"objective": "siglip"}}, "are both given"),
        ({"test_share": 1.0}, "test_share is 1.0"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    asked: ClassificationSettings, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClipdataError, match=said):
        replace(asked, **wrong)


def test_bad_pictures_and_missing_entries_are_counted_and_the_rest_goes_on(
    asked: ClassificationSettings, sources: Path, tmp_path: Path
) -> None:
    draw_folders(tmp_path / "in", 6)
    (tmp_path / "in" / "green" / "0.1.jpg").write_bytes(b"\xff\xd8 cut short")
    (tmp_path / "meta").mkdir()
    for name in ("train.txt", "test.txt"):
        (tmp_path / "meta" / name).write_text((sources / "meta" / name).read_text() + "\nblue/none\n")
    heard = Heard()

    one = replace(asked, images=str(tmp_path / "in"), lists=str(tmp_path / "meta"), out=str(tmp_path / "out"))
    result = run_prompt_classification(one, heard)

    assert result.run.record["table"]["num_rows"] == 11
    assert "missing" in heard.text


def test_the_command_prints_the_figures_and_takes_templates_with_commas(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "prompt-classification", "--images", sources / "images", "--lists", sources / "meta"]
    words += ["--model", sources / "tiny-0", "--out", tmp_path, "--set", "steps=2", "--device", "cpu"]
    words += ["--template", "a photo of {}, a kind of colour", "--template", "{label}", "--objective", "class-softmax"]

    assert main([*map(str, words)]) == 0

    printed = capsys.readouterr().out
    assert "class_prob → class_prob_fine_tune" in printed
    assert "mean recall per class" in printed
    assert main([*map(str, words), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changed"] is False
    assert found["evaluations"]["classification"]["after"]["rows"] == 6
    assert found["run"]["config"]["objective"]["templates"] == ["a photo of {}, a kind of colour", "{label}"]
