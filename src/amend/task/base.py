"""The protocol of tasks. A task poses problems and grades replies; it knows no models, tokens or rewards.

Training, evaluation and ``job=grade`` all grade through ``Task.grade`` and ``Task.grade_many``. These methods return a
verdict with a reason for every string, and never raise an error because of a reply.

A task extends ``TaskBase``, which has defaults for everything that few tasks need, and implements either ``grade`` or
``grade_many``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from amend.task.dataset.splits import Split
from amend.types import Message, Problem, Verdict

if TYPE_CHECKING:  # the name of a type
    from amend.task.tools import Tool


@runtime_checkable
class Task(Protocol):
    """A set of problems with prompts and a grader. ``sources.json`` has its ``provenance``."""

    @property
    def tool(self) -> Tool | None:
        """Return the tool that the policy can call, or None."""
        ...

    @property
    def provenance(self) -> Mapping[str, Mapping[str, str | int]]:
        """Return where the rows of each table come from."""
        ...

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split.

        Args:
            split: "train", "val" or "test".

        Returns:
            The problems. "train" may be a lazy sequence of any length; "val" and "test" are fixed.
        """
        ...

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the conversation that poses a problem.

        Args:
            problem: A problem of this task.

        Returns:
            The messages before the first reply. The last one is a user message.
        """
        ...

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Grade one reply.

        Args:
            problem: The problem that the reply answers.
            reply: The decoded text of the reply. Any string is valid.

        Returns:
            The extracted answer, whether it is correct, and the reason.
        """
        ...

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies; a slow grader may work in parallel.

        Args:
            pairs: Problems with the replies to grade.

        Returns:
            One verdict per pair, in order, each equal to the verdict of ``grade``.
        """
        ...

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that a row of a file refers to.

        Args:
            row: A JSON object. It has the ``id`` of a problem or the fields of the data set.

        Returns:
            The problem.

        Raises:
            UserError: If a field is missing or invalid. The message names the field; the caller adds file and line.
        """
        ...

    def close(self) -> None:
        """Release what the task holds, such as the processes of a grader. The task can still be used afterwards."""
        ...


class TaskBase:
    """The defaults of a task: no tool, no data sources, nothing to release; each grader uses the other."""

    tool: Tool | None = None
    provenance: Mapping[str, Mapping[str, str | int]] = {}

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Grade one reply with ``grade_many``; see ``Task.grade``."""
        return self.grade_many([(problem, reply)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade replies one after another with ``grade``; see ``Task.grade_many``."""
        return [self.grade(problem, reply) for problem, reply in pairs]

    def close(self) -> None:
        """Release nothing; see ``Task.close``."""
