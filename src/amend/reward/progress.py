"""SCoRe's reward shaping as a reward component: a bonus for a change from wrong to right, a penalty for the reverse.

    b_1 = 0,   b_i = alpha * (r_i - r_{i-1})            arXiv 2409.12917, section 5.2; more turns: ICLR appendix

Only the later turn gets the bonus. If turn 1 got it as well, an alpha of 10 would reward a wrong first attempt.
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
    """The change of correctness between consecutive turns, times alpha.

    Args:
        task: The task, which grades the replies.
        weight: The factor of this component in the sum of all components.
        shaping_coef: The coefficient alpha.
    """

    def __init__(self, task: Task, *, weight: NonNegative, shaping_coef: NonNegative) -> None:
        self._task = task
        self.weight = at_least_zero("reward.progress.weight", weight)
        self._alpha = at_least_zero("reward.progress.shaping_coef", shaping_coef)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the bonus of each turn.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            The bonus of each turn, [b k]; 0 at the first turn and after the last turn of an episode.
        """
        right = correctness(self._task, episodes)
        bonus = np.zeros_like(right)
        bonus[:, 1:] = self._alpha * np.diff(right, axis=1)
        for row, episode in enumerate(episodes):
            bonus[row, len(episode.turns) :] = 0.0
        return bonus
