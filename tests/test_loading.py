"""Models found by name: in a folder, as an architecture with weights, and on a hub that runs on the loopback."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clipdata.encoder import Encoder, export, load_encoder, new_encoder
from clipdata.errors import CredentialsError, NotFoundError, StorageError, TransientError, UsageError
from tests.tiny_models import tiny_bert, tiny_config, tiny_dual_encoder, tiny_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported model."""
    tiny_encoder(tmp_path)
    return tmp_path / "tiny-0"


def test_a_folder_is_found_by_path_string_prefix_and_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder.parent / "run"
    run.mkdir()
    (run / "export").symlink_to(folder)
    monkeypatch.chdir(folder.parent)

    names = [folder, str(folder), f"local-dir:{folder}", "tiny-0", "./tiny-0", "run", run]

    assert {load_encoder(name, device="cpu").identity for name in names} == {tiny_encoder().identity}


def test_a_folder_named_like_a_model_wins_over_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename("RN50")

    assert load_encoder("RN50", device="cpu").image_size == 32


def test_half_precision_weights_are_loaded_as_float32(folder: Path) -> None:
    weights = folder / "open_clip_model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    (folder / "clipdata_config.json").unlink()  # as open_clip leaves a folder

    model = load_encoder(folder, device="cpu").model

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("starte", "starter"),
        ("VitB32/openai", "ViT-B-32/openai"),
        ("ViT-B-32/opneai", "ViT-B-32/openai"),
        ("ViT-B/32/laion2b_s34b_b79", "ViT-B-32/laion2b_s34b_b79k"),
        ("ViT-B-32//no/such/file.safetensors", "no such file"),
        ("/no/such/folder", "no folder /no/such/folder"),
        ("local-dir:/no/such/folder", "no folder /no/such/folder"),
    ],
)
def test_a_name_that_does_not_exist_lists_what_is_near(name: str, said: str) -> None:
    with pytest.raises(NotFoundError, match=said):
        load_encoder(name, device="cpu")


def test_an_architecture_without_weights_says_which_there_are() -> None:
    with pytest.raises(UsageError, match="hint: ViT-B-32/openai"):
        load_encoder("ViT-B-32", device="cpu")


def test_a_folder_without_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(NotFoundError, match=r"expected open_clip_config\.json .* found notes\.txt"):
        load_encoder(tmp_path, device="cpu")
    with pytest.raises(NotFoundError, match="is a file; expected a folder"):
        load_encoder(tmp_path / "notes.txt", device="cpu")


def test_a_broken_export_says_what_is_wrong_with_it(folder: Path) -> None:
    config = folder / "open_clip_config.json"
    kept = config.read_text()

    for broken in ("{", "[]", '{"model_cfg": {"embed_dim": 4}}'):
        config.write_text(broken)
        with pytest.raises(UsageError, match="is not an open_clip config"):
            load_encoder(folder, device="cpu")

    other = json.loads(kept)
    other["model_cfg"]["vision_cfg"]["width"] = 128
    config.write_text(json.dumps(other))
    with pytest.raises(UsageError, match="does not hold weights of"):
        load_encoder(folder, device="cpu")

    config.write_text(kept)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(NotFoundError, match=r"holds no weights; expected open_clip_model\.safetensors"):
        load_encoder(folder, device="cpu")


@pytest.mark.parametrize("cut", [0, 5, 100_000])
def test_weights_that_were_cut_short_are_refused(folder: Path, cut: int) -> None:
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:cut])

    with pytest.raises(StorageError, match=r"open_clip_model\.safetensors is damaged, or was cut short"):
        load_encoder(folder, device="cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind of device 'gpu'"):
        load_encoder("starter", device="gpu")
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        load_encoder("starter", device="cuda:99")


def test_more_processes_than_devices_are_told_how_many_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")

    with pytest.raises(UsageError, match=r"(?s)no device 'cuda:1'.*1 CUDA device.*hint: torchrun --nproc-per-node"):
        load_encoder("starter")


def test_loading_says_nothing_and_leaves_logging_alone(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), list(root.filters)
    filters = list(warnings.filters)

    load_encoder(folder, device="cpu")
    new_encoder(tiny_config(), device="cpu")

    assert capfd.readouterr() == ("", "")
    assert (root.level, root.handlers, root.filters) == before
    assert warnings.filters == filters


class _Hub(BaseHTTPRequestHandler):
    """Answers like the Hugging Face hub for the folders `<root>/<org>/<name>`."""

    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        org, name, *rest = self.path.strip("/").split("/")
        repository, file = self.root / org / name, self.root.joinpath(org, name, *rest[2:])
        self.asked.append(f"{self.command} {self.path}")
        body = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if file.is_file() else 401 if org == "secret" else 404)
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        if org == "secret":
            self.send_header("X-Error-Code", "GatedRepo")
        elif not body:
            self.send_header("X-Error-Code", "EntryNotFound" if repository.is_dir() else "RepoNotFound")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives
        return


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    """A hub on the loopback with an empty cache; `root` holds its repositories, `asked` what was asked of it."""
    handler = type("Hub", (_Hub,), {"root": tmp_path / "hub", "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_hub_at(f"http://127.0.0.1:{server.server_port}", tmp_path, monkeypatch)
    yield handler
    server.shutdown()
    server.server_close()


def point_hub_at(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", endpoint)
    monkeypatch.setattr(
        f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)  # whatever the environment says


def publish(encoder: Encoder, root: Path) -> None:
    """Put a model on the hub as people do: its text tower's config lies in a repository of its own."""
    model = root / "org" / "model"
    export(encoder.model, encoder, model)
    (root / "org" / "tower").mkdir()
    shutil.copy(model / "config.json", root / "org" / "tower")
    config = json.loads((model / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": "org/tower", "hf_tokenizer_name": "org/model"}
    (model / "open_clip_config.json").write_text(json.dumps(config))


def test_a_model_on_the_hub_is_fetched_once(hub: type[_Hub], tmp_path: Path) -> None:
    encoder = tiny_dual_encoder(tmp_path / "parts")
    publish(encoder, hub.root)

    first = load_encoder("hf-hub:org/model", device="cpu").identity
    hub.asked.clear()
    second = load_encoder("hf-hub:org/model", device="cpu").identity

    assert first == second == encoder.identity
    assert hub.asked == []


def test_what_the_hub_does_not_have_is_told_apart(hub: type[_Hub]) -> None:
    (hub.root / "org" / "empty").mkdir(parents=True)

    with pytest.raises(NotFoundError, match="no repository org/missing"):
        load_encoder("hf-hub:org/missing", device="cpu")
    with pytest.raises(NotFoundError, match=r"org/empty holds none of open_clip_config\.json"):
        load_encoder("hf-hub:org/empty", device="cpu")
    with pytest.raises(CredentialsError, match="refused access to secret/model"):
        load_encoder("hf-hub:secret/model", device="cpu")
    with pytest.raises(UsageError, match="expected 'hf-hub:org/name'"):
        load_encoder("hf-hub:", device="cpu")


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "hf-hub:org/model"])
def test_without_a_hub_the_error_says_what_was_tried_and_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    point_hub_at(endpoint, tmp_path, monkeypatch)
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    with pytest.raises(TransientError) as caught:
        load_encoder(name, device="cpu")

    for said in (name, endpoint, str(tmp_path / "cache"), "HF_HOME", "ViT-B-32//path", "'starter'"):
        assert said in str(caught.value)
    assert waited == []  # no retries


def test_offline_mode_is_named_when_it_is_what_forbids_the_hub(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(UsageError, match="HF_HUB_OFFLINE forbids") as caught:
        load_encoder("hf-hub:org/model", device="cpu")

    assert "unset HF_HUB_OFFLINE" in str(caught.value)
    assert hub.asked == []


def test_a_file_of_weights_is_loaded_into_the_architecture_named_before_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.factory

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "Tiny-ViT-8.json").write_text(json.dumps(tiny_config()))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [])
    open_clip.add_model_config(tmp_path / "configs")

    loaded = load_encoder(f"Tiny-ViT-8/{folder}/open_clip_model.safetensors", device="cpu")

    assert loaded.identity == tiny_encoder().identity
    with pytest.raises(UsageError, match="does not hold weights of"):
        load_encoder(f"RN50/{folder}/open_clip_model.safetensors", device="cpu")


def test_weights_trained_with_quick_gelu_are_loaded_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip.factory

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", tiny_config())
    made = new_encoder(tiny_config(), device="cpu")
    weights = tmp_path / "cache/models--timm--vit_base_patch32_clip_224.openai/snapshots/c/open_clip_model.safetensors"
    weights.parent.mkdir(parents=True)
    (weights.parents[2] / "refs").mkdir()
    (weights.parents[2] / "refs" / "main").write_text("c")
    save_file({name: tensor.contiguous() for name, tensor in made.model.state_dict().items()}, weights)
    point_hub_at("http://127.0.0.1:9", tmp_path, monkeypatch)

    loaded = load_encoder("ViT-B-32/openai", device="cpu")

    assert loaded.model_cfg["quick_gelu"] is True
    assert loaded.identity == new_encoder(tiny_config(quick_gelu=True), device="cpu").identity
    assert loaded.prepare.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_a_new_model_of_an_unknown_architecture_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no architecture 'ViT-Z-1'"):
        new_encoder("ViT-Z-1", device="cpu")


def test_a_config_that_open_clip_cannot_build_is_refused() -> None:
    with pytest.raises(UsageError, match="open_clip cannot build 'mine'"):
        new_encoder(tiny_config(vision_cfg={"depth": 3}), name="mine", device="cpu")


def test_parts_of_a_new_model_come_from_the_hub_once(hub: type[_Hub], tmp_path: Path) -> None:
    import timm
    import transformers

    folder = tiny_bert(hub.root / "org" / "bert")
    transformers.BertModel(transformers.BertConfig.from_pretrained(folder)).save_pretrained(folder)
    backbone = hub.root / "timm" / "resnet10t.c3_in1k"
    backbone.mkdir(parents=True)
    torch.save(timm.create_model("resnet10t").state_dict(), backbone / "pytorch_model.bin")
    given = {
        "image": {"kind": "timm", "architecture": "resnet10t", "weights": "pretrained"},
        "text": {"kind": "hugging_face", "architecture": "org/bert"},
        "embed_dim": 32,
        "context_length": 16,
    }

    first = new_encoder(given, device="cpu")
    hub.asked.clear()
    second = new_encoder(given, device="cpu")

    assert first.identity == second.identity
    assert hub.asked == []
    assert first.tokenize.is_hugging_face
    local = new_encoder({**given, "text": {**given["text"], "architecture": str(folder)}}, device="cpu")
    assert local.identity == first.identity


def test_without_a_hub_a_part_says_what_else_there_is(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    given = {"image": {"kind": "vit"}, "text": {"kind": "hugging_face", "architecture": "bert-base-cased"}}

    with pytest.raises(UsageError, match="HF_HUB_OFFLINE forbids") as caught:
        new_encoder(given, device="cpu")

    assert '"weights": "random"' in str(caught.value)
    assert "ViT-B-32//" not in str(caught.value)
