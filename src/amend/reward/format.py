"""A reward for form alone: 1 where a reply can be read to its end and has an answer in it, right or wrong.

    r = 1{the task reads a final answer in the reply, and the model ended the reply by itself}

It teaches a base model to say where its answer is before it can say the right one. Being paid for right and wrong
alike, it wants a small weight beside correctness.
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
    """Readable and whole, each turn for itself. ``weight`` is its share in the sum of all parts."""

    def __init__(self, task: Task, *, weight: NonNegative) -> None:
        self._task = task
        self.weight = at_least_zero("reward.format.weight", weight)

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """1.0 or 0.0 at each turn, and 0.0 where an episode has fewer turns than others."""
        paid = np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))
        for row, said in enumerate(verdicts(self._task, episodes)):
            for turn, verdict in enumerate(said):
                ended = episodes[row].turns[turn].reply.stop == "end"
                paid[row, turn] = float(ended and verdict.answer is not None)
        return paid


def verdicts(task: Task, episodes: Sequence[Episode]) -> list[list[Verdict]]:
    """What the task says of each turn of each episode. Equal replies to one problem are checked once."""
    said = {(e.problem.id, turn.reply.text): (e.problem, turn.reply.text) for e in episodes for turn in e.turns}
    found = dict(zip(said, task.grade_many(list(said.values())), strict=True))
    return [[found[e.problem.id, turn.reply.text] for turn in e.turns] for e in episodes]
