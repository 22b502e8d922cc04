"""DAPO's soft overlong punishment: a penalty that grows over the last tokens of the allowed length.

A reply has n tokens, its end token included. With L = ``max_tokens`` and B = ``buffer``:

    r = 0                      n <= L - B
    r = (L - B - n) / B        L - B < n <= L                          arXiv 2503.14476, eq. 13
    r = -1                     n > L, or the reply reached the limit

A reply that is cut before its answer has the same correctness as a wrong reply, which says nothing about its length.
The penalty depends on the length, and also applies to correct replies.
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
    """The length penalty of each turn.

    Args:
        task: Not used.
        weight: The factor of this component in the sum of all components.
        max_tokens: L, the maximum number of tokens of a reply.
        buffer: B, the number of tokens before the limit over which the penalty grows.

    Raises:
        UserError: If ``buffer`` is not between 1 and ``max_tokens``.
    """

    def __init__(self, task: Task, *, weight: NonNegative, max_tokens: Count, buffer: Count) -> None:
        self.weight = at_least_zero("reward.length.weight", weight)
        if not 1 <= buffer <= max_tokens:
            raise UserError(f"reward.length.buffer={buffer}: allowed: 1 to reward.length.max_tokens={max_tokens}")
        self._max_tokens, self._buffer = max_tokens, buffer

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the penalty of each turn.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            A value from -1 to 0 for each turn; 0 after the last turn of an episode.
        """
        values = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
        for row, episode in enumerate(episodes):
            values[row, : len(episode.turns)] = [self._penalty(turn.reply) for turn in episode.turns]
        return values

    def _penalty(self, reply: Completion) -> float:
        margin = self._max_tokens - self._buffer - len(reply.tokens)
        return -1.0 if reply.stop == "length" else float(np.clip(margin / self._buffer, -1.0, 0.0))
