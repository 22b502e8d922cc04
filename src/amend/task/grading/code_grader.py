"""Grade programs: extract the code from a reply and run it against the tests of the problem in the sandbox.

The code is extracted in three steps:

    1. Take the text between ``[BEGIN]`` and ``[DONE]``, the markers of the MBPP prompt. The prompt may already contain
       ``[BEGIN]``. If the reply has several such passages, use the last one that defines the requested function.
    2. Within that text, take the code blocks that are fenced as Python. If there are several, use the last one that
       defines the requested function. A corrected solution thus replaces an earlier one, and a usage example replaces
       neither. Functions, classes and imports that the chosen block needs are taken from the other blocks.
    3. Without fences, take the text from the first line that can only be Python.

The reason of a verdict is one of:

    right       all tests passed
    wrong       a test failed
    no answer   the reply has no code
    refused     the program is longer than 64 KiB
    error       the program raised an exception or exited
    timeout     the program exceeded its time limit
    flood       the program wrote more output than the sandbox allows
    untested    the test of the data set could not be run; the log names the problem, and each evaluation counts them
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from amend.task.grading.extract_code import LONGEST_PROGRAM, build_program
from amend.task.sandbox.executor import ExecutionRequest, Kind, Sandbox
from amend.types import Problem, Verdict

log = logging.getLogger(__name__)


class CodeGrader:
    """Grade programs in a sandbox.

    Args:
        sandbox: The kind of sandbox, see ``amend.task.sandbox``.
        seconds: Limit of processor time for each program, in seconds.

    Raises:
        UserError: If this machine does not support this kind of sandbox.
    """

    def __init__(self, *, sandbox: Kind, seconds: float) -> None:
        self._sandbox = Sandbox(kind=sandbox, seconds=seconds)

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Return a verdict for each pair of problem and reply, in order.

        Args:
            pairs: Problems with the replies to grade. Any string is a valid reply.

        Returns:
            One verdict per pair. ``answer`` is the extracted program.
        """
        programs = [build_program(problem.meta, reply) for problem, reply in pairs]
        verdicts = [Verdict(code, False, "no answer" if code is None else "refused") for code in programs]
        run = [i for i, code in enumerate(programs) if code is not None and len(code) <= LONGEST_PROGRAM]
        results = self._sandbox.run([make_request(pairs[i][0], str(programs[i])) for i in run])
        for i, outcome in zip(run, results, strict=True):
            verdicts[i] = Verdict(programs[i], outcome.reason == "right", outcome.reason)
        if untested := Counter(f"{pairs[i][0].id} ({result.detail})" for i, result in zip(run, results, strict=True)
                               if result.reason == "untested"):  # fmt: skip
            log.warning("tests that could not be run: %s", ", ".join(list(untested)[:5]))
        return verdicts


def make_request(problem: Problem, program: str) -> ExecutionRequest:
    """Return the request to run a program against the tests of a problem.

    Args:
        problem: A problem whose ``meta`` has ``test``, ``prelude`` and ``names``.
        program: Source code of the solution.

    Returns:
        The request for the sandbox.
    """
    meta = problem.meta
    return ExecutionRequest(program, meta["test"], meta["prelude"], dict(meta["names"]))
