"""The verifiable reward: 1 if the task grades the reply of a turn as correct, else 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from amend.reward.base import at_least_zero
from amend.task.base import Task
from amend.types import Episode
from amend.value_types import NonNegative

UNTESTED = "untested"  # the reason of a verdict if the test itself failed before it used the reply


class Oracle:
    """The correctness of each turn: r = 1{``task.grade`` returns correct}.

    Args:
        task: The task, which grades the replies.
        weight: The factor of this component in the sum of all components.

    Attributes:
        is_correctness: True: the values are the grader's verdicts. A component of this class may have any name.
    """

    is_correctness = True

    def __init__(self, task: Task, *, weight: NonNegative) -> None:
        self._task = task
        self.weight = at_least_zero("reward.oracle.weight", weight)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the correctness of each turn.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            1.0 or 0.0 for each turn; 0.0 after the last turn of an episode, and NaN if the reply could not be tested.
        """
        return correctness(self._task, episodes)


def correctness(task: Task, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
    """Grade every turn. Equal replies to one problem are graded once.

    Args:
        task: The task, which grades the replies.
        episodes: The b episodes. The longest has k turns.

    Returns:
        1.0 for a correct turn, else 0.0, [b k]. NaN if the test itself could not run, so that the episode counts as
        failed.
    """
    right = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
    # A problem contains a dict and cannot be hashed, so its id is the key.
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row, episode in enumerate(episodes):
        for turn, exchange in enumerate(episode.turns):
            places.setdefault((episode.problem.id, exchange.reply.text), []).append((row, turn))
    pairs = [(episodes[equal[0][0]].problem, text) for (_, text), equal in places.items()]
    for verdict, equal in zip(task.grade_many(pairs), places.values(), strict=True):
        for row, turn in equal:
            right[row, turn] = np.nan if verdict.reason == UNTESTED else float(verdict.correct)
    return right
