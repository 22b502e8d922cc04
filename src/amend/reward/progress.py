"""SCoRe's reward shaping as a part of its own: a bonus for turning wrong into right, a fine for the reverse.

    b_1 = 0,   b_i = alpha * (r_i - r_{i-1})            arXiv 2409.12917, section 5.2; more turns: ICLR appendix

The bonus belongs to the later turn alone. Paid to turn 1 as well it would, with alpha = 10, reward a wrong first
attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from amend.reward.base import at_least_zero
from amend.reward.oracle import correctness
from amend.task.base import Task
from amend.types import Episode
from amend.value_types import NonNegative


class Progress:
    """The change of correctness from turn to turn, times ``alpha``; ``weight`` is its share in the sum of parts."""

    def __init__(self, task: Task, *, weight: NonNegative, shaping_coef: NonNegative) -> None:
        self._task = task
        self.weight = at_least_zero("reward.progress.weight", weight)
        self._alpha = at_least_zero("reward.progress.shaping_coef", shaping_coef)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """The bonus at each turn: 0 at the first, and where an episode has no such turn."""
        right = correctness(self._task, episodes)
        bonus = np.zeros_like(right)
        bonus[:, 1:] = self._alpha * np.diff(right, axis=1)
        for row, episode in enumerate(episodes):
            bonus[row, len(episode.turns) :] = 0.0
        return bonus
