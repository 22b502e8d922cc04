"""What the tasks of writing programs share: the code of a reply, and its verdict from the sandbox.

A reply's code is what stands between ``[BEGIN]`` and ``[DONE]`` (the format of MBPP's prompt, whose ``[BEGIN]`` may
stand in the prompt; of several the last that defines the function asked for), and within that what is fenced as
Python. Of several fenced blocks the last one counts that defines the function asked for, so that a rewritten solution
wins over the one it quotes, and an example of its use over neither; what it uses of the functions, classes and imports
of the others goes with it. Without fences it is the text from the first line that only Python begins with.

Why a verdict is what it is: right | wrong | no answer (there was no code) | refused (longer than 64 KiB) | error (it
raised, or ended) | timeout | flood | untested (the data set's test could not be run; named in
the log, and counted after each evaluation).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from amend.task.grading.extract_code import LONGEST_PROGRAM, whole
from amend.task.sandbox.executor import ExecutionRequest, Kind, Sandbox
from amend.types import Problem, Verdict

log = logging.getLogger(__name__)


class CodeGrader:
    """Tells what programs are worth. UserError in one line where there is no sandbox of this kind on this machine."""

    def __init__(self, *, sandbox: Kind, seconds: float) -> None:
        self._sandbox = Sandbox(kind=sandbox, seconds=seconds)

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdict on each reply, in order. Total: any string gets one."""
        programs = [whole(problem.meta, reply) for problem, reply in pairs]
        verdicts = [Verdict(code, False, "no answer" if code is None else "refused") for code in programs]
        run = [i for i, code in enumerate(programs) if code is not None and len(code) <= LONGEST_PROGRAM]
        found = self._sandbox.run([trial(pairs[i][0], str(programs[i])) for i in run])
        for i, outcome in zip(run, found, strict=True):
            verdicts[i] = Verdict(programs[i], outcome.reason == "right", outcome.reason)
        if broken := Counter(f"{pairs[i][0].id} ({said.detail})" for i, said in zip(run, found, strict=True)
                             if said.reason == "untested"):  # fmt: skip
            log.warning("tests that could not be run: %s", ", ".join(list(broken)[:5]))
        return verdicts


def trial(problem: Problem, program: str) -> ExecutionRequest:
    """A program against the tests of a problem."""
    meta = problem.meta
    return ExecutionRequest(program, meta["test"], meta["prelude"], dict(meta["names"]))
