"""The machine: versions of what clipdata stands on, extras that are missing, cores, memory, disk, GPU, threads.

Nothing heavy is imported for it: versions are read from what pip installed. It knows no store.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import clipdata
from clipdata.cores import num_cores
from clipdata.current_folder import absolute_path
from clipdata.diagnosis.records import Finding
from clipdata.free_memory import processor_memory
from clipdata.shown_values import shown_bytes

_PACKAGES = (
    "pylance", "pyarrow", "numpy", "fsspec", "gcsfs", "s3fs", "adlfs", "torch", "open_clip_torch", "timm",
    "transformers", "opencv-python-headless", "pillow", "datachain",
)  # fmt: skip
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?[^;]*;.*extra\s*==\s*['\"]([A-Za-z0-9_-]+)['\"]")
_NOT_FOR_USERS = ("test", "bench")
_THREADS = ("OMP_NUM_THREADS", "LANCE_CPU_THREADS", "LANCE_IO_THREADS", "TOKENIZERS_PARALLELISM")
_LITTLE_MEMORY = 2 << 30
_LITTLE_DISK = 5 << 30


def machine(folder: str = ".") -> Iterator[Finding]:
    """What is found of this machine.

    Args:
        folder: on the disk that is looked at.
    """
    yield Finding("machine", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _cores()
    yield from _memory()
    yield _disk(folder)
    yield _gpu()
    said = ", ".join(f"{name}={os.environ[name]}" for name in _THREADS if name in os.environ)
    yield Finding("machine", "threads", said or "as the libraries choose")
    yield Finding("packages", "clipdata", clipdata.__version__)
    yield from (Finding("packages", name, found) for name in _PACKAGES if (found := version_of(name)) is not None)
    yield from extras()


def version_of(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def extras(requirements: list[str] | None = None) -> Iterator[Finding]:
    """The extras of clipdata, and what of each is missing.

    Args:
        requirements: as clipdata's own metadata lists them, which is the default.
    """
    if requirements is None:
        try:
            requirements = importlib.metadata.requires("clipdata") or []
        except importlib.metadata.PackageNotFoundError:
            yield Finding("extras", "extras", "not known: clipdata was not installed by pip", "note")
            return
    for extra, packages in _by_extra(requirements).items():
        missing = [name for name in packages if version_of(name) is None]
        if missing:
            hint = f"pip install 'clipdata[{extra}]'"
            yield Finding("extras", extra, f"missing {', '.join(missing)}", "note", hint)
        else:
            yield Finding("extras", extra, "installed")


def _by_extra(requirements: list[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in requirements:
        if (matched := _REQUIREMENT.match(line)) is not None:
            package, _, extra = matched.groups()
            if extra not in _NOT_FOR_USERS and package.lower() != "clipdata":
                found.setdefault(extra, []).append(package)
    return found


def _cores() -> Finding:
    mine, all_cores = num_cores(), os.cpu_count() or 1
    quota = _quota()
    text = f"{mine}" if mine == all_cores else f"{mine} of {all_cores} for this process"
    if quota is not None and quota < mine:
        hint = "set OMP_NUM_THREADS to that, or threads wait for each other"
        return Finding("machine", "cores", f"{text}, of which the container may use {quota:g}", "note", hint)
    return Finding("machine", "cores", text)


def _quota() -> float | None:
    """Cores that a container is given, by Linux's control groups."""
    text = _read("/sys/fs/cgroup/cpu.max")
    limit, _, period = text.partition(" ")
    return int(limit) / int(period) if limit.isdecimal() and period.strip().isdecimal() else None


def _memory() -> Iterator[Finding]:
    found = processor_memory()
    if found is None:
        return
    text = f"{shown_bytes(found.free)} free of {shown_bytes(found.total)}"
    if found.free < _LITTLE_MEMORY:
        yield Finding("machine", "memory", text, "note", "a model and its batches take about 1.5 GB")
    else:
        yield Finding("machine", "memory", text)


def _disk(folder: str) -> Finding:
    path = absolute_path(folder)
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    text = f"{shown_bytes(usage.free)} free of {shown_bytes(usage.total)} at {path}"
    return Finding("machine", "disk", text, "note" if usage.free < _LITTLE_DISK else "good")


def _gpu() -> Finding:
    built_for = _torch_cuda()
    listed = shutil.which("nvidia-smi")
    if listed is None:
        return Finding("machine", "gpu", "none found: models run on the CPU")
    try:
        command = [listed, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - as it stands
    except (OSError, subprocess.TimeoutExpired):
        return Finding("machine", "gpu", "nvidia-smi does not answer", "note")
    names = "; ".join(done.stdout.strip().splitlines())
    if done.returncode or not names:
        return Finding("machine", "gpu", "none found: models run on the CPU")
    if built_for is None:
        hint = "install a torch that is built for CUDA; this one uses the CPU alone"
        return Finding("machine", "gpu", f"{names}, but torch is built without CUDA", "note", hint)
    return Finding("machine", "gpu", f"{names}; torch for CUDA {built_for}")


def _torch_cuda() -> str | None:
    """The CUDA that torch is built for, read from its files; None without one."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    found = re.search(r"^cuda[^=]*=\s*'([^']+)'", _read(str(Path(spec.origin).with_name("version.py"))), re.MULTILINE)
    return found.group(1) if found else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
