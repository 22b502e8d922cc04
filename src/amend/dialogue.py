"""Dialogues decide the user's message after each reply, for example "there might be an error, try again".

Self-correction is a dialogue, not an option of an algorithm. The next message depends only on the number of turns, and
in ``Confidence`` also on the model's own confidence. It therefore does not reveal whether a reply is right. The
correction is intrinsic, as in SCoRe (arXiv 2409.12917), where the same instruction follows every first attempt.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from amend.errors import UserError
from amend.types import Episode, Message
from amend.value_types import Count


@runtime_checkable
class Dialogue(Protocol):
    """A dialogue decides the messages between the turns of an episode."""

    @property
    def turns(self) -> int:
        """Return the maximum number of turns of an episode."""
        ...

    @property
    def attempts(self) -> tuple[int, ...]:
        """Return the turns, counted from 0, that are attempts at the problem."""
        ...

    def next_message(self, episode: Episode) -> Message | None:
        """Return the next message of the user.

        Args:
            episode: An episode with at least one turn.

        Returns:
            The message; None if the episode ends.
        """
        ...


class Single:
    """A dialogue of one turn."""

    turns = 1
    attempts = (0,)

    def next_message(self, episode: Episode) -> Message | None:
        """Return None: no message follows."""
        return None


class SelfCorrect:
    """A dialogue that repeats one instruction after each reply, right or wrong.

    Args:
        turns: The number of turns.
        instruction: The message after each reply.

    Raises:
        UserError: If a value is not allowed.
    """

    def __init__(self, *, turns: Count, instruction: str) -> None:
        if turns < 1:
            raise UserError(f"dialogue.turns={turns}: allowed: at least 1")
        if not instruction.strip():
            raise UserError("dialogue.instruction is empty; allowed: any text that gives no hint of right or wrong")
        self.turns, self.attempts = turns, tuple(range(turns))
        self._message = Message("user", instruction)

    def next_message(self, episode: Episode) -> Message | None:
        """Return the instruction; None after the last turn."""
        return self._message if len(episode.turns) < self.turns else None


class Confidence:
    """A dialogue whose instruction contains the model's confidence in its last reply.

    The confidence is the mean log-probability of the tokens of the reply, in nats. The engine computes it at the
    sampling temperature, and at temperature 1 for greedy replies. It is at least -9.99, so that all messages have the
    same length. It comes from the model itself and does not reveal whether the reply is right. The question is whether
    a model can use its own confidence.

    Args:
        turns: The number of turns.
        instruction: The message after each reply. ``{logp}`` is replaced with the number.

    Raises:
        UserError: If a value is not allowed.
    """

    def __init__(self, *, turns: Count, instruction: str) -> None:
        if turns < 2:
            raise UserError(
                f"dialogue.turns={turns}: the second turn needs the confidence of the first; allowed: at least 2"
            )
        if "{logp}" not in instruction:
            raise UserError("dialogue.instruction has no {logp}; allowed: a text that contains {logp}")
        self.turns, self.attempts, self._instruction = turns, tuple(range(turns)), instruction

    def next_message(self, episode: Episode) -> Message | None:
        """Return the instruction with the mean log-probability of the last reply; None after the last turn."""
        if len(episode.turns) >= self.turns:
            return None
        logp = episode.turns[-1].reply.logp
        uncertainty = min(9.99, abs(sum(logp)) / max(1, len(logp)))
        return Message("user", self._instruction.replace("{logp}", f"-{uncertainty:.2f}"))


class SelfRefine:
    """Self-Refine (Madaan et al. 2023, arXiv 2303.17651): an attempt, feedback of the same model, and a second attempt.

    Both messages are the same for right and wrong attempts. The second reply is the feedback, which is not an attempt.

    Args:
        feedback: The message that asks for feedback.
        refine: The message that asks for the second attempt.

    Raises:
        UserError: If a message is empty.
    """

    turns = 3
    attempts = (0, 2)

    def __init__(self, *, feedback: str, refine: str) -> None:
        if not feedback.strip() or not refine.strip():
            raise UserError("dialogue.feedback or dialogue.refine is empty; allowed: any text that reveals no answer")
        self._messages = (Message("user", feedback), Message("user", refine))

    def next_message(self, episode: Episode) -> Message | None:
        """Return the request for feedback, then the request to use the feedback, then None."""
        return self._messages[len(episode.turns) - 1] if len(episode.turns) < self.turns else None
