"""Peak memory of every verb at one number of rows and at ten times as many, held to a bound of each verb's own.

    python benchmarks/verb_memory.py [--rows 2000] [--images 200] [--verbs stats,merge]

Each verb is a process of its own, on the tables that `benchmarks/growth.py` makes, with a tiny CLIP where a model is
needed; its peak holds the imports. Promised: at ten times the rows not more than the verb's bound, nor than 1.5 times
the peak. A verb may need the columns or files that those before it make.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.growth import CHILD, FACTOR, make_input

PROMISED_RATIO = 1.5
MODEL = "tiny-0"


@dataclass(frozen=True)
class Verb:
    """A call, and the most memory that it may take.

    Args:
        code: Python, in the folder of the tables.
        most_mib: at ten times the rows.
    """

    code: str
    most_mib: int


_TABLE = "cd.open_table('c.lance')"
_SCORED = (
    "s = cd.step(reads='label_ind', returns='float64', version='1')(lambda n: n / {0}); cd.map_column({1}, s, {2!r})"
)
_CLIP = f"clip = cd.load_encoder({MODEL!r}, device='cpu')"
_RECIPE = "cd.recipes.caption_contest(steps=10, batch_size=32)"
VERBS = {
    "ingest images": Verb("ingest.from_images('img', into='i.lance')", 350),
    "ingest parquet": Verb("ingest.from_parquet('meta.parquet', into='m.lance')", 400),
    "ingest csv": Verb("ingest.from_parquet('meta.csv', into='s.lance', lists=['caption_choices'])", 400),
    "merge": Verb("ingest.merge('i.lance', 'm.lance', into='c.lance')", 400),
    "map": Verb(f"cd.map_column({_TABLE}, cd.steps.LabelIndex('label'), 'label_ind')", 300),
    "map function": Verb(_SCORED.format(5, _TABLE, "before"), 300),
    "map another": Verb(_SCORED.format(4, _TABLE, "after"), 300),
    "map pictures": Verb("cd.map_column(cd.open_table('i.lance'), cd.steps.PixelDigest(), 'pixels')", 300),
    "map embeddings": Verb(f"{_CLIP}; cd.map_column({_TABLE}, cd.steps.ImageEmbedding(clip), 'vector')", 1300),
    "refresh": Verb(f"cd.refresh({_TABLE}, ['label_ind'])", 300),
    "stats": Verb(f"cd.stats({_TABLE})", 400),
    "show": Verb(f"cd.show({_TABLE})", 300),
    "log": Verb(f"cd.log({_TABLE})", 250),
    "query": Verb(f"{_TABLE}.query('select label, count(*) from dataset group by label')", 300),
    "compare": Verb(f"cd.compare({_TABLE}, 'before', 'after', cluster='filename')", 400),
    "check-split": Verb(f"cd.check_split({_TABLE}, 'label', by='filename')", 300),
    "index": Verb(f"cd.index({_TABLE}, 'vector', kind='IVF_SQ')", 350),
    "index words": Verb(f"cd.index({_TABLE}, 'caption_choices')", 300),
    "search": Verb(f"{_CLIP}; cd.search({_TABLE}, text='a cat', column='vector', model=clip)", 1250),
    "search exact": Verb(f"{_CLIP}; cd.search({_TABLE}, text='a cat', column='vector', model=clip, exact=True)", 1250),
    "search words": Verb(f"cd.search({_TABLE}, words='caption', words_column='caption_choices')", 300),
    "train": Verb(f"{_CLIP}; cd.train({_TABLE}, clip, {_RECIPE}, out='run')", 1500),
    "evaluate": Verb(f"{_CLIP}; cd.evaluate({_TABLE}, clip, 'choice', sample=200)", 1350),
    "report": Verb(f"cd.report({_TABLE}, 'before', 'after', cluster='filename', out='report.html')", 1000),
    "select": Verb(f"cd.select({_TABLE}, 'some', where=\"label = 'A'\")", 300),
    "doctor": Verb("cd.doctor('c.lance')", 250),
    "errors": Verb(f"cd.list_errors({_TABLE})", 250),
    "check": Verb(f"cd.check({_TABLE})", 300),
    "diff": Verb(f"cd.diff({_TABLE}, 2)", 300),
    "export csv": Verb(f"cd.export({_TABLE}, 'out.csv')", 350),
    "export jsonl": Verb(f"cd.export({_TABLE}, 'out.jsonl')", 350),
    "export parquet": Verb(f"cd.export({_TABLE}, 'out.parquet')", 500),
    "export shards": Verb("cd.export(cd.open_table('i.lance'), 'shards')", 300),
    "ingest shards": Verb("ingest.from_shards('shards', into='fromshards.lance')", 350),
    "delete": Verb(f"cd.delete({_TABLE}, \"label = 'A'\")", 300),
    "drop": Verb(f"cd.drop({_TABLE}, ['before'], yes=True)", 250),
    "restore": Verb(f"cd.restore({_TABLE}, 2)", 300),
    "compact": Verb(f"cd.compact({_TABLE})", 250),
    "clean": Verb(f"cd.clean({_TABLE})", 250),
}


def main(words: Sequence[str] | None = None) -> int:
    """Print a line a verb; return 1 when one takes more than is promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--verbs", default=",".join(VERBS))
    given = parser.parse_args(words)
    verbs = given.verbs.split(",")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    print(
        f"| verb | {given.rows:,} rows | {given.rows * FACTOR:,} rows | ratio | bound |\n|---|---|---|---|---|",
        flush=True,
    )
    kept = True
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / size for size in ("small", "large")]
        for folder, factor in zip(folders, (1, FACTOR), strict=True):
            folder.mkdir()
            # In a process of its own: a child's peak counts what its parent held when it was started.
            making = multiprocessing.get_context("spawn").Process(
                target=prepare, args=(folder, given.images * factor, given.rows * factor, verbs)
            )
            making.start()
            making.join()
        for verb in verbs:
            small = peak_mib(verb, folders[0])
            large = peak_mib(verb, folders[1]) if math.isfinite(small) else small
            most = VERBS[verb].most_mib
            well = large <= most and large <= PROMISED_RATIO * small
            kept = kept and well
            said = "" if well else " MORE THAN PROMISED"
            print(
                f"| {verb} | {small:,.0f} MiB | {large:,.0f} MiB | {large / small:.2f} | {most:,} MiB{said} |",
                flush=True,
            )
    return int(not kept)


def prepare(folder: Path, num_images: int, num_rows: int, verbs: Sequence[str]) -> None:
    """Make what verbs begin with: pictures, metadata, and for some a tiny model."""
    make_input(folder, num_images, num_rows)
    if any(MODEL in VERBS[verb].code for verb in verbs if verb in VERBS):
        from tests.tiny_models import tiny_encoder

        tiny_encoder(folder)


def peak_mib(verb: str, folder: Path) -> float:
    """Run a verb in a process of its own; infinite where it failed, which is told on stderr."""
    code = CHILD.format(verb=VERBS[verb].code)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout.splitlines()[-1])[1]) if done.returncode == 0 else math.inf


if __name__ == "__main__":
    sys.exit(main())
