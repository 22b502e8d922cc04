"""A reward for the form of a reply: 1 if the reply is complete and states an answer, right or wrong.

    r = 1{the task finds a final answer in the reply, and the model ended the reply}

It teaches a base model to state an answer in the right form before its answers are right. It rewards wrong answers as
well, so its weight should be small compared to the weight of correctness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from amend.reward.base import at_least_zero
from amend.task.base import Task
from amend.types import Episode, Verdict
from amend.value_types import NonNegative


class Format:
    """The format reward of each turn.

    Args:
        task: The task, which extracts the answers.
        weight: The factor of this component in the sum of all components.
    """

    def __init__(self, task: Task, *, weight: NonNegative) -> None:
        self._task = task
        self.weight = at_least_zero("reward.format.weight", weight)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the format reward.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            1.0 or 0.0 for each turn; 0.0 after the last turn of an episode.
        """
        values = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
        for row, turn_verdicts in enumerate(verdicts(self._task, episodes)):
            for turn, verdict in enumerate(turn_verdicts):
                is_complete = episodes[row].turns[turn].reply.stop == "end"
                values[row, turn] = float(is_complete and verdict.answer is not None)
        return values


def verdicts(task: Task, episodes: Sequence[Episode]) -> list[list[Verdict]]:
    """Return the task's verdict on each turn of each episode. Equal replies to one problem are graded once.

    Args:
        task: The task.
        episodes: The episodes.

    Returns:
        For each episode, the verdict on each turn.
    """
    pairs = {(e.problem.id, turn.reply.text): (e.problem, turn.reply.text) for e in episodes for turn in e.turns}
    verdict_of = dict(zip(pairs, task.grade_many(list(pairs.values())), strict=True))
    return [[verdict_of[e.problem.id, turn.reply.text] for turn in e.turns] for e in episodes]
