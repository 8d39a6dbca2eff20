"""A training written down in the words of transformers' Trainer, and the fields of a config that say the same."""

import json

import pytest

from clipdata.errors import ConfigError, NotFoundError
from clipdata.training.config import TrainConfig
from pipelines.train_arguments import TrainArguments

PUBLISHED = {
    "output_dir": "output/clip",
    "clip_pretrain_path": "pretrain_model/clip-vit-base-patch32",
    "bert_pretrain_path": "pretrain_model/mengzi-bert-base",
    "load_from_bert_clip": False,
    "image_path": "images",
    "train_file": "data/训练.csv",
    "test_file": None,
    "num_train_epochs": 50,
    "max_steps": -1,
    "per_device_train_batch_size": 768,
    "per_device_eval_batch_size": 256,
    "learning_rate": 5e-5,
    "max_seq_length": 100,
    "logging_steps": 50,
    "save_steps": 500,
    "save_total_limit": 3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 1000,
    "warmup_ratio": 0.1,
    "gradient_accumulation_steps": 2,
    "optim": "adamw_torch",
    "seed": 7,
    "fp16": True,
    "no_cuda": False,
    "dataloader_num_workers": 10,
}
ITS_REST = {"save_strategy": "steps", "weight_decay": 0, "max_grad_norm": 1.0}
LEAST = {
    "output_dir": "out",
    "image_path": "images",
    "train_file": "train.csv",
    "clip_pretrain_path": "both",
    "load_from_bert_clip": True,
}


def problems_of(**changes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        TrainArguments.from_json(json.dumps({**PUBLISHED, **changes}))
    return caught.value.problems


def fields_of(on_gpu: bool = False, **changes) -> dict:
    return TrainArguments(**{**LEAST, **changes}).to_train_config(on_gpu=on_gpu)


def test_a_published_file_is_read_with_every_name_it_has(tmp_path):
    path = tmp_path / "train_clip.json"
    path.write_text(json.dumps({**PUBLISHED, **ITS_REST}, ensure_ascii=False, indent=4), encoding="utf-8")

    arguments = TrainArguments.read(path)

    assert {name: getattr(arguments, name) for name in PUBLISHED} == PUBLISHED
    assert {name: getattr(arguments, name) for name in ITS_REST} == ITS_REST


def test_its_training_is_that_of_these_fields():
    assert TrainArguments(**PUBLISHED).to_train_config(on_gpu=True) == {
        "epochs": 50,
        "steps": None,
        "batch_size": 768,
        "accumulate": 2,
        "drop_last": False,
        "lr": 5e-5,
        "schedule": "cosine",
        "warmup_steps": 1000,
        "warmup_ratio": 0.1,
        "warmup_from_zero": True,
        "optimizer": "adamw",
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "decay_all": False,
        "grad_clip": 1.0,
        "seed": 7,
        "precision": "fp16",
        "evaluation_batch": 256,
        "tell_every_steps": 50,
        "checkpoint_every_steps": 500,
        "keep_checkpoints": 3,
        "num_workers": 10,
    }


@pytest.mark.parametrize("given", [PUBLISHED, LEAST])
def test_they_are_fields_of_a_training_config(given):
    fields = TrainArguments(**given).to_train_config(on_gpu=False)

    config = TrainConfig(objective="contrastive", **fields)

    assert {name: getattr(config, name) for name in fields} == fields


def test_what_a_file_leaves_out_is_as_in_the_trainer():
    from transformers import TrainingArguments

    theirs = {name: field.default for name, field in TrainingArguments.__dataclass_fields__.items()}
    ours = vars(TrainArguments(**LEAST))

    elsewhere = {
        "output_dir",  # must be given
        "optim",  # the default of the release that the file's format comes from, and the same optimizer here
    }
    shared = (ours.keys() & theirs.keys()) - elsewhere
    assert shared >= {"learning_rate", "num_train_epochs", "warmup_steps", "save_total_limit", "adam_epsilon"}
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_the_most_steps_come_before_the_epochs():
    fields = fields_of(max_steps=30, num_train_epochs=0.5)

    assert (fields["steps"], fields["epochs"]) == (30, 1)


@pytest.mark.parametrize("max_steps", [-1, 0])
def test_no_limit_of_steps_goes_by_the_epochs(max_steps):
    fields = fields_of(max_steps=max_steps, num_train_epochs=4.0)

    assert (fields["steps"], fields["epochs"]) == (None, 4)


@pytest.mark.parametrize(
    ("kind", "schedule", "warmup_steps", "warmup_ratio"),
    [
        ("linear", "linear", 5, 0.2),
        ("cosine", "cosine", 5, 0.2),
        ("constant_with_warmup", "constant", 5, 0.2),
        ("constant", "constant", 0, 0.0),
    ],
)
def test_a_constant_rate_has_a_warm_up_only_under_the_name_that_says_so(kind, schedule, warmup_steps, warmup_ratio):
    fields = fields_of(lr_scheduler_type=kind, warmup_steps=5, warmup_ratio=0.2)

    assert (fields["schedule"], fields["warmup_steps"], fields["warmup_ratio"]) == (
        schedule,
        warmup_steps,
        warmup_ratio,
    )


@pytest.mark.parametrize(
    ("optim", "ours"),
    [("adamw_hf", "adamw"), ("adamw_torch", "adamw"), ("adamw_torch_fused", "adamw"), ("sgd", "sgd")],
)
def test_optimizers_have_one_name_here(optim, ours):
    assert fields_of(optim=optim)["optimizer"] == ours


@pytest.mark.parametrize(("strategy", "steps"), [("steps", 40), ("epoch", 0), ("no", 0)])
def test_checkpoints_between_the_ends_of_epochs_are_written_where_that_is_the_strategy(strategy, steps):
    assert fields_of(save_strategy=strategy, save_steps=40)["checkpoint_every_steps"] == steps


def test_paths_that_are_not_needed_may_be_empty():
    arguments = TrainArguments(**{**LEAST, "bert_pretrain_path": "", "test_file": ""})

    assert (arguments.bert_pretrain_path, arguments.test_file) == (None, None)
    assert arguments.notes(on_gpu=True) == []


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_every_checkpoint_is_kept(limit):
    assert fields_of(save_total_limit=limit)["keep_checkpoints"] >= 10**6


def test_no_largest_norm_clips_nothing():
    assert fields_of(max_grad_norm=0.0)["grad_clip"] is None


def test_half_precision_needs_a_gpu_and_its_absence_is_said():
    arguments = TrainArguments(**{**LEAST, "fp16": True, "no_cuda": True})

    assert arguments.device == "cpu"
    assert arguments.to_train_config(on_gpu=False)["precision"] == "fp32"
    assert arguments.notes(on_gpu=False) == ["fp16 is true and the model runs on a CPU: it computes in fp32"]
    assert arguments.notes(on_gpu=True) == []


def test_what_is_not_read_is_said():
    said = "\n".join(TrainArguments(**{**PUBLISHED, "max_steps": 9, "load_from_bert_clip": True}).notes(on_gpu=True))

    assert "max_steps is 9: num_train_epochs (50) is not read" in said
    assert "warmup_steps is 1,000: warmup_ratio (0.1) is not read" in said
    assert "load_from_bert_clip is true: bert_pretrain_path is not read" in said
    assert "gradients of 2 batches are averaged; 768 rows meet in a loss" in said


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("learning_rates", "learning_rate"),
        ("warm_up_steps", "warmup_steps"),
        ("train_batch_size", "per_device_train_batch_size"),
        ("batch_size", "per_device_train_batch_size or per_device_eval_batch_size?"),
        ("Scheduler", "did you mean lr_scheduler_type?"),
        ("lr_scheduler", "lr_scheduler_type"),
        ("epochs", "did you mean num_train_epochs?"),
        ("colour", "known are output_dir"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(typed, near):
    (problem,) = problems_of(**{typed: 1})

    assert repr(typed) in problem
    assert near in problem


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "5e-5", "a number"),
        ("learning_rate", 0, "a number above 0"),
        ("learning_rate", float("nan"), "a number above 0"),
        ("num_train_epochs", 2.5, "max_steps for a part of an epoch"),
        ("num_train_epochs", 0, "a number above 0"),
        ("num_train_epochs", float("inf"), "a number above 0"),
        ("max_steps", -2, "or -1 to go by num_train_epochs"),
        ("max_steps", 1.5, "a whole number"),
        ("per_device_train_batch_size", 0, "at least 1"),
        ("warmup_ratio", 1.5, "a share from 0 to 1"),
        ("warmup_steps", 0.1, "a whole number"),
        ("save_total_limit", -1, "0 or more"),
        ("fp16", "true", "true or false"),
        ("seed", True, "a whole number"),
        ("lr_scheduler_type", "polynomial", "'linear' or 'cosine' or 'constant' or 'constant_with_warmup'"),
        ("optim", "adafactor", "'adamw_hf' or 'adamw_torch' or 'adamw_torch_fused' or 'sgd'"),
        ("adam_beta2", 1.0, "below 1"),
        ("train_file", "  ", "a path"),
        ("train_file", None, "a text"),
        ("bert_pretrain_path", None, "load_from_bert_clip true"),
        ("bert_pretrain_path", "", "load_from_bert_clip true"),
        ("save_strategy", "best", "'steps' or 'epoch' or 'no'"),
        ("image_path", ["images"], "a text"),
        ("optim", {"name": "sgd"}, "'sgd'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_is_expected(name, value, expected):
    (problem,) = problems_of(**{name: value})

    assert problem.startswith(f"{name} is ")
    assert expected in problem


def test_all_faults_are_named_at_once():
    text = (
        '{"output_dir": "a", "output_dir": "b", "learning_rate": "x", "seeds": 1, "image_path": "i", "max_steps": -7}'
    )

    with pytest.raises(ConfigError) as caught:
        TrainArguments.from_json(text, what="train_clip.json")

    named = [problem.split()[0] for problem in caught.value.problems]
    assert named == [
        "there",  # is no field 'seeds'
        "output_dir",
        "train_file",
        "clip_pretrain_path",
        "learning_rate",
        "max_steps",
        "bert_pretrain_path",
    ]
    assert caught.value.message.startswith("train_clip.json: 7 problem(s)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"\xff\xfe{", "not JSON"),
        (b"", "not JSON"),
        (b'{"seed": 1,}', "not JSON"),
        (b'{"seed": 1} // a remark', "not JSON"),
        (b"[1, 2]", "found a list"),
        (b"3", "found a number"),
    ],
)
def test_what_is_no_json_object_is_refused(text, found):
    with pytest.raises(ConfigError, match=found):
        TrainArguments.from_json(text)


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert TrainArguments.from_json(b"\xef\xbb\xbf" + json.dumps(PUBLISHED).encode()).seed == 7


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"train_clip\.json"):
        TrainArguments.read(tmp_path / "train_clip.json")
