"""Secrets that go through the verbs stand in nothing that they write or say: tables, logs, records, reports, pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lance
import pytest

import clipdata as cd
import ingest
from ingest.web.download_rules import DownloadRules
from pipelines.cli.app import main
from tests.hostile_server import PUBLIC, Server, serve
from tests.pictures import write_pictures

KEY, TOKEN, SIGNED, PASSWORD = "k3y-S3CR3T-aaaa", "t0k-S3CR3T-bbbb", "s1g-S3CR3T-cccc", "pw-S3CR3T-dddd"
SECRETS = (KEY, TOKEN, SIGNED, PASSWORD)
OPTIONS = ["--storage-option", f"secret_access_key={KEY}", "--storage-option", f"session_token={TOKEN}"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as opened:
        yield opened


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "AZURE_STORAGE_KEY", "WANDB_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


def test_no_secret_is_written_or_said_by_any_verb(
    server: Server, environment: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"{PUBLIC}:{server.server_address[1]}"
    urls = [
        f"http://{place}/image/arrived.jpg?X-Amz-Signature={SIGNED}&X-Amz-Credential={KEY}&X-Amz-Date=1",
        f"http://{place}/image/arrived.jpg?token={TOKEN}",
        f"http://{place}/missing?token={TOKEN}",
        f"http://user:{PASSWORD}@{place}/image/arrived.jpg",
        f"http://10.0.0.1/a.jpg?sig={SIGNED}",
    ]
    (tmp_path / "urls.csv").write_text("url,caption\n" + "".join(f'"{url}",x\n' for url in urls))
    out = tmp_path / "out"
    out.mkdir()
    rules = DownloadRules(allow_private=(PUBLIC,), deadline_s=5, num_retries=0)
    ingest.from_urls(tmp_path / "urls.csv", into=out / "urls.lance", url="url", caption="caption", rules=rules)
    assert cd.open_table(out / "urls.lance").num_rows == 2, "URLs with secrets in them are downloaded"
    write_pictures(tmp_path / "in", 4)
    table, images = str(out / "urls.lance"), str(out / "images.lance")

    typed: list[list[str]] = [
        ["ingest", "images", str(tmp_path / "in"), "--into", images, *OPTIONS],
        ["ingest", "images", f"s3://{KEY}:{PASSWORD}@no-such-bucket-here/x", "--into", images, "--dry-run"],
        ["ingest", "parquet", str(tmp_path / f"none?token={TOKEN}.parquet"), "--into", images],
        ["map", "picture-digest", "digest", images, *OPTIONS],
        ["map", images, "picture-digest", "digest", *OPTIONS],
        *([verb, table, *more] for verb, *more in (
            ["log"], ["stats"], ["rejects"], ["errors"], ["show"], ["check"], ["doctor"], ["tag"], ["diff"],
            ["log", "--json"], ["stats", "--json"], ["rejects", "--json"], ["show", "--json"],
            ["query", "select * from dataset"], ["report", "--out", str(out / "report.html")],
            ["export", str(out / "rows.csv")], ["export", str(out / "rows.jsonl")],
            ["export", str(out / "rows.parquet")],
            ["export", str(out / "pictures"), "--format", "folder"], ["export", str(out / "shards")],
            ["delete", "--where", "caption = 'none'", "--yes"], ["compact", *OPTIONS],
            ["clean", "--dry-run"], ["push", str(out / "pushed")],
        )),
    ]  # fmt: skip
    for words in typed:
        main(words)
    cd.export_view(table, out / "gallery.html")
    said = capsys.readouterr()

    shown = said.out + said.err
    for secret in SECRETS:
        assert secret not in shown, secret
    written = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(written) > 30
    found = [(secret, path.name) for path, data in written.items() for secret in SECRETS if secret.encode() in data]
    assert found == []
    for name in ("urls.lance", "images.lance", "urls.rejects.lance"):
        assert not any(secret in _values_of(out / name) for secret in SECRETS), name


def _values_of(path: Path) -> str:
    """All values, as no file shows them that packs its pages; pictures apart."""
    read: Any = lance.dataset(str(path)) if path.exists() else None
    if read is None:
        return ""
    columns = [name for name in read.schema.names if name != "image"]
    return json.dumps(read.to_table(columns=columns).to_pylist(), default=str)
