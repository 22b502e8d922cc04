"""DAPO's soft overlong punishment: a fine that grows over the last tokens a reply may have.

With n the tokens of a reply (its end token included), L = ``max_tokens`` and B = ``buffer``:

    r = 0                      n <= L - B
    r = (L - B - n) / B        L - B < n <= L                          arXiv 2503.14476, eq. 13
    r = -1                     n > L, or the reply was cut

A reply that is cut just short of its answer is paid like a wrong one, which tells the policy nothing about length; the
slope does, and it reaches replies that still came out right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.reward.base import at_least_zero
from amend.task.base import Task
from amend.types import Completion, Episode
from amend.value_types import Count, NonNegative


class Length:
    """The fine, each turn for itself, from -1 to 0. ``max_tokens`` and ``buffer`` are numbers of tokens of a reply."""

    def __init__(self, task: Task, *, weight: NonNegative, max_tokens: Count, buffer: Count) -> None:
        self.weight = at_least_zero("reward.length.weight", weight)
        if not 1 <= buffer <= max_tokens:
            raise UserError(f"reward.length.buffer={buffer}: allowed: 1 to reward.length.max_tokens={max_tokens}")
        self._max_tokens, self._buffer = max_tokens, buffer

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """The fine at each turn, and 0.0 where an episode has fewer turns than others."""
        paid = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
        for row, episode in enumerate(episodes):
            paid[row, : len(episode.turns)] = [self._fine(turn.reply) for turn in episode.turns]
        return paid

    def _fine(self, reply: Completion) -> float:
        left = self._max_tokens - self._buffer - len(reply.tokens)
        return -1.0 if reply.stop == "length" else float(np.clip(left / self._buffer, -1.0, 0.0))
