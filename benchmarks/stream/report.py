"""The page of a run: what was measured, the ratios that were promised, and what each side was.

    python -m benchmarks.stream.report FILE.json [--notes NOTES.md] > PAGE.md

Rates are medians of the turns with the least and the most; a ratio is the median of those of the single turns, in which
both sides met the same load.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

PILLOW = ("imagefolder", "webdataset", "hf-map", "hf-streaming", "litdata", "mosaicml")
BARE = ("bare-torch", "bare-crop-box")
Entry = dict[str, Any]
Per = Callable[[Entry], float]


def per_cpu(entry: Entry) -> float:
    """Pictures a second of processor time."""
    return float(entry["rows"] / max(entry["cpu_s"], 1e-6))


def per_wall(entry: Entry) -> float:
    """Pictures a second on the clock."""
    return float(entry["rows"] / entry["wall_s"])


def page(found: dict[str, Any], notes: str | None = None) -> str:
    """The whole page, in Markdown."""
    parts = [_head(found), _promises(found)]
    sizes = list(found["pictures"])
    parts += [_rates(found, size) for size in sizes]
    parts += [_bucket(found), _memory(found), _losses(found), notes or "", _sides(found)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _head(found: dict[str, Any]) -> str:
    pictures = "; ".join(
        f"{num:,} of {size}, at least {rows} a turn" for size, (num, rows) in found["pictures"].items()
    )
    return f"""# The stream beside other loaders ({found["date"].split()[0]})

`{found["command"]}`

{found["machine"]}; load {found["load"][0]:.1f} at the start and {found["load"][-1]:.1f} at the end,
{found["minutes"]:.0f} minutes. Photo-like JPEGs (affine crops of sample
photographs with grain, quality 85–90, 4:2:0): {pictures}. Batches of 64,
shuffled, 224×224, uint8 unless a side is named for floats. One process a side; the sides take turns, and every figure
is the median of {_turns(found)} turns [least–most]. Libraries that would take all cores have one thread; where a loader
decodes in threads of its own (clipdata, LanceDB) it has its default of two, so compare processor time with 0 workers.
Pages of the files are in memory. Processor time is that of the process and of its workers."""


def _turns(found: dict[str, Any]) -> int:
    return 1 + max((entry["turn"] for entry in found["found"] if entry["part"] == "rates"), default=0)


def of(found: dict[str, Any], part: str, **where: Any) -> list[Entry]:
    """Entries of a part that have figures."""
    wanted = {"part": part, **where}
    return [
        entry
        for entry in found["found"]
        if "failed" not in entry and "unable" not in entry and all(entry.get(n) == v for n, v in wanted.items())
    ]


def _rates_of(found: dict[str, Any], side: str, size: str, workers: int) -> dict[int, Entry]:
    return {entry["turn"]: entry for entry in of(found, "rates", side=side, size=size, workers=workers)}


def ratio(found: dict[str, Any], over: str, under: Sequence[str], size: str, workers: int, per: Per) -> str:
    """The median ratio of a side to the best of others, turn by turn, with the spread; empty without figures."""
    mine = _rates_of(found, over, size, workers)
    theirs = [_rates_of(found, name, size, workers) for name in under]
    values = []
    for turn, entry in mine.items():
        met = [per(other[turn]) for other in theirs if turn in other]
        if met:
            values.append(per(entry) / max(met))
    return _spread(values, ".2f")


def _spread(values: Iterable[float], form: str) -> str:
    listed = sorted(values)
    if not listed:
        return "–"
    middle = format(statistics.median(listed), form)
    return middle if len(listed) == 1 else f"{middle} [{listed[0]:{form}}–{listed[-1]:{form}}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _promises(found: dict[str, Any]) -> str:
    sizes = list(found["pictures"])
    asked = [
        ("fast, of the bare loop: simplejpeg + torch", "clipdata-fast", BARE[:1], "0.90"),
        ("fast, of the bare loop: simplejpeg + fast_image_resize on the crop box", "clipdata-fast", BARE[1:], "0.90"),
        ("fast, to the best loader on Pillow", "clipdata-fast", PILLOW, "2.5"),
        ("fast, to LanceDB with open_clip's transform", "clipdata-fast", ("lancedb",), "1.4"),
        ("fast, to LanceDB with our decoder inside", "clipdata-fast", ("lancedb-our-decoder",), "1"),
        ("fast with floats, to ImageFolder with floats", "clipdata-fast-floats", ("imagefolder-floats",), "–"),
        ("scaled, to fast", "clipdata-scaled", ("clipdata-fast",), "1.4 from twice the size on"),
        ("prepared raw, to fast", "clipdata-prepared-raw", ("clipdata-fast",), "15"),
        ("prepared JPEG, to fast", "clipdata-prepared-jpeg", ("clipdata-fast",), "6"),
        ("exact, to the best loader on Pillow", "clipdata-exact", PILLOW, "–"),
    ]
    rows = [
        [what, wanted, *(ratio(found, over, under, size, 0, per_cpu) for size in sizes)]
        for what, over, under, wanted in asked
    ]
    errors = [
        f"{entry['side']} {entry['size']}: {entry['mean']:.2f} / {entry['p99']:.0f} / {entry['most']:.0f}"
        for entry in of(found, "error")
    ]
    return f"""## Ratios per second of processor time, without workers

{_table(["", "wanted", *sizes], rows)}

Levels off open_clip's transform (mean / 99th percentile / most): {"; ".join(errors) or "not measured"}."""


def _rates(found: dict[str, Any], size: str) -> str:
    workers = sorted({entry["workers"] for entry in of(found, "rates", size=size)})
    head = ["side"]
    for number in workers:
        head += [f"{number} workers: per CPU-s", "per s", "first batch, s"]
    rows = []
    for name in found["sides"]:
        line = [name]
        for number in workers:
            turns = _rates_of(found, name, size, number).values()
            line += [_spread(map(per_cpu, turns), ".0f"), _spread(map(per_wall, turns), ".0f")]
            line.append(_spread((entry["first_s"] for entry in turns), ".2f"))
        rows.append(line)
    why = {entry["side"]: entry.get("unable") or entry.get("failed") for entry in found["found"] if is_error(entry)}
    said = (
        "".join(f"\n\n{name}: {reason}" for name, reason in why.items())
        if size == next(iter(found["pictures"]))
        else ""
    )
    return f"## Pictures of {size}\n\n{_table(head, rows)}{said}"


def is_error(entry: Entry) -> bool:
    """Tell whether a local figure could not be had."""
    return entry["part"] == "rates" and ("failed" in entry or "unable" in entry)


def _bucket(found: dict[str, Any]) -> str:
    names = [name for name in found["sides"] if of(found, "bucket", side=name) or of(found, "requests", side=name)]
    if not names:
        return ""
    rows = []
    for name in names:
        late, soon = (
            {entry["turn"]: per_wall(entry) for entry in of(found, "bucket", side=name, late=late)}
            for late in (True, False)
        )
        kept = [late[turn] / soon[turn] for turn in late if turn in soon]
        asked = of(found, "requests", side=name)
        requests = f"{asked[0]['requests']} for {asked[0]['rows']:,}" if asked else "–"
        rows.append(
            [name, _spread(soon.values(), ".0f"), _spread(late.values(), ".0f"), _spread(kept, ".2f"), requests]
        )
    head = ["side", "pictures/s", "30 ms a request", "kept", "requests, opening included"]
    whole = "An epoch from opening the store on, or its first four seconds, by an emulator that shares the two cores."
    return f"## In a bucket, without workers\n\n{whole}\n\n{_table(head, rows)}"


def _memory(found: dict[str, Any]) -> str:
    rows = []
    for name in found["sides"]:
        once, ten = (of(found, "memory", side=name, times=times) for times in (1, 10))
        if once and ten:
            growth = ten[0]["peak_mib"] - once[0]["peak_mib"]
            peaks = [f"{entry[0]['peak_mib']:.0f}" for entry in (once, ten)]
            rows.append([name, f"{once[0]['before_mib']:.0f}", *peaks, f"{growth:+.0f}"])
    if not rows:
        return ""
    num = found["memory_pictures"]
    head = ["side", "before", f"{num:,} pictures", f"{10 * num:,}", "growth"]
    return f"## Memory of the process in MiB, at most, pages of mapped files left out\n\n{_table(head, rows)}"


def _losses(found: dict[str, Any]) -> str:
    """Each figure in which another loader is ahead of `clipdata-fast`."""
    lines = []
    others = [name for name in found["sides"] if not name.startswith(("clipdata", "bare"))]
    figures: dict[str, tuple[Per, int]] = {
        "pictures per CPU-s": (per_cpu, 1),
        "pictures per s": (per_wall, 1),
        "seconds to the first batch": (lambda entry: entry["first_s"], -1),
    }
    places = sorted({(entry["size"], entry["workers"]) for entry in of(found, "rates")})
    for (size, workers), (what, (per, sign)) in itertools.product(places, figures.items()):
        middles = {
            name: statistics.median(map(per, turns.values()))
            for name in (*others, "clipdata-fast")
            if (turns := _rates_of(found, name, size, workers))
        }
        mine = middles.pop("clipdata-fast", None)
        ahead = {name: middle for name, middle in middles.items() if mine is not None and sign * (middle - mine) > 0}
        if ahead:
            said = ", ".join(
                f"{name} {middle:.3g}" for name, middle in sorted(ahead.items(), key=lambda kv: -sign * kv[1])
            )
            lines.append(f"- {size}, {workers} workers, {what}: {said}; clipdata-fast {mine:.3g}")
    return "## Where we lose\n\n" + ("\n".join(lines) or "In none of the medians above.")


def _sides(found: dict[str, Any]) -> str:
    rows = [[name, about.get("version", "–"), about.get("settings", "–")] for name, about in found["sides"].items()]
    return f"## The sides\n\n{_table(['side', 'version', 'settings'], rows)}"


def main() -> None:
    """Print the page of a file."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("file", type=Path)
    words.add_argument("--notes", type=Path)
    given = words.parse_args()
    print(page(json.loads(given.file.read_text()), given.notes.read_text() if given.notes else None), end="")


if __name__ == "__main__":
    main()
