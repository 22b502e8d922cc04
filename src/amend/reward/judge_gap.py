"""Two judges of the same reply: one is shown the gold answer, the other is not.

    shown         1{the task says right}
    blind         an outcome model's probability of being right, at the end of the turn; or, without a model, the
                  share of the problem's other episodes that give the same answer at that turn (self-consistency)
    difference    blind - shown

The difference is large where a reply convinces the judge who cannot check: right-looking and wrong. With a negative
weight it fines that, and pays for right answers that nothing else would have believed. The idea is from discussions of
reward hacking, not from a paper.
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
    """What the judges say, or by how much they differ. ``weight`` may be negative.

    path: the outcome model that is the blind judge (a folder of job=train_orm); None: self-consistency
    """

    def __init__(
        self, task: Task, *, weight: float, path: str | None, use: Literal["shown", "blind", "difference"]
    ) -> None:
        self.weight, self._task, self._use = weight, task, use
        self._model = None if path is None else outcome_model("reward.judge_gap.path", path)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """From 0 to 1 at each turn, the difference from -1 to 1; 0 where an episode has no such turn."""
        if self._use == "shown":
            return correctness(self._task, episodes)
        blind = agreement(self._task, episodes) if self._model is None else at_ends(self._model, episodes)
        return blind if self._use == "blind" else blind - correctness(self._task, episodes)


def agreement(task: Task, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
    """The share of the same problem's other episodes whose answer at that turn is the same words.

    0 for a reply without an answer, and where there is no other episode. Replies without an answer do not agree with
    each other, but they count among the others.
    """
    shares = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
    said = verdicts(task, episodes)
    here = [(row, turn, episodes[row].problem.id) for row, found in enumerate(said) for turn in range(len(found))]
    votes = Counter((problem, turn, said[row][turn].answer) for row, turn, problem in here)
    voters = Counter((problem, turn) for _, turn, problem in here)
    for row, turn, problem in here:
        answer, others = said[row][turn].answer, voters[problem, turn] - 1
        if answer is not None and others:
            shares[row, turn] = (votes[problem, turn, answer] - 1) / others
    return shares
