"""The environment that holds the peers: this checkout with its extra `peers`, and one peer that needs persuasion.

    python benchmarks/stream/environment.py FOLDER

mosaicml-streaming 0.13 asks for numpy < 2.2 and transformers < 5, which this project's models cannot live with, though
it runs with newer ones: it is installed without what it asks for, and the extra holds what it imports. This is the only
part of the benchmark that needs a network, to the package index that pip is set up for.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_ITS_OWN = ("mosaicml-streaming==0.13.0",)


def python_of(folder: Path) -> Path:
    """The interpreter of the environment in a folder, which is made when it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return python


def install(folder: Path) -> Path:
    """Install the peers into the environment in a folder; returns its interpreter."""
    python = python_of(folder)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-e", f"{ROOT}[peers]"], check=True)
    subprocess.run([*pip, "--no-deps", *WITHOUT_ITS_OWN], check=True)
    return python


def main() -> None:
    """Make the environment, and say how to go on."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    print(f"{install(words.parse_args().folder)} -m benchmarks.stream.run --help")


if __name__ == "__main__":
    main()
