"""Many operations of several processes on one table, with kills and lost answers, and every version held to them.

    python benchmarks/history.py                          10,000 operations on disk
    python benchmarks/history.py --store gs --operations 1000
    python benchmarks/history.py --mix replaced           compactions and restores above all
    python benchmarks/history.py --seed 7                 what a failing run said to repeat

On gs and s3 an emulator runs here, behind a proxy that resets, answers 503, and loses answers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clipdata.storage import Storage
from tests.cloud.fault_proxy import Fault, FaultProxy
from tests.cloud.servers import gcs_server, s3_server
from tests.faults.history_actors import MIXES
from tests.faults.history_check import anomalies
from tests.faults.history_run import run

FAULTS = (
    Fault("503", rate=0.02),
    Fault("reset_before", rate=0.01),
    Fault("503_after", rate=0.01, requests=("put",)),
    Fault("reset_after", rate=0.01, requests=("put",)),
    Fault("truncate", rate=0.01, requests=("get",)),
    Fault("late", rate=0.003, requests=("put",), delay_s=(0.5, 2.0)),
)


def main() -> int:
    """Print what was done and each anomaly; return 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", choices=["disk", "gs", "s3"], default="disk")
    parser.add_argument("--mix", choices=list(MIXES), default="all")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        place: dict[str, object] = {}
        if given.store != "disk":
            server = gcs_server(folder / "objects") if given.store == "gs" else s3_server()
            (folder / "objects").mkdir(exist_ok=True)
            proxy = opened.enter_context(FaultProxy(opened.enter_context(server), seed=given.seed))
            place = {"uri": f"{given.store}://history/t.lance", "storage": _storage(given.store, proxy.url)}
            _make_bucket(given.store, proxy.url)
            proxy.inject(*FAULTS)
        done = run(
            folder, num_operations=given.operations, num_processes=given.processes, seed=given.seed, kill=0.02,
            kinds=MIXES[given.mix], **place,
        )  # fmt: skip
        if given.store != "disk":
            print(f"faults injected: {proxy.counts().faults}")
        found = anomalies(done.history)
        print(f"{given.store}, seed {given.seed}: {done}: {len(found)} anomalies")
        print("".join(f"  {one}\n" for one in found[:50]), end="")
        return int(bool(found))


def _storage(scheme: str, url: str) -> Storage:
    if scheme == "gs":
        return Storage(anonymous=True, options={"endpoint": url})
    keys = {"access_key_id": "testing", "secret_access_key": "testing", "region": "us-east-1"}
    return Storage(options={"endpoint": url, **keys})


def _make_bucket(scheme: str, url: str) -> None:
    if scheme == "gs":
        target, method, body = "/storage/v1/b?project=test", "POST", json.dumps({"name": "history"}).encode()
    else:
        target, method, body = "/history", "PUT", b""
    ask = urllib.request.Request(url + target, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(ask, timeout=30) as reply:
        assert reply.status == 200


if __name__ == "__main__":
    sys.exit(main())
