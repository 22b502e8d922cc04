"""Problems that are drawn and not stored: the one named by an index, many of them, or so many that differ.

What a built-in task has is a pure function from an index to a problem. ``Drawn`` reads it as a sequence, in which a
problem is made when it is asked for; ``distinct`` takes the first problems of it that ask different questions, which
is what a fixed set is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from amend.types import Problem

PATIENCE = 50  # draws in vain, for each question found (and 20 more), after which there is said to be no other


class LazyProblems(Sequence[Problem]):
    """``count`` problems, ``make(index)`` each: the same whenever it is asked for."""

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
    """The first ``count`` of make(0), make(1), ... whose questions differ; fewer where so many are not found."""
    found: dict[str, Problem] = {}
    index = barren = 0
    while len(found) < count and barren < PATIENCE * (len(found) + 20):
        problem = make(index)
        barren = barren + 1 if problem.question in found else 0
        found.setdefault(problem.question, problem)
        index += 1
    return list(found.values())
