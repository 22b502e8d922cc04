"""The constructor arguments that algorithms share: the context of a run, and the keys of trained algorithms.

An algorithm receives its runner, reward and exploration from ``components``. It imports none of their packages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from amend.algo.gradient_update import OptimizerConfig
from amend.types import Budget, Episode, Scored
from amend.value_types import Count, Natural

if TYPE_CHECKING:  # import-linter forbids these imports at run time
    from amend.exploration import Exploration
    from amend.policy.policy import Policy
    from amend.rollout.runner import RolloutRunner

RewardFunction = Callable[[Sequence[Episode]], list[Scored]]


class AlgorithmContext(NamedTuple):
    """The objects of a run that every algorithm receives.

    Attributes:
        policy: The model that is trained, and its reference model.
        runner: The rollout runner, which samples episodes from the policy.
        reward: The reward function, from episodes to scored episodes.
        exploration: The exploration strategies.
        budget: The upper bounds on sampled tokens and episodes of the run.
        seed: The seed of the run.
    """

    policy: Policy
    runner: RolloutRunner
    reward: RewardFunction
    exploration: Exploration
    budget: Budget
    seed: int


class LoopConfig(OptimizerConfig):
    """Keys of every algorithm that is trained."""

    num_iterations: Natural
    """Largest number of iterations. ``budget`` may end the run earlier."""
    groups_per_batch: Count
    """Number of problems in an iteration."""
    group_size: Count
    """Number of episodes of each problem."""
    turns: Count
    """Number of turns of an episode in training."""
    max_tokens: Count
    """Largest number of tokens of one reply, the end token included."""
