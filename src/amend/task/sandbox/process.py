"""One sandboxed process: start it, exchange messages with a deadline, and kill it with all its child processes.

bubblewrap isolates the process. It unshares the namespaces for users, processes, network, IPC and host name. It mounts
only the C library and Python's library, read-only. ``SandboxProcess`` holds a pidfd of the first process in the
sandbox, because the kernel may reuse a process number but not a pidfd. If the first process is killed, the kernel kills
all other processes of the sandbox.

This process reaps bubblewrap, the parent of the first process. If bubblewrap exits before the first process, this
process reaps the first process too. It therefore becomes a subreaper when it starts the first sandbox
(PR_SET_CHILD_SUBREAPER in prctl(2)). Otherwise process 1 of the machine would inherit the orphan, and in some
containers process 1 does not reap.

``guest`` sets the resource limits inside the sandbox, before it runs any code of the program. They are hard limits, so
the program can lower but not raise them. A fork that sets them here would copy the page tables of a large trainer.
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

LONGEST = 2**20  # bytes of answers of one program; the count of a test process restarts with each test
SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h
STARTING = 60.0  # seconds in which a sandbox must start or end, also on a busy machine
# exit statuses of a process that exceeded the limit on processor time
KILLED = (-signal.SIGKILL, -signal.SIGXCPU, 128 + signal.SIGKILL, 128 + signal.SIGXCPU)


class EndedError(Exception):
    """A sandboxed process will not answer any more.

    Args:
        reason: "error" (the process exited), "timeout", or "flood" (more than ``LONGEST`` bytes of answers).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@cache
def _adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class SandboxProcess:
    """A Python process that has loaded ``guest`` and waits for messages.

    Use it as a context manager, or call ``close``.

    Args:
        command: The command that starts the process, from ``bubblewrap.command``.
        entry: The function of ``guest`` to run: "run_solution" or "run_tests".
        walled: Whether the command starts bubblewrap.

    Raises:
        UserError: If the process does not start.
    """

    def __init__(self, command: list[str], entry: str, *, walled: bool) -> None:
        self._walled = walled
        self._pidfd: int | None = None  # of the first process in the sandbox
        self._buffer = bytearray()
        self.taken = 0  # number of bytes read
        try:
            self._start(command, walled)
        except OSError as error:
            raise UserError(f"the sandbox could not be started ({error.strerror}: {error.filename})") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        try:
            deadline = time.monotonic() + STARTING
            self._write(code(entry), deadline)
            self.line(deadline)
        except EndedError as end:
            self._kill()
            assert self._process.stderr is not None
            errors = self._process.stderr.read(2000).decode(errors="replace").strip().splitlines()
            self.close()
            raise UserError(
                f"the sandbox could not be started ({errors[0][:200] if errors else end.reason}); a container may have "
                "to allow user namespaces; task.sandbox=rlimit runs programs without isolation"
            ) from end
        except BaseException:
            self.close()
            raise

    def _start(self, command: list[str], walled: bool) -> None:
        if not walled:
            self._process = piped(command, cwd="/", env={}, start_new_session=True)
            return
        _adopt_orphans()
        (filter_read, filter_write), (info_read, info_write) = os.pipe(), os.pipe()
        try:
            os.write(filter_write, seccomp.program(platform.machine()))
            os.close(filter_write)
            filter_write = -1
            options = ["--seccomp", str(filter_read), "--info-fd", str(info_write)]
            self._process = piped([command[0], *options, *command[1:]], pass_fds=(filter_read, info_write))
            os.close(info_write)
            info_write = -1
            info = b""
            while b"}" not in info and (chunk := os.read(info_read, 4096)):
                info += chunk
            if match := re.search(rb'"child-pid": *([0-9]+)', info):
                self._pidfd = os.pidfd_open(int(match.group(1)))
        except ProcessLookupError:
            pass  # the process has already exited; the first read of a line reports it
        finally:
            for descriptor in (filter_read, filter_write, info_read, info_write):
                if descriptor >= 0:
                    os.close(descriptor)

    def send(self, text: str | bytes, deadline: float) -> None:
        """Send a message to the process.

        Args:
            text: The message.
            deadline: Time of ``time.monotonic`` until which the process must read the message.

        Raises:
            EndedError: If the process exited or did not read the message before the deadline.
        """
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        self._write(b"%d\n%b" % (len(data), data), deadline)

    def line(self, deadline: float) -> bytes:
        """Return the next line that the process writes, without the newline.

        Args:
            deadline: Time of ``time.monotonic`` until which the line must be complete.

        Raises:
            EndedError: If the process exited, missed the deadline, or wrote more than ``LONGEST`` bytes.
        """
        while (length := self._buffer.find(b"\n")) < 0:
            self._wait(self._stdout, select.POLLIN, deadline)
            chunk = os.read(self._stdout, 2**16)
            self._buffer += chunk
            self.taken += len(chunk)
            if not chunk:
                raise EndedError(self._end_reason())
            if self.taken > LONGEST:
                raise EndedError("flood")
        line = bytes(self._buffer[:length])
        del self._buffer[: length + 1]
        return line

    def close(self) -> None:
        """Kill the process and all its child processes, reap it, and close its pipes."""
        self._kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _end_reason(self) -> str:
        """Return reason the pipe is closed: "timeout" (processor time used up), or "error" (also if it still runs)."""
        try:
            return "timeout" if self._process.wait(1.0) in KILLED else "error"
        except subprocess.TimeoutExpired:
            return "error"

    def _kill(self) -> None:
        try:
            if self._process.poll() is None:
                if self._pidfd is not None:
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                elif self._walled:
                    self._process.kill()
            if not self._walled:
                os.killpg(self._process.pid, signal.SIGKILL)  # also kills child processes of a process that has exited
        except ProcessLookupError:
            pass
        self._process.wait(STARTING)
        if self._pidfd is not None:
            with suppress(ChildProcessError):  # bubblewrap has already reaped the first process
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)

    def __enter__(self) -> SandboxProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes, deadline: float) -> None:
        while data:
            self._wait(self._stdin, select.POLLOUT, deadline)
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise EndedError(self._end_reason()) from None

    def _wait(self, stream: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(stream, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise EndedError("timeout")


# The process and its code ---------------------------------------------------------------------------------------------


def piped(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a command with unbuffered pipes for its standard input, output and error."""
    pipe = subprocess.PIPE
    process: subprocess.Popen[bytes] = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, **options
    )
    return process


@cache
def code(entry: str) -> bytes:
    """Return the code of ``guest`` in marshal format, with a call of its function ``entry`` at the end."""
    source = resources.files("amend.task.sandbox").joinpath("guest.py").read_text(encoding="utf-8")
    return marshal.dumps(compile(f"{source}\n{entry}()\n", "inside.py", "exec", dont_inherit=True))
