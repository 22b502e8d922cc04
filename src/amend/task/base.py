"""What a task is: it poses problems and checks answers, and knows nothing of models, tokens or rewards.

``check`` is the one place where a reply becomes right or wrong. It is total: whatever a model wrote, it returns a
verdict that says why, and never raises. Training, evaluation and ``job=grade`` all ask it and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from amend.types import Message, Problem, Verdict

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@runtime_checkable
class Task(Protocol):
    """Problems, how they are asked, and whether a reply is right."""

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split. "train" may be endless (a lazy sequence); "val" and "test" are fixed lists."""
        ...

    def ask(self, problem: Problem) -> list[Message]:
        """The conversation that poses the problem."""
        ...

    def check(self, problem: Problem, reply: str) -> Verdict:
        """Is the reply right? Total: any string gets a verdict."""
        ...

    def check_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair, in order; where checking is slow, side by side."""
        ...

    def recognise(self, row: Mapping[str, object]) -> Problem:
        """The problem that a line of a file speaks of, named by ``id`` or given by the data set's own fields.

        Raises UserError naming the field that is missing or wrong; the caller adds the file and the line.
        """
        ...


@runtime_checkable
class Tool(Protocol):
    """What a policy may call on while it writes. What a tool writes is context, and never trained."""

    mark: str
    """The character that ends every call."""

    def answer(self, text: str) -> str | None:
        """What the tool writes after a reply that has got as far as ``text``; None where that ends in no call."""
        ...

    def pieces(self, text: str) -> list[tuple[str, bool]]:
        """A whole reply in pieces that join to it again, each with whether the tool wrote it."""
        ...


def tool_of(task: Task) -> Tool | None:
    """The tool that a task gives the policy; most tasks give none."""
    tool: Tool | None = getattr(task, "tool", None)
    return tool
