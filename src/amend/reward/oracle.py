"""The verifiable reward of the papers: 1 where the task says that a turn's reply is right, 0 where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from amend.reward.base import at_least_zero
from amend.task.base import Task
from amend.types import Episode
from amend.value_types import NonNegative

UNTESTED = "untested"  # the verdict of a test that fails by itself, before it has asked anything of the reply


class Oracle:
    """r = 1{task.grade says correct}, each turn for itself. ``weight`` is its share in the sum of all parts."""

    is_correctness = True  # its values are the verifier's verdicts, under whatever name it is configured

    def __init__(self, task: Task, *, weight: NonNegative) -> None:
        self._task = task
        self.weight = at_least_zero("reward.oracle.weight", weight)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Correctness of each episode's turns, 0.0 or 1.0 (and 0.0 where an episode has fewer turns than others)."""
        return correctness(self._task, episodes)


def correctness(task: Task, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
    """1.0 where a turn's reply is right, NaN where its test could not be run (which fails the episode, and is no silent
    0). Equal replies to one problem are checked once."""
    right = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
    # Problems hold a dict and cannot be hashed; within a batch the id says which one it is.
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row, episode in enumerate(episodes):
        for turn, exchange in enumerate(episode.turns):
            places.setdefault((episode.problem.id, exchange.reply.text), []).append((row, turn))
    pairs = [(episodes[where[0][0]].problem, text) for (_, text), where in places.items()]
    for verdict, where in zip(task.grade_many(pairs), places.values(), strict=True):
        for row, turn in where:
            right[row, turn] = np.nan if verdict.reason == UNTESTED else float(verdict.correct)
    return right
