"""Peak memory of every verb at one number of rows and at ten times as many: what grows with the rows, and by how much.

    python benchmarks/verb_memory.py [--rows 2000] [--images 200] [--verbs stats,merge]

Each verb is a process of its own, on the tables that `benchmarks/growth.py` makes; its peak holds the imports.
Promised: under 1.5 GB at both sizes, and at ten times the rows not more than 1.5 times the peak.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.growth import CHILD, FACTOR, PROMISED_PEAK_MIB, make_input

PROMISED_RATIO = 1.5
_TABLE = "cd.open_table('c.lance')"
VERBS = {
    "ingest images": "ingest.from_images('img', into='i.lance')",
    "ingest parquet": "ingest.from_parquet('meta.parquet', into='m.lance')",
    "ingest csv": "ingest.from_parquet('meta.csv', into='s.lance', lists=['caption_choices'])",
    "merge": "ingest.merge('i.lance', 'm.lance', into='c.lance')",
    "map": f"cd.map_column({_TABLE}, cd.steps.LabelIndex('label'), 'label_ind')",
    "map pictures": "cd.map_column(cd.open_table('i.lance'), cd.steps.PixelDigest(), 'pixels')",
    "refresh": f"cd.refresh({_TABLE}, ['label_ind'])",
    "stats": f"cd.stats({_TABLE})",
    "show": f"cd.show({_TABLE})",
    "log": f"cd.log({_TABLE})",
    "query": f"{_TABLE}.query('select label, count(*) from dataset group by label')",
    "check": f"cd.check({_TABLE})",
    "diff": f"cd.diff({_TABLE}, 2)",
    "export csv": f"cd.export({_TABLE}, 'out.csv')",
    "export jsonl": f"cd.export({_TABLE}, 'out.jsonl')",
    "export parquet": f"cd.export({_TABLE}, 'out.parquet')",
    "export shards": "cd.export(cd.open_table('i.lance'), 'shards')",
    "ingest shards": "ingest.from_shards('shards', into='fromshards.lance')",
    "delete": f"cd.delete({_TABLE}, \"label = 'A'\")",
    "restore": f"cd.restore({_TABLE}, 2)",
    "compact": f"cd.compact({_TABLE})",
    "clean": f"cd.clean({_TABLE})",
}


def main() -> int:
    """Print a line a verb; return 1 when one takes more than is promised."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=2000)
    words.add_argument("--images", type=int, default=200)
    words.add_argument("--verbs", default=",".join(VERBS))
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    print(f"{'':16}{given.rows:>12,} rows{given.rows * FACTOR:>12,} rows   ratio", flush=True)
    kept = True
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / size for size in ("small", "large")]
        for folder, factor in zip(folders, (1, FACTOR), strict=True):
            folder.mkdir()
            # In a process of its own: a child's peak counts what its parent held when it was started.
            making = multiprocessing.get_context("spawn").Process(
                target=make_input, args=(folder, given.images * factor, given.rows * factor)
            )
            making.start()
            making.join()
        for verb in given.verbs.split(","):
            small, large = (peak_mib(verb, folder) for folder in folders)
            well = large <= PROMISED_PEAK_MIB and large <= PROMISED_RATIO * small
            kept = kept and well
            said = "" if well else "  MORE THAN PROMISED"
            print(f"{verb:16}{small:>9,.0f} MiB{large:>13,.0f} MiB{large / small:>8.2f}{said}", flush=True)
    return int(not kept)


def peak_mib(verb: str, folder: Path) -> float:
    """Run a verb in a process of its own."""
    code = CHILD.format(verb=VERBS[verb])
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout.splitlines()[-1])[1])


if __name__ == "__main__":
    sys.exit(main())
