"""Compare two judges of the same reply. One judge sees the target, the other does not.

    shown         1{the task grades the reply as correct}
    blind         the probability of being right at the end of the turn, from an outcome model. Without a model: the
                  share of the problem's other episodes with the same answer at that turn (self-consistency)
    difference    blind - shown

The difference is large if a wrong reply convinces the blind judge. A negative weight penalizes such replies. It also
rewards right answers that the blind judge rejects. The idea comes from discussions of reward hacking, not from a paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from amend.reward.format import verdicts
from amend.reward.oracle import correctness
from amend.reward.outcome_model import at_ends, outcome_model
from amend.task.base import Task
from amend.types import Episode


class JudgeGap:
    """The value of one judge, or the difference between the two judges.

    Args:
        task: The task, whose grader sees the target.
        weight: The factor of this component in the sum of all components. It may be negative.
        path: The folder of the outcome model that is the blind judge, written by job=train_orm. None: self-consistency.
        use: The value to return: "shown", "blind" or "difference".
    """

    def __init__(
        self, task: Task, *, weight: float, path: str | None, use: Literal["shown", "blind", "difference"]
    ) -> None:
        self.weight, self._task, self._use = weight, task, use
        self._model = None if path is None else outcome_model("reward.judge_gap.path", path)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the value of each turn.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            A value from 0 to 1 for each turn, or from -1 to 1 for the difference; 0 after the last turn of an episode.
        """
        if self._use == "shown":
            return correctness(self._task, episodes)
        blind = agreement(self._task, episodes) if self._model is None else at_ends(self._model, episodes)
        return blind if self._use == "blind" else blind - correctness(self._task, episodes)


def agreement(task: Task, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
    """Return the share of the same problem's other episodes that state the same answer at the same turn.

    Answers are compared as text. Replies without an answer do not agree with each other, but count as other episodes.

    Args:
        task: The task, which extracts the answers.
        episodes: The b episodes. The longest has k turns.

    Returns:
        The share for each turn, [b k]; 0 for a reply without an answer, and if there is no other episode.
    """
    shares = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
    graded = verdicts(task, episodes)
    places = [(row, turn, episodes[row].problem.id) for row, turns in enumerate(graded) for turn in range(len(turns))]
    votes = Counter((problem, turn, graded[row][turn].answer) for row, turn, problem in places)
    voters = Counter((problem, turn) for _, turn, problem in places)
    for row, turn, problem in places:
        answer, others = graded[row][turn].answer, voters[problem, turn] - 1
        if answer is not None and others:
            shares[row, turn] = (votes[problem, turn, answer] - 1) / others
    return shares
