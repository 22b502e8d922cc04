"""The problems of each iteration as a dataset, chosen from the training split by the curriculum."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import IterableDataset

from amend.algo.base import Algorithm
from amend.task.base import Task
from amend.types import Problem


class ProblemDataset(IterableDataset[list[Problem]]):
    """One round's problems an epoch, chosen from the training split by the curriculum."""

    def __init__(self, task: Task, algorithm: Algorithm) -> None:
        self._problems, self._algorithm = task.problems("train"), algorithm

    def __iter__(self) -> Iterator[list[Problem]]:
        learner = self._algorithm
        seed = (learner.seed, learner.iteration)
        learner.problem_indices = learner.exploration.curriculum.pick(
            len(self._problems), learner.groups_per_batch, seed
        )
        yield [self._problems[i] for i in learner.problem_indices]
