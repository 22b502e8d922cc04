"""Problems that are generated on access instead of stored.

A built-in task has a pure function from an index to a problem. ``LazyProblems`` presents this function as a sequence,
which generates a problem on each access. ``distinct`` collects the first problems with different questions, for fixed
validation and test sets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from amend.types import Problem

# ``distinct`` stops after this many duplicates in a row, multiplied by (number of questions so far + 20)
PATIENCE = 50


class LazyProblems(Sequence[Problem]):
    """A sequence of problems that generates each problem on access.

    Args:
        make: Returns the problem of an index; must be a pure function.
        count: Length of the sequence.
    """

    def __init__(self, make: Callable[[int], Problem], count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)


def distinct(make: Callable[[int], Problem], count: int) -> list[Problem]:
    """Return the first problems of make(0), make(1), ... that have different questions.

    Args:
        make: Returns the problem of an index.
        count: Number of problems to return.

    Returns:
        ``count`` problems, or fewer if ``PATIENCE`` ends the search.
    """
    problems: dict[str, Problem] = {}
    index = duplicates = 0
    while len(problems) < count and duplicates < PATIENCE * (len(problems) + 20):
        problem = make(index)
        duplicates = duplicates + 1 if problem.question in problems else 0
        problems.setdefault(problem.question, problem)
        index += 1
    return list(problems.values())
