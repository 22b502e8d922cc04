"""``python run.py WORDS`` in a process of its own, forked from one that has imported everything a run imports.

Importing torch, transformers and Lightning takes several times as long as a small run. A forked run is otherwise what
a shell starts: it has its own pid, arguments, environment, folder, standard streams and exit status, runs ``run.py``
as ``__main__``, and takes signals at any instant. (A start from nothing is tested where it matters: test_launch.py,
test_offline.py, the notebooks.)

    process = Forked(["algo=rloo"], cwd=..., env=...)    -> pid, poll, send_signal, kill, communicate, as Popen has them

The forks are made by a server, this file run as a program, one a test process: a process that has run torch on several
threads must not be forked, and pytest's has. Each request carries the streams; a process between server and run waits
for the run and says how it ended.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
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
from typing import IO, Any

LONGEST = 2**20  # bytes of a request


class Forked(subprocess.Popen[Any]):
    """A run: as much of a Popen as is asked for.

    ``stdout``, ``stderr``: open files, or None for what ``communicate`` returns; ``largest``: bytes that a file it
    writes may have, None for as many as the disk holds.
    """

    _child_created = False  # by Popen, which would clean up after it

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
        largest: int | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._said = [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2)]  # noqa: SIM115 - while the run lives
        streams = [(given or own).fileno() for given, own in zip((stdout, stderr), self._said, strict=True)]
        self._reply, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # which keeps messages apart
        request = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env), "largest": largest}).encode()
        assert len(request) < LONGEST
        socket.send_fds(_server(), [request], [*streams, theirs.fileno()])
        theirs.close()
        self.pid = int(self._reply.recv(32))

    def poll(self) -> int | None:
        """The exit status, or minus the signal that ended it; None while it runs."""
        if self.returncode is None:
            try:
                self.returncode = int(self._reply.recv(32, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To the run, if there still is one."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """At once, and without a word."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it said, when it has ended."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                self.kill()
                raise subprocess.TimeoutExpired("python run.py", timeout)
            time.sleep(0.01)
        for stream in self._said:
            stream.seek(0)
        out, err = (stream.read() for stream in self._said)
        return out, err


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=environment)
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)  # first: the server ends when nobody can ask any more
    return ours


def serve(asked: socket.socket) -> None:
    """Fork a run for each request, until the other end is closed. Returns in the runs as well, to run them."""
    import pandas  # noqa: F401 - pyarrow does, at the first table that it writes

    from amend.job import train  # noqa: F401 - all that is slow to import

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those between
    while True:
        request, streams, *_ = socket.recv_fds(asked, LONGEST, 3)
        if not request:
            sys.exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asked.close()
            break
        for stream in streams:
            os.close(stream)
    out, err, reply = streams
    run = os.fork()
    if run:
        os.write(reply, str(run).encode())
        os.write(reply, str(os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])).encode())
        os._exit(0)
    become(json.loads(request), out, err)


def become(request: Mapping[str, Any], out: int, err: int) -> None:
    """The process that was asked for, up to its program."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, out, err)):
        os.dup2(stream, number)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    if request["largest"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"], request["largest"]))
    sys.argv = ["run.py", *request["words"]]
    sys.path[0] = request["cwd"]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_path("run.py", run_name="__main__")
