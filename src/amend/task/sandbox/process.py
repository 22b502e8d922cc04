"""One sandboxed process: started, spoken with under a deadline and a cap, and ended with all that it started.

bubblewrap builds the walls: namespaces for users, processes, network and the rest, and a file system of nothing but
the C library and Python's, read-only. Its first process is known by a handle (a pidfd, so that no other process can be
meant), and to kill that one ends all of them at once. We reap bubblewrap, its parent, and it too, where bubblewrap has
ended before it: from the first sandbox on this process is the one that orphans below it fall to (PR_SET_CHILD_SUBREAPER
in prctl(2)), because the machine's first process, whose they were else, does not reap in every container.

Limits on resources are set inside, by ``inside``, before the first line of a foreign program, and are hard: they can
be lowered afterwards and not raised. Forking to set them here would copy the page tables of a trainer of gigabytes.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import platform
import re
import select
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache
from importlib import resources
from types import TracebackType
from typing import Any

from amend.errors import UserError
from amend.task.sandbox import seccomp

LONGEST = 2**20  # bytes of answers
SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h
STARTING = 60.0  # seconds in which a sandbox must be there, however busy the machine
KILLED = (-signal.SIGKILL, -signal.SIGXCPU, 128 + signal.SIGKILL, 128 + signal.SIGXCPU)  # by the limit on CPU time


class EndedError(Exception):
    """A process in a sandbox has nothing more to say: error (it ended), timeout or flood."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.reason = why


@cache
def _adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class SandboxProcess:
    """A Python process, walled in or not, that has ``inside`` loaded and waits for messages."""

    def __init__(self, command: list[str], entry: str, *, walled: bool) -> None:
        self._walled = walled
        self._first: int | None = None  # a handle on the first process of the sandbox
        self._read = bytearray()
        self.taken = 0  # bytes read; at most LONGEST
        try:
            self._start(command, walled)
        except OSError as error:
            raise UserError(f"a sandbox could not be started ({error.strerror}: {error.filename})") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        try:
            deadline = time.monotonic() + STARTING
            self._write(code(entry), deadline)
            self.line(deadline)
        except EndedError as end:
            self._kill()
            assert self._process.stderr is not None
            said = self._process.stderr.read(2000).decode(errors="replace").strip().splitlines()
            self.close()
            raise UserError(
                f"a sandbox could not be started ({said[0][:200] if said else end.reason}); inside a container it may "
                "need user namespaces allowed; task.sandbox=rlimit runs programs without any walls"
            ) from end
        except BaseException:
            self.close()
            raise

    def _start(self, command: list[str], walled: bool) -> None:
        if not walled:
            self._process = piped(command, cwd="/", env={}, start_new_session=True)
            return
        _adopt_orphans()
        (rules, rules_in), (info, info_in) = os.pipe(), os.pipe()
        try:
            os.write(rules_in, seccomp.program(platform.machine()))
            os.close(rules_in)
            rules_in = -1
            options = ["--seccomp", str(rules), "--info-fd", str(info_in)]
            self._process = piped([command[0], *options, *command[1:]], pass_fds=(rules, info_in))
            os.close(info_in)
            info_in = -1
            said = b""
            while b"}" not in said and (some := os.read(info, 4096)):
                said += some
            if found := re.search(rb'"child-pid": *([0-9]+)', said):
                self._first = os.pidfd_open(int(found.group(1)))
        except ProcessLookupError:
            pass  # it has ended already, as the first line that it does not say will tell
        finally:
            for end in (rules, rules_in, info, info_in):
                if end >= 0:
                    os.close(end)

    def send(self, text: str | bytes, deadline: float) -> None:
        """Send a message; raises EndedError where it is not read in time."""
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        self._write(b"%d\n%b" % (len(data), data), deadline)

    def line(self, deadline: float) -> bytes:
        """The next line it says, without its end; raises EndedError."""
        while (found := self._read.find(b"\n")) < 0:
            self._wait(self._out, select.POLLIN, deadline)
            some = os.read(self._out, 2**16)
            self._read += some
            self.taken += len(some)
            if not some:
                raise EndedError(self._end())
            if self.taken > LONGEST:
                raise EndedError("flood")
        line = bytes(self._read[:found])
        del self._read[: found + 1]
        return line

    def close(self) -> None:
        """Kill it and all that it started, and wait until it is gone."""
        self._kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        if self._first is not None:
            os.close(self._first)
            self._first = None

    def _end(self) -> str:
        """Why there is nothing more to read: it ran out of time, or ended (or closed the pipe and lives on)."""
        try:
            return "timeout" if self._process.wait(1.0) in KILLED else "error"
        except subprocess.TimeoutExpired:
            return "error"

    def _kill(self) -> None:
        try:
            if self._process.poll() is None:
                if self._first is not None:
                    signal.pidfd_send_signal(self._first, signal.SIGKILL)
                elif self._walled:
                    self._process.kill()
            if not self._walled:
                os.killpg(self._process.pid, signal.SIGKILL)  # what it left behind, too
        except ProcessLookupError:
            pass
        self._process.wait(STARTING)
        if self._first is not None:
            with suppress(ChildProcessError):  # bubblewrap has reaped it
                os.waitid(os.P_PIDFD, self._first, os.WEXITED)

    def __enter__(self) -> SandboxProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes, deadline: float) -> None:
        while data:
            self._wait(self._in, select.POLLOUT, deadline)
            try:
                data = data[os.write(self._in, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise EndedError(self._end()) from None

    def _wait(self, stream: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(stream, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise EndedError("timeout")


# What is started ------------------------------------------------------------------------------------------------------


def piped(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """The process of a command, with unbuffered pipes to and from it."""
    pipe = subprocess.PIPE
    made: subprocess.Popen[bytes] = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, **options
    )
    return made


@cache
def code(entry: str) -> bytes:
    """``inside``, compiled, with the call of one of its functions at the end."""
    source = resources.files("amend.task.sandbox").joinpath("guest.py").read_text(encoding="utf-8")
    return marshal.dumps(compile(f"{source}\n{entry}()\n", "inside.py", "exec", dont_inherit=True))
