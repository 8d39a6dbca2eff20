"""Python processes that begin with the libraries of models imported, for tests that start many of them.

    done = run_forked(["-m", "clipdata", "train", …])    # as subprocess.run([sys.executable, …])
    process = Forked(["-c", code, *words])               # as subprocess.Popen; output is there once it has ended

Importing torch and open_clip takes eight seconds of a core. A server imports them once for a process of pytest, and
forks what is asked for: a process of its own, which has a main module, an environment and a current folder as a fresh
interpreter has, can be killed, and ends as one. What starts processes by itself, as torchrun does, starts plain ones.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any

ROOT = Path(__file__).parents[1]
POLL_S = 0.02
PRELOADED = (
    "torch._dynamo",
    "open_clip",
    "clipdata.encoder.assembling",
    "clipdata.training.fine_tuning",
    "clipdata.training.finishing",
    "pipelines.cli.app",
)


class Forked:
    """A process.

    Args:
        words: what would follow `python`: "-m" and a module, "-c" and code, or a file; then arguments.
        env: its environment; without it this process's.
        cwd: its current folder.
        leads: it leads a group of processes of its own.
    """

    def __init__(
        self,
        words: Sequence[Any],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = ROOT,
        leads: bool = False,
    ) -> None:
        self.args = [sys.executable, *map(str, words)]
        self.returncode: int | None = None
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - as long as this
        asked = {"words": self.args[1:], "env": dict(env or os.environ), "cwd": str(cwd), "leads": leads}
        self.pid = _server().ask({"start": asked}, [self._out.fileno(), self._err.fileno()])

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            self.returncode = _server().ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """Wait for its end; its exit code."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise subprocess.TimeoutExpired(self.args, timeout, *self._said())
            time.sleep(POLL_S)
        return code

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end; what it has written to stdout and stderr."""
        self.wait(timeout)
        return self._said()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _said(self) -> tuple[str, str]:
        return _read(self._out), _read(self._err)


def run_forked(words: Sequence[Any], *, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start a process as `Forked` does, and wait for its end."""
    process = Forked(words, **options)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def run_ranks(world: int, words: Sequence[Any], *, timeout: float = 300) -> list[subprocess.CompletedProcess[str]]:
    """Run as many processes as torchrun would start, with the variables that it gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo"}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)} for rank in range(world)]
    ranks = [Forked(words, env={**os.environ, **meeting, **place}) for place in places]
    try:
        said = [rank.communicate(timeout) for rank in ranks]
    finally:
        for rank in ranks:
            if rank.poll() is None:
                rank.kill()
    return [subprocess.CompletedProcess(r.args, r.wait(), *both) for r, both in zip(ranks, said, strict=True)]


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class _Server:
    """The side of it that asks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.forked", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT, stdin=subprocess.DEVNULL)

    def ask(self, asked: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Any:
        # The request goes through a file: a packet has no room for a long list of arguments.
        with tempfile.TemporaryFile() as request:
            request.write(json.dumps(asked).encode())
            request.flush()
            socket.send_fds(self._socket, [b"?"], [request.fileno(), *descriptors])
            return json.loads(self._socket.recv(1 << 16))


@cache
def _server() -> _Server:
    return _Server()


def _serve(descriptor: int) -> dict[str, Any]:
    """Answer until a process is to be started, in that process: what it is to do."""
    with socket.socket(fileno=descriptor) as asking:
        while True:
            packet, descriptors, _, _ = socket.recv_fds(asking, 1, 8)
            if not packet:  # the tests have ended
                os._exit(0)
            with open(descriptors[0], "rb") as request:
                request.seek(0)
                asked = json.load(request)
            if "poll" in asked:
                ended, status = os.waitpid(asked["poll"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if ended else None
            else:
                answer = os.fork()
                if answer == 0:
                    os.dup2(descriptors[1], 1)
                    os.dup2(descriptors[2], 2)
                elif asked["start"]["leads"]:
                    os.setpgid(answer, answer)
                for one in descriptors[1:]:
                    os.close(one)
                if answer == 0:
                    return asked["start"]
            asking.send(json.dumps(answer).encode())


def _become(asked: Mapping[str, Any]) -> None:
    """Do in this process what a fresh interpreter would do."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    main = sys.modules["__main__"] = ModuleType("__main__")
    first, *rest = asked["words"]
    sys.argv[:] = [first, *rest[first in ("-c", "-m") :]]
    if first == "-m":
        runpy._run_module_as_main(rest[0], alter_argv=True)
    elif first == "-c":
        sys.path[0] = ""
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    else:
        sys.path[0], main.__file__ = str(Path(first).parent), first
        exec(compile(Path(first).read_text(), first, "exec"), vars(main))


if __name__ == "__main__":
    for name in PRELOADED:
        __import__(name)
    gc.freeze()  # so that no process writes into the pages that it shares, or takes what was imported apart at its end
    _become(_serve(int(sys.argv[1])))
