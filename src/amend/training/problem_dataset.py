"""The problems of each iteration as a dataset, chosen from the training split by the curriculum."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import IterableDataset

from amend.algo.base import Algorithm
from amend.task.base import Task
from amend.types import Problem


class ProblemDataset(IterableDataset[list[Problem]]):
    """The problems of one iteration per epoch, which the curriculum chooses from the training split."""

    def __init__(self, task: Task, algorithm: Algorithm) -> None:
        self._problems, self._algorithm = task.problems("train"), algorithm

    def __iter__(self) -> Iterator[list[Problem]]:
        algorithm = self._algorithm
        seed = (algorithm.seed, algorithm.iteration)
        algorithm.problem_indices = algorithm.exploration.curriculum.pick(
            len(self._problems), algorithm.groups_per_batch, seed
        )
        yield [self._problems[i] for i in algorithm.problem_indices]
