"""SIGKILL at every commit boundary and at random moments of every verb that writes, each run again and compared.

python benchmarks/kill_matrix.py                        on disk
python benchmarks/kill_matrix.py --store gs --random 1
python benchmarks/kill_matrix.py --verbs map,merge --seed 3
python benchmarks/kill_matrix.py --models               trainings and models, which are written on a disk
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.history import _make_bucket, _storage
from clipdata.storage import Storage
from tests.cloud.servers import gcs_server, s3_server
from tests.faults.kill_matrix import Killed, Matrix, moments
from tests.faults.kill_model_verbs import MODEL_VERBS, prepare_models
from tests.faults.kill_verbs import VERBS, prepare

STORES = {"disk": (), "gs": ("gcsfs",), "s3": ("s3fs",)}
PRELOAD = ("tests.faults.kill_matrix", "clipdata.viewer.edits", "clipdata.reporting", "datasets")
PRELOAD_MODELS = ("tests.faults.kill_matrix", "open_clip", "clipdata.training.fine_tuning")


def main() -> int:
    """Print a line a verb; return 1 when a table differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["disk", "gs", "s3"], default="disk")
    parser.add_argument("--random", type=int, default=2, help="kills of each verb at random moments")
    parser.add_argument("--most", type=int, default=40, help="most boundaries of a verb")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", action="store_true", help="the verbs that need a model, on disk")
    parser.add_argument("--verbs", default="")
    given = parser.parse_args()
    verbs = given.verbs.split(",") if given.verbs else list(MODEL_VERBS if given.models else VERBS)
    began_s = time.monotonic()
    random_ = random.Random(given.seed)
    all_killed: list[Killed] = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        (prepare_models if given.models else prepare)(folder)
        preload = (*(PRELOAD_MODELS if given.models else PRELOAD), *STORES[given.store])
        matrix = Matrix(folder, _uploading(given.store, folder, opened), preload)
        print(f"{'verb':18} {'boundaries':>10} {'kills':>6} {'most after':>10}  differences")
        for verb in verbs:
            num, seconds, _ = matrix.undisturbed(verb)
            chosen = range(num) if num <= given.most else sorted(random_.sample(range(num), given.most))
            done = [matrix.kill(verb, boundary=one) for one in chosen]
            done += [matrix.kill(verb, after_s=one) for one in moments(random_, seconds, given.random)]
            wrong = [one for one in done if one.differences]
            most = max(one.boundaries for one in done)
            print(f"{verb:18} {num:10} {sum(one.died for one in done):6} {most:10}  {len(wrong)}", flush=True)
            for one in wrong:
                print(f"    {one.where}: {'; '.join(one.differences)[:300]}", flush=True)
            all_killed += done
    num_wrong = sum(bool(one.differences) for one in all_killed)
    died = sum(one.died for one in all_killed)
    print(
        f"{given.store}, seed {given.seed}: {died} kills of {len(verbs)} verbs, {num_wrong} that end otherwise than an "
        f"undisturbed run; {time.monotonic() - began_s:.0f} s"
    )
    return int(num_wrong > 0)


def _uploading(store: str, folder: Path, opened: contextlib.ExitStack) -> Callable[[Path], tuple[str, Storage]] | None:
    if store == "disk":
        return None
    (folder / "objects").mkdir()
    url = opened.enter_context(gcs_server(folder / "objects") if store == "gs" else s3_server())
    _make_bucket(store, url)
    storage = _storage(store, url)

    def upload(tables: Path) -> tuple[str, Storage]:
        place = f"{store}://history/{tables.parent.name}"
        fs, path = storage.filesystem(place)
        files = [file for file in tables.rglob("*") if file.is_file()]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda file: fs.put_file(str(file), f"{path}/{file.relative_to(tables).as_posix()}"), files))
        return place, storage

    return upload


if __name__ == "__main__":
    sys.exit(main())
