"""SIGKILL at every commit boundary and at random moments of every verb that writes, each run again and compared.

python benchmarks/kill_matrix.py                        on disk
python benchmarks/kill_matrix.py --store gs --random 0
python benchmarks/kill_matrix.py --power                no kill: the machine loses power, and all that was not forced
                                                        to its disk, at each boundary and at the end
python benchmarks/kill_matrix.py --forbid               no kill: from each boundary on nothing may be written any more
python benchmarks/kill_matrix.py --forbid --store s3    the store refuses from each write on
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.history import _make_bucket, _storage
from clipdata.storage import Storage
from tests.cloud.fault_proxy import FaultProxy
from tests.cloud.servers import gcs_server, s3_server
from tests.faults.boundaries import Ending
from tests.faults.kill_matrix import PRELOAD, Killed, Matrix, moments
from tests.faults.kill_model_verbs import MODEL_VERBS, prepare_models
from tests.faults.kill_verbs import VERBS, prepare

WRITES = ("put", "copy", "delete")
STORES = {"disk": (), "gs": ("gcsfs",), "s3": ("s3fs",)}
PRELOAD_MODELS = ("tests.faults.kill_matrix", "open_clip", "clipdata.training.fine_tuning")


def main() -> int:
    """Print a line a verb; return 1 when a table differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=STORES, default="disk")
    parser.add_argument("--forbid", action="store_true", help="take the right to write away instead of killing")
    parser.add_argument("--power", action="store_true", help="take the power away instead of killing, on disk")
    parser.add_argument("--random", type=int, default=2, help="kills of each verb at random moments")
    parser.add_argument("--most", type=int, default=40, help="most boundaries of a verb")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", action="store_true", help="the verbs that need a model, on disk")
    parser.add_argument("--verbs", default="")
    given = parser.parse_args()
    verbs = given.verbs.split(",") if given.verbs else list(MODEL_VERBS if given.models else VERBS)
    random_, began_s, all_done = random.Random(given.seed), time.monotonic(), list[Killed]()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        (prepare_models if given.models else prepare)(folder)
        preload = (*(PRELOAD_MODELS if given.models else PRELOAD), *STORES[given.store])
        store = Store(given.store, folder, opened, through_proxy=given.forbid) if given.store != "disk" else None
        matrix = Matrix(folder, store.upload if store else None, preload)
        print(f"{'verb':20} {'boundaries':>10} {'ended':>6} {'most after':>10}  differences")
        for verb in verbs:
            done = list(_disturbed(matrix, verb, given, store.proxy if store else None, random_))
            _print_verb(verb, done)
            all_done += done
    num_wrong = sum(bool(one.differences) for one in all_done)
    died = sum(one.died for one in all_done)
    what = "losses of power" if given.power else "losses of the right to write" if given.forbid else "kills"
    print(
        f"{given.store}, seed {given.seed}: {died} {what} in {len(verbs)} verbs, {num_wrong} that end otherwise than "
        f"an undisturbed run; {time.monotonic() - began_s:.0f} s"
    )
    return int(num_wrong > 0)


def _disturbed(
    matrix: Matrix, verb: str, given: argparse.Namespace, proxy: FaultProxy | None, random_: random.Random
) -> Iterator[Killed]:
    """Disturb a verb at each place, or at some where there are too many."""
    if given.forbid and proxy is not None:
        with proxy.counting() as counts:
            matrix.undisturbed(verb)
        num = len(counts.of(*WRITES).log)
    else:
        num, seconds, _ = matrix.undisturbed(verb)
    places = range(num) if num <= given.most else sorted(random_.sample(range(num), given.most))
    if given.forbid and proxy is not None:
        yield from (matrix.refuse(verb, proxy, place) for place in places)
    elif given.power:
        yield matrix.lose_power(verb)
        yield from (matrix.lose_power(verb, place) for place in places)
    elif given.forbid:
        yield from (matrix.forbid(verb, Ending(place, then="read-only")) for place in places)
    else:
        yield from (matrix.kill(verb, boundary=place) for place in places)
        yield from (matrix.kill(verb, after_s=one) for one in moments(random_, seconds, given.random))


def _print_verb(verb: str, done: list[Killed]) -> None:
    wrong = [one for one in done if one.differences]
    most = max((one.boundaries for one in done), default=0)
    print(f"{verb:20} {len(done):10} {sum(one.died for one in done):6} {most:10}  {len(wrong)}", flush=True)
    for one in wrong:
        print(f"    {one.where}: {'; '.join(one.differences)[:1500]}", flush=True)


class Store:
    """An emulator for all that is tried, with the tables of each in a folder of their own.

    Args:
        scheme: "gs" or "s3".
        folder: for its objects.
        opened: ends it.
        through_proxy: put a fault proxy before it, of which `proxy` takes orders.
    """

    def __init__(self, scheme: str, folder: Path, opened: contextlib.ExitStack, *, through_proxy: bool) -> None:
        self._scheme = scheme
        (folder / "objects").mkdir()
        url = opened.enter_context(gcs_server(folder / "objects") if scheme == "gs" else s3_server())
        _make_bucket(scheme, url)
        self._direct = self._storage = _storage(scheme, url)
        self.proxy: FaultProxy | None = None
        if through_proxy:
            self.proxy = opened.enter_context(FaultProxy(url))
            self._storage = _storage(scheme, self.proxy.url)

    def upload(self, tables: Path) -> tuple[str, Storage]:
        """Put the tables of a folder on the store; returns where they are, and how to reach them."""
        place = f"{self._scheme}://history/{tables.parent.name}"
        fs, path = self._direct.filesystem(place)
        files = [file for file in tables.rglob("*") if file.is_file()]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda file: fs.put_file(str(file), f"{path}/{file.relative_to(tables).as_posix()}"), files))
        return place, self._storage


if __name__ == "__main__":
    sys.exit(main())
