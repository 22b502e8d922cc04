"""Run programs that a model wrote, without harm to the machine and without access to the expected values of the tests.

With ``sandbox="bubblewrap"``, each program runs in its own Linux sandbox, which is discarded afterwards:

    files         the C library and Python's library, read-only; an empty /tmp of 8 MB; no other file
    system calls  the allow list of ``seccomp``: no new process, thread or socket, and no signal to another process
    resources     2 s of processor time (``seconds``) and 2.5 times that on the clock; 512 MB of memory; 64 open files
                  of at most 1 MB each
    output        at most 1 MB of answers, counted while they are read; printed text is discarded
    knowledge     the arguments of the calls; expected values stay in the test process, a second sandbox (``guest``)

After the verdict, the executor kills the first process of the sandbox. The kernel then kills all other processes of the
sandbox. The executor waits for bubblewrap, the parent of the first process, so no zombie remains. Several programs run
in parallel.

``sandbox="rlimit"`` has the same resource limits and the same two processes, but no isolation. A program can read and
write all files of its user and can use the network. It is no security boundary.

The reason of a result is one of:

    right       all tests passed
    wrong       a test failed
    error       the program raised an exception or exited
    timeout     the program exceeded its time limit
    flood       the program wrote more than 1 MB of answers
    untested    the test itself could not be run

A program is correct only if the reason is "right".
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

from amend.errors import UserError
from amend.task.sandbox.bubblewrap import command
from amend.task.sandbox.process import EndedError, SandboxProcess

Kind = Literal["bubblewrap", "rlimit"]
PATIENCE = 2.5  # seconds on the clock for each second of processor time that a program may use
EXAMINER_SECONDS = 3600.0  # processor time of one test process, which tests many programs
FAREWELL = 5.0  # seconds in which a test process must end its test after the solution process has ended
log = logging.getLogger(__name__)


class ExecutionRequest(NamedTuple):
    """A program and its test.

    Args:
        program: The source of the program, called the solution.
        test: The source of the test, which calls the functions of the solution.
        prelude: Source that the test process runs before the test. The solution cannot see it.
        names: Maps a name in the test to the name of the same function in the solution.
    """

    program: str
    test: str
    prelude: str
    names: dict[str, str]


class ExecutionResult(NamedTuple):
    """The result of one request.

    Args:
        reason: One of the reasons that the module lists.
        detail: A further explanation, such as the name of an exception; may be empty.
    """

    reason: str
    detail: str


class Sandbox:
    """Run programs against their tests.

    Args:
        kind: "bubblewrap", or "rlimit" for resource limits without isolation.
        seconds: Limit of processor time for each program, in seconds.
        workers: Number of programs that run in parallel; 0: the number of cores that this process may use.

    Raises:
        UserError: If this machine cannot run such a sandbox.
    """

    def __init__(self, *, kind: Kind, seconds: float, workers: int = 0) -> None:
        self._kind, self._seconds = kind, seconds
        self._workers = workers or len(os.sched_getaffinity(0))
        if kind == "rlimit":
            log.warning("sandbox=rlimit is no security boundary: programs have all rights of their user")
        if (result := self.run([ExecutionRequest("f = abs", "assert f(-1) == 1", "", {})])[0]) != ExecutionResult(
            "right", ""
        ):
            raise UserError(f"task.sandbox={kind}: a trivial program fails: {result.reason} ({result.detail})")

    def run(self, trials: Sequence[ExecutionRequest]) -> list[ExecutionResult]:
        """Run programs in parallel.

        Args:
            trials: The programs with their tests.

        Returns:
            One result per request, in order.
        """
        outcomes = [ExecutionResult("", "")] * len(trials)
        lock, pending = threading.Lock(), iter(enumerate(trials))

        def next_trial() -> tuple[int, ExecutionRequest] | None:
            with lock:
                return next(pending, None)

        def run_pending() -> None:
            test_process: SandboxProcess | None = None
            try:
                while (item := next_trial()) is not None:
                    test_process = test_process or self._start_process("run_tests", EXAMINER_SECONDS)
                    outcomes[item[0]], reusable = self._try(test_process, item[1])
                    if not reusable:
                        test_process.close()
                        test_process = None
            finally:
                if test_process is not None:
                    test_process.close()

        count = min(self._workers, len(trials))
        if count <= 1:
            run_pending()
            return outcomes
        with ThreadPoolExecutor(count, thread_name_prefix="sandbox") as pool:
            try:
                for future in [pool.submit(run_pending) for _ in range(count)]:
                    future.result()
            except BaseException:
                while next_trial() is not None:
                    pass  # empty the queue, so that no thread starts another program
                raise
        return outcomes

    def _try(self, test_process: SandboxProcess, trial: ExecutionRequest) -> tuple[ExecutionResult, bool]:
        """Return the result, and whether the test process can run another test."""
        with self._start_process("run_solution", self._seconds) as solution:
            deadline = time.monotonic() + PATIENCE * self._seconds
            try:
                solution.send(trial.program, deadline)
                kind, name = _parse_answer(solution.line(deadline))
                if kind != "value":
                    return ExecutionResult("error", name), True
            except EndedError as end:
                return ExecutionResult(end.reason, "before the first call"), True
            job = {"prelude": trial.prelude, "names": trial.names, "test": trial.test}
            ended = None
            try:
                test_process.taken = 0
                test_process.send(json.dumps(job), deadline)
                while (line := test_process.line(deadline))[:1] == b"?":
                    try:
                        if ended is None:
                            solution.send(line[1:], deadline)
                            answer = solution.line(deadline)
                    except EndedError as end:
                        ended, deadline = end, time.monotonic() + FAREWELL
                    test_process.send(answer if ended is None else '["gone", null]', deadline)
            except EndedError as end:  # an answer of the solution made the test too slow, or ended the test process
                return ExecutionResult(
                    ended.reason if ended else "timeout" if end.reason == "timeout" else "wrong", "in the test process"
                ), False
        if ended is not None:
            return ExecutionResult(ended.reason, "during a call"), True
        reason, detail = json.loads(line[1:])
        return ExecutionResult(reason, detail), True

    def _start_process(self, entry: str, seconds: float) -> SandboxProcess:
        return SandboxProcess(
            command(seconds, walled=self._kind == "bubblewrap"), entry, walled=self._kind == "bubblewrap"
        )


def _parse_answer(line: bytes) -> tuple[str, str]:
    """Return the kind and the content of an answer. A program with access to the pipe may write any bytes."""
    try:
        kind, name = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return "error", "no answer"
    return str(kind), str(name)
