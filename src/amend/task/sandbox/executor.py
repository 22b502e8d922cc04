"""Runs programs that a model wrote, so that they can harm nothing and learn nothing about the answers.

Each program has a Linux sandbox of its own, thrown away with it (``sandbox="bubblewrap"``):

    sees       the C library and Python's own, read-only; an empty /tmp of 8 MB; no home, no data, no other process
    may        compute: ``seccomp`` lists the system calls; no process, thread, socket, or signal to anyone else
    has        2 s of processor time (``seconds``) and 2.5 times that on the clock; 512 MB; files of 1 MB, 64 of them
    says       at most 1 MB of answers, counted while they are read; what it prints goes nowhere
    knows      the questions. Tests run in a second sandbox (``inside``); expected values never enter this one

When the verdict is known, the first process of the sandbox is killed, and with it all that is in there; bubblewrap,
whose child it was, is waited for, so no zombie stays behind. Several run side by side. ``sandbox="rlimit"`` has the
same limits and the same two processes, but no walls: a program can read and write whatever its user can, and talk to
the network. It is no security boundary.

Why a verdict is what it is:  right | wrong | error (it raised, or ended) | timeout | flood (more than 1 MB of answers)
| untested (the test itself could not be run). Everything but "right" is not correct.
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
EXAMINER_SECONDS = 3600.0  # of processor time, over all the programs that one examiner examines
FAREWELL = 5.0  # seconds in which an examiner must have understood that a solution is gone
log = logging.getLogger(__name__)


class ExecutionRequest(NamedTuple):
    """A program and its test, all of it source. ``names``: what the solution's are called in the test, and in it.

    ``prelude`` is run before the test, beside it, out of the program's sight.
    """

    program: str
    test: str
    prelude: str
    names: dict[str, str]


class ExecutionResult(NamedTuple):
    """Why a program is right or not, and what more is known: an exception's name, say."""

    reason: str
    detail: str


class Sandbox:
    """Tries programs. ``seconds`` of processor time each, ``workers`` at once (0: one a core that may be used).

    Raises UserError in one line where sandboxes cannot be had on this machine.
    """

    def __init__(self, *, kind: Kind, seconds: float, workers: int = 0) -> None:
        self._kind, self._seconds = kind, seconds
        self._workers = workers or len(os.sched_getaffinity(0))
        if kind == "rlimit":
            log.warning("sandbox=rlimit is no security boundary: programs can do whatever their user can")
        if (said := self.run([ExecutionRequest("f = abs", "assert f(-1) == 1", "", {})])[0]) != ExecutionResult(
            "right", ""
        ):
            raise UserError(f"task.sandbox={kind}: a trivial program is found {said.reason} ({said.detail})")

    def run(self, trials: Sequence[ExecutionRequest]) -> list[ExecutionResult]:
        """The outcome of each trial, in order."""
        outcomes = [ExecutionResult("", "")] * len(trials)
        turn, todo = threading.Lock(), iter(enumerate(trials))

        def next_one() -> tuple[int, ExecutionRequest] | None:
            with turn:
                return next(todo, None)

        def work() -> None:
            examiner: SandboxProcess | None = None
            try:
                while (taken := next_one()) is not None:
                    examiner = examiner or self._cell("run_tests", EXAMINER_SECONDS)
                    outcomes[taken[0]], sound = self._try(examiner, taken[1])
                    if not sound:
                        examiner.close()
                        examiner = None
            finally:
                if examiner is not None:
                    examiner.close()

        count = min(self._workers, len(trials))
        if count <= 1:
            work()
            return outcomes
        with ThreadPoolExecutor(count, thread_name_prefix="sandbox") as pool:
            try:
                for done in [pool.submit(work) for _ in range(count)]:
                    done.result()
            except BaseException:
                while next_one() is not None:
                    pass  # nothing more is begun
                raise
        return outcomes

    def _try(self, examiner: SandboxProcess, trial: ExecutionRequest) -> tuple[ExecutionResult, bool]:
        """The outcome, and whether the examiner can go on to the next."""
        with self._cell("run_solution", self._seconds) as solution:
            deadline = time.monotonic() + PATIENCE * self._seconds
            try:
                solution.send(trial.program, deadline)
                kind, name = _parsed(solution.line(deadline))
                if kind != "value":
                    return ExecutionResult("error", name), True
            except EndedError as end:
                return ExecutionResult(end.reason, "before any question"), True
            job = {"prelude": trial.prelude, "names": trial.names, "test": trial.test}
            ended = None
            try:
                examiner.taken = 0
                examiner.send(json.dumps(job), deadline)
                while (line := examiner.line(deadline))[:1] == b"?":
                    try:
                        if ended is None:
                            solution.send(line[1:], deadline)
                            answer = solution.line(deadline)
                    except EndedError as end:
                        ended, deadline = end, time.monotonic() + FAREWELL
                    examiner.send(answer if ended is None else '["gone", null]', deadline)
            except EndedError as end:  # what the solution answered keeps the examiner busy, or was too much for it
                return ExecutionResult(
                    ended.reason if ended else "timeout" if end.reason == "timeout" else "wrong", "examiner"
                ), False
        if ended is not None:
            return ExecutionResult(ended.reason, "when asked"), True
        why, detail = json.loads(line[1:])
        return ExecutionResult(why, detail), True

    def _cell(self, entry: str, seconds: float) -> SandboxProcess:
        return SandboxProcess(
            command(seconds, walled=self._kind == "bubblewrap"), entry, walled=self._kind == "bubblewrap"
        )


def _parsed(line: bytes) -> tuple[str, str]:
    """The kind of an answer, and what goes with it. A program that has seized the pipe may write what it likes."""
    try:
        kind, name = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return "error", "no answer"
    return str(kind), str(name)
