"""What a task is: it poses problems and checks answers, and knows nothing of models, tokens or rewards.

``check`` is the one place where a reply becomes right or wrong. It is total: whatever a model wrote, it returns a
verdict that says why, and never raises. Training, evaluation and ``job=grade`` all ask it and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from amend.task.dataset.splits import Split
from amend.types import Message, Problem, Verdict


@runtime_checkable
class Task(Protocol):
    """Problems, how they are asked, and whether a reply is right."""

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split. "train" may be endless (a lazy sequence); "val" and "test" are fixed lists."""
        ...

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The conversation that poses the problem."""
        ...

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Is the reply right? Total: any string gets a verdict."""
        ...

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair, in order; where checking is slow, side by side."""
        ...

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem that a line of a file speaks of, named by ``id`` or given by the data set's own fields.

        Raises UserError naming the field that is missing or wrong; the caller adds the file and the line.
        """
        ...
