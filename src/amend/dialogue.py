"""What is said next: nothing, "there might be an error, try again", or "what is wrong with it?" and then that.

Self-correction is a dialogue, not a flag of an algorithm. The follow-up depends on nothing but how many turns there
have been (and, in ``Confidence``, on how sure the model itself was), so it cannot tell the model whether it was right:
the correction is intrinsic, as in SCoRe (arXiv 2409.12917), where the same instruction follows every first attempt.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from amend.errors import UserError
from amend.types import Episode, Message
from amend.value_types import Count


@runtime_checkable
class Dialogue(Protocol):
    """Who speaks after the model has: ``turns`` is how many replies an episode has at the most."""

    @property
    def turns(self) -> int: ...

    @property
    def attempts(self) -> tuple[int, ...]:
        """Which turns, counted from 0, are attempts at the problem."""
        ...

    def next_message(self, episode: Episode) -> Message | None:
        """The next message of the user to an episode of one turn or more; None ends it."""
        ...


class Single:
    """One reply and no more."""

    turns = 1
    attempts = (0,)

    def next_message(self, episode: Episode) -> Message | None:
        """Nothing follows."""
        return None


class SelfCorrect:
    """The same ``instruction`` after each reply, right or wrong, until there have been ``turns`` replies."""

    def __init__(self, *, turns: Count, instruction: str) -> None:
        if turns < 1:
            raise UserError(f"dialogue.turns={turns}: allowed: at least 1")
        if not instruction.strip():
            raise UserError("dialogue.instruction is empty; allowed: any text that gives no hint of right or wrong")
        self.turns, self.attempts = turns, tuple(range(turns))
        self._message = Message("user", instruction)

    def next_message(self, episode: Episode) -> Message | None:
        """The instruction, or None once the episode has all its turns."""
        return self._message if len(episode.turns) < self.turns else None


class Confidence:
    """The same after each reply, but it is told how sure the model was: the mean log-probability of its tokens.

    ``instruction`` has ``{logp}`` where that number goes: nats a token, as the engine has it, which is at the
    temperature it drew at, and at 1 for greedy replies. Below -9.99 it is -9.99, so that the message is always as long.
    It is the model's own and tells nothing of right or wrong: the question is whether a model can use its certainty.
    """

    def __init__(self, *, turns: Count, instruction: str) -> None:
        if turns < 2:
            raise UserError(f"dialogue.turns={turns}: allowed: at least 2, for the second is told of the first")
        if "{logp}" not in instruction:
            raise UserError("dialogue.instruction has no {logp}; allowed: a text that says where the number goes")
        self.turns, self.attempts, self._instruction = turns, tuple(range(turns)), instruction

    def next_message(self, episode: Episode) -> Message | None:
        """The instruction with the last reply's mean log-probability, or None once the episode has all its turns."""
        if len(episode.turns) >= self.turns:
            return None
        logp = episode.turns[-1].reply.logp
        unsure = min(9.99, abs(sum(logp)) / max(1, len(logp)))
        return Message("user", self._instruction.replace("{logp}", f"-{unsure:.2f}"))


class SelfRefine:
    """Self-Refine (Madaan et al. 2023, arXiv 2303.17651): attempt, ``feedback`` on it by the same model, ``refine``.

    Both messages are the same for right and wrong; the second reply speaks of the first and is no attempt itself.
    """

    turns = 3
    attempts = (0, 2)

    def __init__(self, *, feedback: str, refine: str) -> None:
        if not feedback.strip() or not refine.strip():
            raise UserError("dialogue.feedback or dialogue.refine is empty; allowed: any text that tells no answer")
        self._said = (Message("user", feedback), Message("user", refine))

    def next_message(self, episode: Episode) -> Message | None:
        """The request for feedback, then the request to use it, then nothing."""
        return self._said[len(episode.turns) - 1] if len(episode.turns) < self.turns else None
