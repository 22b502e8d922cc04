"""The oracle pays each turn for itself; the bonus for progress never touches turn 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from amend.errors import UserError
from amend.reward import CompositeReward, Reward
from amend.reward.oracle import Oracle
from amend.reward.progress import Progress
from amend.task.identity import Identity
from amend.types import Episode, Problem, Verdict

Build = Callable[..., Episode]


class Counting(Identity):
    """Counts what it is asked to check."""

    def __init__(self) -> None:
        super().__init__(symbols=4, test=4)
        self.asked = 0

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        self.asked += len(pairs)
        return super().grade_many(pairs)


def four(task: Identity, episode: Build) -> list[Episode]:
    """All (r1, r2) in {0, 1}^2, on four problems."""
    zero, one, two, three = task.problems("test")
    return [episode(zero, "x", "y"), episode(one, "x", "1"), episode(two, "2", "y"), episode(three, "3", "\\boxed{3}")]


def test_the_oracle_pays_each_turn_for_itself(episode: Build) -> None:
    task = Counting()
    oracle = Oracle(task, weight=1.0)
    assert isinstance(oracle, Reward)
    np.testing.assert_array_equal(oracle(four(task, episode)), [[0, 0], [0, 1], [1, 0], [1, 1]])


def test_equal_replies_to_a_problem_are_checked_once(episode: Build) -> None:
    task = Counting()
    first, second = task.problems("test")[:2]
    paid = Oracle(task, weight=1.0)([episode(first, "0", "0"), episode(first, "0", "1"), episode(second, "0", "1")])
    assert task.asked == 4
    np.testing.assert_array_equal(paid, [[1, 1], [1, 0], [0, 1]])


def test_progress_pays_the_change_to_the_later_turn_alone(episode: Build) -> None:
    task = Identity(symbols=4, test=4)
    bonus = Progress(task, weight=1.0, shaping_coef=10.0)(four(task, episode))
    np.testing.assert_array_equal(bonus, [[0, 0], [0, 10], [0, -10], [0, 0]])


def test_with_more_turns_progress_looks_one_turn_back(episode: Build) -> None:
    task = Identity(symbols=4, test=4)
    zero = task.problems("test")[0]
    bonus = Progress(task, weight=1.0, shaping_coef=2.0)([episode(zero, "x", "0", "0", "x"), episode(zero, "0", "x")])
    np.testing.assert_array_equal(bonus, [[0, 2, 0, -2], [0, -2, 0, 0]])


def test_weights_and_alpha_below_zero_are_refused() -> None:
    task = Identity(symbols=2, test=1)
    for build in (
        lambda: Oracle(task, weight=-1.0),
        lambda: Progress(task, weight=1.0, shaping_coef=-1.0),
        lambda: Progress(task, weight=float("nan"), shaping_coef=1.0),
    ):
        with pytest.raises(UserError, match="at least 0"):
            build()


def test_an_empty_batch_is_an_empty_answer() -> None:
    task = Identity(symbols=2, test=1)
    assert Oracle(task, weight=1.0)([]).shape == (0, 0)
    assert CompositeReward({"oracle": Oracle(task, weight=1.0)}, max_failures=0.1)([]) == []
